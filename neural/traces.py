"""Forecasts of single-cell reporter traces: the rest of a track from its past.

Tracks are jointly Gaussian about the mean of their treatment: the forecast is the conditional mean. The
covariance over time and channels is mostly stationary (a lag counts the same anywhere, so few tracks suffice)
and in part as sampled, which lets cells differ for good and the reporter drift.
"""

from __future__ import annotations

import numpy as np

_STATIONARY = (0.7, 0.9, 1.0)
_NOISE = (0.03, 0.1, 0.3)
_SHRINK = (5.0, 30.0)
_FOLDS = 5


def stationary_covariance(tracks: np.ndarray) -> np.ndarray:
    """Covariance (channel, T, channel, T) of centred tracks (n, T, channel) as a function of the lag alone."""
    n, frames, channels = tracks.shape
    spectrum = np.fft.rfft(tracks, 2 * frames, axis=0 + 1)
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
    tracks: np.ndarray, label: np.ndarray, past: np.ndarray, label_past: np.ndarray, seed: int = 0
) -> np.ndarray:
    """The frames (m, T - P, channel) that follow `past` (m, P, channel).

    Args:
        tracks: (n, T, channel) whole tracks; label: (n,) their treatments.
        past: (m, P, channel) with P < T; label_past: (m,) treatments, new ones among them allowed.

    How stationary, how noisy and how alike the treatments are is chosen by cross-validation over tracks.

    Raises:
        ValueError: `past` is as long as the tracks, or channels differ.
    """
    seen = past.shape[1]
    if seen >= tracks.shape[1] or past.shape[2] != tracks.shape[2]:
        raise ValueError(f"past {past.shape} leaves nothing to foretell of tracks {tracks.shape}")
    fold = np.random.default_rng(seed).permutation(len(tracks)) % _FOLDS
    best: tuple[float, tuple] | None = None
    for choice in [(s, n, h) for s in _STATIONARY for n in _NOISE for h in _SHRINK]:
        error = 0.0
        for k in range(_FOLDS):
            out = fold == k
            guess = _forecast(tracks[~out], label[~out], tracks[out, :seen], label[out], choice)
            error += float(((guess - tracks[out, seen:]) ** 2).sum())
        if best is None or error < best[0]:
            best = (error, choice)
    assert best is not None
    return _forecast(tracks, label, past, label_past, best[1])
