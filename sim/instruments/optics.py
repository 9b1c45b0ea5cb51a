"""From light in the tissue to counts in the camera: the point spread, photons, electrons, counts.

The image of a point is the Airy pattern. Its central disc, which holds 84 % of the light, is well drawn by a
Gaussian; the least-squares fit of its peak is sd = 0.21 wavelength / NA (Zhang, Zerubia and Olivo-Marin 2007,
doi:10.1364/AO.46.001819). The rings are left out. Out of focus by z, rays fill a cone of half angle
asin(NA / n), whose cross-section, a disc of radius R = z tan(angle), has the variance R²/4 along each axis; the
variances add. Total light is kept.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

#: sd of the Gaussian that fits the Airy pattern best, times NA / wavelength
AIRY = 0.21


@dataclass(frozen=True)
class Objective:
    """NA, magnification and the refractive index between lens and tissue."""

    na: float
    magnification: float
    index: float = 1.0

    def width(self, wavelength: float, defocus: float = 0.0) -> float:
        """Standard deviation of a point's image along x or y, in the tissue [um].

        Args:
            wavelength: of the emitted light [um].
            defocus: distance from the plane in focus [um].
        """
        cone = self.na / np.sqrt(self.index**2 - self.na**2)
        return float(np.hypot(AIRY * wavelength / self.na, 0.5 * defocus * cone))

    def depth_of_field(self, wavelength: float) -> float:
        """Height within which a point is as sharp as in focus [um]: n wavelength / NA²."""
        return self.index * wavelength / self.na**2


@dataclass(frozen=True)
class Camera:
    """Photons to electrons (with shot noise) to counts.

    Attributes:
        pixel: edge of a pixel on the chip, binning included [um].
        efficiency: electrons per photon.
        dark: electrons per pixel and exposure without light.
        read_noise: standard deviation of what reading out adds [electrons].
        gain: counts per electron; offset: counts of zero electrons.
        full_well: electrons that a pixel can hold.
        bits: counts end at 2^bits - 1.
    """

    pixel: float
    efficiency: float = 1.0
    dark: float = 0.0
    read_noise: float = 0.0
    gain: float = 1.0
    offset: float = 0.0
    full_well: float = float("inf")
    bits: int = 16

    def counts(self, photons: np.ndarray, keys: tuple[np.uint64, np.uint64], exposure: int) -> np.ndarray:
        """Counts, uint16, of one exposure to `photons` expected in each pixel.

        Args:
            keys: of the streams for shot noise and for read noise; a pixel's number is its place in the image.
            exposure: which exposure this is; each has its own noise.
        """
        from mechanistic.random import normals
        from sim.instruments.photons import poisson

        expected = self.efficiency * np.asarray(photons, float) + self.dark
        pixels = np.arange(expected.size)
        electrons = poisson(keys[0], exposure, pixels, expected.ravel())
        electrons = np.minimum(electrons, self.full_well)
        if self.read_noise > 0:
            electrons += self.read_noise * normals(keys[1], exposure, pixels, 1)[:, 0]
        counts = np.rint(self.offset + self.gain * electrons)
        return np.clip(counts, 0, 2**self.bits - 1).astype(np.uint16).reshape(expected.shape)


def transfer(width: float, step: float, count: int) -> np.ndarray:
    """What the blur of standard deviation `width` does to each frequency of `count` samples `step` apart.

    The kernel is the Gaussian integrated over each sample, so it is right for any width, is nowhere negative,
    keeps the total, and is the sample itself where the width is 0. It goes round.

    Returns:
        (count // 2 + 1,) real factors of the transform of real samples.
    """
    from scipy.fft import rfft
    from scipy.special import erf

    if width == 0:
        return np.ones(count // 2 + 1)
    away = np.minimum(np.arange(count), count - np.arange(count))
    edges = (np.stack([away - 0.5, away + 0.5]) * step) / (np.sqrt(2) * width)
    kernel = erf(edges[1]) - erf(edges[0])
    return np.asarray(rfft(kernel / kernel.sum())).real


def fast_length(count: int) -> int:
    """The least number from `count` on whose transform is fast."""
    from scipy import fft

    return int(getattr(fft, "next_fast_len")(count, real=True))  # noqa: B009  (scipy gives no types here)


def blurred(layers: Iterable[tuple[np.ndarray, float]], shape: tuple[int, int], step: float) -> np.ndarray:
    """The sum of layers of light (y, x) of this shape, each blurred by its standard deviation [um].

    The sum is made of their transforms, so that only one is turned back. The raster goes round.
    """
    from scipy.fft import irfft2, rfft2

    total = np.zeros((shape[0], shape[1] // 2 + 1), complex)
    from_zero = np.minimum(np.arange(shape[0]), shape[0] - np.arange(shape[0]))
    for light, width in layers:
        if light.any():
            along_y = transfer(width, step, shape[0])[from_zero]
            total += np.asarray(rfft2(light)) * along_y[:, None] * transfer(width, step, shape[1])
    # where it is dark the transform leaves rounding of either sign
    return np.maximum(np.asarray(irfft2(total, s=shape)), 0.0)
