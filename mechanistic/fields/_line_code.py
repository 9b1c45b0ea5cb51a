"""Machine code for lines of voxels: t becomes exp(A) t for eight or sixteen lines at a time, A tridiagonal.

exp is replaced by a rational function R(z) = 1 + z Q(z), Q a sum of three pairs of poles, or of two where no mode is
faster than z = -10. Its distance from exp is below 5e-6 everywhere, and R agrees with exp to second order at 0: short
steps, with two pairs, are right to 1e-5 of what they change. The form keeps amounts to the last digit: A Q(A) t is a
difference of flows between voxels. (Nearly best rational functions for the exponential: Trefethen, Weideman and
Schmelzer, BIT 46, 653, 2006, whose poles were the start; poles and residues here minimise the largest error under the
conditions at 0 and at infinity.)

A pole costs one complex tridiagonal solve, whose factors are the same for all lines and made beforehand.
"""

from __future__ import annotations

from functools import cache

import llvmlite.ir as ir
import numpy as np
from numpy.typing import NDArray

from mechanistic.codegen.machine import Compiled

LANES, WIDE = 8, 16  # lines; with more of them there is something to do while the last voxel's results come

#: by the number of pairs: the fastest mode it is made for, poles and residues
_FRACTIONS = {
    2: (
        10.0,
        (3.2001015406803477 + 1.5456335298942545j, 1.3878038818988752 + 4.791583942410221j),
        (-0.762292951675602 - 3.453009631400457j, 0.279608508491561 + 0.5200882367426828j),
    ),
    3: (
        np.inf,
        (
            2.551326974639534 + 1.203190195815764j,
            1.2330909194373008 + 3.662189084559506j,
            -1.9152064209954367 + 6.449258315971733j,
        ),
        (
            -0.9499070701248611 - 1.5334615472284137j,
            0.46403942894164524 - 0.01764140141984266j,
            -0.014132358816784263 + 0.013105231943992268j,
        ),
    ),
}
MOST_PAIRS = 3
_HEAD = (
    4  # numbers before those of the voxels: conductance of the lower face, inside, of the upper face; scale
)
_EACH = 6  # numbers of a voxel and a pole: what its value, the neighbour's and the seam's are multiplied by

_DOUBLE, _INDEX, _LANE = ir.DoubleType(), ir.IntType(64), ir.IntType(32)
_ARRAY = _DOUBLE.as_pointer()


def pairs_for(inside: float, low: float, high: float) -> int:
    """How many pairs of poles the line of `coefficients` needs."""
    fastest = 2.0 * inside + max(2.0 * inside, low, high)  # by the circles that modes lie in
    return next(pairs for pairs, (most, _, _) in _FRACTIONS.items() if fastest <= most)


def approximation(z: NDArray[np.float64], pairs: int = MOST_PAIRS) -> NDArray[np.float64]:
    """R(z), which is close to exp(z) for z <= 0, down to -10 where it has two pairs of poles."""
    z = np.asarray(z, dtype=float)
    _, poles, residues = _FRACTIONS[pairs]
    q = sum(2 * np.real(q / (z - p)) for p, q in zip(poles, residues))
    return 1.0 + z * q


def coefficients(
    n: int, inside: float, low: float, high: float, scale: float, periodic: bool, pairs: int
) -> NDArray[np.float64]:
    """What the machine code needs of a line of n voxels.

    Args:
        inside: conductance between two voxels, diffusion dt / spacing^2.
        low, high: conductance of the two ends to a value of zero beyond them; 0 where nothing passes.
        scale: the result is multiplied by it.
        periodic: the ends are neighbours, of two voxels or more; low and high are then not used.
        pairs: of poles.
    """
    _, poles, residues = _FRACTIONS[pairs]
    table = np.empty((n, pairs, _EACH))
    if periodic:
        # the ring is a line with open ends, and one product of a vector with itself
        low = high = 2.0 * inside
    for k, (pole, residue) in enumerate(zip(poles, residues)):
        factor, before = np.empty(n, complex), 0.0j
        diagonal = np.full(n, -2.0 * inside)
        diagonal[0] += inside - low
        diagonal[-1] += inside - high
        pivots = np.empty(n, complex)
        for i in range(n):
            pivots[i] = diagonal[i] - pole - inside * before
            before = factor[i] = inside / pivots[i]
        own = 2.0 * residue / pivots
        seam = np.zeros(n, complex)
        if periodic:
            seam = _solve(pivots, factor, np.r_[1.0, np.zeros(n - 2), 1.0])
            seam *= inside / (1.0 + inside * (seam[0] + seam[-1]))
        for column, values in ((0, own), (2, -factor), (4, seam)):
            table[:, k, column], table[:, k, column + 1] = np.real(values), np.imag(values)
    return np.concatenate([[low, inside, high, scale], table.ravel()])


