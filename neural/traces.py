"""Forecasts of single-cell reporter traces: the rest of a track from its past.

Tracks are jointly Gaussian about the mean of their treatment: the forecast is the conditional mean
(`neural.traces_dynamics`). How means are taken is chosen by cross-validation over tracks, and for each channel and each
range of horizons what is believed of the covariance, ridge regression among it: the next frame asks for other than the
next hour. What such a forecast misses for being linear is added, as far as left-out tracks say that it holds
(`neural.traces_windows`).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise, product

import numpy as np

from neural.traces_dynamics import CHOICES, USUAL, Choice, Dynamics
from neural.traces_means import MEANS, USUAL_MEANS, expected, treatment_means
from neural.traces_windows import PENALTIES
from neural.uncertainty import conformal_quantile

_FOLDS = 5
# standard errors by which another choice than the usual one must be better on left-out tracks, and other means
_SURE, _SURE_OF_MEANS = 2.0, 1.0
# share of a correction that is believed in before left-out tracks are asked, and its spread: of the share for all
# horizons about that, and of the share for some horizons about the one for all
_SHARE, _DOUBT, _DOUBT_BETWEEN = 0.5, 0.3, 0.2
_TINY = 1e-30
# horizons [frames] at which the choice may change
_HORIZONS = (1, 3, 10, 30, 100, 300, 1000)
# tracks left out at most; operations of linear algebra beyond which treatments have no dynamics of their own
_MOST_LEFT_OUT, _DEAR = 2000, 2e11


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
    numbers: dict = {}
    label, label_past = _numbered(label, numbers)[told], _numbered(label_past, numbers)
    tracks = tracks[told]
    chosen = choose(tracks, label, seen, level, seed)
    usual = expected(treatment_means(tracks, label, tuple(chosen.means)), label_past)[:, :seen]
    past = np.where(np.isfinite(past), past, usual)
    return continued(tracks, label, past, label_past, chosen), chosen.width


def _numbered(label: np.ndarray, numbers: dict) -> np.ndarray:
    """Treatments (n,) of any kind, what is no number being one of them, as the numbers (n,) that they have or get."""
    named = (one if one == one else None for one in np.asarray(label).tolist())
    return np.array([numbers.setdefault(one, len(numbers)) for one in named], int)


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
        best: (range, channel, 4) the choices, a `Choice` each.
        share: (penalty, range, channel) of each correction that is added.
        width: (T - P, channel) half-width of intervals.
        corrected: (6,) the choice that corrections are to.
        means: (2,) how treatments' means are taken, one of `MEANS`.
    """

    edges: np.ndarray
    best: np.ndarray
    share: np.ndarray
    width: np.ndarray
    corrected: np.ndarray
    means: np.ndarray


