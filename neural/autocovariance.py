"""Covariance of tracks as a function of the lag alone, as a sum of few shapes that a cell's dynamics can have.

Estimated lag by lag it is noisy, and forecasts suffer most where tracks are long and few. As a sum of fading memories,
fading oscillations, what lasts for good and what does not last a frame, each with a weight of zero or more, it is
smooth and always a covariance. Channels are tied by letting every shape act along mixtures of them.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

_LAGS = 60
_MEMORIES, _DECAYS, _PERIODS = 8, 4, 7
_SHORTEST_MEMORY, _SHORTEST_DECAY, _SHORTEST_PERIOD = 1.5, 8.0, 10.0
_MIXTURES = ((1.0, 1.0), (1.0, -1.0), (2.0, 1.0), (1.0, 2.0), (2.0, -1.0), (1.0, -2.0))


def autocovariance(tracks: np.ndarray) -> np.ndarray:
    """(channel, channel, T) mean product of centred tracks (n, T, channel) at every lag, either channel first."""
    n, frames = tracks.shape[:2]
    spectrum = np.fft.rfft(tracks, 2 * frames, axis=1)
    products = np.einsum("nfa,nfb->abf", spectrum.conj(), spectrum)
    out = np.fft.irfft(products, 2 * frames)[..., :frames] / (n * np.arange(frames, 0, -1))
    return (out + out.transpose(1, 0, 2)) / 2


def shapes(frames: int) -> np.ndarray:
    """(T, shape) of lags: memories and oscillations [frames] between the shortest and the length of the tracks."""
    lag = np.arange(frames)
    longest = max(float(frames), 2 * _SHORTEST_PERIOD)
    fading = [np.exp(-lag / t) for t in np.geomspace(_SHORTEST_MEMORY, 1.25 * longest, _MEMORIES)]
    swinging = [
        np.exp(-lag / decay) * np.cos(2 * np.pi * lag / period)
        for period in np.geomspace(_SHORTEST_PERIOD, longest / 2, _PERIODS)
        for decay in np.geomspace(_SHORTEST_DECAY, longest / 2, _DECAYS)
    ]
    return np.stack([np.ones(frames), (lag == 0).astype(float), *fading, *swinging], 1)


def _mixtures(channels: int) -> np.ndarray:
    """(mixture, channel) of unit length: every channel alone, and every two together."""
    out = list(np.eye(channels))
    for a in range(channels):
        for b in range(a):
            for pair in _MIXTURES:
                both = np.zeros(channels)
                both[[a, b]] = pair
                out.append(both / np.linalg.norm(both))
    return np.stack(out)


def smooth_covariance(measured: np.ndarray) -> np.ndarray:
    """The sum of `shapes` nearest to a measured autocovariance (channel, channel, T), in the same form.

    Least squares with weights of zero or more, over lags that are spread evenly in their logarithm and count for as
    many frames as they stand for and as tracks had them.
    """
    from scipy.optimize import nnls

    channels, frames = measured.shape[1:]
    at = np.unique(np.round(np.geomspace(1, frames, _LAGS)).astype(int)) - 1
    edges = np.r_[0.0, [(a + b) / 2 for a, b in pairwise(at)], frames]
    weight = np.sqrt(np.diff(edges) * (frames - at) / frames)
    basis, ways = shapes(frames), _mixtures(channels)
    columns = np.einsum("l,ls,ma,mb->ablms", weight, basis[at], ways, ways).reshape(channels**2 * len(at), -1)
    size = max(float(np.abs(measured).max()), 1e-300)
    found, _ = nnls(columns, (measured[..., at] * weight).ravel() / size, maxiter=50 * columns.shape[1])
    return size * np.einsum("ms,ls,ma,mb->abl", found.reshape(len(ways), -1), basis, ways, ways)


def whole(by_lag: np.ndarray) -> np.ndarray:
    """(channel, T, channel, T) covariance of tracks, from that by lag (channel, channel, T)."""
    t = np.arange(by_lag.shape[-1])
    return by_lag[:, :, np.abs(t[:, None] - t)].transpose(0, 2, 1, 3)
