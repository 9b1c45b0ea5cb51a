"""Where a run comes to lie: looked at before anything is computed, and taken in one renaming.

A run begins in a hidden folder beside its place; what was at its place before is put aside until it has moved in.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from sim.errors import ScenarioError, StoreError, escaped
from sim.store import checkpoint as checkpoints
from sim.store.disk import require_space, sync_folder, sync_folders
from sim.store.layout import GENERATIONS
from sim.store.lock import require_unlocked
from sim.store.record import Record, is_run

#: bytes; the hidden names beside it, and that of the report, are longer
_LONGEST_NAME = 240


def check_name(path: Path) -> None:
    """Raises `ScenarioError` where `path` cannot be the name of a folder that has others beside it."""
    if "\0" in str(path):
        raise ScenarioError(f"{escaped(path)}: is no name for a file")
    if len(os.fsencode(path.name)) > _LONGEST_NAME:
        raise ScenarioError(f"{escaped(path)}: is too long a name; use at most {_LONGEST_NAME} bytes")


def check_output(
    path: Path | str, *, force: bool = False, resume: bool = False, needed: int = 0, locked: bool = False
) -> None:
    """Looks, before anything is computed, whether a run can be written at `path`.

    Args:
        needed: bytes that must be free.
        locked: whether the lock of the run is held by the caller.

    Raises:
        ScenarioError: there is one already (without `force` or `resume`), or something that is no run; both are
            asked; the name is none, or too long.
        StoreError: another process writes it; no room.
    """
    path = Path(path)
    check_name(path)
    if force and resume:
        raise ScenarioError(
            f"{path}: --resume goes on with the run and --force replaces it; give one of them"
        )
    if not locked:
        require_unlocked(path)
    if os.path.lexists(path) and not resume:
        if not force:
            raise ScenarioError(f"{path}: exists; use --resume or --force")
        if not is_run(path) and not (path.is_dir() and not any(path.iterdir())):
            raise ScenarioError(f"{path}: exists and is not a run of cellweave; --force replaces only runs")
    folder = path.absolute().parent
    while not os.path.lexists(folder):
        folder = folder.parent
    if not folder.is_dir():
        raise ScenarioError(f"{path}: {folder} is not a folder")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise StoreError(f"{folder}: is read-only")
    require_space(folder, needed)


def appear(folder: Path, path: Path) -> None:
    """Moves the run in `folder` to `path`, in the place of what is there; durable when this returns."""
    sync_folders([folder, *(p for p in folder.rglob("*") if p.is_dir())])
    aside = beside(path, "old")
    if os.path.lexists(path):
        os.rename(path, aside)
    try:
        os.rename(folder, path)
    except OSError:
        if os.path.lexists(aside):
            os.rename(aside, path)
        raise
    sync_folder(path.absolute().parent)
    if os.path.lexists(aside):
        _discard(aside)


def beside(path: Path, what: str) -> Path:
    """The hidden folder beside the run where it is made (`new`), or where an older one is put aside (`old`)."""
    return path.with_name(f".{path.name}.{what}")


def recover(path: Path) -> None:
    """Undoes what a killed start left; only the holder of the lock may do so."""
    aside = beside(path, "old")
    if os.path.lexists(aside):
        if os.path.lexists(path):
            _discard(aside)
        else:
            os.rename(aside, path)
    if os.path.lexists(beside(path, "new")):
        _discard(beside(path, "new"))


def _discard(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def make_folders(folder: Path, record: Record) -> None:
    """The folders of all groups, arrays and generations."""
    (folder / checkpoints.FOLDER).mkdir(parents=True)
    for name in record.groups:
        (folder / name).mkdir()
    for array in record.arrays:
        (folder / array.path).mkdir()
        if array.rewritten:
            for generation in range(len(GENERATIONS)):
                (folder / array.path / array.chunk_key(0, generation)).parent.mkdir(exist_ok=True)
