"""Substances that diffuse, decay, and pass in and out of cells, on a box of equal voxels.

A field is an array u (nz, ny, nx) of voxel means in the field's own unit; a 2-D field has nz = 1. A voxel's
amount is its value times `Grid.voxel_volume` [value·um^3]. Time is in minutes and length in um.

Space is discretised by finite volumes (second order, exact in mass). Time is not: the operators of the three
axes commute on a box, so exp(t(Ax + Ay + Az − decay)) is the product of one exponential per axis, each
computed once per step size. Those exponentials have no negative entry and columns that sum to one, hence any
step is stable, keeps positive values positive and keeps mass (Dirichlet faces and decay aside).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mechanistic._exchange import book, exchange, exchange_rates, membrane_exchange, relax
from mechanistic._fields_kernels import along_axis, along_rows
from mechanistic._grid import FACES, Boundary, Grid, gradient, sample
from mechanistic.jit import threads_for

__all__ = [
    "FACES",
    "Boundary",
    "DiffusionSolver",
    "Grid",
    "exchange",
    "gradient",
    "membrane_exchange",
    "sample",
]

Array = NDArray[np.float64]
_KEPT_STEP_SIZES = 16
_LITTLE_EXCHANGE = 0.02  # in a step: exchange and diffusion in turn are then right to 1e-4
_SHORTEST_SUBSTEP = 2.0**-12  # of a step


class DiffusionSolver:
    """du/dt = diffusion ∇²u − decay u with the boundary, on a grid: exact in time, second order in space.

    Args:
        grid: the voxels.
        diffusion: [um^2/min], not negative.
        decay: [1/min], not negative.
        boundary: the faces; no flux by default.

    Raises:
        ValueError: for a negative or infinite coefficient.
    """

    def __init__(self, grid: Grid, diffusion: float, decay: float = 0.0, boundary: Boundary | None = None):
        for name, value in (("diffusion", diffusion), ("decay", decay)):
            if not (np.isfinite(value) and value >= 0):
                raise ValueError(f"{name} must be finite and not negative (got {value})")
        self.grid = grid
        self.diffusion = float(diffusion)
        self.decay = float(decay)
        self.boundary = boundary or Boundary()
        self._inflow = np.zeros(grid.shape)
        self._modes: list[tuple[Array, Array]] = []
        for axis in range(3):
            matrix, inflow = self._operator(axis)
            self._modes.append(_symmetric_modes(matrix, conserves=not self._has_fixed_face(axis)))
            shape = [1, 1, 1]
            shape[2 - axis] = grid.shape[2 - axis]
            self._inflow += inflow.reshape(shape)
        x, y, z = (values for values, _ in self._modes)
        self._eigenvalues = x[None, None, :] + y[None, :, None] + z[:, None, None]
        self._scratch = np.empty(grid.shape)
        self._resting = self._rest() if self._inflow.any() else None
        self._propagators: dict[float, tuple[list[Array], Array | None]] = {}

    def step(self, u: Array, dt: float, source: Array | None = None) -> Array:
        """Advances u (nz, ny, nx) by dt [min], in place, and returns it.

        Args:
            dt: [min], not negative.
            source: [value/min], shape of u, constant during dt and solved together with diffusion: sources at
                fixed faces then keep second order, which they lose when they are added before or after a
                step.
        """
        self._check(u)
        if source is not None:
            return self._step_with_source(u, float(dt), source)
        factors, gain = self._propagator(float(dt))
        self._apply(factors, u)
        u *= np.exp(-self.decay * dt)
        if gain is not None:
            u += gain
        return u

    def _step_with_source(self, u: Array, dt: float, source: Array) -> Array:
        """Every mode of rate m by itself: e^−m dt of what was there and (1 − e^−m dt)/m of what comes."""
        if not (np.isfinite(dt) and dt >= 0):
            raise ValueError(f"dt must be finite and not negative (got {dt})")
        into = [vectors.T for _, vectors in self._modes]
        coming = self._inflow + source
        self._apply(into, u)
        self._apply(into, coming)
        exponent = (self._eigenvalues - self.decay) * dt
        u *= np.exp(exponent)
        u += (
            coming
            * dt
            * np.where(exponent == 0, 1.0, np.expm1(exponent) / np.where(exponent == 0, 1.0, exponent))
        )
        self._apply([vectors for _, vectors in self._modes], u)
        return u

    def step_with_cells(
        self,
        u: Array,
        voxel: NDArray[np.int64],
        volume: Array,
        secretion: Array,
        saturation: Array,
        uptake: Array,
        dt: float,
        internal: Array,
    ) -> Array:
        """Diffusion, decay and the `exchange` of cells together for dt, in place; returns u. Second order in
        dt.

        Taken in turn, an uptake that is fast beside dt empties a voxel before diffusion fills it again. Here
        the field is split into the steady field of the cells as they are, which is solved for as a whole, and
        the distance from it, which alone is advanced in turns: a steady field stays as it is whatever dt, and
            the error
        of a fast field vanishes with its distance from the steady one. Amounts are kept as by `exchange`,
        whose arguments these are.
        """
        self._check(u)
        cells = (voxel, volume, secretion, saturation, uptake)
        rate, gain = exchange_rates(u.size, *cells, self.grid.voxel_volume)
        most = float(rate.max()) * dt
        if most <= _LITTLE_EXCHANGE:
            half = 0.5 * float(dt)
            seen = relax(u, rate, gain, half)
            self.step(u, dt)
            seen += relax(u, rate, gain, half)
        else:
            steady = self.steady(u.copy(), gain.reshape(u.shape), rate.reshape(u.shape), 1e-12)
            unbalanced = self._inflow + gain.reshape(u.shape) + self._laplacian(steady)
            unbalanced -= (self.decay + rate.reshape(u.shape)) * steady
            seen = steady.reshape(-1) * dt
            u -= steady
            scale = max(float(steady.max()), float(np.abs(u).max()))
            seen += self._return(u, rate, float(dt), scale)
            u += steady
            u += unbalanced * dt  # the solver's last digits, so that amounts balance
            u[(u < 0) & (u > -1e-12 * steady.max())] = 0.0
        book(internal, seen, *cells, float(dt))
        return u

    def _return(self, u: Array, rate: Array, dt: float, scale: float) -> Array:
        """The distance u from a steady field dies out for dt, in place; returns its integral (voxels,).

        Cells draw and the field spreads in turn. A substep with exchange x is wrong by about x² |u|/12: they
        are chosen, among halves of halves of dt, to keep that below a thousandth of the field's scale.
        """
        nothing, seen, before, left = np.zeros_like(rate), np.zeros_like(rate), 0.0, 1.0
        most = float(rate.max()) * dt
        while left > 0:
            allowed = np.sqrt(0.01 * scale / max(float(np.abs(u).max()), 1e-9 * scale, 1e-300)) / most
            part = min(2.0 ** np.floor(np.log2(max(allowed, _SHORTEST_SUBSTEP))), left)
            h = part * dt
            seen += relax(u, rate, nothing, 0.5 * (before + h))
            self._apply(self._propagator(h)[0], u)
            u *= np.exp(-self.decay * h)
            before, left = h, left - part
        seen += relax(u, rate, nothing, 0.5 * before)
        return seen

    def steady(
        self,
        u: Array,
        source: Array | float = 0.0,
        uptake: Array | float = 0.0,
        tolerance: float = 1e-10,
    ) -> Array:
        """Solves diffusion ∇²u − (decay + uptake) u + source = 0 for u, in place, and returns it.

        Conjugate gradients, preconditioned by the exact inverse for the mean uptake. The start is what u
        holds.

        Args:
            source: [value/min], shape of u or a number.
            uptake: [1/min], not negative, shape of u or a number.
            tolerance: largest residual, relative to the right-hand side (2-norm).

        Raises:
            ValueError: where no steady state exists or is unique: nothing is lost by decay, uptake or fixed
                faces.
            RuntimeError: if the tolerance is not reached.
        """
        self._check(u)
        uptake = np.broadcast_to(np.asarray(uptake, dtype=np.float64), u.shape)
        if uptake.min() < 0:
            raise ValueError(f"uptake must not be negative (got {uptake.min()})")
        right = self._inflow + source
        loss = self.decay + uptake
        shift = float(loss.mean())
        if shift - self._eigenvalues.max() <= 1e-14 * max(1.0, -self._eigenvalues.min()):
            raise ValueError("no steady state: the field has neither decay, uptake nor a face of fixed value")
        if not right.any():
            u.fill(0.0)  # nothing comes in, and a relative residual of nothing has no meaning
            return u
        residual = right - loss * u + self._laplacian(u)
        limit = tolerance * np.sqrt(_dot(right, right)) + 1e-300
        direction, before = np.zeros_like(u), 1.0
        for _ in range(500):
            if np.sqrt(_dot(residual, residual)) <= limit:
                break
            ahead = self._inverse(residual, shift)
            now = _dot(residual, ahead)
            direction *= now / before
            direction += ahead
            image = loss * direction - self._laplacian(direction)
            length = now / _dot(direction, image)
            u += length * direction
            residual -= length * image
            before = now
        else:
            raise RuntimeError(f"the steady field was not found to {tolerance:g} in 500 iterations")
        if right.min() >= 0:
            np.maximum(u, 0.0, out=u)  # the solution is not negative; the last digits of an iterate may be
        return u

    def _operator(self, axis: int) -> tuple[Array, Array]:
        """The matrix of diffusion along one axis, symmetric (n, n) [1/min], and what fixed faces bring
        (n,)."""
        n = self.grid.shape[2 - axis]
        matrix, inflow = np.zeros((n, n)), np.zeros(n)
        if axis == 2 and self.grid.dims == 2:
            return matrix, inflow
        rate = self.diffusion / self.grid.spacing**2
        for i in range(n - 1):
            matrix[i, i] -= rate
            matrix[i + 1, i + 1] -= rate
            matrix[i, i + 1] += rate
            matrix[i + 1, i] += rate
        for face, i in zip(self.boundary.of_axis(axis), (0, n - 1)):
            if face == "periodic" and i == 0 and n > 1:
                matrix[0, 0] -= rate
                matrix[-1, -1] -= rate
                matrix[0, -1] += rate
                matrix[-1, 0] += rate
            elif not isinstance(face, str):
                matrix[i, i] -= 2 * rate  # the face is half a voxel away from the centre
                inflow[i] += 2 * rate * face
        return matrix, inflow

    def _has_fixed_face(self, axis: int) -> bool:
        used = axis < self.grid.dims
        return used and any(not isinstance(face, str) for face in self.boundary.of_axis(axis))

    def _propagator(self, dt: float) -> tuple[list[Array], Array | None]:
        """Per axis exp(dt A), and what the fixed faces add in dt; kept for the last few step sizes."""
        if not (np.isfinite(dt) and dt >= 0):
            raise ValueError(f"dt must be finite and not negative (got {dt})")
        if dt not in self._propagators:
            factors = [_exponential(values, vectors, dt) for values, vectors in self._modes]
            gain = None
            if self._resting is not None:
                gone = self._resting.copy()
                self._apply(factors, gone)
                gain = np.maximum(
                    self._resting - gone * np.exp(-self.decay * dt), np.minimum(self._resting, 0.0)
                )
            while len(self._propagators) >= _KEPT_STEP_SIZES:
                self._propagators.pop(next(iter(self._propagators)))
            self._propagators[dt] = (factors, gain)
        return self._propagators[dt]

    def _apply(self, matrices: list[Array], u: Array) -> None:
        """u becomes (X ⊗ Y ⊗ Z) u, given the matrices along x, y and z."""
        nz, ny, nx = u.shape
        x, y, z = matrices
        scratch = self._scratch
        with threads_for(u.size * (nx + ny + nz), each=500_000):
            along_rows(u.reshape(nz * ny, nx), np.ascontiguousarray(x.T), scratch.reshape(nz * ny, nx))
            along_axis(scratch, np.ascontiguousarray(y), u)
            if nz > 1:
                along_axis(
                    u.reshape(1, nz, ny * nx), np.ascontiguousarray(z), scratch.reshape(1, nz, ny * nx)
                )
                u[...] = scratch

    def _inverse(self, u: Array, shift: float) -> Array:
        """(shift − A)⁻¹ u by the modes of the three axes (fast diagonalisation)."""
        out = u.copy()
        self._apply([vectors.T for _, vectors in self._modes], out)
        out /= shift - self._eigenvalues
        self._apply([vectors for _, vectors in self._modes], out)
        return out

    def _rest(self) -> Array:
        """The steady field without cells."""
        return self._inverse(self._inflow, self.decay)

    def _laplacian(self, u: Array) -> Array:
        """A u: diffusion with homogeneous faces."""
        out = np.zeros_like(u)
        rate = self.diffusion / self.grid.spacing**2
        for axis in range(self.grid.dims):
            v, w = np.moveaxis(u, 2 - axis, 0), np.moveaxis(out, 2 - axis, 0)
            flow = rate * (v[1:] - v[:-1])
            w[:-1] += flow
            w[1:] -= flow
            low, high = self.boundary.of_axis(axis)
            if low == "periodic":
                around = rate * (v[0] - v[-1])
                w[-1] += around
                w[0] -= around
            if not isinstance(low, str):
                w[0] -= 2 * rate * v[0]
            if not isinstance(high, str):
                w[-1] -= 2 * rate * v[-1]
        return out

    def _check(self, u: Array) -> None:
        if u.shape != self.grid.shape or u.dtype != np.float64 or not u.flags.c_contiguous:
            raise ValueError(
                f"a field must be a C-contiguous float64 array of shape {self.grid.shape} "
                f"(got {u.shape}, {u.dtype})"
            )


def _symmetric_modes(matrix: Array, conserves: bool) -> tuple[Array, Array]:
    """Eigenvalues (n,), none above zero, and orthonormal vectors (n, n) in columns.

    Where nothing is lost the slowest mode is the mean, which stays: put in exactly, it keeps mass to the last
        digit.
    """
    values, vectors = np.linalg.eigh(matrix)
    if conserves and matrix.any():
        values[-1], vectors[:, -1] = 0.0, len(values) ** -0.5
    return np.minimum(values, 0.0), vectors


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


def _dot(a: Array, b: Array) -> float:
    """Σ a b in one fixed order."""
    return float(np.sum(a * b))
