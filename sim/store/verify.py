"""Finds damage in a run, and names its results by one hash.

Reads the files directly: every byte that the writer made is covered by a checksum or by comparison with what
it must be. Files that a crash left half-written (`*.partial`) are not part of a run.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sim.errors import Problem, ScenarioError
from sim.store import checkpoint as checkpoints
from sim.store.checkpoint import BadCheckpoint
from sim.store.chunks import Damaged, decode, rows_of, to_bytes
from sim.store.disk import PARTIAL
from sim.store.layout import Array, group_metadata, render
from sim.store.record import RECORD, Record, damaged, read_record

#: how often a run that goes on meanwhile is looked at again
_TRIES = 4
_CHUNK = re.compile(r"(c[./])?\d+([./]\d+)*")


def verify(path: Path | str) -> None:
    """Checks every file of a run, finished or not.

    Raises:
        ScenarioError: no run at `path`, or damage; each damaged file is a problem.
    """
    _checked(Path(path))


def require_chunks(path: Path, record: Record) -> None:
    """Looks whether every chunk is there; reads none.

    Raises:
        ScenarioError: each missing chunk is a problem.
    """
    names = functools.cache(_names)
    files = (path / array.path / key for array in record.arrays for key in _chunks(record, array))
    if missing := [damaged(file, "it is missing") for file in files if file.name not in names(file.parent)]:
        raise ScenarioError(missing)


def digest(path: Path | str) -> str:
    """One sha256 of all results, after checking every file.

    Covers names, dtypes, shapes, units and values; not the attributes of the run (times of day, paths,
    versions), and neither chunks nor commits. Unfinished runs have one as well.

    Raises:
        ScenarioError: as for `verify`.
    """
    record, values = _checked(Path(path))
    total = hashlib.sha256()
    for array in sorted(record.arrays, key=lambda a: a.path):
        rows = record.extents[array.path][0]
        units = [array.attrs.get(key, "") for key in ("units", "flag_meanings")]
        total.update(repr((array.path, array.dtype, array.dims, (rows, *array.row), units)).encode())
        total.update(values[array.path])
    return total.hexdigest()


def _checked(path: Path) -> tuple[Record, dict[str, bytes]]:
    """The record of a run that is whole, and the sha256 of each array's rows; a commit on the way is no damage."""
    for _ in range(_TRIES):
        record = read_record(path)
        try:
            return record, _check(path, record)
        except ScenarioError:
            if read_record(path).number == record.number:
                raise
    record = read_record(path)
    return record, _check(path, record)


def _check(path: Path, record: Record) -> dict[str, bytes]:
    """Raises `ScenarioError` on damage; gives the sha256 of each array's rows."""
    problems = [*_metadata(path, record), *_checkpoints(path)]
    values: dict[str, bytes] = {}
    for array in record.arrays:
        rows = hashlib.sha256()
        problems += _contents(path, record, array, rows)
        problems += _leftovers(path, record, array)
        values[array.path] = rows.digest()
    if problems:
        raise ScenarioError(problems)
    return values


def _chunks(record: Record, array: Array) -> dict[str, int]:
    """Rows in each chunk of the last commit, by key."""
    rows, _, generation = record.extents[array.path]
    step = array.chunk_rows
    return {array.chunk_key(k // step, generation): min(step, rows - k) for k in range(0, rows, step)}


def _contents(path: Path, record: Record, array: Array, values: Any) -> Iterator[Problem]:
    """Checks the rows of one array; feeds them to the hash `values`."""
    found = 0
    for key, count in _chunks(record, array).items():
        file = path / array.path / key
        try:
            body = decode(array, file.read_bytes())
        except FileNotFoundError:
            yield damaged(file, "it is missing")
            return
        except (OSError, Damaged, RuntimeError):
            yield damaged(file)
            return
        part = to_bytes(array, rows_of(array, body, count))
        found = zlib.crc32(part, found)
        values.update(part)
    if found != record.extents[array.path][1]:
        yield damaged(path / array.path, "its rows are not those of the last commit")


def _leftovers(path: Path, record: Record, array: Array) -> Iterator[Problem]:
    """Chunks outside the last commit, which a crash or a rewritten array leaves, must be whole too."""
    folder = path / array.path
    known = {RECORD, *_chunks(record, array)}
    for file in sorted(p for p in folder.rglob("*") if p.is_file()):
        name = file.relative_to(folder).as_posix()
        if name in known or name.endswith(PARTIAL):
            continue
        if not _CHUNK.fullmatch(name):
            yield Problem(str(file), "is not a file of this run")
            continue
        try:
            decode(array, file.read_bytes())
        except (OSError, Damaged, RuntimeError):
            yield damaged(file)


def _metadata(path: Path, record: Record) -> Iterator[Problem]:
    for group, attrs in record.groups.items():
        if _content(path / group / RECORD) != render(group_metadata(attrs)):
            yield damaged(path / group / RECORD)
    for array in record.arrays:
        file = path / array.path / RECORD
        known = (record.array_metadata(array), record.array_metadata(array, record.published))
        if _content(file) not in [render(meta) for meta in known]:
            yield damaged(file)


def _checkpoints(path: Path) -> Iterator[Problem]:
    for number in checkpoints.numbers(path):
        try:
            checkpoints.load(path, number)
        except BadCheckpoint as why:
            if number not in checkpoints.numbers(path):
                continue  # a run that goes on removes its older ones
            yield damaged(path / checkpoints.FOLDER / f"{number:09d}.npz", str(why))


def _names(folder: Path) -> set[str]:
    try:
        return set(os.listdir(folder))
    except OSError:
        return set()


def _content(file: Path) -> bytes | None:
    try:
        return file.read_bytes()
    except OSError:
        return None
