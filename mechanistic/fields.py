"""Substances that diffuse, decay, and pass in and out of cells, on a box of equal voxels.

A field is an array u (nz, ny, nx) of voxel means in the field's own unit; a 2-D field has nz = 1. A voxel's
amount is its value times `Grid.voxel_volume` [value·um^3]. Time is in minutes and length in um.

Space is discretised by finite volumes (second order, exact in mass). Time is not: the operators of the three
axes commute on a box, so exp(t(Ax + Ay + Az − decay)) is the product of one exponential per axis, each
computed once per step size. Those exponentials have no negative entry and columns that sum to one, hence any
step is stable, keeps positive values positive and keeps mass (Dirichlet faces and decay aside).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mechanistic._exchange import exchange, membrane_exchange
from mechanistic._fields_kernels import along_axis, along_rows

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
FACES = ("x_min", "x_max", "y_min", "y_max", "z_min", "z_max")
_KEPT_STEP_SIZES = 8


@dataclass(frozen=True)
class Grid:
    """A box of cubic voxels.

    Attributes:
        origin: the lower corner (x, y, z) [um].
        spacing: edge of a voxel [um].
        shape: voxels along (z, y, x); nz = 1 in two dimensions.
    """

    origin: tuple[float, float, float]
    spacing: float
    shape: tuple[int, int, int]

    def __post_init__(self) -> None:
        if len(self.shape) != 3 or min(self.shape) < 1:
            raise ValueError(f"shape must be three positive counts (nz, ny, nx) (got {self.shape})")
        if not (np.isfinite(self.spacing) and self.spacing > 0):
            raise ValueError(f"spacing must be positive (got {self.spacing})")
        if len(self.origin) != 3 or not np.all(np.isfinite(self.origin)):
            raise ValueError(f"origin must be three finite coordinates (got {self.origin})")

    @property
    def dims(self) -> int:
        """2 where there is one layer, else 3."""
        return 2 if self.shape[0] == 1 else 3

    @property
    def size(self) -> int:
        """Number of voxels."""
        return self.shape[0] * self.shape[1] * self.shape[2]

    @property
    def voxel_volume(self) -> float:
        """Volume of one voxel [um^3]; a 2-D layer is one voxel thick."""
        return float(self.spacing) ** 3

    def centres(self, axis: int) -> Array:
        """Centres of the voxels along an axis (0 = x, 1 = y, 2 = z) [um], shape (shape[2 - axis],)."""
        index = np.arange(self.shape[2 - axis], dtype=np.float64)
        return self.origin[axis] + self.spacing * (index + 0.5)

    def voxel_of(self, positions: ArrayLike) -> NDArray[np.int64]:
        """Flat index (into u.ravel()) of the voxel that holds each of the positions (n, 3) [um], shape (n,).

        Positions outside the box belong to the nearest voxel.
        """
        scaled = (np.asarray(positions, dtype=np.float64).reshape(-1, 3) - self.origin) / self.spacing
        last = np.array([self.shape[2], self.shape[1], self.shape[0]]) - 1
        if self.shape[0] == 1:
            scaled[:, 2] = 0.0
        ix, iy, iz = np.clip(np.floor(scaled), 0, last).astype(np.int64).T
        return (iz * self.shape[1] + iy) * self.shape[2] + ix


@dataclass(frozen=True)
class Boundary:
    """What happens at the faces of the box: each is "no_flux", "periodic", or a fixed value at the face
    itself.

    Periodic faces come in pairs. A face of a 2-D field's third axis is ignored.
    """

    x_min: float | Literal["no_flux", "periodic"] = "no_flux"
    x_max: float | Literal["no_flux", "periodic"] = "no_flux"
    y_min: float | Literal["no_flux", "periodic"] = "no_flux"
    y_max: float | Literal["no_flux", "periodic"] = "no_flux"
    z_min: float | Literal["no_flux", "periodic"] = "no_flux"
    z_max: float | Literal["no_flux", "periodic"] = "no_flux"

    def __post_init__(self) -> None:
        for face in FACES:
            value = getattr(self, face)
            if isinstance(value, str):
                if value not in ("no_flux", "periodic"):
                    raise ValueError(f"{face}: no_flux, periodic or a number (got {value!r})")
            elif not np.isfinite(value):
                raise ValueError(f"{face}: the value must be finite (got {value})")
        for axis in "xyz":
            pair = {getattr(self, f"{axis}_min"), getattr(self, f"{axis}_max")}
            if "periodic" in pair and len(pair) > 1:
                raise ValueError(
                    f"{axis}: periodic faces come in pairs (got {axis}_min and {axis}_max that differ)"
                )

    @classmethod
    def everywhere(cls, value: float | Literal["no_flux", "periodic"]) -> Boundary:
        """The same at all faces."""
        return cls(value, value, value, value, value, value)

    def of_axis(self, axis: int) -> tuple[float | str, float | str]:
        """The lower and upper face of axis 0 = x, 1 = y or 2 = z."""
        return getattr(self, FACES[2 * axis]), getattr(self, FACES[2 * axis + 1])


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

    def step(self, u: Array, dt: float) -> Array:
        """Advances u (nz, ny, nx) by dt [min], in place, and returns it."""
        self._check(u)
        factors, gain = self._propagator(float(dt))
        self._apply(factors, u)
        u *= np.exp(-self.decay * dt)
        if gain is not None:
            u += gain
        return u

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
        """u becomes (Mx ⊗ My ⊗ Mz) u. Each matrix is given transposed for x; 1 × 1 matrices of ones are
        skipped."""
        nz, ny, nx = u.shape
        x, y, z = matrices
        scratch = self._scratch
        along_rows(u.reshape(nz * ny, nx), np.ascontiguousarray(x.T), scratch.reshape(nz * ny, nx))
        along_axis(scratch, np.ascontiguousarray(y), u)
        if nz > 1:
            along_axis(u.reshape(1, nz, ny * nx), np.ascontiguousarray(z), scratch.reshape(1, nz, ny * nx))
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


def sample(u: Array, voxel: NDArray[np.int64]) -> Array:
    """The value of the field in each of the voxels (n,), from `Grid.voxel_of`."""
    return u.reshape(-1)[voxel]


def gradient(u: Array, grid: Grid, positions: ArrayLike, periodic: bool = False) -> Array:
    """Central differences of u at the voxel of each position (n, 3): (n, 3) [value/um], one-sided at
    faces."""
    voxel = grid.voxel_of(positions)
    flat = u.reshape(-1)
    out = np.zeros((voxel.size, 3))
    nz, ny, nx = grid.shape
    stride = 1
    for axis, n in enumerate((nx, ny, nz)):
        if n > 1:
            i = (voxel // stride) % n
            if periodic:
                ahead, behind = np.where(i == n - 1, 1 - n, 1), np.where(i == 0, n - 1, -1)
                width = np.full(i.size, 2.0)
            else:
                ahead, behind = np.where(i == n - 1, 0, 1), np.where(i == 0, 0, -1)
                width = (ahead - behind).astype(np.float64)
            out[:, axis] = (flat[voxel + ahead * stride] - flat[voxel + behind * stride]) / (
                width * grid.spacing
            )
        stride *= n
    return out


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
