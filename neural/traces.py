"""Forecasts of single-cell reporter traces: the rest of a track from its past.

Tracks are jointly Gaussian about the mean of their treatment: the forecast is the conditional mean. The
covariance over time and channels is mostly stationary (a lag counts the same anywhere, so few tracks suffice)
and in part as sampled, which lets cells differ for good and the reporter drift. How much of each, how much
noise, and how alike treatments are is chosen by cross-validation over tracks, for each channel and each range
of horizons: the next frame asks for a sharper covariance than the next hour.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise, product

import numpy as np

from neural.uncertainty import conformal_quantile

_STATIONARY = (0.7, 0.9, 1.0)
_NOISE = (0.003, 0.01, 0.03, 0.1, 0.3)
_SHRINK = (5.0, 30.0)
_FOLDS = 5
#: (stationary share, noise, shrinkage of treatments) that are tried
CHOICES = tuple(product(_STATIONARY, _NOISE, _SHRINK))
# horizons [frames] at which the choice may change
_HORIZONS = (1, 3, 10, 30, 100, 300, 1000)


def stationary_covariance(tracks: np.ndarray) -> np.ndarray:
    """Covariance (channel, T, channel, T) of centred tracks (n, T, channel) as a function of the lag alone."""
    n, frames, channels = tracks.shape
    spectrum = np.fft.rfft(tracks, 2 * frames, axis=1)
    pairs_seen = n * np.arange(frames, 0, -1)
    lag = np.arange(frames)[None] - np.arange(frames)[:, None]
    out = np.empty((channels, frames, channels, frames))
    for a in range(channels):
        for b in range(channels):
            product = np.fft.irfft((spectrum[..., a].conj() * spectrum[..., b]).sum(0), 2 * frames)
            ahead = product[:frames] / pairs_seen
            behind = np.r_[product[0], product[:frames:-1]] / pairs_seen
            out[a, :, b] = np.where(lag >= 0, ahead[np.abs(lag)], behind[np.abs(lag)])
    return out


def treatment_means(tracks: np.ndarray, label: np.ndarray, shrink: float) -> dict:
    """Mean track (T, channel) of each treatment, drawn to the common mean as `shrink` further tracks would.

    The key None holds the common mean.
    """
    common = tracks.mean(0)
    means: dict = {None: common}
    for one in np.unique(label):
        mine = tracks[label == one]
        means[one] = common + len(mine) / (len(mine) + shrink) * (mine.mean(0) - common)
    return means


def _forecast(
    tracks: np.ndarray, label: np.ndarray, past: np.ndarray, label_past: np.ndarray, choice: tuple
) -> np.ndarray:
    stationary, noise, shrink = choice
    seen, frames, channels = past.shape[1], tracks.shape[1], tracks.shape[2]
    means = treatment_means(tracks, label, shrink)
    centred = tracks - np.array([means[one] for one in label])
    flat = centred.transpose(0, 2, 1).reshape(len(tracks), -1)
    lags = stationary_covariance(centred).reshape(channels * frames, -1)
    covariance = (1 - stationary) * flat.T @ flat / len(flat) + stationary * lags
    covariance += noise * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
    at = np.arange(channels * frames).reshape(channels, frames)
    known, unknown = at[:, :seen].ravel(), at[:, seen:].ravel()
    expected = np.array([means.get(one, means[None]) for one in label_past])
    deviation = (past - expected[:, :seen]).transpose(0, 2, 1).reshape(len(past), -1)
    gain = np.linalg.solve(covariance[np.ix_(known, known)], covariance[np.ix_(known, unknown)])
    rest = (deviation @ gain).reshape(len(past), channels, -1).transpose(0, 2, 1)
    return expected[:, seen:] + rest


def forecast(
    tracks: np.ndarray,
    label: np.ndarray,
    past: np.ndarray,
    label_past: np.ndarray,
    level: float = 0.9,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """The frames (m, T - P, channel) that follow `past` (m, P, channel), and half-widths of their intervals.

    Args:
        tracks: (n, T, channel) whole tracks; label: (n,) their treatments.
        past: (m, P, channel) with P < T; label_past: (m,) treatments, new ones among them allowed.
        level: of the intervals, conformal over left-out tracks, for each frame and channel.
        seed: of the folds.

    Returns:
        mean (m, T - P, channel) and half-width (T - P, channel).

    Raises:
        ValueError: `past` is as long as the tracks, channels differ, or there are fewer tracks than folds.
    """
    seen = past.shape[1]
    if seen >= tracks.shape[1] or past.shape[2] != tracks.shape[2]:
        raise ValueError(f"past {past.shape} leaves nothing to foretell of tracks {tracks.shape}")
    chosen = choose(tracks, label, seen, level, seed)
    return continued(tracks, label, past, label_past, chosen), chosen.width


@dataclass(frozen=True)
class Chosen:
    """What left-out tracks say, by ranges of horizons and channel.

    Attributes:
        edges: (range + 1,) of horizons [frames].
        best: (range, channel) index of the choice among `CHOICES`.
        width: (T - P, channel) half-width of intervals.
    """

    edges: np.ndarray
    best: np.ndarray
    width: np.ndarray


def choose(tracks: np.ndarray, label: np.ndarray, seen: int, level: float = 0.9, seed: int = 0) -> Chosen:
    """By cross-validation over `tracks` (n, T, channel), of which the first `seen` frames are known."""
    if len(tracks) < 2 * _FOLDS:
        raise ValueError(f"{len(tracks)} tracks are too few to choose on; {2 * _FOLDS} are needed")
    fold = np.random.default_rng(seed).permutation(len(tracks)) % _FOLDS
    off = np.empty((len(CHOICES), *tracks[:, seen:].shape))
    for i, choice in enumerate(CHOICES):
        for k in range(_FOLDS):
            out = fold == k
            guess = _forecast(tracks[~out], label[~out], tracks[out, :seen], label[out], choice)
            off[i, out] = np.abs(guess - tracks[out, seen:])
    ahead, channels = tracks.shape[1] - seen, tracks.shape[2]
    edges = [0, *(h for h in _HORIZONS if h < ahead), ahead]
    best, width = np.empty((len(edges) - 1, channels), int), np.empty((ahead, channels))
    for (r, (start, stop)), c in product(enumerate(pairwise(edges)), range(channels)):
        best[r, c] = np.argmin((off[:, :, start:stop, c] ** 2).mean((1, 2)))
        for h in range(start, stop):
            width[h, c] = conformal_quantile(off[best[r, c], :, h, c], level)
    return Chosen(np.array(edges), best, width)


def continued(
    tracks: np.ndarray, label: np.ndarray, past: np.ndarray, label_past: np.ndarray, chosen: Chosen
) -> np.ndarray:
    """The frames (m, T - P, channel) after `past`, with each range of horizons by its choice."""
    mean = np.empty((len(past), tracks.shape[1] - past.shape[1], tracks.shape[2]))
    forecasts: dict[int, np.ndarray] = {}
    for (r, (start, stop)), c in product(enumerate(pairwise(chosen.edges)), range(tracks.shape[2])):
        best = int(chosen.best[r, c])
        if best not in forecasts:
            forecasts[best] = _forecast(tracks, label, past, label_past, CHOICES[best])
        mean[:, start:stop, c] = forecasts[best][:, start:stop, c]
    return mean
