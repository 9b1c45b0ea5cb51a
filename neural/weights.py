"""Weights on disk: safetensors with a card, read without torch and never unpickled.

A weights file is one safetensors file whose metadata holds one JSON text under the key "card". The card says
what the numbers are (kind, architecture, space, conditions, messages, decoders), where they come from (data
hash, split, seeds), how well they do beside their controls, and the sha256 of the tensors.

`read_card` does every safety check and is cheap (a few ms): refuses pickles, truncated files, shapes or types
that differ from the card, NaN or infinite weights, and a wrong checksum.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import struct
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from neural.errors import WeightsError, shown
from neural.files import meant

FORMAT = 1
KINDS = (
    "manipulator",
    "tissue",
    "network",
    "transport",
    "perturbation",
    "traces",
    "representation",
    "hybrid",
    "niche",
    "law",
)
_DTYPES = {"F64": np.dtype("<f8"), "F32": np.dtype("<f4"), "I64": np.dtype("<i8"), "I32": np.dtype("<i4")}
_PICKLES = {".pkl", ".pickle", ".pt", ".pth", ".ckpt", ".bin", ".joblib"}
_LARGEST_FILE = 1 << 30
_LARGEST_HEADER = 1 << 22


@dataclass(frozen=True)
class Card:
    """What a weights file says about itself. `raw` is the whole card as written.

    Attributes:
        kind: "manipulator" (UR dynamics and decoders), "tissue" (message passing) or "network" (a response).
        name: short name for people.
        architecture: what the class of this kind needs to build itself.
        tensors: name -> (shape, dtype) of every array in the file.
        sha256: checksum of the tensors.
        raw: the card's full JSON.
    """

    kind: str
    name: str
    architecture: dict[str, Any]
    tensors: dict[str, tuple[tuple[int, ...], str]]
    sha256: str
    raw: dict[str, Any]

    @property
    def space(self) -> str | None:
        """Name of the representation space that a manipulator acts on."""
        return self.raw.get("space", {}).get("name")

    @property
    def dimension(self) -> int:
        """Dimension of the space (0 for other kinds)."""
        return int(self.raw.get("space", {}).get("dimension", 0))

    @property
    def labels(self) -> list[str]:
        """A word for each component of the space."""
        return list(self.raw.get("space", {}).get("labels", []))

    @property
    def initial_names(self) -> list[str]:
        """Names of the space's reference states, such as `untreated`."""
        return list(self.raw.get("space", {}).get("reference_states", {}))

    def initial(self, name: str) -> np.ndarray:
        """The space's reference state `name` (d,).

        Raises:
            KeyError: no such state; the message lists the states there are.
        """
        states = self.raw.get("space", {}).get("reference_states", {})
        if name not in states:
            raise KeyError(f"space '{self.space}' has no state '{name}'; it has {', '.join(states)}")
        return np.array(states[name], float)

    @property
    def condition_names(self) -> list[str]:
        """Inputs that the user sets: drugs with doses."""
        return [c["name"] for c in self.raw.get("conditions", [])]

    @property
    def condition_units(self) -> dict[str, str]:
        """Unit of every condition, for example {"erlotinib": "uM"}."""
        return {c["name"]: c["unit"] for c in self.raw.get("conditions", [])}

    @property
    def message_names(self) -> list[str]:
        """A manipulator's inputs from the tissue, or a tissue network's outputs."""
        return [m["name"] for m in self.raw.get("messages", [])]

    @property
    def decoder_names(self) -> list[str]:
        """Quantities read off the representation."""
        return [d["name"] for d in self.raw.get("decoders", [])]

    @property
    def decoder_units(self) -> dict[str, str]:
        """Unit of every decoder, for example {"division": "1/min"}."""
        return {d["name"]: d["unit"] for d in self.raw.get("decoders", [])}


def read_card(path: str | os.PathLike) -> Card:
    """Check a weights file completely and return its card. No torch, no pickle, no code from the file.

    Raises:
        WeightsError: the file is missing, not a regular file, a pickle, truncated, does not match its card,
            holds NaN, or its checksum is wrong.
    """
    return _read(path)[0]


def load(path: str | os.PathLike, kind: str | None = None) -> tuple[Card, dict[str, np.ndarray]]:
    """The card and the checked tensors (numpy, read-only memory copied once).

    Raises:
        WeightsError: as `read_card`; or the file is of another kind than `kind`.
    """
    card, tensors = _read(path)
    if kind is not None and card.kind != kind:
        raise WeightsError(path, f"these are weights of kind '{card.kind}', but a '{kind}' is needed here")
    return card, tensors