def _alike(tracks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation (channel,) of tracks (n, T, channel), by which channels are made comparable."""
    centre, scale = tracks.mean((0, 1)), tracks.std((0, 1))
    return centre, np.where(scale > 1e-12 * np.abs(centre), scale, 1.0)


def choose(tracks: np.ndarray, label: np.ndarray, seen: int, level: float = 0.9, seed: int = 0) -> Chosen:
    """By cross-validation over `tracks` (n, T, channel), of which the first `seen` frames are known.

    Below twice as many tracks as folds, each is left out alone.
    """
    if len(tracks) < 2:
        raise ValueError(f"{len(tracks)} tracks are too few to choose on; 2 are needed")
    centre, scale = _alike(tracks)
    tracks = (tracks - centre) / scale
    if len(tracks) > _MOST_LEFT_OUT:
        some = np.random.default_rng(seed).permutation(len(tracks))[:_MOST_LEFT_OUT]
        tracks, label = tracks[some], label[some]
    folds = _FOLDS if len(tracks) >= 2 * _FOLDS else len(tracks)
    fold = np.random.default_rng(seed).permutation(len(tracks)) % folds
    choices, usual = _worth_trying(tracks, label, seen, folds)
    means = _best_means(tracks, label, seen, fold)
    off = np.empty((len(choices), *tracks[:, seen:].shape))
    fitted = [Dynamics(tracks[fold != k], label[fold != k], means) for k in range(folds)]
    for (k, dynamics), (i, choice) in product(enumerate(fitted), enumerate(choices)):
        out = fold == k
        off[i, out] = tracks[out, seen:] - dynamics.forecast(tracks[out, :seen], label[out], choice)
    gaussian = sum(not choice.ridge for choice in choices)
    usual = _best((off[:gaussian] ** 2).mean((2, 3)), usual)
    more = np.empty((len(PENALTIES), *off.shape[1:]))
    for k, dynamics in enumerate(fitted):
        out = fold == k
        more[:, out] = dynamics.windows(seen, choices[usual]).corrections(tracks[out, :seen], label[out])
    ahead, channels = tracks.shape[1] - seen, tracks.shape[2]
    edges = [0, *(h for h in _HORIZONS if h < ahead), ahead]
    ranges = [slice(*pair) for pair in pairwise(edges)]
    best, width = np.empty((len(ranges), channels, len(USUAL))), np.empty((ahead, channels))
    share = np.empty((len(PENALTIES), len(ranges), channels))
    for c in range(channels):
        ways = []
        # what corrections are learned for may with them be better than what is better without
        for picked in ([_best((off[:, :, r, c] ** 2).mean(2), usual) for r in ranges], [usual] * len(ranges)):
            left = np.concatenate([off[i, :, r, c] for i, r in zip(picked, ranges, strict=True)], 1)
            shares = _shares(left, more[..., c], edges)
            left -= np.einsum("ph,pnh->nh", np.repeat(shares, np.diff(edges), axis=1), more[..., c])
            ways.append(((left**2).mean(), picked, shares, left))
        _, picked, share[..., c], left = min(ways, key=lambda way: way[0])
        best[:, c] = [choices[i] for i in picked]
        width[:, c] = [conformal_quantile(np.abs(one), level) for one in left.T]
    return Chosen(np.array(edges), best, share, width * scale, np.array(choices[usual]), np.array(means))


def _worth_trying(tracks: np.ndarray, label: np.ndarray, seen: int, folds: int) -> tuple[list[Choice], int]:
    """Those of CHOICES that differ on such tracks and can be afforded, and which of them is the usual one."""
    channels, usual = tracks.shape[2], USUAL
    choices = [c for c in CHOICES if channels > 1 or c.ridge or c.together == usual.together]
    if len(choices) * folds * len(np.unique(label)) * 3.0 * (channels * seen) ** 3 > _DEAR:
        choices = [c._replace(worth=np.inf) for c in choices if c.worth in (usual.worth, np.inf)]
        usual = usual._replace(worth=np.inf)
    return choices, choices.index(usual)


def _best_means(tracks: np.ndarray, label: np.ndarray, seen: int, fold: np.ndarray) -> tuple[float, float]:
    """Which of MEANS serves best where all treatments have the same dynamics."""
    loss = np.empty((len(MEANS), len(tracks)))
    for (i, kind), k in product(enumerate(MEANS), range(fold.max() + 1)):
        out = fold == k
        told = Dynamics(tracks[~out], label[~out], kind).forecast(
            tracks[out, :seen], label[out], USUAL._replace(worth=np.inf)
        )
        loss[i, out] = ((told - tracks[out, seen:]) ** 2).mean((1, 2))
    return MEANS[_best(loss, MEANS.index(USUAL_MEANS), _SURE_OF_MEANS)]


def _best(loss: np.ndarray, usual: int, sure: float = _SURE) -> int:
    """Which choice, by losses (choice, track): the usual one unless the least is surely less."""
    least = int(np.argmin(loss.mean(1)))
    gain = loss[usual] - loss[least]
    return least if gain.mean() > sure * gain.std() / np.sqrt(len(gain)) else usual


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
    centre, scale = _alike(tracks)
    tracks, past = (tracks - centre) / scale, (past - centre) / scale
    dynamics, forecasts = Dynamics(tracks, label, (float(chosen.means[0]), float(chosen.means[1]))), {}
    windows = dynamics.windows(past.shape[1], Choice(*map(float, chosen.corrected)))
    more = windows.corrections(past, label_past)
    for (r, (start, stop)), c in product(enumerate(pairwise(chosen.edges)), range(tracks.shape[2])):
        best = Choice(*map(float, chosen.best[r, c]))
        if best not in forecasts:
            forecasts[best] = dynamics.forecast(past, label_past, best)
        added = np.tensordot(chosen.share[:, r, c], more[:, :, start:stop, c], 1)
        mean[:, start:stop, c] = forecasts[best][:, start:stop, c] + added
    return centre + scale * mean
