"""The modes of diffusion on a large box by fast cosine, sine and Fourier transforms.

A face halfway between voxels that lets nothing through mirrors the field, one held at zero mirrors it with the other
sign; so the modes along an axis are cosines or sines, of whole or half waves (discrete transforms of types II and IV:
Strang, SIAM Review 41, 135, 1999). A permeable face lies between the two and is taken for the nearer one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from mechanistic._spreading import Axis
from mechanistic.jit import threads

Array = NDArray[np.float64]


class FastModes:
    """(shift − A)⁻¹ for the operator A of a box given along x, y and z, but for permeable faces."""

    def __init__(self, axes: Sequence[Axis]):
        self._real: list[tuple[int, str, int]] = []  # place, cosine or sine, type
        self._periodic: list[int] = []
        values: list[Array] = []
        for place, axis in ((2 - k, axis) for k, axis in enumerate(axes)):
            if axis.periodic:
                self._periodic.insert(0, place)
                waves = np.arange(axis.n)
            else:
                low, high = axis.low > axis.inside, axis.high > axis.inside
                half = 0.5 if low != high else 0.0
                self._real.append((place, "sine" if low else "cosine", 4 if half else 2))
                waves = 0.5 * (np.arange(axis.n) + (half or (1.0 if low else 0.0)))
            values.append(-2.0 * axis.inside * (1.0 - np.cos(2.0 * np.pi * waves / axis.n)))
        x, y, z = values
        self._values = x[None, None, :] + y[None, :, None] + z[:, None, None]
        if self._periodic:
            self._shape = [self._values.shape[place] for place in self._periodic]
            last = self._periodic[-1]
            self._values = self._values.take(range(self._shape[-1] // 2 + 1), axis=last)

    def inverse(self, u: NDArray, shift: float) -> NDArray:
        """(shift − A)⁻¹ u, in the precision of u."""
        workers = threads() if u.size > 50_000 else 1
        out: Any = u
        for place, kind, number in self._real:
            transform = fft.dct if kind == "cosine" else fft.dst
            out = transform(out, type=number, axis=place, norm="ortho", workers=workers)
        if self._periodic:
            out = fft.rfftn(out, axes=self._periodic, workers=workers)
        out = out / (shift - self._values).astype(u.dtype)
        if self._periodic:
            out = fft.irfftn(out, s=self._shape, axes=self._periodic, workers=workers)
        for place, kind, number in self._real:
            transform = fft.idct if kind == "cosine" else fft.idst
            out = transform(out, type=number, axis=place, norm="ortho", workers=workers)
        return out
