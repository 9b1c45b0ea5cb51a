"""Forecasts of single-cell reporter traces: the rest of a track from its past.

Tracks are jointly Gaussian about the mean of their treatment: the forecast is the conditional mean. Their covariance
over time and channels is that of stationary dynamics, a sum of few shapes (`neural.autocovariance`), for each treatment
drawn to that of all. How far channels are believed to know of each other, how alike treatments' dynamics are, and
whether a share of the covariance is taken as sampled (cells that change for good, reporters that drift) is chosen by
cross-validation over tracks, for each channel and each range of horizons: the next frame asks for other than the next
hour. What such a forecast misses for being linear is added, as far as left-out tracks say that it holds
(`neural.traces_windows`).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise, product

import numpy as np

from neural.autocovariance import autocovariance, smooth_covariance, whole
from neural.traces_windows import PENALTIES, Windows, expected
from neural.uncertainty import conformal_quantile

_FOLDS = 5
#: (share of what channels know of each other, share sampled, tracks that all treatments' dynamics are worth) tried
CHOICES = tuple(product((0.0, 0.5, 1.0), (0.0, 0.2), (50.0, 200.0)))
#: taken unless another is better on left-out tracks by so many standard errors; corrections are to this one
USUAL, _SURE = (0.5, 0.0, 200.0), 2.0
# share of a correction that is believed in before left-out tracks are asked, and its spread: of the share for all
# horizons about that, and of the share for some horizons about the one for all
_SHARE, _DOUBT, _DOUBT_BETWEEN = 0.5, 0.3, 0.2
# further tracks that the common mean is worth; means are taken over such a part of the track on each side
_SHRINK, _REACH = 30.0, 1 / 8
_JITTER, _TINY = 1e-6, 1e-30
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
    reach = np.minimum(np.minimum(int(_REACH * len(track)), frame // 3), len(track) - 1 - frame)
    total = np.r_[np.zeros((1, track.shape[1])), np.cumsum(track, 0)]
    return (total[frame + reach + 1] - total[frame - reach]) / (2 * reach + 1)[:, None]


class _Dynamics:
    """Means and covariances of tracks (n, T, channel), by treatment; fits them once for all choices."""

    def __init__(self, tracks: np.ndarray, label: np.ndarray):
        self.means = treatment_means(tracks, label)
        centred = tracks - expected(self.means, label)
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
        usual = expected(self.means, label)
        off = (past - usual[:, :seen]).transpose(0, 2, 1).reshape(len(past), channels * seen)
        out = usual[:, seen:].copy()
        for one in np.unique(label):
            mine = label == one
            covariance = self.covariance(one, choice)
            known = covariance[:, :seen, :, :seen].reshape(channels * seen, -1)
            known = known + max(_JITTER * np.trace(known) / len(known), _TINY) * np.eye(len(known))
            gain = np.linalg.solve(known, covariance[:, :seen, :, seen:].reshape(channels * seen, -1))
            out[mine] += (off[mine] @ gain).reshape(int(mine.sum()), channels, -1).transpose(0, 2, 1)
        return out

    def windows(self, tracks: np.ndarray, label: np.ndarray, seen: int) -> Windows:
        """Corrections to forecasts by the usual choice, from the tracks that these dynamics were fitted to."""
        usual = {one: self.covariance(one, USUAL) for one in np.unique(label)}
        return Windows(tracks, label, self.means, usual, seen)


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
        tracks: (n, T, channel) whole tracks; label: (n,) their treatments. Gaps (NaN) are filled by straight lines, and
            tracks without a number in some channel are left out.
        past: (m, P, channel) with P < T; label_past: (m,) treatments, new ones among them allowed. A channel without
            a number is taken at the treatment's mean.
        level: of the intervals, conformal over left-out tracks, for each frame and channel.
        seed: of the folds.

    Returns:
        mean (m, T - P, channel) and half-width (T - P, channel).

    Raises:
        ValueError: `past` is as long as the tracks, channels differ, or fewer than two tracks have numbers.
    """
    seen = past.shape[1]
    if seen >= tracks.shape[1] or past.shape[2] != tracks.shape[2]:
        raise ValueError(f"past {past.shape} leaves nothing to foretell of tracks {tracks.shape}")
    tracks, past = filled(tracks), filled(past)
    told = np.isfinite(tracks).all((1, 2))
    tracks, label = tracks[told], label[told]
    chosen = choose(tracks, label, seen, level, seed)
    means = treatment_means(tracks, label)
    usual = expected(means, label_past)[:, :seen]
    past = np.where(np.isfinite(past), past, usual)
    return continued(tracks, label, past, label_past, chosen), chosen.width


def filled(tracks: np.ndarray) -> np.ndarray:
    """Tracks (n, T, channel) whose gaps are straight lines, and ends the nearest number; channels of none stay NaN."""
    out, frame = np.array(tracks, float), np.arange(tracks.shape[1])
    out[~np.isfinite(out)] = np.nan
    for i, c in np.argwhere(np.isnan(out).any(1)):
        known = np.isfinite(out[i, :, c])
        if known.any():
            out[i, :, c] = np.interp(frame, frame[known], out[i, known, c])
    return out


