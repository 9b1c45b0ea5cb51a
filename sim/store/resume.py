"""Takes an interrupted run back to its newest good checkpoint."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sim.errors import Problem, ScenarioError, escaped
from sim.store import checkpoint as checkpoints
from sim.store.checkpoint import BadCheckpoint, Checkpoint
from sim.store.chunks import Column, Damaged, RewrittenColumn, decode, rows_of
from sim.store.disk import PARTIAL, replace_files
from sim.store.layout import STRING, Array
from sim.store.record import RECORD, Record, damaged

_log = logging.getLogger("cellweave")


def identity_of(record: Record) -> dict[str, Any]:
    """What a checkpoint shares with its run."""
    return {name: record.attrs[name] for name in record.attrs["identity"]}


def publish(folder: Path, record: Record, durable: bool = False) -> None:
    """Writes the files of single groups and arrays, which readers with consolidated metadata do not need."""
    replace_files([(folder / name, content) for name, content in record.files()], durable=durable)


def require_same(path: Path, record: Record, expect: Mapping[str, str]) -> None:
    """Raises `ScenarioError` where the run was made with something else."""
    advice = "resume with what it was made with, or start again with --force"
    problems = [
        Problem(
            str(path), f"this run began with {escaped(began)}, now it is {escaped(now)}; {advice}", key=key
        )
        for key, now in expect.items()
        if (began := record.attrs.get(key, "none")) != now
    ]
    if problems:
        raise ScenarioError(problems)


def newest_good(path: Path, record: Record) -> Checkpoint:
    """The newest good checkpoint; a bad one is named in a warning, or in the error if none is good."""
    bad: list[Problem] = []
    there = checkpoints.numbers(path)
    if record.number not in there:
        bad.append(Problem(str(path), f"checkpoint {record.number} of its last commit is missing"))
    for number in there:
        try:
            good = checkpoints.load(path, number, identity_of(record))
        except BadCheckpoint as why:
            file = path / checkpoints.FOLDER / f"{number:09d}.npz"
            bad.append(Problem(str(file), f"this checkpoint is bad: {why}"))
            continue
        for problem in bad:
            _log.warning("%s; going on from the one before it (%d)", problem, number)
        return good
    raise ScenarioError(bad or f"{path}: has no checkpoint; start again with --force")


def rewind(path: Path, record: Record, there: Checkpoint) -> Record:
    """Takes the store back to a checkpoint: one atomic replacement of the record.

    Raises:
        ScenarioError: a folder of the store is missing, or a link: what is written would land elsewhere.
    """
    folders = [path / name for name in (*record.groups, *(a.path for a in record.arrays))]
    why = {folder: "it is missing" for folder in folders if not folder.is_dir()}
    for place, names, _ in os.walk(path):
        inner = (Path(place, name) for name in names)
        why |= {folder: "it is a link to another folder" for folder in inner if folder.is_symlink()}
    if why:
        raise ScenarioError([damaged(folder, text) for folder, text in why.items()])
    for partial in path.rglob(f"*{PARTIAL}"):
        partial.unlink()
    # the files of single arrays agree with one record at a time, so that a crash here leaves them known
    publish(path, record)
    attrs = {**record.attrs, **there.attrs, "status": "running"}
    back = Record(attrs, record.groups, record.arrays, there.number, there.extents, record.extents)
    replace_files([(path / RECORD, back.file())])
    publish(path, back)
    checkpoints.keep(path, [n for n in checkpoints.numbers(path) if n <= there.number])
    return back


def reopened(path: Path, record: Record, array: Array) -> Column | RewrittenColumn:
    """The array as the writer goes on with it."""
    rows, checksum, generation = record.extents[array.path]
    if array.rewritten:
        return RewrittenColumn(array, read_rows(path, record, array.path), generation)
    start = rows - rows % array.chunk_rows
    return Column(array, rows, checksum, read_rows(path, record, array.path, start))


def read_rows(path: Path, record: Record, name: str, start: int = 0) -> Any:
    """Rows from `start` (at the beginning of a chunk) to the end."""
    array = record.array[name]
    rows, _, generation = record.extents[name]
    parts: list[Any] = []
    for first in range(start, rows, array.chunk_rows):
        file = path / name / array.chunk_key(first // array.chunk_rows, generation)
        try:
            body = decode(array, file.read_bytes())
        except (OSError, Damaged, RuntimeError) as error:
            raise ScenarioError(damaged(file)) from error
        parts.append(rows_of(array, body, min(array.chunk_rows, rows - first)))
    if array.dtype == STRING:
        return [text for part in parts for text in part]
    return np.concatenate(parts) if parts else np.empty((0, *array.row), array.numpy_dtype)