def _solve(pivots, factor, right):
    x = np.array(right, dtype=complex)
    for i in range(len(x)):
        x[i] = x[i] / pivots[i] - (factor[i] * x[i - 1] if i else 0.0)
    for i in range(len(x) - 2, -1, -1):
        x[i] -= factor[i] * x[i + 1]
    return x


@cache
def compiled() -> Compiled:
    """Functions `line2`, `line3`, `ring2`, `ring3` (t, stride, work, coefficients, n), by the pairs of poles, each also
    with `wide`, and `columns`, `rows` (from, stride, to, stride, blocks). Strides count doubles; `work` holds
    n x 2 MOST_PAIRS vectors.
    """
    module = ir.Module("lines")
    for pairs in _FRACTIONS:
        for lanes, width in ((LANES, ""), (WIDE, "wide")):
            _line(module, f"line{pairs}{width}", pairs, lanes, periodic=False)
            _line(module, f"ring{pairs}{width}", pairs, lanes, periodic=True)
    _transpose(module, "columns", gather=True)
    _transpose(module, "rows", gather=False)
    return Compiled(str(module))


class _Body:
    """Builds one function over vectors of so many lines."""

    def __init__(self, module: ir.Module, name: str, arguments: list, lanes: int):
        self.lanes, self.vector = lanes, ir.VectorType(_DOUBLE, lanes)
        self.function = ir.Function(module, ir.FunctionType(ir.VoidType(), arguments), name)
        self.b = ir.IRBuilder(self.function.append_basic_block())

    @staticmethod
    def index(value: int):
        return ir.Constant(_INDEX, value)

    def splat(self, array, i):
        vector = ir.Constant(self.vector, ir.Undefined)
        one = self.b.insert_element(vector, self.b.load(self.b.gep(array, [i])), ir.Constant(_LANE, 0))
        return self.b.shuffle_vector(
            one, vector, ir.Constant(ir.VectorType(_LANE, self.lanes), [0] * self.lanes)
        )

    def place(self, array, i):
        """The vector that begins at double i of an array."""
        return self.b.bitcast(self.b.gep(array, [i]), self.vector.as_pointer())

    def load(self, place):
        return self.b.load(place, align=8)

    def store(self, value, place) -> None:
        self.b.store(value, place, align=8)

    def sum(self, *terms):
        """The products of `terms` (pairs or single vectors) added up in order, each rounded once."""
        total = None
        for term in terms:
            if isinstance(term, tuple):
                product = self.b.fmul(*term, flags=("contract",))  # pyright: ignore[reportCallIssue]
                total = product if total is None else self._add(total, product)
            else:
                total = term if total is None else self._add(total, term)
        return total

    def _add(self, a, b):
        return self.b.fadd(a, b, flags=("contract",))  # pyright: ignore[reportCallIssue]

    def loop(self, count, carried: list, body) -> list:
        """carried = body(i, carried) for i = 0, 1, ... below count, which may be none; returns the last."""
        b = self.b
        start, inside, after = b.block, b.append_basic_block(), b.append_basic_block()
        b.cbranch(b.icmp_unsigned("<", self.index(0), count), inside, after)
        b.position_at_end(inside)
        i = b.phi(_INDEX)
        i.add_incoming(self.index(0), start)
        states = [b.phi(v.type) for v in carried]
        for state, value in zip(states, carried):
            state.add_incoming(value, start)
        new = body(i, states)
        following = b.add(i, self.index(1))
        i.add_incoming(following, b.block)
        for state, value in zip(states, new):
            state.add_incoming(value, b.block)
        end = b.block
        b.cbranch(b.icmp_unsigned("<", following, count), inside, after)
        b.position_at_end(after)
        results = [b.phi(v.type) for v in carried]
        for result, before, value in zip(results, carried, new):
            result.add_incoming(before, start)
            result.add_incoming(value, end)
        return results


