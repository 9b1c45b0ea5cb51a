"""Tracks as Gaussians about the means of their treatments: covariance over time and channels, and forecasts by it.

The covariance is that of stationary dynamics (`neural.autocovariance`), for each treatment drawn to that of all. Cells
that change for good are no stationary process: either a share of the covariance is taken as sampled, or each cell has a
course of its own beside the dynamics, a random walk or a polynomial in time, of what spread among cells was found.
"""

from __future__ import annotations

from itertools import product
from typing import NamedTuple

import numpy as np

from neural.autocovariance import autocovariance, smooth_covariance, whole
from neural.traces_means import USUAL_MEANS, expected, treatment_means
from neural.traces_windows import Windows

_JITTER, _TINY = 1e-6, 1e-30


class Choice(NamedTuple):
    """What is believed of tracks.

    Attributes:
        together: share of what channels were found to know of each other.
        sampled: share of the covariance that is taken as sampled; 1 for ridge regression.
        degree: of the polynomials that are cells' own courses; 0 for random walks; -1 for none.
        worth: tracks that the dynamics of all treatments are worth to those of one; infinite where all have the same.
        sharp: whether dynamics may have a sharp rhythm, 0 or 1.
        ridge: penalty of ridge regression, in mean squares of what is regressed on.
    """

    together: float
    sampled: float
    degree: float
    worth: float
    sharp: float = 0.0
    ridge: float = 0.0


_KNOWN, _SAMPLED, _COURSES, _WORTH = (0.0, 0.5, 1.0), (0.0, 0.2, 0.6, 0.9), (0.0, 1.0, 3.0), (50.0, 200.0)
_RIDGES = (0.1, 1.0)
#: tried
CHOICES = (
    *(Choice(a, b, -1.0, c) for a, b, c in product(_KNOWN, _SAMPLED, _WORTH)),
    *(Choice(a, 0.0, b, _WORTH[1]) for a, b in product(_KNOWN, _COURSES)),
    *(Choice(a, 0.0, -1.0, _WORTH[1], sharp=1.0) for a in _KNOWN),
    *(Choice(_KNOWN[-1], 1.0, -1.0, np.inf, ridge=a) for a in _RIDGES),
)
#: taken unless another is surely better on left-out tracks
USUAL = Choice(0.5, 0.0, -1.0, 200.0)


