"""A substance that is carried along by a flow of one speed and direction.

Along each axis in turn: what passes a face is what lies upstream of it, sharpened as far as no new extremes arise (Lax
and Wendroff's flux under van Leer's limiter: Sweby, SIAM J. Numer. Anal. 21, 995, 1984). Amounts are kept to rounding,
positive values stay positive, smooth fields are carried to second order.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mechanistic.fields._grid import Boundary, Face, Grid, Inflow, Permeable

Array = NDArray[np.float64]


def advect(
    u: Array, grid: Grid, velocity: tuple[float, float, float], dt: float, boundary: Boundary
) -> Array:
    """Carries u (nz, ny, nx) along for dt [min], in place, and returns it.

    Args:
        velocity: along x, y, z [um/min].
        boundary: a face of fixed value, or a permeable one, brings what lies beyond where the flow enters; there, and
            at a face with an inflow of its own, the flow leaves freely. A closed face stops it.

    Raises:
        ValueError: for a velocity that is not finite.
    """
    if not np.all(np.isfinite(velocity)):
        raise ValueError(f"velocity must be finite (got {velocity})")
    for axis, speed in enumerate(velocity):
        n = grid.shape[2 - axis]
        if speed == 0.0 or (n == 1 and axis == 2 and grid.dims == 2):
            continue
        steps = max(1, int(np.ceil(abs(speed) * dt / grid.spacing - 1e-12)))
        lines = np.moveaxis(u, 2 - axis, 0)
        if speed < 0:
            lines = lines[::-1]  # the flow then goes up
        ends = boundary.of_axis(axis)
        entry, exit_ = ends if speed > 0 else ends[::-1]
        for _ in range(steps):
            lines += _moved(lines, abs(speed) * dt / steps / grid.spacing, entry, exit_)
    return u


def _moved(u: Array, courant: float, entry: Face, exit_: Face) -> Array:
    """What a flow up the first axis of u (n, ...) changes in a step of `courant` voxels, at most one."""
    n, periodic = len(u), entry == "periodic"
    if periodic:
        padded = np.concatenate([u[-2:], u, u[:1]]) if n > 1 else np.concatenate([u, u, u, u])
    else:
        beyond = np.full_like(u[:1], _beyond(entry))
        padded = np.concatenate([beyond, beyond, u, u[-1:]])
    # face f lies between padded[f + 1], upstream of it, and padded[f + 2]
    jump = padded[2:] - padded[1:-1]
    before = padded[1:-1] - padded[:-2]
    same = jump * before > 0
    limited = np.where(same, 2.0 * jump * before / np.where(same, jump + before, 1.0), 0.0)
    flux = courant * (padded[1:-1] + 0.5 * (1.0 - courant) * limited)
    if entry == "no_flux":
        flux[0] = 0.0
    if exit_ == "no_flux":
        flux[-1] = 0.0
    if not periodic and not isinstance(entry, str):
        flux[0] = courant * _beyond(entry)
    return flux[:-1] - flux[1:]


def _beyond(face: Face) -> float:
    """The value of what enters through a face."""
    if isinstance(face, Permeable):
        return face.outside
    return 0.0 if isinstance(face, (str, Inflow)) else float(face)