def _line(module: ir.Module, name: str, pairs: int, lanes: int, periodic: bool) -> None:
    place = ir.VectorType(_DOUBLE, lanes).as_pointer()
    f = _Body(module, name, [_ARRAY, _INDEX, place, _ARRAY, _INDEX], lanes)
    b, index = f.b, f.index
    lines, stride, work, table, n = f.function.args
    for array in (lines, work, table):
        array.add_attribute("noalias")
    zero = ir.Constant(f.vector, [0.0] * lanes)
    last = b.sub(n, index(1))

    def voxel(i):
        return f.place(lines, b.mul(i, stride))

    def kept(i, slot):
        return b.gep(work, [b.add(b.mul(i, index(2 * pairs)), index(slot))])

    def number(i, k, column):
        return f.splat(table, b.add(b.mul(i, index(_EACH * pairs)), index(_HEAD + _EACH * k + column)))

    def eliminate(i, carried):
        value, new = f.load(voxel(i)), []
        for k in range(pairs):
            re, im = carried[2 * k : 2 * k + 2]
            gre, gim = number(i, k, 2), number(i, k, 3)
            # what waits for the voxel before comes first: it is then multiplied and added in one go
            new.append(f.sum((gre, re), (value, number(i, k, 0)), (b.fneg(gim), im)))
            new.append(f.sum((gre, im), (value, number(i, k, 1)), (gim, re)))
            f.store(new[-2], kept(i, 2 * k))
            f.store(new[-1], kept(i, 2 * k + 1))
        return new

    def substitute(i, carried):
        """The solutions at voxel i from those at i + 1, and their sum."""
        new = []
        for k in range(pairs):
            re, im = carried[2 * k : 2 * k + 2]
            gre, gim = number(i, k, 2), number(i, k, 3)
            new.append(f.sum(f.load(kept(i, 2 * k)), (gre, re), (b.fneg(gim), im)))
            new.append(f.sum(f.load(kept(i, 2 * k + 1)), (gre, im), (gim, re)))
        return new, f.sum(*new[::2])

    low, inside, high, scale = (f.splat(table, index(i)) for i in range(_HEAD))

    def change(i, inflow, outflow):
        value = b.fadd(f.load(voxel(i)), b.fsub(inflow, outflow))
        f.store(b.fmul(scale, value), voxel(i))

    f.loop(n, [zero] * (2 * pairs), eliminate)
    at_end, total = substitute(last, [zero] * (2 * pairs))
    if not periodic:

        def back(j, carried):
            i = b.sub(b.sub(last, index(1)), j)
            new, here = substitute(i, carried[:-2])
            beyond, inflow = carried[-2:]
            flow = b.fmul(inside, b.fsub(beyond, here))
            change(b.add(i, index(1)), inflow, flow)
            return [*new, here, flow]

        *_, first, inflow = f.loop(last, [*at_end, total, b.fneg(b.fmul(high, total))], back)
        change(index(0), inflow, b.fmul(low, first))
    else:
        f.store(total, kept(last, 0))

        def back_only(j, carried):
            i = b.sub(b.sub(last, index(1)), j)
            new, here = substitute(i, carried)
            f.store(here, kept(i, 0))
            return new

        at_start = f.loop(last, at_end, back_only)
        ends = [b.fadd(x, y) for x, y in zip(at_start, at_end)]

        def solution(i):
            """What the ring's seam takes from the line's solution is the seam's vector times both ends."""
            taken = []
            for k in range(pairs):
                taken.append((b.fneg(number(i, k, 4)), ends[2 * k]))
                taken.append((number(i, k, 5), ends[2 * k + 1]))
            return f.sum(f.load(kept(i, 0)), *taken)

        first = solution(index(0))
        seam_flow = b.fmul(inside, b.fsub(solution(last), first))

        def forward(i, carried):
            here, inflow = carried
            following = solution(b.add(i, index(1)))
            flow = b.fmul(inside, b.fsub(here, following))
            change(i, inflow, flow)
            return [following, flow]

        _, inflow = f.loop(last, [first, seam_flow], forward)
        change(last, inflow, seam_flow)
    b.ret_void()


def _transpose(module: ir.Module, name: str, gather: bool) -> None:
    """Eight rows become eight columns, or back, in `blocks` squares of eight by eight."""
    f = _Body(module, name, [_ARRAY, _INDEX, _ARRAY, _INDEX, _INDEX], LANES)
    b, index = f.b, f.index
    source, from_stride, target, to_stride, blocks = f.function.args

    def square(block, _):
        along = b.mul(block, index(LANES))

        def at(array, stride, row, across):
            """Row `row` of the square: of eight lines, or of eight voxels of all lines."""
            if across:
                return f.place(array, b.add(b.mul(index(row), stride), along))
            return f.place(array, b.mul(b.add(along, index(row)), stride))

        vectors: list = [f.load(at(source, from_stride, row, gather)) for row in range(LANES)]
        for half in (1, 2, 4):
            low = [j + 8 - half if j & half else j for j in range(LANES)]
            high = [j + 8 if j & half else j + half for j in range(LANES)]
            mixed = list(vectors)
            for q in range(LANES):
                if not q & half:
                    pair = vectors[q], vectors[q | half]
                    for to, picks in ((q, low), (q | half, high)):
                        mask = ir.Constant(ir.VectorType(_LANE, LANES), picks)
                        mixed[to] = b.shuffle_vector(*pair, mask)
            vectors = mixed
        for row, vector in enumerate(vectors):
            f.store(vector, at(target, to_stride, row, not gather))
        return []

    f.loop(blocks, [], square)
    b.ret_void()
