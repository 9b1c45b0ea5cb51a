"""(loss − A) u = right on a box of voxels, whatever the loss in each: conjugate gradients led by multigrid.

Relaxation takes out what differs from voxel to voxel, fewer and larger voxels what is smooth, so that the work does not
grow faster than the number of voxels (Brandt, Mathematics of Computation 31, 333, 1977). The boxes work in single
precision, as they say where to go and not how far; the length of each step is taken in double precision, and a
direction is made independent of the last one rather than trusted to be (Notay, SIAM J. Sci. Comput. 22, 1444, 2000).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mechanistic import _multigrid_kernels as kernels
from mechanistic._conductances import Conductances, groups
from mechanistic.jit import threads_for

Array = NDArray[np.float64]
_MOST_STEPS = 200
# colours that are relaxed on the way down and up; an uneven box needs both ways alike, as its corrections are not to be
# trusted
_EVEN = ((0, 1), (0, 1, 0, 1))
_UNEVEN = ((0, 1, 0, 1), (1, 0, 1, 0))


@dataclass
class _Box:
    """One of the boxes, single precision: its faces (flat), what leaves by all of a voxel's faces, loss, one over the
    two together, right-hand side and what it found."""

    shape: tuple[int, int, int]
    faces: tuple[NDArray, NDArray, NDArray]
    around: tuple[bool, bool, bool]
    leaving: NDArray
    loss: NDArray
    inverse: NDArray
    right: NDArray
    found: NDArray
    ends: tuple[NDArray, NDArray]
    #: by axis x, y, z: places (2, n) in the next box and their weights
    next: list[tuple[NDArray, NDArray]]


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
        here = faces
        while True:
            self._boxes.append(_box(here))
            if max(here.shape) == 1:
                break
            self._boxes[-1].next = [_between(here, axis, even) for axis in (2, 1, 0)]
            here = here.fewer()

    def lose(self, loss: Array) -> None:
        """Takes the loss of each voxel [1/min], from now on."""
        self._loss = loss
        self._boxes[0].loss[...] = loss
        for box, coarse in zip(self._boxes, self._boxes[1:]):
            box.found.fill(0.0)  # of nothing all is left: so much for adding up
            with threads_for(box.found.size, each=20_000):
                self._below(box, box.loss, coarse.loss, coarse.found)
        for box in self._boxes:
            np.add(box.loss, box.leaving, out=box.inverse)
            np.maximum(box.inverse, 1e-30, out=box.inverse)
            np.reciprocal(box.inverse, out=box.inverse)

    def rest(self, u: Array, right: Array, out: Array | None = None, loss: Array | None = None) -> Array:
        """right − (loss − A) u, which is what makes u change; in `out` if given, which may not be u.

        Args:
            loss: another one than that of `lose`.
        """
        out = np.empty_like(u) if out is None else out
        fine, loss = self._fine, self._loss if loss is None else loss
        _fill(self._ends, u, fine.around)
        with threads_for(u.size, each=20_000):
            values, faces = (_flat(u, right, loss), _flat(fine.x, fine.y, fine.z))
            ends = _flat(*self._ends)
            kernels.rest(values[0], u.shape, *values[1:], *faces, *ends, fine.around[0], out.reshape(-1))
        return out

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
        left -= mean
        direction, image, nothing = (np.zeros_like(u) for _ in range(3))
        fine, flat = self._boxes[0], _flat(u, left, direction, image)
        start = now = np.sqrt(product(left, left))
        fine.right[...] = left / max(now, 1e-300)  # single precision has a narrow range
        along = 1.0
        first = last = 0.0
        for step in range(_MOST_STEPS):
            if now == 0.0 or (step and enough(now, last, first)):
                break
            self._cycle(0, whole)
            found = fine.found
            with threads_for(u.size, each=50_000):
                # image holds −(loss − A) direction
                kernels.turn(flat[2], found.reshape(-1), -product(found, image) / along if step else 0.0)
            ahead = product(found, left)
            self.rest(direction, nothing, image)
            along = product(direction, image)
            if not along < 0.0:
                break  # nothing is left but rounding
            length = -ahead / along
            with threads_for(u.size, each=50_000):
                kernels.advance(*flat, length, fine.right.reshape(-1), 1.0 / now)
            last = abs(length) * largest(direction)
            first = first or last
            now = np.sqrt(product(left, left))
        else:
            raise RuntimeError(
                f"{_MOST_STEPS} steps brought what is left of a steady field from {start:g} to {now:g} only"
            )
        left += mean
        return left

    def _cycle(self, depth: int, whole: bool) -> None:
        """`found` of the box becomes nearly the solution, from zero."""
        box = self._boxes[depth]
        if depth == 0:
            box.found.fill(0.0)
        if box.found.size == 1 and not whole:
            return  # any value will do
        with threads_for(box.found.size, each=20_000):
            self._relax(box, self._colours[0])
            if depth + 1 < len(self._boxes):
                below = self._boxes[depth + 1]
                _fill(box.ends, box.found, box.around)
                self._below(box, box.right, below.right, below.found)
                self._cycle(depth + 1, whole)
                (ix, wx), (iy, wy), (iz, wz) = box.next
                found, added = _flat(box.found, below.found)
                kernels.add_above(found, box.shape, added, ix, wx, iy, wy, iz, wz)
                self._relax(box, self._colours[1])

    def _below(self, box: _Box, right: NDArray, out: NDArray, start: NDArray) -> None:
        """What is left of `found`, added up over the voxels of the next box; `start` is cleared."""
        found, right, loss, out, start = _flat(box.found, right, box.loss, out, start)
        ends = _flat(*box.ends)
        kernels.rest_below(found, box.shape, right, loss, *box.faces, *ends, box.around[0], out, start)

    def _relax(self, box: _Box, colours: tuple[int, ...]) -> None:
        values, ends = _flat(box.right, box.loss, box.inverse), _flat(*box.ends)
        for colour in colours:
            _fill(box.ends, box.found, box.around)
            found = box.found.reshape(-1)
            kernels.relax(found, box.shape, *values, *box.faces, *ends, box.around[0], colour)


def _flat(*arrays: NDArray) -> list[NDArray]:
    return [a.reshape(-1) for a in arrays]


def product(a: NDArray, b: NDArray) -> float:
    """Σ a b, in one order at any number of threads."""
    sums = np.empty(kernels.parts(a.size))
    with threads_for(a.size, each=50_000):
        kernels.products(a.reshape(-1), b.reshape(-1), sums)
    return float(sums.sum())


def largest(u: NDArray) -> float:
    """The largest of |u|."""
    most = np.empty(kernels.parts(u.size))
    with threads_for(u.size, each=50_000):
        kernels.largest(u.reshape(-1), most)
    return float(most.max())


def _box(faces: Conductances) -> _Box:
    x, y, z = (np.ascontiguousarray(f, np.float32) for f in (faces.x, faces.y, faces.z))
    leaving = (x[:, :, :-1] + x[:, :, 1:]) + (y[:, :-1] + y[:, 1:])
    if faces.shape[0] > 1:
        leaving = leaving + (z[:-1] + z[1:])
    loss, inverse, right, found = (np.zeros(faces.shape, np.float32) for _ in range(4))
    flat = x.reshape(-1), y.reshape(-1), z.reshape(-1)
    ends = _no_ends(faces.shape, np.float32)
    return _Box(faces.shape, flat, faces.around, leaving, loss, inverse, right, found, ends, [])


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
