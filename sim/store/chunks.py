"""Rows in memory on their way to chunk files, and back.

Zarr's chunks have one fixed shape: the last one is padded. It is replaced by a longer version of itself with
every commit, so a reader that knows an older length reads the same rows as before.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import google_crc32c
import numpy as np
from numcodecs import Blosc, Zstd

from sim.store.layout import STRING, Array


class Damaged(Exception):
    """The bytes of a chunk are not those that were written."""


def encode(array: Array, body: bytes) -> bytes:
    """`body`, the plain bytes of one chunk, as its codecs store it."""
    if array.dtype == STRING:
        packed = Zstd(level=1).encode(body)
    else:
        size = array.numpy_dtype.itemsize
        shuffle = Blosc.SHUFFLE if size > 1 else Blosc.NOSHUFFLE
        values = np.frombuffer(body, array.numpy_dtype)
        packed = Blosc(cname="zstd", clevel=1, shuffle=shuffle).encode(values)
    packed = bytes(packed)
    return packed + struct.pack("<I", google_crc32c.value(packed))


def decode(array: Array, stored: bytes) -> bytes:
    """The plain bytes of one chunk.

    Raises:
        Damaged: the checksum differs, or the chunk is too short.
    """
    packed = stored[:-4]
    if len(stored) < 5 or struct.pack("<I", google_crc32c.value(packed)) != stored[-4:]:
        raise Damaged
    return bytes((Zstd() if array.dtype == STRING else Blosc()).decode(packed))


def to_bytes(array: Array, rows: Any) -> bytes:
    """Canonical bytes of some rows: little-endian values, or strings each behind its length."""
    if array.dtype == STRING:
        texts = [text.encode() for text in rows]
        return b"".join(struct.pack("<I", len(text)) + text for text in texts)
    return np.ascontiguousarray(rows, array.numpy_dtype).tobytes()


def strings(body: bytes, count: int) -> list[str]:
    """The first `count` strings of a chunk's plain bytes."""
    texts, at = [], 4
    for _ in range(count):
        (length,) = struct.unpack_from("<I", body, at)
        texts.append(body[at + 4 : at + 4 + length].decode())
        at += 4 + length
    return texts


def chunk_body(array: Array, rows: Any) -> bytes:
    """Plain bytes of one chunk that starts with `rows` and is padded to its full length."""
    padding = array.chunk_rows - len(rows)
    if array.dtype == STRING:
        return struct.pack("<I", array.chunk_rows) + to_bytes(array, rows) + bytes(4 * padding)
    body = to_bytes(array, rows)
    width = max(int(np.prod(array.row)), 0) * array.numpy_dtype.itemsize
    return body + bytes(padding * width)


def rows_of(array: Array, body: bytes, count: int) -> Any:
    """The first `count` rows of a chunk's plain bytes."""
    if array.dtype == STRING:
        return strings(body, count)
    return np.frombuffer(body, array.numpy_dtype).reshape(-1, *array.row)[:count]


class Column:
    """An array that only grows.

    `rows` and `checksum` describe all rows that `take` has seen; the checksum is the CRC-32 of their
    canonical bytes.
    """

    def __init__(self, array: Array, rows: int = 0, checksum: int = 0, tail: Any = None):
        self.array = array
        self.rows = rows
        self.checksum = checksum
        self.generation = 0
        self._tail: Any = tail if tail is not None else self._stack([])
        self._new: list[Any] = []

    def append(self, rows: Any) -> None:
        """Adds rows; they are copied."""
        if self.array.dtype == STRING:
            self._new.append(list(rows))
            return
        values = np.array(rows, self.array.numpy_dtype, order="C", copy=True)
        if values.shape[1:] != self.array.row:
            raise ValueError(f"{self.array.path}: rows of {values.shape[1:]}, expected {self.array.row}")
        self._new.append(values)

    def take(self) -> Iterator[tuple[str, bytes]]:
        """Chunk files that must be replaced to hold what was added."""
        new = self._stack(self._new)
        self._new = []
        if not len(new):
            return
        self.checksum = zlib.crc32(to_bytes(self.array, new), self.checksum)
        sealed = self.rows - len(self._tail)
        self.rows += len(new)
        pending = self._stack([self._tail, new])
        step = self.array.chunk_rows
        for start in range(0, len(pending), step):
            body = chunk_body(self.array, pending[start : start + step])
            yield self.array.chunk_key((sealed + start) // step), encode(self.array, body)
        kept = len(pending) % step
        self._tail = pending[len(pending) - kept :]

    def _stack(self, parts: Sequence[Any]) -> Any:
        if self.array.dtype == STRING:
            return [text for part in parts for text in part]
        if not len(parts):
            return np.empty((0, *self.array.row), self.array.numpy_dtype)
        return np.concatenate(parts)


class RewrittenColumn:
    """An array whose rows change: each change is written whole, as a new generation beside the old."""

    def __init__(self, array: Array, values: np.ndarray | None = None, generation: int = 0):
        self.array = array
        self.generation = generation
        self.checksum = 0
        self.rows = 0
        self._values = np.empty(16, array.numpy_dtype)
        self._changed = False
        if values is not None and len(values):
            self.append(values)
            self._count()

    def append(self, rows: Any) -> None:
        """Adds rows; they are copied."""
        needed = self.rows + len(rows)
        if needed > len(self._values):
            self._values = np.resize(self._values, max(needed, 2 * len(self._values)))
        self._values[self.rows : needed] = rows
        self.rows = needed
        self._changed = True

    def set(self, where: np.ndarray, values: Any) -> None:
        """Changes some rows."""
        self._values[: self.rows][where] = values
        self._changed = True

    def take(self) -> Iterator[tuple[str, bytes]]:
        """Chunk files of the next generation, none if nothing changed."""
        if not self._changed:
            return
        self.generation += 1
        self._count()
        step = self.array.chunk_rows
        for start in range(0, self.rows, step):
            part = self._values[start : min(start + step, self.rows)]
            key = self.array.chunk_key(start // step, self.generation)
            yield key, encode(self.array, chunk_body(self.array, part))

    def _count(self) -> None:
        self.checksum = zlib.crc32(to_bytes(self.array, self._values[: self.rows]))
        self._changed = False
