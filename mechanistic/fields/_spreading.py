"""exp(dt (Ax + Ay + Az − decay)) applied to a field: the operators of the three axes commute on a box, so it is the
product of one exponential per axis.

Small fields take each as a dense matrix with no negative entry, exact to rounding. Large ones take lines of voxels
through `_line_code`, whose cost does not grow with their length; there the factor of each mode is off by less than
5e-6. Both keep amounts to rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mechanistic.fields import _line_code, _line_sweeps
from mechanistic.fields._dense_kernels import along_axis, along_rows
from mechanistic.threads import threads_for

Array = NDArray[np.float64]
_MOST_PRODUCTS = 4_000_000  # of voxels with entries of their axes' matrices, where dense matrices are as fast
_LEAST = 1e-4  # of the largest value: what the approximation may take below zero, many times over


@dataclass(frozen=True)
class Axis:
    """Diffusion along one axis of a box.

    Attributes:
        n: voxels.
        inside: conductance between neighbours, diffusion / spacing^2 [1/min].
        low, high: conductance of the lower and upper face to what lies beyond [1/min]; 0 where nothing passes.
        periodic: the two ends are neighbours.
        inflow: what fixed faces bring (n,) [value/min].
    """

    n: int
    inside: float
    low: float
    high: float
    periodic: bool
    inflow: Array

    @property
    def conserves(self) -> bool:
        """Whether nothing passes the faces."""
        return self.low == self.high == 0.0

    def matrix(self) -> Array:
        """The operator, symmetric (n, n) [1/min]."""
        matrix = np.zeros((self.n, self.n))
        for i in range(self.n - 1):
            matrix[i : i + 2, i : i + 2] += self.inside * np.array([[-1.0, 1.0], [1.0, -1.0]])
        if self.periodic and self.n > 1:
            matrix[np.ix_((0, -1), (0, -1))] += self.inside * np.array([[-1.0, 1.0], [1.0, -1.0]])
        matrix[0, 0] -= self.low
        matrix[-1, -1] -= self.high
        return matrix

    def modes(self) -> tuple[Array, Array]:
        """Eigenvalues (n,), none above zero, and orthonormal vectors (n, n) in columns.

        Where nothing is lost the slowest mode is the mean, which stays: put in exactly, it keeps mass to the last
        digit.
        """
        values, vectors = np.linalg.eigh(self.matrix())
        if self.conserves and values.any():
            values[-1], vectors[:, -1] = 0.0, len(values) ** -0.5
        return np.minimum(values, 0.0), vectors


class Step(Protocol):
    """The exponential of one step size."""

    def apply(self, u: Array) -> None:
        """u (nz, ny, nx) becomes what is left of it after the step, in place."""
        ...


def step_of(axes: Sequence[Axis], modes: Sequence[tuple[Array, Array]], dt: float, decay: float) -> Step:
    """The exponential for dt [min] over x, y and z."""
    return Lines(axes, dt, decay) if is_large(axes) else Matrices(modes, dt, decay)


def is_large(axes: Sequence[Axis]) -> bool:
    """Whether products with dense matrices of the axes cost more than what replaces them."""
    counts = [axis.n for axis in axes]
    return bool(np.prod(counts, dtype=float) * sum(counts) > _MOST_PRODUCTS)


class Matrices:
    """Dense matrices, exact to rounding: none has a negative entry, so positive fields stay positive."""

    def __init__(self, modes: Sequence[tuple[Array, Array]], dt: float, decay: float):
        self._factors = [_exponential(values, vectors, dt) for values, vectors in modes]
        self._left = np.exp(-decay * dt)

    def apply(self, u: Array) -> None:
        multiply(self._factors, u)
        u *= self._left


class Lines:
    """Tridiagonal solves, eight or sixteen lines at a time."""

    def __init__(self, axes: Sequence[Axis], dt: float, decay: float):
        code = _line_code.compiled()
        tables, names = [], []
        for place, axis in enumerate(axes):
            through = axis.inside * dt, axis.low * dt, axis.high * dt
            pairs = _line_code.pairs_for(*through)
            # decay goes with y, along which every field has lines
            scale = float(np.exp(-decay * dt)) if place == 1 else 1.0
            tables.append(_line_code.coefficients(axis.n, *through, scale, axis.periodic, pairs))
            names.append(f"{'ring' if axis.periodic else 'line'}{pairs}")
        x, y, z = tables
        along_x, along_y, along_z = ((code.address(name), code.address(f"{name}wide")) for name in names)
        self._layers = along_x, x, along_y, y, code.address("columns"), code.address("rows")
        self._columns = along_z, z

    def apply(self, u: Array) -> None:
        with threads_for(u.size, each=10_000):
            _line_sweeps.sweep_layers(u, *self._layers)
            if u.shape[0] > 1:
                _line_sweeps.sweep_columns(u, *self._columns)


def last_share(fastest: float) -> float:
    """The part of an exchange that acts after a step, the rest before it, so that none of its modes is far off.

    What is exchanged all the time settles at 1/z of what a step exchanges, mode of rate z (per step) by mode; at
    w + 1/(e^z − 1) of it where w acts after each step and 1 − w before. So w should be 1/z − 1/(e^z − 1), which falls
    from a half, for what is smooth, to nothing, for what differs from voxel to voxel. The middle between what the
    slowest and the fastest mode would have is off by a quarter of what a step exchanges at most, by half as much as
    equal parts; where a step is short those two agree, and w is a half.

    Args:
        fastest: the rate of the fastest mode times the step.
    """
    own = 0.5 - fastest / 12 if fastest < 0.01 else 1.0 / fastest - 1.0 / np.expm1(min(fastest, 500.0))
    return 0.5 * (0.5 + float(own))


def mend(u: Array, least: float) -> None:
    """Takes the last digits of an approximation below zero from all the rest in proportion, in place.

    A field that was not negative may have become so by the error of `Lines`; its total stays. Values further below
    zero are left: they were there before.

    Args:
        least: of u.
    """
    if least < 0.0 and least > -_LEAST * float(u.max()):
        total = float(np.sum(u))
        np.maximum(u, 0.0, out=u)
        u *= total / float(np.sum(u))


def multiply(matrices: Sequence[Array], u: Array) -> None:
    """u (nz, ny, nx) becomes (X ⊗ Y ⊗ Z) u in place, given the matrices along x, y and z."""
    nz, ny, nx = u.shape
    x, y, z = matrices
    scratch = np.empty_like(u)
    with threads_for(u.size * (nx + ny + nz), each=500_000):
        rows, layers = (nz * ny, nx), (1, nz, ny * nx)
        along_rows(nz * ny, u.reshape(rows), np.ascontiguousarray(x.T), scratch.reshape(rows))
        along_axis(nz * ny, scratch, np.ascontiguousarray(y), u)
        if nz > 1:
            along_axis(nz, u.reshape(layers), np.ascontiguousarray(z), scratch.reshape(layers))
            u[...] = scratch


def _exponential(values: Array, vectors: Array, dt: float) -> Array:
    """exp(dt A) of a symmetric A with no negative entry off its diagonal: symmetric and not negative.

    Where nothing is lost rows sum to one; the diagonal takes up the rounding so that they do to the last
    digit.
    """
    out = (vectors * np.exp(dt * values)) @ vectors.T
    out = np.maximum(0.5 * (out + out.T), 0.0)
    if values[-1] == 0.0:
        out[np.diag_indices_from(out)] -= out.sum(axis=1) - 1.0
    return out
