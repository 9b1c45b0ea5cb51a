"""(loss − A) u = right on a box of voxels, whatever the loss in each: conjugate gradients led by multigrid.

Relaxation takes out what differs from voxel to voxel, fewer and larger voxels what is smooth, so that the work does not
grow faster than the number of voxels (Brandt, Mathematics of Computation 31, 333, 1977). The boxes work in single
precision, as they say where to go and not how far; the length of each step is taken in double precision, and a
direction is made independent of the last one rather than trusted to be (Notay, SIAM J. Sci. Comput. 22, 1444, 2000).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, pairwise

import numpy as np
from numpy.typing import NDArray

from mechanistic.codegen.loops import Call
from mechanistic.fields import _multigrid_kernels as kernels
from mechanistic.fields._conductances import Conductances, groups
from mechanistic.fields._voxels import parts
from mechanistic.threads import threads_for

Array = NDArray[np.float64]
_MOST_STEPS = 200
_MOST_BLOCKS = 64
_EACH = 20_000  # voxels for which another thread is woken
# colours that are relaxed on the way down and up; an uneven box needs both ways alike, as its corrections are not to be
# trusted
_FIRST = 0
_EVEN = ((_FIRST, 1), (0, 1, 0, 1))
_UNEVEN = ((_FIRST, 1, 0, 1), (1, 0, 1, 0))


@dataclass
class _Passage:
    """From a box to the next and back: adds up the loss of voxels, or what is left of `found`, and lays what the next
    one found between its middles."""

    loss: Call
    rest: Call
    found: Call


@dataclass(frozen=True)
class _Walls:
    """What of a box is the same for every loss, in single precision.

    Attributes:
        shape: (nz, ny, nx).
        faces: as in `Conductances`, flat.
        around: whether the ends along x, y, z are neighbours.
        leaving: what leaves by all of a voxel's faces, as the sum of these; of what is even they are thin.
    """

    shape: tuple[int, int, int]
    faces: tuple[NDArray, NDArray, NDArray]
    around: tuple[bool, bool, bool]
    leaving: tuple[NDArray, ...]


@dataclass
class _Box:
    """One of the boxes, single precision: its walls, loss, one over what is lost and leaves together, right-hand side
    and what it found; and its loops, made ready on these arrays."""

    walls: _Walls
    loss: NDArray
    inverse: NDArray
    right: NDArray
    found: NDArray
    ends: tuple[NDArray, NDArray]
    #: by colour: a step of Gauss and Seidel; the first one from zeros
    relax: list[Call]
    begin: Call
    next: _Passage | None = None

    def fill_ends(self) -> None:
        """See `_fill`."""
        _fill(self.ends, self.found, self.walls.around)


class Multigrid:
    """Solves (loss − A) u = right for the box of the given conductances A.

    Args:
        faces: of the finest box.
        even: what lies between two middles lies between their values, as there are no walls.
    """

    def __init__(self, faces: Conductances, even: bool = True):
        self._fine = faces
        self._colours = _EVEN if even else _UNEVEN
        self._ends = _no_ends(faces.shape, float)
        self._boxes: list[_Box] = []
        self._small: dict[bool, list[Callable[[], None]]] = {}
        self._walls: list[_Walls] = []
        self._links = []
        while True:
            self._walls.append(_walls(faces))
            if max(faces.shape) == 1:
                break
            self._links.append([_between(faces, axis, even) for axis in (2, 1, 0)])
            faces = faces.fewer()

    def let_go(self) -> None:
        """Frees what is worked on, until `lose` is called again."""
        self._boxes, self._small = [], {}
        self._loss = np.empty(0)

    def lose(self, loss: Array) -> None:
        """Takes the loss of each voxel [1/min], from now on."""
        if not self._boxes:
            self._boxes = [_box(walls) for walls in self._walls]
            for (box, coarse), between in zip(pairwise(self._boxes), self._links):
                box.next = _passage(box, coarse, between)
        self._loss = loss
        self._boxes[0].loss[...] = loss
        for box in self._boxes:
            for nothing in (box.found, *box.ends):  # of nothing all is left: so much for adding up
                nothing.fill(0.0)
            with threads_for(box.found.size, each=_EACH):
                if box.next:
                    box.next.loss()
        for box in self._boxes:
            box.inverse[...] = box.walls.leaving[0]
            for more in (*box.walls.leaving[1:], box.loss):
                box.inverse += more
            np.maximum(box.inverse, 1e-30, out=box.inverse)
            np.reciprocal(box.inverse, out=box.inverse)

    def rest(self, u: Array, right: Array, out: Array | None = None, loss: Array | None = None) -> Array:
        """right − (loss − A) u, which is what makes u change; in `out` if given, which may not be u.

        Args:
            loss: another one than that of `lose`.
        """
        out = np.empty_like(u) if out is None else out
        self._take_rest(self._rest_on(u, right, out, self._loss if loss is None else loss), u)
        return out

    def _rest_on(self, u: Array, right: Array, out: Array, loss: Array) -> Call:
        fine, rows = self._fine, u.shape[0] * u.shape[1]
        given = _flat(right, loss, fine.x, fine.y, fine.z, *self._ends)
        return kernels.rest.on(rows, u.reshape(-1), u.shape, *given, fine.around[0], out.reshape(-1))

    def _take_rest(self, call: Call, u: Array) -> None:
        _fill(self._ends, u, self._fine.around)
        with threads_for(u.size, each=_EACH):
            call()

    def solve(
        self, u: Array, right: Array, enough: Callable[[float, float, float], bool], whole: bool
    ) -> Array:
        """Moves u to the solution, in place, and returns what is left, right − (loss − A) u.

        Args:
            enough: of what is left (2-norm) and how far u went in the last step and in the first (largest value),
                whether it will do. It is asked after each step, which takes away nine tenths of an error or so.
            whole: something is lost somewhere, so that there is one solution; else what comes in on the mean is left.

        Raises:
            RuntimeError: if it does not come to that.
        """
        left = self.rest(u, right)
        mean = 0.0 if whole else float(left.mean())
        if not whole:
            left -= mean
        direction, image, nothing = (np.zeros_like(u) for _ in range(3))
        fine, flat, count = self._boxes[0], _flat(u, left, direction, image), parts(u.size)
        found, right, sums = fine.found.reshape(-1), fine.right.reshape(-1), np.empty((2, count))
        step = np.zeros(3)  # of the direction's turn, along it, and what scales what is left
        rest = self._rest_on(direction, nothing, image, self._loss)
        both = kernels.both_products.on(count, found, *flat[1:4:2], *sums)
        turn = kernels.turn.on(count, flat[2], found, step)
        one = kernels.products.on(count, *flat[2:], sums[0])
        advance = kernels.advance.on(count, *flat, step, right, *sums)
        start = now = np.sqrt(product(left, left))
        # single precision has a narrow range
        np.multiply(flat[1], 1.0 / max(now, 1e-300), out=right, casting="same_kind")
        along = 1.0
        first = last = 0.0
        for count in range(_MOST_STEPS):
            if now == 0.0 or (count and enough(now, last, first)):
                break
            self._cycle(0, whole)
            with threads_for(u.size, each=50_000):
                both()
                ahead, before = sums.sum(axis=1).tolist()
                # image holds −(loss − A) direction
                step[0] = -before / along if count else 0.0
                turn()
            self._take_rest(rest, direction)
            with threads_for(u.size, each=50_000):
                one()
                along = float(sums[0].sum())
                if not along < 0.0:
                    break  # nothing is left but rounding
                step[1:] = -ahead / along, 1.0 / now
                advance()
            last = abs(step[1]) * float(sums[1].max())
            first = first or last
            now = np.sqrt(float(sums[0].sum()))
        else:
            raise RuntimeError(
                f"{_MOST_STEPS} steps brought what is left of a steady field from {start:g} to {now:g} only"
            )
        if not whole:
            left += mean
        return left

    def _cycle(self, depth: int, whole: bool) -> None:
        """`found` of the box becomes nearly the solution, from zero."""
        box = self._boxes[depth]
        if box.found.size < 2 * _EACH:
            if whole not in self._small:
                self._small[whole] = list(self._loops(depth, whole))
            for loop in self._small[whole]:
                loop()
            return
        with threads_for(box.found.size, each=_EACH):
            box.begin()
            self._relax(box, self._colours[0][1:])
            if box.next:
                box.fill_ends()
                box.next.rest()
                self._cycle(depth + 1, whole)
                box.next.found()
                self._relax(box, self._colours[1])

    def _relax(self, box: _Box, colours: tuple[int, ...]) -> None:
        for colour in colours:
            box.fill_ends()
            box.relax[colour]()

    def _loops(self, depth: int, whole: bool) -> Iterator[Callable[[], None]]:
        """What `_cycle` does from a box on which one thread does alone."""
        box = self._boxes[depth]
        if box.found.size == 1 and not whole:
            yield partial(box.found.fill, 0.0)  # any value will do
            return
        fill = [box.fill_ends] * any(box.walls.around[1:])
        yield box.begin.alone
        for colour in self._colours[0][1:]:
            yield from [*fill, box.relax[colour].alone]
        if box.next:
            yield from [*fill, box.next.rest.alone]
            yield from self._loops(depth + 1, whole)
            yield box.next.found.alone
            for colour in self._colours[1]:
                yield from [*fill, box.relax[colour].alone]


def _flat(*arrays: NDArray) -> list[NDArray]:
    return [a.reshape(-1) for a in arrays]


def product(a: NDArray, b: NDArray) -> float:
    """Σ a b, in one order at any number of threads."""
    sums = np.empty(parts(a.size))
    with threads_for(a.size, each=50_000):
        kernels.products(sums.size, a.reshape(-1), b.reshape(-1), sums)
    return float(sums.sum())


def _walls(faces: Conductances) -> _Walls:
    x, y, z = (np.ascontiguousarray(f, np.float32) for f in (faces.x, faces.y, faces.z))
    leaving: list[NDArray] = [(x[:, :, :-1] + x[:, :, 1:]) + (y[:, :-1] + y[:, 1:])]
    if faces.shape[0] > 1:
        upward = z[:-1] + z[1:]
        leaving = [leaving[0] + upward] if upward.shape == faces.shape else [*leaving, upward]
    return _Walls(faces.shape, (x.reshape(-1), y.reshape(-1), z.reshape(-1)), faces.around, tuple(leaving))


def _box(walls: _Walls) -> _Box:
    shape = walls.shape
    loss, inverse, right, found = (np.zeros(shape, np.float32) for _ in range(4))
    ends = _no_ends(shape, np.float32)
    room = _room(shape)
    e, *values = _flat(found, right, loss, inverse)
    given = (len(room), e, shape, *values, *walls.faces, *_flat(*ends), walls.around[0])
    relax = [kernels.relax.on(*given, colour, room) for colour in (0, 1)]
    begin = kernels.begin.on(shape[0] * shape[1], e, shape, values[0], values[2], _FIRST)
    return _Box(walls, loss, inverse, right, found, ends, relax, begin)


def _passage(box: _Box, coarse: _Box, between: Sequence[tuple[NDArray, NDArray]]) -> _Passage:
    """Given for x, y and z the places (2, n) in the next box and their weights."""
    found, right, loss = _flat(box.found, box.right, box.loss)
    added, to, lost = _flat(coarse.found, coarse.right, coarse.loss)
    walls, shape = box.walls, box.walls.shape
    faces, room = (*walls.faces, *_flat(*box.ends), walls.around[0]), _room(coarse.walls.shape, shape[2])
    given = (len(room), found, shape)
    wide = _room(shape)
    return _Passage(
        kernels.rest_below.on(*given, loss, loss, *faces, lost, room),
        kernels.rest_below.on(*given, right, loss, *faces, to, room),
        kernels.add_above.on(len(wide), found, shape, added, *chain(*between), wide),
    )


def _room(shape: tuple[int, int, int], width: int = 0) -> NDArray:
    """A row for each of the blocks of rows that threads share."""
    return np.empty((min(shape[0] * shape[1], _MOST_BLOCKS), width or shape[2]), np.float32)


def _no_ends(shape: tuple[int, int, int], kind: type) -> tuple[NDArray, NDArray]:
    nz, ny, nx = shape
    return np.zeros((2, nz, nx), kind), np.zeros((2, ny, nx), kind)


def _fill(ends: tuple[NDArray, NDArray], u: NDArray, around: tuple[bool, bool, bool]) -> None:
    """What lies beyond the ends along y and z, where they are each other's neighbours."""
    if around[1]:
        ends[0][0], ends[0][1] = u[:, -1], u[:, 0]
    if around[2]:
        ends[1][0], ends[1][1] = u[-1], u[0]


