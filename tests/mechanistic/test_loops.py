"""Loops compiled from Python against Python itself."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import pytest
from llvmlite import ir
from numpy import uint32, uint64

from mechanistic.codegen import loops
from mechanistic.codegen.loops import Written, _threads, compiled, shared, stamp
from mechanistic.codegen.loops.arguments import Given, flattened, packer
from mechanistic.random.philox import philox4x32, unit53
from mechanistic.threads import set_threads, threads

_LIMIT = 3


class _Given(NamedTuple):
    table: np.ndarray
    marks: np.ndarray
    count: int
    scale: float
    key: np.uint64


def _split(value, row):
    if value > _LIMIT and row[0] > 0.5:
        return value * 2.0, 1
    return 0.5, 2


def _sums(given, out):
    total, low, high = 0.0, given.table[0, 0], -np.inf
    for i in range(given.count):
        if i == 2:
            continue
        twice, kind = _split(i + 3, given.table[1])
        total += twice * kind
    for i in range(len(given.marks) - 1, -1, -1):
        total += given.table[1, i] if given.marks[i] else -1
        given.marks[i] = not given.marks[i] and (i < 2 or given.table[1, i] / 2 > 3.0)
    for number in given.table[0]:
        low, high = min(low, number), max(high, number)
    turns = 0
    while True:
        turns += 1
        if turns * turns > 50:
            break
    out[0], out[1], out[2], out[3] = total, low - high, turns, np.nextafter(given.scale, np.inf)
    out[4] = np.sqrt(abs(-turns)) + np.floor(-2.5) + int(7.9) - 2.0**-3
    out[5] = 1.0 if 0 < turns <= 8 and not np.isnan(total) else 2
    out[6] = min(turns, 6.5, 7) + (turns & 5) + (turns >> 1) + given.scale**-0.2 + math.cos(given.scale)


def _lot(given, out):
    low, half = uint64(0xFFFFFFFF), uint64(32)
    a, b, _c, _d = philox4x32(
        uint32(given.key & low), uint32(given.key >> half), uint32(3), uint32(4), uint32(5), uint32(6)
    )
    out[0] = unit53(a, b)


def _given() -> _Given:
    return _Given(
        np.arange(8.0).reshape(2, 4), np.array([True, False, True, True]), 4, 0.1, np.uint64(2**63 + 5)
    )


def test_the_same_numbers_as_python():
    mine, theirs = _given(), _given()
    found, expected = np.zeros(7), np.zeros(7)
    compiled(_sums)(mine, found)
    _sums(theirs, expected)
    assert found.tobytes() == expected.tobytes()
    assert np.array_equal(mine.marks, theirs.marks) and not np.array_equal(mine.marks, _given().marks)


def test_whole_numbers_without_a_sign_as_in_philox():
    found, expected = np.zeros(1), np.zeros(1)
    compiled(_lot)(_given(), found)
    _lot(_given(), expected)
    assert found[0] == expected[0] != 0.0


def _row_by_row(first, end, table, weights, out, size):
    n, width = table.shape
    for row in range(first, end):
        here, other = (
            out[row * width : (row + 1) * width],
            weights[0:width] if row % 2 else weights[1 : width + 1],
        )
        for i in range(width):
            here[i] = table[row, i] * other[i] + here[i]
        size[row] = len(other) + out.size // 7 + weights.size % 4
        here[0] = here[0] / 3 if here[0] > here[1] else here[0] + n


def _rows_of(kind) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(0)
    return (
        rng.random((9, 21)).astype(kind),
        rng.random(22).astype(kind),
        rng.random(9 * 21).astype(kind),
        np.zeros(9),
    )


@pytest.mark.parametrize("kind", [np.float32, float])
@pytest.mark.parametrize("count", [1, 2])
def test_rows_in_threads_give_what_python_gives(kind, count):
    mine, theirs, before = _rows_of(kind), _rows_of(kind), threads()
    try:
        set_threads(count)
        shared(_row_by_row)(9, *mine)
    finally:
        set_threads(before)
    _row_by_row(0, 9, *theirs)
    for one, other in zip(mine, theirs):
        assert one.tobytes() == other.tobytes()
    assert mine[3][0] == 21 + 27 + 2


def test_threads_that_numba_does_not_lend_are_told_of(monkeypatch):
    monkeypatch.setattr(_threads.llvm, "address_of_symbol", lambda _name: None)
    with pytest.raises(ImportError, match="Numba"):
        _threads._numba.__wrapped__()


def test_single_precision_with_double_is_double():
    def mixed(a, out):
        out[0] = a[0] * 0.1
        out[1] = -a[0] * a[1]
        out[2] = abs(a[1]) + int(a[1] * 3.0) if a[0] < a[1] else 0.0

    a, out = np.array([0.3, 1.7], np.float32), np.zeros(3)
    compiled(mixed)(a, out)
    expected = [float(a[0]) * 0.1, -a[0] * a[1], float(a[1]) + 5]
    assert out.tolist() == expected


def _halves(first, end, counts, places, out):
    room, seen = np.empty(_STRIDE), np.empty(_STRIDE, np.int64)
    for row in range(first, end):
        any_odd = False
        for k in range(0, _STRIDE, 2):
            room[k], seen[k] = np.rint(counts[row, k] / 2.0), counts[row, k]
            room[k + 1], seen[k + 1] = 0.5, ~counts[row, k + 1]
            any_odd |= (counts[row, k] & 1) == 1
        for k in range(len(room)):
            counts[row, k] -= 2**33 + 1
            out[row] += room[k] * seen[k]
        places[row] = any_odd & (row > 0)


_STRIDE = 4


def test_whole_numbers_of_half_the_length_and_room_of_their_own():
    def given():
        return np.arange(-6, 6, dtype=np.int32).reshape(3, 4), np.zeros(3, bool), np.zeros(3)

    mine, theirs = given(), given()
    shared(_halves)(3, *mine)
    with np.errstate(over="ignore"):
        counts = theirs[0].astype(np.int64)
        _halves(0, 3, counts, *theirs[1:])
    assert mine[0].dtype == np.int32 and np.array_equal(mine[0], counts.astype(np.int32))
    assert (
        np.array_equal(mine[1], theirs[1]) and not mine[1].any() and mine[2].tobytes() == theirs[2].tobytes()
    )


def _sum_and_first(builder, numbers, count, more):
    """By hand: the first of numbers and more of them."""
    number = builder.load(numbers)
    return [number, builder.add(count, ir.Constant(ir.IntType(64), more))]


_more = Written(("tuple", ("0", "1"), ("f", "i")), _sum_and_first, (5,))


def _with_code(numbers, out):
    out[0], count = _more(numbers, len(numbers))
    out[1] = count


def test_machine_code_written_by_hand_is_part_of_a_loop_and_of_its_stamp(monkeypatch):
    out, before = np.zeros(2), stamp(_with_code)
    compiled(_with_code)(np.array([7.0, 8.0, 9.0]), out)
    assert out.tolist() == [7.0, 8.0]
    monkeypatch.setitem(_with_code.__globals__, "_more", Written(_more.result, _sum_and_first, (6,)))
    assert stamp(_with_code) != before
    compiled(_with_code)(np.array([7.0, 8.0, 9.0]), out)
    assert out.tolist() == [7.0, 9.0]


def test_room_must_be_of_a_known_size_and_kind():
    def roomy(x):
        y = np.empty(len(x))
        x[0] = y[0]

    def small(x):
        y = np.empty(3, np.float32)
        x[0] = y[0]

    for function in (roomy, small):
        with pytest.raises(TypeError, match="cannot be compiled here"):
            compiled(function)(np.zeros(3))


def test_an_argument_is_found_where_it_lies():
    kinds, words = flattened((np.arange(6.0).reshape(2, 3), 2.5, -1, True, (np.zeros(0, np.int32), 3)))
    array = np.arange(4.0)[1:]
    assert flattened((array,))[1] == [array.ctypes.data, 3]
    assert kinds[1:] == ("f", "i", "b", ("tuple", ("0", "1"), (("array", "h", 1), "i")))
    assert words[1:6] == [2, 3, 2.5, 2**64 - 1, 1] and words[7:] == [0, 3]
    assert len(packer(kinds)(*words)) == 8 * len(words)
    first, rest = np.arange(3), np.ones((2, 2), bool)
    assert flattened((first, Given(2.5, rest), 1)) == flattened((first, 2.5, rest, 1))


def test_a_part_of_an_array_has_both_ends():
    def tail(x):
        y = x[1:]
        y[0] = 1.0

    with pytest.raises(TypeError, match="cannot be compiled here"):
        compiled(tail)(np.zeros(3))


def test_what_cannot_be_compiled_is_told_with_its_line():
    def doubled(x):
        x[0] = [2 * v for v in x]

    with pytest.raises(TypeError, match=r"test_loops, line \d+: .*cannot be compiled here"):
        compiled(doubled)(np.zeros(1))


def test_an_array_of_another_kind_is_refused():
    with pytest.raises(TypeError, match="C order"):
        compiled(_sums)(_given()._replace(table=np.zeros((4, 2)).T), np.zeros(7))


def test_the_key_of_the_cache_follows_constants_of_functions_that_are_called(monkeypatch):
    before = stamp(_sums)
    monkeypatch.setitem(_split.__globals__, "_LIMIT", 4)
    assert stamp(_sums) != before
    monkeypatch.setitem(_split.__globals__, "_LIMIT", 3)
    assert stamp(_sums) == before


def test_machine_code_is_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("CELLWEAVE_CACHE", str(tmp_path))
    first, second = np.zeros(7), np.zeros(7)
    compiled(_sums)(_given(), first)

    def never(self, function, kinds):
        raise AssertionError("written again")

    monkeypatch.setattr(loops.statements.Translator, "entry", never)
    compiled(_sums)(_given(), second)
    assert np.array_equal(first, second)