class Weighted(ABC):
    """A model that is built from a card and tensors, and read from a weights file of its `kind`."""

    kind: ClassVar[str]

    @abstractmethod
    def __init__(self, card: Card, tensors: Mapping[str, np.ndarray], file: object = "<memory>"): ...

    @classmethod
    def load(cls, path: str | os.PathLike) -> Self:
        """Read weights of this kind.

        Raises:
            WeightsError: the file fails a check of `read_card`, is of another kind, or its tensors do not fit its card.
        """
        card, tensors = load(path, cls.kind)
        return cls(card, tensors, path)


def save(path: str | os.PathLike, tensors: dict[str, np.ndarray], card: dict[str, Any]) -> str:
    """Write tensors with their card; returns the sha256 of the tensors. The write is atomic.

    `card` needs `kind` (one of KINDS), `name` and `architecture`; format, tensor shapes and checksum are
    added; numbers that are none, such as the score of a constant, become null. The same tensors and card give the
    same bytes.
    """
    from safetensors.numpy import save as to_bytes

    if card.get("kind") not in KINDS:
        raise WeightsError(path, f"kind must be one of {', '.join(KINDS)} (got {shown(card.get('kind'))})")
    arrays = {k: np.array(v, order="C") for k, v in sorted(tensors.items())}
    for key, value in arrays.items():
        if _code(value) is None:
            raise WeightsError(
                path, f"tensor '{key}' has type {value.dtype}; use float64, float32, int64 or int32"
            )
        if not np.isfinite(value).all():
            raise WeightsError(path, f"tensor '{key}' holds NaN or infinity; such weights are never written")
    full = {
        **_told(card),
        "format": FORMAT,
        "tensors": {k: {"shape": list(v.shape), "dtype": _code(v)} for k, v in arrays.items()},
        "sha256": _checksum(arrays),
    }
    blob = to_bytes(arrays, metadata={"card": json.dumps(full, sort_keys=True, allow_nan=False)})
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.part")
    part.write_bytes(blob)
    os.replace(part, target)
    return full["sha256"]


