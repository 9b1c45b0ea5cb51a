"""Eight pairs at a time: what `_force_kernels` and `_cell_list` do most, as vector instructions written through LLVM.

A loop over the neighbours of one cell has a sum in it, which compilers do not reorder; here each of eight lanes has a
sum of its own and the lanes are added up in one fixed order. Every operation is rounded by itself, so the bits are the
same on any machine, with vectors of eight or without. What a cell does to its neighbour is, to the last bit but the
sign, what the neighbour does to it: differences change sign and nothing else, sums and products commute.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numpy.typing import NDArray

from mechanistic.codegen.loops import Written
from sim.agents._pair_law import SMALLEST

__all__ = ["LANES", "below", "near_open", "near_wrapped", "pairs_open", "pairs_wrapped", "slack"]

LANES = 8
_SUMS = 4  # over the neighbours of a cell: velocity along x, y and z, and overlap

_DOUBLE, _LONG, _INT, _BYTE = ir.DoubleType(), ir.IntType(64), ir.IntType(32), ir.IntType(8)
_VECTOR, _PICK = ir.VectorType(_DOUBLE, LANES), ir.IntType(32)


def slack(values: NDArray) -> NDArray:
    """A copy (n,) with as many zeros behind it, in memory of its own, as vectors may read too far."""
    room = np.zeros(values.size + LANES, values.dtype)
    room[: values.size] = values
    return room


class _Vectors:
    """Builds code over vectors of eight."""

    def __init__(self, builder: ir.IRBuilder):
        self.b = builder

    def splat(self, value):
        lanes = ir.VectorType(value.type, LANES)
        one = self.b.insert_element(ir.Constant(lanes, ir.Undefined), value, ir.Constant(_PICK, 0))
        return self.mix(one, one, [0] * LANES)

    def number(self, value: float):
        return ir.Constant(_VECTOR, [value] * LANES)

    def mix(self, a, b, picks: list[int]):
        return self.b.shuffle_vector(a, b, ir.Constant(ir.VectorType(_PICK, len(picks)), picks))

    def load(self, place, lanes: int):
        """`lanes` doubles from a place in memory."""
        return self.b.load(self.b.bitcast(place, ir.VectorType(_DOUBLE, lanes).as_pointer()), align=8)

    def double(self, place):
        return self.b.load(self.b.bitcast(place, _DOUBLE.as_pointer()))

    def after(self, place, index, size):
        """The place so many times `size` bytes behind another."""
        size = ir.Constant(_LONG, size) if isinstance(size, int) else size
        return self.b.gep(self.b.bitcast(place, _BYTE.as_pointer()), [self.b.mul(index, size)])

    def number_after(self, place, count: int):
        """The double so many behind a place."""
        return self.double(self.after(place, ir.Constant(_LONG, count), 8))

    def larger(self, a, b):
        """The larger of two; b where one is not a number."""
        return self.b.select(self.b.fcmp_ordered(">", a, b), a, b)

    def of_one(self, name: str, x):
        full, module = f"llvm.{name}.v{LANES}f64", self.b.module
        function = module.globals.get(full) or ir.Function(module, ir.FunctionType(_VECTOR, [_VECTOR]), full)
        return self.b.call(function, [x])

    def nearest(self, difference, length):
        """The difference to the nearest image where length is above 0."""
        images = self.of_one("rint", self.b.fdiv(difference, length))
        wrapped = self.b.fsub(difference, self.b.fmul(length, images))
        return self.b.select(self.b.fcmp_ordered(">", length, self.number(0.0)), wrapped, difference)

    def squares(self, differences):
        x, y, z = (self.b.fmul(d, d) for d in differences)
        return self.b.fadd(self.b.fadd(x, y), z)

    def first(self, count):
        """Mask of the first `count` lanes."""
        numbers = ir.Constant(ir.VectorType(_LONG, LANES), list(range(LANES)))
        return self.b.icmp_signed("<", numbers, self.splat(count))

    def total(self, vector, add: str = "fadd"):
        """The sum of the lanes, in one order."""
        half = LANES
        while half > 1:
            half //= 2
            low, high = (self.mix(vector, vector, list(range(k, k + half))) for k in (0, half))
            vector = getattr(self.b, add)(low, high)
        return self.b.extract_element(vector, ir.Constant(_PICK, 0))

    def columns_of_four(self, rows: list):
        """Eight rows of four doubles as four vectors of eight."""
        both = [self.mix(rows[k], rows[k + 4], list(range(8))) for k in range(4)]
        even, odd = [0, 8, 2, 10, 4, 12, 6, 14], [1, 9, 3, 11, 5, 13, 7, 15]
        low, high = [0, 1, 8, 9, 4, 5, 12, 13], [2, 3, 10, 11, 6, 7, 14, 15]
        mixed = [(self.mix(both[0], both[1], m), self.mix(both[2], both[3], m)) for m in (even, odd)]
        return [
            self.mix(*mixed[0], low),
            self.mix(*mixed[1], low),
            self.mix(*mixed[0], high),
            self.mix(*mixed[1], high),
        ]

    def columns_of_two(self, rows: list):
        """Eight rows of two doubles as two vectors of eight."""
        fours = [self.mix(rows[k], rows[k + 1], [0, 1, 2, 3]) for k in (0, 2, 4, 6)]
        both = [self.mix(fours[k], fours[k + 1], list(range(8))) for k in (0, 2)]
        return [self.mix(both[0], both[1], list(range(side, 16, 2))) for side in (0, 1)]


def _pairs(
    b: ir.IRBuilder, i, cells, strengths, stride, indices, begin, end, farther, lx, ly, lz, wraps: bool, least
):
    """Σ over neighbours of what `forces` adds up: (velocity x, y, z, Σ (1 − d/R)²).

    stride: bytes from the strengths of one cell to those of the next, 0 where all share theirs.
    """
    v = _Vectors(b)
    mine = v.after(cells, i, 32)
    x, y, z, radius = (v.splat(v.number_after(mine, k)) for k in range(4))
    own = v.after(strengths, i, stride)
    repulsion, adhesion = (v.splat(v.number_after(own, k)) for k in range(2))
    farther, lengths = v.splat(farther), [v.splat(length) for length in (lx, ly, lz)]
    zero, one = v.number(0.0), v.number(1.0)

    start, head, body, done = b.block, *(b.append_basic_block() for _ in range(3))
    b.branch(head)
    b.position_at_end(head)
    k = b.phi(_LONG)
    k.add_incoming(begin, start)
    sums = [b.phi(_VECTOR) for _ in range(_SUMS)]
    for total in sums:
        total.add_incoming(zero, start)
    b.cbranch(b.icmp_signed("<", k, end), body, done)

    b.position_at_end(body)
    others = []
    at = v.after(indices, k, 4)
    for lane in range(LANES):
        place = v.after(at, ir.Constant(_LONG, lane), 4)
        others.append(b.sext(b.load(b.bitcast(place, _INT.as_pointer())), _LONG))
    there = v.columns_of_four([v.load(v.after(cells, j, 32), 4) for j in others])
    apart = [b.fsub(here, other) for here, other in zip((x, y, z), there)]
    if wraps:
        apart = [v.nearest(d, length) for d, length in zip(apart, lengths)]
    touch = b.fadd(radius, there[3])
    distance = v.larger(v.of_one("sqrt", v.squares(apart)), v.number(least))
    inverse = b.fdiv(one, b.fmul(distance, touch))
    relative = b.fmul(distance, b.fmul(inverse, distance))  # d/R
    overlap = v.larger(b.fsub(one, relative), zero)
    hold = v.larger(b.fsub(one, b.fmul(relative, farther)), zero)
    overlap, hold = b.fmul(overlap, overlap), b.fmul(hold, hold)
    pushing, pulling = v.columns_of_two([v.load(v.after(strengths, j, stride), 2) for j in others])
    push = b.fsub(b.fmul(b.fmul(repulsion, pushing), overlap), b.fmul(b.fmul(adhesion, pulling), hold))
    counted = v.first(b.sub(end, k))
    push = b.select(counted, b.fmul(push, b.fmul(inverse, touch)), zero)
    added = [*(b.fmul(push, d) for d in apart), b.select(counted, overlap, zero)]
    k.add_incoming(b.add(k, ir.Constant(_LONG, LANES)), b.block)
    for total, more in zip(sums, added):
        total.add_incoming(b.fadd(total, more), b.block)
    b.branch(head)

    b.position_at_end(done)
    return [v.total(total) for total in sums]


_FOUR = ("tuple", tuple("0123"), ("f",) * _SUMS)
pairs_open, pairs_wrapped = (Written(_FOUR, _pairs, (wraps, SMALLEST)) for wraps in (False, True))


def _near(b: ir.IRBuilder, x, y, z, limits, t, end, p, q, r, reach, lx, ly, lz, wraps: bool):
    """Bit k is set where sorted cell t + k, before `end`, is at most reach + its limit from (p, q, r)."""
    v = _Vectors(b)
    apart = [
        b.fsub(v.splat(here), v.load(v.after(array, t, 8), LANES))
        for here, array in zip((p, q, r), (x, y, z))
    ]
    if wraps:
        apart = [v.nearest(d, v.splat(length)) for d, length in zip(apart, (lx, ly, lz))]
    limit = b.fadd(v.splat(reach), v.load(v.after(limits, t, 8), LANES))
    near = b.fcmp_ordered("<=", v.squares(apart), b.fmul(limit, limit))
    near = b.and_(near, v.first(b.sub(end, t)))
    return [b.zext(b.bitcast(near, ir.IntType(LANES)), _LONG)]


near_open, near_wrapped = Written("i", _near, (False,)), Written("i", _near, (True,))


def _below(b: ir.IRBuilder, numbers, begin, end, value):
    """How many of the int32 numbers[begin:end] are smaller than value; read by vectors beyond the end."""
    v = _Vectors(b)
    lanes = ir.VectorType(_INT, LANES)
    value = v.splat(b.trunc(value, _INT))
    start, head, body, done = b.block, *(b.append_basic_block() for _ in range(3))
    b.branch(head)
    b.position_at_end(head)
    t, counts = b.phi(_LONG), b.phi(lanes)
    t.add_incoming(begin, start)
    counts.add_incoming(ir.Constant(lanes, [0] * LANES), start)
    b.cbranch(b.icmp_signed("<", t, end), body, done)
    b.position_at_end(body)
    place = b.bitcast(v.after(numbers, t, 4), lanes.as_pointer())
    smaller = b.icmp_signed("<", b.load(place, align=4), value)
    smaller = b.and_(smaller, v.first(b.sub(end, t)))
    t.add_incoming(b.add(t, ir.Constant(_LONG, LANES)), body)
    counts.add_incoming(b.add(counts, b.zext(smaller, lanes)), body)
    b.branch(head)
    b.position_at_end(done)
    return [b.sext(v.total(counts, "add"), _LONG)]


below = Written("i", _below)
