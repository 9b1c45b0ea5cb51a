"""What a linear forecast of tracks misses, learned from every window of them.

A Gaussian forecast is linear in the past. Cells are not: they fire pulses over a floor, saturate, and differ in how
steady they are. The errors that the Gaussian forecast makes from many origins inside the tracks, not only from the one
that is asked for, are regressed on what the window before each origin looks like: means over lags that grow, quantiles,
asperity, the treatment's mean. The regression is ridge on random Fourier features, so nearly one with a Gaussian kernel
(Rahimi and Recht, Advances in Neural Information Processing Systems 20, 2007), beside the description itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise

import numpy as np

from neural.traces_means import expected

_LAG_BLOCKS, _HORIZON_BLOCKS = 13, 12
_QUANTILES = (10, 50, 90)
# windows and rows at most, windows at least
_WINDOWS, _ROWS, _FEWEST = 48, 60_000, 8
# random features, length of the kernel in spreads of the description, weight of the description beside them
_FEATURES, _LENGTH, _PLAIN = 400, 3.0, 0.03
#: penalties tried, in tracks on which the features have their mean square
PENALTIES = (30.0, 120.0, 480.0)
# how far out a description counts, in spreads
_FURTHEST = 6.0
# share of a block of horizons that a track must hold; smallest change, in spreads of the channel
_HELD, _STILL = 0.6, 0.01
_JITTER, _TINY = 1e-6, 1e-30


def _edges(length: int, blocks: int) -> np.ndarray:
    """Edges from 0 to `length` of at most so many blocks that grow."""
    return np.unique(np.round(np.geomspace(1, length + 1, blocks + 1)).astype(int)) - 1


def _steps(seen: int) -> np.ndarray:
    """Lags [frames] of the changes that tell how rough a window of `seen` frames is."""
    steps = np.unique(np.round(np.geomspace(1, max(1.0, seen / 8), 3)).astype(int))
    return steps[steps < seen]


def described(past: np.ndarray, usual: np.ndarray, seen: int, spread: np.ndarray) -> np.ndarray:
    """(n, feature) of windows (n, t, channel), whose treatments' means are `usual`.

    Args:
        seen: frames of a full window; t may be less, then what lies before it is taken as the window's mean.
        spread: (channel,) that small changes are measured by.
    """
    off = past - usual
    frames = off.shape[1]
    lately = off[:, -max(1, min(frames, seen // 2)) :]
    total = np.concatenate([np.zeros_like(off[:, :1]), np.cumsum(off[:, ::-1], 1)], 1)
    columns = []
    for start, stop in pairwise(_edges(seen, _LAG_BLOCKS)):
        start, stop = (start, min(stop, frames)) if start < frames else (0, frames)
        columns.append((total[:, stop] - total[:, start]) / (stop - start))
    columns.extend(np.percentile(lately, _QUANTILES, axis=1))
    for step in _steps(seen):
        change = np.abs(past[:, step:] - past[:, :-step]).mean(1)
        columns.append(np.log(change + _STILL * spread + _TINY))
    columns.append(usual[:, -1])
    return np.concatenate(columns, 1)


class Windows:
    """Corrections to the forecasts of a Gaussian, learned from all windows of tracks (n, T, channel).

    Args:
        tracks, label: what is learned from, and the treatment (n,) of each.
        means: mean track (T, channel) by treatment; that under None serves treatments that it lacks.
        covariance: (channel, T, channel, T) by treatment, of the Gaussian to be corrected.
        seen: frames known when a forecast is asked for.
        seed: of the random features.
    """

    def __init__(
        self,
        tracks: np.ndarray,
        label: np.ndarray,
        means: Mapping,
        covariance: Mapping,
        seen: int,
        seed: int = 0,
    ):
        n, frames, channels = tracks.shape
        self._means, self._seen, self._ahead, self._channels = means, seen, frames - seen, channels
        self._spread = tracks.std((0, 1))
        self._edges = _edges(self._ahead, _HORIZON_BLOCKS)
        origins = self._origins(n, frames)
        usual = expected(means, label)
        rows = []
        for origin in origins:
            window = slice(max(0, origin - seen), origin)
            rows.append(described(tracks[:, window], usual[:, window], seen, self._spread))
        every = np.concatenate(rows)
        self._centre, width = every.mean(0), every.std(0)
        self._scale = np.where(width > 1e-9 * (np.abs(self._centre) + 1), width, np.inf)
        rng = np.random.default_rng(seed)
        size = every.shape[1]
        self._frequency = rng.normal(size=(size, _FEATURES)) / (_LENGTH * np.sqrt(size))
        self._phase = rng.uniform(0, 2 * np.pi, _FEATURES)
        self._middle = self._lifted(every).mean(0)
        self._weights = self._fitted(rows, list(self._errors(tracks - usual, label, covariance, origins)))

    def _origins(self, n: int, frames: int) -> np.ndarray:
        """Frames before which windows end: evenly spread, and the one that is asked for."""
        first = max(1, self._seen // 3, *(_steps(self._seen) + 1))
        last = frames - max(1, self._ahead // 10)
        count = int(np.clip(_ROWS // max(n, 1), _FEWEST, _WINDOWS))
        spread = np.round(np.linspace(min(first, last), last, count)).astype(int)
        return np.union1d(spread, [self._seen])

    def _errors(
        self,
        centred: np.ndarray,
        label: np.ndarray,
        covariance: Mapping,
        origins: np.ndarray,
    ) -> Iterator[np.ndarray]:
        """(n, block, channel) of the Gaussian's mean errors from each origin; NaN where tracks end before.

        With the covariance as L L' and frames in order, a track is L times independent innovations, and the forecast
        error is what those after the origin make of it.
        """
        n, frames, channels = centred.shape
        off = centred.reshape(n, -1)
        factors, fresh = {}, np.empty_like(off)
        for one in np.unique(label):
            whole = covariance[one].transpose(1, 0, 3, 2).reshape(frames * channels, -1)
            whole = whole + max(_JITTER * np.trace(whole) / len(whole), _TINY) * np.eye(len(whole))
            factors[one] = np.linalg.cholesky(whole)
            fresh[label == one] = np.linalg.solve(factors[one], off[label == one].T).T
        for origin in origins:
            held = min(self._ahead, frames - origin)
            span = slice(origin * channels, (origin + held) * channels)
            error = np.empty((n, held * channels))
            for one, factor in factors.items():
                mine = label == one
                error[mine] = fresh[mine, span] @ factor[span, span].T
            error = error.reshape(n, held, channels)
            out = np.full((n, len(self._edges) - 1, channels), np.nan)
            for k, (start, stop) in enumerate(pairwise(self._edges)):
                if held - start >= _HELD * (stop - start):
                    out[:, k] = error[:, start:stop].mean(1)
            yield out

    def _lifted(self, description: np.ndarray) -> np.ndarray:
        plain = ((description - self._centre) / self._scale).clip(-_FURTHEST, _FURTHEST)
        waves = np.cos(plain @ self._frequency + self._phase) * np.sqrt(2 / _FEATURES)
        return np.concatenate([waves, _PLAIN * plain], 1)

    def _fitted(self, rows: list[np.ndarray], errors: list[np.ndarray]) -> np.ndarray:
        """(penalty, feature, block, channel): each block of horizons from the windows whose tracks hold it."""
        size, blocks = len(self._middle), len(self._edges) - 1
        square, cross = np.zeros((size, size)), np.zeros((blocks, size, self._channels))
        out = np.zeros((len(PENALTIES), size, blocks, self._channels))
        # far blocks are held by early windows alone, so that sums for nearer ones go on from theirs
        held = np.array([np.isfinite(e).all((0, 2)) for e in errors])
        added = np.zeros(len(rows), bool)
        for k in reversed(range(blocks)):
            for i in np.flatnonzero(held[:, k] & ~added):
                lifted = self._lifted(rows[i]) - self._middle
                square += lifted.T @ lifted
                cross += np.einsum("nf,nkc->kfc", lifted, np.nan_to_num(errors[i]))
                added[i] = True
            for p, worth in enumerate(PENALTIES):
                penalty = max(worth / len(rows[0]) * np.trace(square) / size, _TINY)
                out[p, :, k] = np.linalg.solve(square + penalty * np.eye(size), cross[k])
        return out

    def corrections(self, past: np.ndarray, label: np.ndarray) -> np.ndarray:
        """What to add to the Gaussian's frames after `past` (m, seen, channel): (penalty, m, T - seen, channel)."""
        usual = expected(self._means, label)[:, : self._seen]
        lifted = self._lifted(described(past, usual, self._seen, self._spread)) - self._middle
        by_block = np.einsum("nf,pfkc->pnkc", lifted, self._weights)
        centre = (self._edges[:-1] + self._edges[1:] - 1) / 2
        at = np.arange(self._ahead)
        right = np.clip(np.searchsorted(centre, at, "right"), 1, max(1, len(centre) - 1))
        if len(centre) == 1:
            return np.repeat(by_block, self._ahead, 2)
        part = np.clip((at - centre[right - 1]) / (centre[right] - centre[right - 1]), 0, 1)[:, None]
        return by_block[:, :, right - 1] * (1 - part) + by_block[:, :, right] * part
