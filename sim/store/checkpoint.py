"""Checkpoints: the state of a run at a commit, from which it goes on with the same bits.

Two files each in RUN.zarr/.checkpoints: NUMBER.npz (arrays, never pickled) and NUMBER.json, which is written
last and carries the sha256 of the arrays and of itself. The newest two are kept.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sim.store.disk import replace_file_by, replace_files
from sim.store.record import Extent

FOLDER = ".checkpoints"
KEPT = 2


@dataclass(frozen=True)
class Checkpoint:
    """What `RunWriter.resume` gives back.

    Attributes:
        arrays: the arrays given to `commit`.
        meta: the mapping given to `commit`.
        number: of the commit.
        extents: length of each array of the store at that commit.
        attrs: root attributes at that commit that are not those of the start.
    """

    arrays: Mapping[str, np.ndarray]
    meta: Mapping[str, Any]
    number: int
    extents: Mapping[str, Extent]
    attrs: Mapping[str, Any]


class BadCheckpoint(Exception):
    """Says why a checkpoint cannot be used."""


def save(run: Path, checkpoint: Checkpoint, identity: Mapping[str, Any]) -> None:
    """Writes a checkpoint; durable when this returns.

    Raises:
        OSError: it is not there, older ones are untouched.
    """
    plain: dict[str, Any] = {name: np.asarray(values) for name, values in checkpoint.arrays.items()}
    for name, values in plain.items():
        if values.dtype.hasobject:
            raise TypeError(f"checkpoint array {name!r} holds Python objects")
    stem = run / FOLDER / f"{checkpoint.number:09d}"
    digest = replace_file_by(stem.with_suffix(".npz"), lambda file: np.savez(file, **plain))
    body = {
        "number": checkpoint.number,
        "identity": dict(identity),
        "arrays_sha256": digest,
        "extents": {path: list(extent) for path, extent in checkpoint.extents.items()},
        "attrs": dict(checkpoint.attrs),
        "meta": dict(checkpoint.meta),
    }
    replace_files([(stem.with_suffix(".json"), _sealed(json.dumps(body)))])


def _sealed(body: str) -> bytes:
    return json.dumps({"sha256": hashlib.sha256(body.encode()).hexdigest(), "body": body}).encode()


def numbers(run: Path) -> list[int]:
    """Numbers of all checkpoints whose description was written, newest first."""
    return sorted((int(p.stem) for p in (run / FOLDER).glob("*.json") if p.stem.isdigit()), reverse=True)


def load(run: Path, number: int, identity: Mapping[str, Any] | None = None) -> Checkpoint:
    """Reads and checks one checkpoint.

    Raises:
        BadCheckpoint: damaged, incomplete, or (where `identity` is given) of another run.
    """
    stem = run / FOLDER / f"{number:09d}"
    try:
        description = stem.with_suffix(".json").read_bytes()
        content = json.loads(description)["body"]
        if _sealed(content) != description:
            raise BadCheckpoint("its description is damaged")
        body = json.loads(content)
        arrays = stem.with_suffix(".npz").read_bytes()
    except FileNotFoundError as error:
        raise BadCheckpoint(f"{Path(error.filename).name} is missing") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise BadCheckpoint("its description is damaged") from None
    if hashlib.sha256(arrays).hexdigest() != body["arrays_sha256"]:
        raise BadCheckpoint("its arrays are damaged or cut short")
    for key, value in (identity or {}).items():
        if body["identity"].get(key) != value:
            raise BadCheckpoint(f"it belongs to another {key}")
    with np.load(io.BytesIO(arrays), allow_pickle=False) as file:
        state = {name: file[name] for name in file.files}
    extents = {path: (rows, crc, generation) for path, (rows, crc, generation) in body["extents"].items()}
    return Checkpoint(state, body["meta"], body["number"], extents, body["attrs"])


def keep(run: Path, kept: list[int]) -> None:
    """Removes all checkpoints but `kept`, also those that a crash left without a description."""
    names = {f"{number:09d}" for number in kept}
    for file in sorted((run / FOLDER).iterdir()):  # a description goes before its arrays
        if file.stem not in names:
            file.unlink()
