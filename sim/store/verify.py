"""Finds damage in a run, and names its results by one hash.

Reads the files directly: every byte that the writer made is covered by a checksum or by comparison with what
it must be. Files that a crash left half-written (`*.partial`) are not part of a run.
"""

from __future__ import annotations

import hashlib
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

_CHUNK = re.compile(r"(c[./])?\d+([./]\d+)*")


def verify(path: Path | str) -> None:
    """Checks every file of a run, finished or not.

    Raises:
        ScenarioError: no run at `path`, or damage; each damaged file is a problem.
    """
    path = Path(path)
    record = read_record(path)
    problems = [*_metadata(path, record), *_stored(path, record), *_checkpoints(path)]
    for array in record.arrays:
        problems += _contents(path, record, array, None)
    if problems:
        raise ScenarioError(list({p.file: p for p in problems}.values()))


def digest(path: Path | str) -> str:
    """One sha256 of all results, after checking every file.

    Covers names, dtypes, shapes, units and values; not the attributes of the run (times of day, paths,
    versions), and neither chunks nor commits. Unfinished runs have one as well.

    Raises:
        ScenarioError: as for `verify`.
    """
    path = Path(path)
    verify(path)
    record = read_record(path)
    total = hashlib.sha256()
    for array in sorted(record.arrays, key=lambda a: a.path):
        rows = record.extents[array.path][0]
        units = [array.attrs.get(key, "") for key in ("units", "flag_meanings")]
        head = repr((array.path, array.dtype, array.dims, (rows, *array.row), units))
        values = hashlib.sha256()
        problems = list(_contents(path, record, array, values))
        if problems:
            raise ScenarioError(problems)
        total.update(head.encode())
        total.update(values.digest())
    return total.hexdigest()


def _contents(path: Path, record: Record, array: Array, values: Any) -> Iterator[Problem]:
    """Checks the rows of one array; feeds them to the hash `values`."""
    rows, stated, generation = record.extents[array.path]
    found = 0
    for first in range(0, rows, array.chunk_rows):
        file = path / array.path / array.chunk_key(first // array.chunk_rows, generation)
        try:
            body = decode(array, file.read_bytes())
        except FileNotFoundError:
            yield damaged(file, "it is missing")
            return
        except (OSError, Damaged, ValueError, RuntimeError):
            yield damaged(file)
            return
        part = to_bytes(array, rows_of(array, body, min(array.chunk_rows, rows - first)))
        found = zlib.crc32(part, found)
        if values is not None:
            values.update(part)
    if found != stated:
        yield damaged(path / array.path, "its rows are not those of the last commit")


def _metadata(path: Path, record: Record) -> Iterator[Problem]:
    for group, attrs in record.groups.items():
        if _content(path / group / RECORD) != render(group_metadata(attrs)):
            yield damaged(path / group / RECORD)
    for array in record.arrays:
        file = path / array.path / RECORD
        known = (record.array_metadata(array), record.array_metadata(array, record.published))
        if _content(file) not in [render(meta) for meta in known]:
            yield damaged(file)


def _stored(path: Path, record: Record) -> Iterator[Problem]:
    """Chunks beyond the last commit, which a crash or a rewritten array leaves, must be whole too."""
    for array in record.arrays:
        folder = path / array.path
        for file in sorted(p for p in folder.rglob("*") if p.is_file()):
            name = file.relative_to(folder).as_posix()
            if name == RECORD or name.endswith(PARTIAL):
                continue
            if not _CHUNK.fullmatch(name):
                yield Problem(str(file), "is not a file of this run")
                continue
            try:
                decode(array, file.read_bytes())
            except (OSError, Damaged, ValueError, RuntimeError):
                yield damaged(file)


def _checkpoints(path: Path) -> Iterator[Problem]:
    newest = checkpoints.numbers(path)
    for number in newest:
        stem = path / checkpoints.FOLDER / f"{number:09d}"
        if number == newest[0] and not stem.with_suffix(".json").exists():
            continue  # a crash between its two files
        try:
            checkpoints.load(path, number)
        except BadCheckpoint as why:
            yield damaged(stem.with_suffix(".npz"), str(why))


def _content(file: Path) -> bytes | None:
    try:
        return file.read_bytes()
    except OSError:
        return None
