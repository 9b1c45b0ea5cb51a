"""The box of voxels that fields live on, its faces, and how fields are read at positions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
FACES = ("x_min", "x_max", "y_min", "y_max", "z_min", "z_max")


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
class Permeable:
    """A face that lets through in proportion to the difference (Robin): flow = permeability (outside − value).

    Attributes:
        permeability: [um/min], not negative.
        outside: what lies beyond [value].
    """

    permeability: float
    outside: float = 0.0

    def __post_init__(self) -> None:
        if not (np.isfinite(self.permeability) and self.permeability >= 0):
            raise ValueError(f"permeability must be finite and not negative (got {self.permeability})")
        if not np.isfinite(self.outside):
            raise ValueError(f"outside must be finite (got {self.outside})")


@dataclass(frozen=True)
class Inflow:
    """A face through which a fixed flow comes (Neumann); negative: leaves.

    Attributes:
        flow: [value um/min], amount per area and time.
    """

    flow: float

    def __post_init__(self) -> None:
        if not np.isfinite(self.flow):
            raise ValueError(f"flow must be finite (got {self.flow})")


Face = float | str | Permeable | Inflow  # a word is "no_flux" or "periodic"


def face_exchange(face: Face, diffusion: float, spacing: float) -> tuple[float, float]:
    """What a face does to the voxel behind it: du/dt = gain − conductance u; (conductance, gain) per minute.

    The face is half a voxel away from the voxel's centre.
    """
    half = 2.0 * diffusion / spacing**2
    if isinstance(face, Inflow):
        return 0.0, face.flow / spacing
    if isinstance(face, Permeable):
        through = face.permeability / spacing
        conductance = half * through / (half + through) if through > 0 else 0.0
        return conductance, conductance * face.outside
    return (0.0, 0.0) if isinstance(face, str) else (half, half * face)


@dataclass(frozen=True)
class Boundary:
    """What happens at the faces of the box.

    Each is "no_flux", "periodic", a fixed value at the face itself, `Permeable` or `Inflow`. Periodic faces come in
    pairs. A face of a 2-D field's third axis is ignored.
    """

    x_min: Face = "no_flux"
    x_max: Face = "no_flux"
    y_min: Face = "no_flux"
    y_max: Face = "no_flux"
    z_min: Face = "no_flux"
    z_max: Face = "no_flux"

    def __post_init__(self) -> None:
        for face in FACES:
            value = getattr(self, face)
            if isinstance(value, (Permeable, Inflow)):
                continue
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
    def everywhere(cls, value: Face) -> Boundary:
        """The same at all faces."""
        return cls(value, value, value, value, value, value)

    def of_axis(self, axis: int) -> tuple[Face, Face]:
        """The lower and upper face of axis 0 = x, 1 = y or 2 = z."""
        return getattr(self, FACES[2 * axis]), getattr(self, FACES[2 * axis + 1])


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