class Dynamics:
    """Means and covariances of tracks (n, T, channel), by treatment (n,); fits them once for all choices."""

    def __init__(self, tracks: np.ndarray, label: np.ndarray, means: tuple[float, float] = USUAL_MEANS):
        self.means = treatment_means(tracks, label, means)
        self._centred, self._label = tracks - expected(self.means, label), label
        self._known = set(label.tolist())
        self._fitted: dict = {}

    def covariance(self, treatment: object, choice: Choice) -> np.ndarray:
        """(channel, T, channel, T) of one treatment's tracks; of all treatments' for one that was never given."""
        if treatment not in self._known or np.isinf(choice.worth):
            treatment = None
        if choice.sampled == 1:
            return self._sampled()
        by_lag = self._by_lag(treatment, choice)
        alone = np.eye(len(by_lag))[:, :, None]
        joined = alone + choice.together * (1 - alone)
        out = whole(by_lag * joined)
        if choice.degree == 0:
            out = out + (self._walk() * joined[..., 0])[:, None, :, None] * _met(out.shape[1])[None, :, None]
        elif choice.degree > 0:
            basis, spread = self._courses(choice.degree)
            out = out + np.einsum("ti,aibj,sj->atbs", basis, spread * joined[:, None], basis, optimize=True)
        if choice.sampled:
            out = (1 - choice.sampled) * out + choice.sampled * self._sampled()
        return out

    def _sampled(self) -> np.ndarray:
        def fit() -> np.ndarray:
            n, frames, channels = self._centred.shape
            flat = self._centred.transpose(0, 2, 1).reshape(n, -1)
            return (flat.T @ flat).reshape(channels, frames, channels, frames) / n

        return self._once("sampled", fit)

    def _once(self, key, fit):
        if key not in self._fitted:
            self._fitted[key] = fit()
        return self._fitted[key]

    def _left(self, degree: float) -> np.ndarray:
        """Centred tracks (n, T, channel) less the polynomials nearest to them."""
        if degree <= 0:
            return self._centred
        basis = _polynomials(self._centred.shape[1], degree)
        own = np.einsum("ti,nta->nai", basis, self._centred)
        return self._once(("left", degree), lambda: self._centred - np.einsum("ti,nai->nta", basis, own))

    def _by_lag(self, treatment: object, choice: Choice) -> np.ndarray:
        """(channel, channel, T) covariance of the dynamics of one treatment, or of all (None)."""

        degree, worth = choice.degree, np.inf if treatment is None else choice.worth

        def fit() -> np.ndarray:
            left = self._left(degree)
            measured = self._once(("measured", degree), lambda: autocovariance(left))
            if treatment is not None:
                mine = self._label == treatment
                share = mine.sum() / (mine.sum() + worth)
                measured = measured + share * (autocovariance(left[mine]) - measured)
            if degree == 0:
                frames = measured.shape[2]
                measured = measured - self._walk()[..., None] * (frames + 1 - np.arange(frames)) / 2
            return smooth_covariance(measured, bool(choice.sharp))

        return self._once((treatment, degree, worth, choice.sharp), fit)

    def _courses(self, degree: float) -> tuple[np.ndarray, np.ndarray]:
        """Polynomials (T, i) and the covariance (channel, i, channel, i) of cells' coefficients.

        What the dynamics beside them add to the coefficients is taken off.
        """
        basis = _polynomials(self._centred.shape[1], degree)

        def fit() -> np.ndarray:
            own = np.einsum("ti,nta->nai", basis, self._centred).reshape(len(self._centred), -1)
            beside = whole(self._by_lag(None, USUAL._replace(degree=degree)))
            beside = np.einsum("ti,atbs,sj->aibj", basis, beside, basis, optimize=True)
            return _possible(own.T @ own / len(own) - beside.reshape(own.shape[1], -1)).reshape(beside.shape)

        return basis, self._once(("spread", degree), fit)

    def _walk(self) -> np.ndarray:
        """(channel, channel) by how much the covariance of cells grows from frame to frame."""

        def fit() -> np.ndarray:
            n, frames = self._centred.shape[:2]
            at = np.arange(frames) - (frames - 1) / 2
            grown = np.einsum("t,nta,ntb->ab", at, self._centred, self._centred, optimize=True) / n
            return _possible(grown / max((at**2).sum(), 1.0))

        return self._once("walk", fit)

    def forecast(self, past: np.ndarray, label: np.ndarray, choice: Choice) -> np.ndarray:
        """Frames (m, T - P, channel) after `past` (m, P, channel)."""
        seen, channels = past.shape[1:]
        usual = expected(self.means, label)
        off = (past - usual[:, :seen]).transpose(0, 2, 1).reshape(len(past), channels * seen)
        out = usual[:, seen:].copy()
        own = np.array([np.isfinite(choice.worth) and one in self._known for one in label.tolist()], bool)
        for one, mine in [(None, ~own), *((t, own & (label == t)) for t in np.unique(label[own]))]:
            if not mine.any():
                continue
            covariance = self.covariance(one, choice)
            known = covariance[:, :seen, :, :seen].reshape(channels * seen, -1)
            firm = (choice.ridge or _JITTER) * np.trace(known) / len(known)
            known = known + max(firm, _TINY) * np.eye(len(known))
            gain = np.linalg.solve(known, covariance[:, :seen, :, seen:].reshape(channels * seen, -1))
            out[mine] += (off[mine] @ gain).reshape(int(mine.sum()), channels, -1).transpose(0, 2, 1)
        return out

    def windows(self, seen: int, choice: Choice) -> Windows:
        """Corrections to forecasts by a choice, learned from the tracks that these dynamics were fitted to."""
        covariance = {one: self.covariance(one, choice) for one in np.unique(self._label)}
        tracks = self._centred + expected(self.means, self._label)
        return Windows(tracks, self._label, self.means, covariance, seen)


def _possible(covariance: np.ndarray) -> np.ndarray:
    """The covariance nearest to a symmetric matrix."""
    values, axes = np.linalg.eigh(covariance)
    return (axes * np.maximum(values, 0.0)) @ axes.T


def _met(frames: int) -> np.ndarray:
    """(T, T) covariance of a random walk with steps of one: the steps that two frames have in common."""
    at = np.arange(1.0, frames + 1)
    return np.minimum(at[:, None], at)


def _polynomials(frames: int, degree: float) -> np.ndarray:
    """(T, i) orthonormal, up to a degree that so many frames can tell from dynamics."""
    at = np.linspace(-1, 1, frames)
    most = min(int(degree), max(0, frames // 4))
    return np.linalg.qr(np.polynomial.legendre.legvander(at, most))[0]