@dataclass(frozen=True)
class Chosen:
    """What left-out tracks say, by ranges of horizons and channel.

    Attributes:
        edges: (range + 1,) of horizons [frames].
        best: (range, channel, 3) the choice, in the form of `CHOICES`.
        share: (penalty, range, channel) of each correction that is added.
        width: (T - P, channel) half-width of intervals.
    """

    edges: np.ndarray
    best: np.ndarray
    share: np.ndarray
    width: np.ndarray


def choose(tracks: np.ndarray, label: np.ndarray, seen: int, level: float = 0.9, seed: int = 0) -> Chosen:
    """By cross-validation over `tracks` (n, T, channel), of which the first `seen` frames are known.

    Below twice as many tracks as folds, each is left out alone.
    """
    if len(tracks) < 2:
        raise ValueError(f"{len(tracks)} tracks are too few to choose on; 2 are needed")
    folds = _FOLDS if len(tracks) >= 2 * _FOLDS else len(tracks)
    fold = np.random.default_rng(seed).permutation(len(tracks)) % folds
    off = np.empty((len(CHOICES), *tracks[:, seen:].shape))
    more = np.empty((len(PENALTIES), *off.shape[1:]))
    for k in range(folds):
        out = fold == k
        dynamics = _Dynamics(tracks[~out], label[~out])
        for i, choice in enumerate(CHOICES):
            off[i, out] = tracks[out, seen:] - dynamics.forecast(tracks[out, :seen], label[out], choice)
        windows = dynamics.windows(tracks[~out], label[~out], seen)
        more[:, out] = windows.corrections(tracks[out, :seen], label[out])
    ahead, channels = tracks.shape[1] - seen, tracks.shape[2]
    edges = [0, *(h for h in _HORIZONS if h < ahead), ahead]
    best, width = np.empty((len(edges) - 1, channels, 3)), np.empty((ahead, channels))
    left = np.empty(more.shape[1:])
    for (r, (start, stop)), c in product(enumerate(pairwise(edges)), range(channels)):
        found = _best((off[:, :, start:stop, c] ** 2).mean(2))
        best[r, c] = CHOICES[found]
        left[:, start:stop, c] = off[found, :, start:stop, c]
    share = np.stack([_shares(left[..., c], more[..., c], edges) for c in range(channels)], 2)
    for h, c in product(range(ahead), range(channels)):
        added = share[:, np.searchsorted(edges, h, "right") - 1, c] @ more[:, :, h, c]
        width[h, c] = conformal_quantile(np.abs(left[:, h, c] - added), level)
    return Chosen(np.array(edges), best, share, width)


def _best(loss: np.ndarray) -> int:
    """Which of CHOICES, by losses (choice, track): the usual one unless the least is surely less."""
    usual, least = CHOICES.index(USUAL), int(np.argmin(loss.mean(1)))
    gain = loss[usual] - loss[least]
    return least if gain.mean() > _SURE * gain.std() / np.sqrt(len(gain)) else usual


def _shares(off: np.ndarray, more: np.ndarray, edges: list[int]) -> np.ndarray:
    """(penalty, range) of corrections `more` (penalty, track, frame) to be taken off errors `off`; all of one penalty.

    The share at each range of horizons is drawn to that at all of them, and this to the usual one.
    """
    size = np.sqrt((off**2).mean(0)) + _TINY
    shares, losses = np.empty((len(more), len(edges) - 1)), np.empty(len(more))
    for p, one in enumerate(more):
        common = _share(off / size, one / size, _SHARE, _DOUBT)
        ranges = [slice(*pair) for pair in pairwise(edges)]
        shares[p] = [np.clip(_share(off[:, r], one[:, r], common, _DOUBT_BETWEEN), 0, 1) for r in ranges]
        losses[p] = ((off - np.repeat(shares[p], np.diff(edges)) * one) ** 2).sum()
    return np.where(np.arange(len(more))[:, None] == np.argmin(losses), shares, 0.0)


def _share(off: np.ndarray, more: np.ndarray, usual: float, doubt: float) -> float:
    """Share of corrections `more` (track, frame) that takes most off errors `off`, drawn to the usual share.

    Its own error is that of a regression through the origin with tracks as units.
    """
    along, size = (off * more).sum(1), (more**2).sum(1)
    if size.sum() <= 0:
        return usual
    found = along.sum() / size.sum()
    error = np.sqrt(((along - found * size) ** 2).sum()) / size.sum()
    firm = error**2 / (error**2 + doubt**2)
    return float(firm * usual + (1 - firm) * found)


def continued(
    tracks: np.ndarray, label: np.ndarray, past: np.ndarray, label_past: np.ndarray, chosen: Chosen
) -> np.ndarray:
    """The frames (m, T - P, channel) after `past`, with each range of horizons by its choice."""
    mean = np.empty((len(past), tracks.shape[1] - past.shape[1], tracks.shape[2]))
    dynamics, forecasts = _Dynamics(tracks, label), {}
    more = dynamics.windows(tracks, label, past.shape[1]).corrections(past, label_past)
    for (r, (start, stop)), c in product(enumerate(pairwise(chosen.edges)), range(tracks.shape[2])):
        best = tuple(map(float, chosen.best[r, c]))
        if best not in forecasts:
            forecasts[best] = dynamics.forecast(past, label_past, best)
        added = np.tensordot(chosen.share[:, r, c], more[:, :, start:stop, c], 1)
        mean[:, start:stop, c] = forecasts[best][:, start:stop, c] + added
    return mean