def _between(faces: Conductances, axis: int, even: bool) -> tuple[NDArray, NDArray]:
    """For each voxel along an axis (0 = z) the two coarse voxels whose middles it lies between, and their weights.

    At an end it lies between a middle and what is beyond, which is zero. In an uneven box its own counts alone.
    """
    n = faces.shape[axis]
    starts = groups(n)
    middles = 0.5 * (starts + np.append(starts[1:], n))
    own = np.minimum(np.arange(n) // 2, len(starts) - 1)
    if not even:
        return np.stack([own, own]), np.stack([np.ones(n), np.zeros(n)]).astype(np.float32)
    at = np.arange(n) + 0.5
    side = np.sign(at - middles[own]).astype(np.int64)
    other, distance = own + side, np.abs(at - middles[own])
    inside = (other >= 0) & (other < len(starts))
    gap = np.abs(middles[np.where(inside, other, own)] - middles[own])
    if faces.around[2 - axis]:
        gap = np.where(inside, gap, middles[0] + n - middles[-1])
        inside, other = np.ones(n, bool), other % len(starts)
    share = distance / np.where(gap > 0, gap, 1.0)
    for end, beyond in ((0, other < 0), (n, other >= len(starts))):
        out, link = _open(faces, axis, end), _open(faces, axis, 1 if end == 0 else n - 1)
        # in lengths of a voxel; a face of fixed value is half a voxel away
        away = np.abs(end - at) - 0.5 + link / out if out > 0 else np.inf
        share = np.where(beyond, distance / np.maximum(distance + away, 1e-300), share)
    weights = np.stack([1.0 - share, np.where(inside, share, 0.0)])
    return np.stack([own, np.where(inside, other, own)]), weights.astype(np.float32)


def _open(faces: Conductances, axis: int, at: int) -> float:
    """Mean conductance of the faces at one place along an axis."""
    return float(np.moveaxis((faces.z, faces.y, faces.x)[axis], axis, 0)[at].mean())
