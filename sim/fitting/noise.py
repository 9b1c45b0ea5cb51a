"""How likely a measurement is, given what the model says and how exactly was measured.

Normal and Laplace distributions of the measurement, or of its logarithm (then it is the density of the measurement
itself), as PEtab defines them (Schmiester et al., PLOS Comput. Biol. 17, e1008646, 2021).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_LN10 = np.log(10.0)


@dataclass(frozen=True)
class Likelihoods:
    """Of some measurements, each array (measurement,).

    Attributes:
        llh: log-likelihoods; residual: (measured - simulated) / noise, on the scale of comparison.
        by_value, by_noise: derivatives of `llh` by simulation and noise.
        information, noise_information: roots of the expected information on the simulation and on the noise.
    """

    llh: np.ndarray
    residual: np.ndarray
    by_value: np.ndarray
    by_noise: np.ndarray
    information: np.ndarray
    noise_information: np.ndarray


def likelihoods(
    distribution: str, scale: str, measured: np.ndarray, simulated: np.ndarray, noise: np.ndarray
) -> Likelihoods:
    """See `Likelihoods`; not a number where a logarithm or the noise has no meaning."""
    with np.errstate(all="ignore"):
        noise = np.where(noise > 0, noise, np.nan)
        m, s, slope, volume = _scaled(scale, measured, simulated)
        residual = (m - s) / noise
        if distribution == "laplace":
            llh = -np.log(2 * noise) - np.abs(residual) - volume
            by_scaled, by_noise = np.sign(residual) / noise, (np.abs(residual) - 1) / noise
            noise_information = 1 / noise
        else:
            llh = -0.5 * np.log(2 * np.pi * noise**2) - 0.5 * residual**2 - volume
            by_scaled, by_noise = residual / noise, (residual**2 - 1) / noise
            noise_information = np.sqrt(2.0) / noise
        return Likelihoods(llh, residual, by_scaled * slope, by_noise, slope / noise, noise_information)


def _scaled(scale: str, m: np.ndarray, s: np.ndarray):
    """Both on the scale, the slope of the scale at `s`, the logarithm of 1 / its slope at `m`."""
    if scale == "log":
        return np.log(m), np.log(s), 1 / s, np.log(m)
    if scale == "log10":
        return np.log10(m), np.log10(s), 1 / (s * _LN10), np.log(m * _LN10)
    return m, s, np.ones_like(s), np.zeros_like(m)
