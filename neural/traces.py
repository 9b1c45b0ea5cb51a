"""Forecasts of single-cell reporter traces: the rest of a track from its past.

Tracks are jointly Gaussian about the mean of their treatment: the forecast is the conditional mean. Their covariance
over time and channels is that of stationary dynamics, a sum of few shapes (`neural.autocovariance`), for each treatment
drawn to that of all. How far channels are believed to know of each other, how alike treatments' dynamics are, and
whether a share of the covariance is taken as sampled (cells that change for good, reporters that drift) is chosen by
cross-validation over tracks, for each channel and each range of horizons: the next frame asks for other than the next
hour.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise, product

import numpy as np

from neural.autocovariance import autocovariance, smooth_covariance, whole
from neural.uncertainty import conformal_quantile

_FOLDS = 5
#: (share of what channels know of each other, share sampled, tracks that all treatments' dynamics are worth) tried
CHOICES = tuple(product((0.0, 0.5, 1.0), (0.0, 0.2), (50.0, 200.0)))
# further tracks that the common mean is worth, and frames on each side over which means are taken
_SHRINK, _REACH = 30.0, 7
_JITTER = 1e-6
# horizons [frames] at which the choice may change
_HORIZONS = (1, 3, 10, 30, 100, 300, 1000)


def treatment_means(tracks: np.ndarray, label: np.ndarray, shrink: float = _SHRINK) -> dict:
    """Mean track (T, channel) of each treatment, drawn to the common mean as `shrink` further tracks would.

    Averaged over neighbouring frames, fewer near the start where responses are quick. The key None holds the common
    mean.
    """
    common = _smoothed(tracks.mean(0))
    means: dict = {None: common}
    for one in np.unique(label):
        mine = tracks[label == one]
        means[one] = common + len(mine) / (len(mine) + shrink) * (_smoothed(mine.mean(0)) - common)
    return means


def _smoothed(track: np.ndarray) -> np.ndarray:
    frame = np.arange(len(track))
    reach = np.minimum(np.minimum(_REACH, frame // 3), len(track) - 1 - frame)
    total = np.r_[np.zeros((1, track.shape[1])), np.cumsum(track, 0)]
    return (total[frame + reach + 1] - total[frame - reach]) / (2 * reach + 1)[:, None]


class _Dynamics:
    """Means and covariances of tracks (n, T, channel), by treatment; fits them once for all choices."""

    def __init__(self, tracks: np.ndarray, label: np.ndarray):
        self.means = treatment_means(tracks, label)
        centred = tracks - np.array([self.means[one] for one in label])
        self._flat = centred.transpose(0, 2, 1).reshape(len(tracks), -1)
        self._common = autocovariance(centred)
        self._own = {
            one: (autocovariance(centred[label == one]), int((label == one).sum()))
            for one in np.unique(label)
        }
        self._smooth: dict = {}

    def covariance(self, treatment: object, choice: tuple) -> np.ndarray:
        """(channel, T, channel, T) of one treatment's tracks."""
        together, sampled, worth = choice
        if (treatment, worth) not in self._smooth:
            measured = self._common
            if treatment in self._own:
                own, count = self._own[treatment]
                measured = measured + count / (count + worth) * (own - measured)
            self._smooth[treatment, worth] = smooth_covariance(measured)
        by_lag = self._smooth[treatment, worth]
        alone = np.eye(len(by_lag))[:, :, None]
        out = whole(by_lag * (alone + together * (1 - alone)))
        if sampled:
            out = (1 - sampled) * out + sampled * (self._flat.T @ self._flat).reshape(out.shape) / len(
                self._flat
            )
        return out

    def forecast(self, past: np.ndarray, label: np.ndarray, choice: tuple) -> np.ndarray:
        """Frames (m, T - P, channel) after `past` (m, P, channel)."""
        seen, channels = past.shape[1:]
        expected = np.array([self.means.get(one, self.means[None]) for one in label])
        off = (past - expected[:, :seen]).transpose(0, 2, 1).reshape(len(past), -1)
        out = expected[:, seen:].copy()
        for one in np.unique(label):
            mine = label == one
            covariance = self.covariance(one, choice)
            known = covariance[:, :seen, :, :seen].reshape(channels * seen, -1)
            known = known + _JITTER * np.trace(known) / len(known) * np.eye(len(known))
            gain = np.linalg.solve(known, covariance[:, :seen, :, seen:].reshape(channels * seen, -1))
            out[mine] += (off[mine] @ gain).reshape(int(mine.sum()), channels, -1).transpose(0, 2, 1)
        return out


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
        best: (range, channel, 3) the choice, in the form of `CHOICES`.
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
    for k in range(_FOLDS):
        out = fold == k
        dynamics = _Dynamics(tracks[~out], label[~out])
        for i, choice in enumerate(CHOICES):
            guess = dynamics.forecast(tracks[out, :seen], label[out], choice)
            off[i, out] = np.abs(guess - tracks[out, seen:])
    ahead, channels = tracks.shape[1] - seen, tracks.shape[2]
    edges = [0, *(h for h in _HORIZONS if h < ahead), ahead]
    best, width = np.empty((len(edges) - 1, channels, 3)), np.empty((ahead, channels))
    for (r, (start, stop)), c in product(enumerate(pairwise(edges)), range(channels)):
        found = int(np.argmin((off[:, :, start:stop, c] ** 2).mean((1, 2))))
        best[r, c] = CHOICES[found]
        for h in range(start, stop):
            width[h, c] = conformal_quantile(off[found, :, h, c], level)
    return Chosen(np.array(edges), best, width)


def continued(
    tracks: np.ndarray, label: np.ndarray, past: np.ndarray, label_past: np.ndarray, chosen: Chosen
) -> np.ndarray:
    """The frames (m, T - P, channel) after `past`, with each range of horizons by its choice."""
    mean = np.empty((len(past), tracks.shape[1] - past.shape[1], tracks.shape[2]))
    dynamics, forecasts = _Dynamics(tracks, label), {}
    for (r, (start, stop)), c in product(enumerate(pairwise(chosen.edges)), range(tracks.shape[2])):
        best = tuple(map(float, chosen.best[r, c]))
        if best not in forecasts:
            forecasts[best] = dynamics.forecast(past, label_past, best)
        mean[:, start:stop, c] = forecasts[best][:, start:stop, c]
    return mean