def _told(value: Any) -> Any:
    """A card's value with None for every number that is not finite."""
    if isinstance(value, dict):
        return {key: _told(held) for key, held in value.items()}
    if isinstance(value, list | tuple):
        return [_told(held) for held in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _read(path: str | os.PathLike) -> tuple[Card, dict[str, np.ndarray]]:
    blob = _bytes_of(path)
    header, data = _split(path, blob)
    card = _card(path, header.pop("__metadata__", None))
    tensors = _tensors(path, header, data)
    declared = {k: (tuple(v["shape"]), v["dtype"]) for k, v in card["tensors"].items()}
    for name in sorted(set(declared) | set(tensors)):
        if name not in tensors:
            raise WeightsError(path, f"tensor '{name}' of the card is missing from the file")
        found = (tensors[name].shape, _code(tensors[name]))
        if name not in declared:
            raise WeightsError(path, f"tensor '{name}' is not in the card; the file was altered")
        if declared[name] != found:
            raise WeightsError(
                path,
                f"tensor '{name}' is {found[1]} {list(found[0])} but the card says "
                f"{declared[name][1]} {list(declared[name][0])}",
            )
        if not np.isfinite(tensors[name]).all():
            raise WeightsError(
                path, f"tensor '{name}' holds NaN or infinity; train again or fetch a good copy"
            )
    if _checksum(tensors) != card["sha256"]:
        raise WeightsError(
            path, "checksum of the weights differs from the card; fetch a good copy of the file"
        )
    named = Card(
        kind=card["kind"],
        name=str(card["name"]),
        architecture=card["architecture"],
        tensors=declared,
        sha256=card["sha256"],
        raw=card,
    )
    return named, tensors


def _bytes_of(path: str | os.PathLike) -> bytes:
    where = Path(path)
    if where.suffix.lower() in _PICKLES:
        raise WeightsError(
            path,
            f"'{where.suffix}' files can run code when opened and are never loaded; use a .safetensors file",
        )
    try:
        info = os.stat(where)
    except (OSError, ValueError) as error:
        what = getattr(error, "strerror", None) or error
        raise WeightsError(path, f"cannot be opened ({what}){meant(path)}") from None
    if not stat.S_ISREG(info.st_mode):
        raise WeightsError(path, "is not a regular file; give the path of a .safetensors file")
    if info.st_size > _LARGEST_FILE:
        raise WeightsError(path, f"is {info.st_size} bytes; weights above {_LARGEST_FILE} bytes are not read")
    try:
        blob = where.read_bytes()
    except OSError as error:
        raise WeightsError(path, f"cannot be read ({error.strerror})") from None
    # a header of 0x180, 0x280, … bytes begins like a pickle, but its text follows the eight bytes of its length
    pickled = blob[:2] in {b"\x80" + bytes([n]) for n in range(1, 6)} and blob[8:9] != b"{"
    if pickled or blob[:4] == b"PK\x03\x04":
        raise WeightsError(
            path, "is a pickle or a zipped pickle (.pt); these can run code and are never loaded"
        )
    return blob


def _split(path: str | os.PathLike, blob: bytes) -> tuple[dict[str, Any], memoryview]:
    if len(blob) < 8:
        raise WeightsError(path, f"is truncated: {len(blob)} bytes, too short for safetensors")
    (length,) = struct.unpack("<Q", blob[:8])
    if length > _LARGEST_HEADER:
        raise WeightsError(path, "is not a safetensors file (the header's length makes no sense)")
    if 8 + length > len(blob):
        raise WeightsError(
            path, f"is truncated: the header needs {8 + length} bytes, the file has {len(blob)}"
        )
    try:
        header = json.loads(blob[8 : 8 + length].decode("utf-8"))
    except (ValueError, RecursionError):
        raise WeightsError(path, "is not a safetensors file (the header is not JSON)") from None
    if not isinstance(header, dict):
        raise WeightsError(path, "is not a safetensors file (the header is not a mapping)")
    return header, memoryview(blob)[8 + length :]


def _card(path: str | os.PathLike, metadata: Any) -> dict[str, Any]:
    if not isinstance(metadata, dict) or not isinstance(metadata.get("card"), str):
        raise WeightsError(path, "has no card: not written by cellweave (train it with `cellweave train`)")
    try:
        card = json.loads(metadata["card"])
    except (ValueError, RecursionError):
        raise WeightsError(path, "the card is not JSON") from None
    for key, kind in (
        ("kind", str),
        ("name", str),
        ("architecture", dict),
        ("tensors", dict),
        ("sha256", str),
    ):
        if not isinstance(card, dict) or not isinstance(card.get(key), kind):
            raise WeightsError(path, f"the card lacks '{key}'")
    if card.get("format") != FORMAT:
        raise WeightsError(
            path, f"is of format {shown(card.get('format'))}; this version reads format {FORMAT}"
        )
    if card["kind"] not in KINDS:
        raise WeightsError(path, f"is of unknown kind {shown(card['kind'])}; known: {', '.join(KINDS)}")
    for name, entry in card["tensors"].items():
        if not (isinstance(entry, dict) and isinstance(entry.get("shape"), list) and "dtype" in entry):
            raise WeightsError(path, f"the card's entry of tensor '{name}' lacks shape or dtype")
    return card


def _tensors(path: str | os.PathLike, header: dict[str, Any], data: memoryview) -> dict[str, np.ndarray]:
    tensors = {}
    end_of_all = 0
    for name, entry in header.items():
        try:
            dtype = _DTYPES[entry["dtype"]]
            shape = tuple(int(n) for n in entry["shape"])
            start, end = (int(n) for n in entry["data_offsets"])
        except (KeyError, TypeError, ValueError):
            raise WeightsError(path, f"the entry of tensor '{name}' cannot be read") from None
        if (
            min((0, *shape)) < 0
            or start < 0
            or end - start != dtype.itemsize * int(np.prod(shape, dtype=object))
        ):
            raise WeightsError(path, f"tensor '{name}': its bytes do not fit its shape {list(shape)}")
        if end > len(data):
            raise WeightsError(
                path, f"is truncated: tensor '{name}' ends at byte {end}, the file has {len(data)}"
            )
        tensors[name] = np.frombuffer(data[start:end], dtype).reshape(shape).copy()
        end_of_all = max(end_of_all, end)
    if end_of_all != len(data):
        raise WeightsError(
            path, f"has {len(data) - end_of_all} bytes that belong to no tensor; the file was altered"
        )
    return tensors


def _code(array: np.ndarray) -> str | None:
    return next((code for code, dtype in _DTYPES.items() if dtype == array.dtype), None)


def _checksum(arrays: dict[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name}|{_code(array)}|{list(array.shape)}|".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
