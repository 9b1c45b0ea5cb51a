"""How much of the plane the cells cover."""

from __future__ import annotations

import numpy as np

from mechanistic.codegen.loops import compiled

#: edge of a pixel [um]; a disc of radius 8 um then has about 800 pixels and is right to 1 %
PIXEL = 0.5


def covered_share(
    positions: np.ndarray, radii: np.ndarray, lower: np.ndarray, upper: np.ndarray, periodic: bool
) -> float:
    """Share of the (x, y) rectangle covered by the union of discs.

    Args:
        positions: (n, 3) [um]; radii: (n,) [um]; lower, upper: (3,) corners [um].
        periodic: discs that leave the rectangle come in on the other side.

    Returns:
        Between 0 and 1, exact up to the pixel of 0.5 um.
    """
    shape = np.maximum(np.ceil((upper[:2] - lower[:2]) / PIXEL), 1).astype(np.int64)
    painted = np.zeros((shape[0], shape[1]), dtype=np.bool_)
    _paint(painted, np.ascontiguousarray(positions), np.ascontiguousarray(radii), lower, periodic)
    return float(painted.mean())


@compiled
def _paint(painted, positions, radii, lower, periodic):
    nx, ny = painted.shape
    for i in range(positions.shape[0]):
        x = (positions[i, 0] - lower[0]) / PIXEL
        y = (positions[i, 1] - lower[1]) / PIXEL
        r = radii[i] / PIXEL
        for a in range(int(np.floor(x - r)), int(np.ceil(x + r)) + 1):
            if not periodic and (a < 0 or a >= nx):
                continue
            across, column = _square(a + 0.5 - x), painted[_within(a, nx)]
            for b in range(int(np.floor(y - r)), int(np.ceil(y + r)) + 1):
                if not periodic and (b < 0 or b >= ny):
                    continue
                if across + _square(b + 0.5 - y) <= r * r:
                    column[_within(b, ny)] = True


def _square(x):
    return x * x


def _within(a, count):
    """a mod count, which is not negative."""
    return a if 0 <= a < count else a - count * int(np.floor(a / count))
