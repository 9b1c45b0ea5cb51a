"""From light in the tissue to counts in the camera: the point spread, photons, electrons, counts.

The image of a point in focus is the Airy pattern, here by its closed form in frequencies, the overlap of two discs
(Goodman, Introduction to Fourier Optics, 2005, section 6.3). Out of focus by z, rays fill a cone of half angle
asin(NA / n), whose cross-section, a disc of radius R = z tan(angle), has the variance R²/4 along each axis; it is drawn
as a Gaussian of this variance, with which the Airy pattern is blurred. Total light is kept.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

#: sd of the Gaussian that fits the peak of the Airy pattern best, times NA / wavelength (Zhang, Zerubia and
#: Olivo-Marin 2007, doi:10.1364/AO.46.001819)
AIRY = 0.21


@dataclass(frozen=True)
class Objective:
    """NA, magnification and the refractive index between lens and tissue."""

    na: float
    magnification: float
    index: float = 1.0

    def cutoff(self, wavelength: float) -> float:
        """Frequency from which on nothing passes [1/um]; wavelength of the emitted light [um]."""
        return 2 * self.na / wavelength

    def spread(self, defocus: float) -> float:
        """Standard deviation along x or y of the cone of rays at a distance from the plane in focus, both [um]."""
        return float(0.5 * abs(defocus) * self.na / np.sqrt(self.index**2 - self.na**2))

    def width(self, wavelength: float, defocus: float = 0.0) -> float:
        """Standard deviation of the Gaussian nearest to a point's image, in the tissue [um]."""
        return float(np.hypot(AIRY * wavelength / self.na, self.spread(defocus)))

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


def transfer(cutoff: float, spread: float, step: float, shape: tuple[int, int]) -> np.ndarray:
    """What the image of a point does to each frequency of samples (y, x) `step` apart, in a raster that goes round.

    The point spread is integrated over each sample: what lies beyond the raster's own frequencies is folded back, so
    that it is right for samples of any size, nowhere negative, and keeps the total.

    Args:
        cutoff: of the lens [1/um]; spread: standard deviation out of focus [um].

    Returns:
        (rows, columns // 2 + 1) real factors of the transform of real samples.
    """
    from scipy.fft import fftfreq, rfftfreq

    out = np.zeros((shape[0], shape[1] // 2 + 1))
    # beyond, the Gaussian out of focus is below 1e-12
    most = min(cutoff, 1.2 / spread) if spread else cutoff
    folds = range(-int(most * step + 0.5), int(most * step + 0.5) + 1)
    ways = [
        [(inside, v[inside]) for v in (f + k / step for k in folds) if (inside := np.abs(v) < most).any()]
        for f in (np.asarray(fftfreq(shape[0], step)), np.asarray(rfftfreq(shape[1], step)))
    ]
    for rows, y in ways[0]:
        for columns, x in ways[1]:
            square = y[:, None] ** 2 + x**2
            u = np.minimum(np.sqrt(square) / cutoff, 1.0)
            passes = 2 / np.pi * (np.arccos(u) - u * np.sqrt(1 - u * u))
            if spread:
                passes *= np.exp(-2 * (np.pi * spread) ** 2 * square)
            out[np.ix_(rows, columns)] += passes * np.sinc(y * step)[:, None] * np.sinc(x * step)
    return out


def fast_length(count: int) -> int:
    """The least number from `count` on whose transform is fast."""
    from scipy import fft

    return int(getattr(fft, "next_fast_len")(count, real=True))  # noqa: B009  (scipy gives no types here)


def blurred(
    layers: Iterable[tuple[np.ndarray, float]], shape: tuple[int, int], step: float, cutoff: float
) -> np.ndarray:
    """The sum of layers of light (y, x) of this shape, each out of focus by its standard deviation [um], as seen.

    The sum is made of their transforms, so that only one is turned back. The raster goes round.
    """
    from scipy.fft import irfft2, rfft2

    total = np.zeros((shape[0], shape[1] // 2 + 1), complex)
    for light, spread in layers:
        if light.any():
            total += np.asarray(rfft2(light)) * transfer(cutoff, spread, step, shape)
    # where it is dark the transform leaves rounding of either sign
    return np.maximum(np.asarray(irfft2(total, s=shape)), 0.0)
