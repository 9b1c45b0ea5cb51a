"""Columns on their way to chunk files: what is stored is what was added, and what is held meanwhile is little."""

import tracemalloc
import zlib

import numpy as np
import pytest

from sim.store.chunks import Column, RewrittenColumn, decode, rows_of
from sim.store.layout import Array
from sim.store.numbers import Numbers

CHUNK = 1024


def _array(dtype="float64", rewritten=False):
    return Array("cells/x", dtype, ("obs",), (), {}, CHUNK, rewritten)


def _stored(array, files, rows, generation=0):
    """The rows that the newest files of chunks hold."""
    parts = []
    for first in range(0, rows, CHUNK):
        body = decode(array, files[array.chunk_key(first // CHUNK, generation)])
        parts.append(rows_of(array, body, min(CHUNK, rows - first)))
    return np.concatenate(parts)


def _held(make):
    """Bytes that what `make` returns holds, beside what was there before."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        kept = make()
        return kept, tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("sizes", [(10, 20, 3), (CHUNK, CHUNK), (CHUNK - 1, 2, 5 * CHUNK, 7), (3 * CHUNK, 1)])
def test_a_column_that_grows_by_pieces_is_stored_as_one(sizes):
    rng, array = np.random.default_rng(0), _array()
    column, files, pieces = Column(array), {}, []
    for size in sizes:
        for piece in np.split(rng.random(size), [size // 3]):
            column.append(piece)
            pieces.append(piece)
        files |= dict(column.take())
    whole = np.concatenate(pieces)
    assert np.array_equal(_stored(array, files, len(whole)), whole)
    assert (column.rows, column.checksum) == (len(whole), zlib.crc32(whole.tobytes()))
    assert list(column.take()) == []


def test_a_column_holds_no_more_than_its_last_chunk():
    def taken():
        column = Column(_array())
        column.append(np.random.default_rng(0).random(300 * CHUNK + 5))
        for _ in column.take():
            pass
        return column

    column, held = _held(taken)
    assert column.rows == 300 * CHUNK + 5 and held < 3 * 8 * CHUNK


def test_rows_that_change_are_stored_as_they_are_in_the_end():
    rng, array = np.random.default_rng(1), _array(rewritten=True)
    column, truth, files = RewrittenColumn(array), np.empty(0), {}
    for size in (3, CHUNK, 2 * CHUNK + 9, 5):
        column.append(np.full(size, np.nan))
        truth = np.append(truth, np.full(size, np.nan))
        where = rng.permutation(len(truth))[: len(truth) // 3]
        values = rng.random(len(where))
        column.set(where, values)
        truth[where] = values
        files = dict(column.take())
        assert np.array_equal(_stored(array, files, len(truth), column.generation), truth, equal_nan=True)
        assert (column.rows, column.checksum) == (len(truth), zlib.crc32(truth.tobytes()))
        assert list(column.take()) == []
    again = RewrittenColumn(array, truth, column.generation)
    assert again.checksum == column.checksum and list(again.take()) == []
    again.set(np.array([1]), np.array([0.5]))
    truth[1] = 0.5
    files = dict(again.take())
    assert np.array_equal(_stored(array, files, len(truth), again.generation), truth, equal_nan=True)


def test_rows_that_are_alike_take_little_room_between_changes():
    def alive():
        column = RewrittenColumn(_array(rewritten=True))
        column.append(np.full(300 * CHUNK, np.nan))
        for _ in column.take():
            pass
        return column

    _, held = _held(alive)
    assert held < 300 * CHUNK  # of eight bytes each


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_numbers_stand_where_they_were_added(size):
    rng = np.random.default_rng(2)
    gaps = np.where(rng.random(1000) < 0.05, 3, 1)
    numbers, all_of_them = Numbers(), np.cumsum(gaps)
    for first in range(0, 1000, size):
        numbers.add(all_of_them[first : first + size])
    asked = rng.permutation(1000)
    assert len(numbers) == 1000
    assert np.array_equal(numbers.places(all_of_them[asked]), asked)
    for missing in (0, all_of_them[-1] + 1, all_of_them[np.argmax(gaps == 3)] - 1):
        with pytest.raises(ValueError, match="never born"):
            numbers.places(np.array([all_of_them[5], missing]))


def test_numbers_must_ascend():
    numbers = Numbers()
    with pytest.raises(ValueError, match="never born"):
        numbers.places(np.array([0]))
    numbers.add(np.array([3, 4, 9]))
    for wrong in ([9], [4], [12, 11], [10, 10]):
        with pytest.raises(ValueError, match="ascend"):
            numbers.add(np.array(wrong))


def test_numbers_without_a_gap_take_no_room():
    def many():
        numbers = Numbers()
        for first in range(0, 100_000, 10_000):
            numbers.add(np.arange(first, first + 10_000))
        return numbers

    numbers, held = _held(many)
    assert len(numbers) == 100_000 and held < 10_000
