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


def is_whole(stored: bytes) -> bool:
    """Whether the bytes of a chunk's file are those that were written."""
    return len(stored) > 4 and struct.pack("<I", google_crc32c.value(stored[:-4])) == stored[-4:]


def decode(array: Array, stored: bytes) -> bytes:
    """The plain bytes of one chunk.

    Raises:
        Damaged: the checksum differs, or the chunk is too short.
    """
    if not is_whole(stored):
        raise Damaged
    return bytes((Zstd() if array.dtype == STRING else Blosc()).decode(stored[:-4]))


def to_bytes(array: Array, rows: Any) -> bytes:
    """Canonical bytes of some rows: little-endian values, or strings each behind its length."""
    if array.dtype == STRING:
        texts = [text.encode() for text in rows]
        return b"".join(struct.pack("<I", len(text)) + text for text in texts)
    return np.ascontiguousarray(rows, array.numpy_dtype).tobytes()


def _checksum(array: Array, rows: Any, before: int) -> int:
    """CRC-32 of the canonical bytes of some rows behind those of `before`."""
    if array.dtype == STRING:
        return zlib.crc32(to_bytes(array, rows), before)
    return zlib.crc32(np.ascontiguousarray(rows, array.numpy_dtype).data, before)


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
        self.checksum = _checksum(self.array, new, self.checksum)
        step, here = self.array.chunk_rows, len(self._tail)
        index = (self.rows - here) // step
        self.rows += len(new)
        rows = self._tail
        for start in range(-here, len(new), step):
            rows = new[max(start, 0) : start + step]
            if start < 0:
                rows = self._stack([self._tail, rows])
            yield self.array.chunk_key(index), encode(self.array, chunk_body(self.array, rows))
            index += 1
        # a copy, as a part of `new` would keep all of it
        self._tail = rows.copy() if len(rows) < step else self._stack([])

    def _stack(self, parts: Sequence[Any]) -> Any:
        if self.array.dtype == STRING:
            return [text for part in parts for text in part]
        if not len(parts):
            return np.empty((0, *self.array.row), self.array.numpy_dtype)
        return parts[0] if len(parts) == 1 else np.concatenate(parts)


class RewrittenColumn:
    """An array whose rows change: each change is written whole, as a new generation beside the old.

    Between two changes its chunks are held as they are stored: most cells of a tissue live, and what is alike in all
    of them takes no room.
    """

    def __init__(self, array: Array, values: np.ndarray | None = None, generation: int = 0):
        self.array = array
        self.generation = generation
        self.checksum = 0
        self.rows = 0
        #: chunks of rows, all but the last one full: values, or how they are stored
        self._chunks: list[np.ndarray | bytes] = []
        self._changed = False
        if values is not None and len(values):
            self.append(values)
            for _ in self._packed():
                pass

    def append(self, rows: Any) -> None:
        """Adds rows; they are copied."""
        step, rows = self.array.chunk_rows, np.asarray(rows, self.array.numpy_dtype)
        while len(rows):
            if self.rows % step == 0:
                self._chunks.append(np.empty(0, self.array.numpy_dtype))
            last = self._values(len(self._chunks) - 1)
            more = rows[: step - len(last)]
            self._chunks[-1] = np.concatenate([last, more])
            self.rows += len(more)
            self._changed, rows = True, rows[len(more) :]

    def set(self, where: np.ndarray, values: np.ndarray) -> None:
        """Changes some rows (n,) to values (n,)."""
        step, order = self.array.chunk_rows, np.argsort(where, kind="stable")
        chunks, starts = np.unique(where[order] // step, return_index=True)
        for index, these in zip(chunks.tolist(), np.split(order, starts[1:])):
            chunk = self._chunks[index] = self._values(index)
            chunk[where[these] - index * step] = values[these]
        self._changed = True

    def take(self) -> Iterator[tuple[str, bytes]]:
        """Chunk files of the next generation, none if nothing changed."""
        if not self._changed:
            return
        self.generation += 1
        for index, stored in enumerate(self._packed()):
            yield self.array.chunk_key(index, self.generation), stored

    def _packed(self) -> Iterator[bytes]:
        """The chunks as they are stored, which they are from now on here too; counts their checksum."""
        self.checksum = 0
        for index in range(len(self._chunks)):
            values, chunk = self._values(index), self._chunks[index]
            self.checksum = _checksum(self.array, values, self.checksum)
            stored = chunk if isinstance(chunk, bytes) else encode(self.array, chunk_body(self.array, values))
            self._chunks[index] = stored
            yield stored
        self._changed = False

    def _values(self, index: int) -> np.ndarray:
        """The rows of a chunk, to be written to if they are put in its place."""
        chunk = self._chunks[index]
        if not isinstance(chunk, bytes):
            return chunk
        count = min(self.array.chunk_rows, self.rows - index * self.array.chunk_rows)
        return rows_of(self.array, decode(self.array, chunk), count).copy()
