"""Covariance of tracks as a function of the lag alone, as a sum of few shapes that a cell's dynamics can have.

Estimated lag by lag it is noisy, and forecasts suffer most where tracks are long and few. As a sum of fading memories,
fading oscillations, what lasts for good and what does not last a frame, each with a weight of zero or more, it is
smooth and always a covariance. Channels are tied by letting every shape act along mixtures of them.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

_LAGS = 60
_MEMORIES, _SHORTEST_MEMORY, _SHORTEST_DECAY = 8, 1.5, 8.0
# frames that shorter tracks count as
_LEAST_FRAMES = 20
# numbers of periods and of decays, the shortest period [frames], the longest decay in lengths of the tracks, and how
# often periods are looked for between those found: for dynamics without a sharp rhythm, and with one
_BROAD, _SHARP = (7, 4, 10.0, 0.5, 0), (16, 5, 4.0, 4.0, 2)
# least slope worth a step, of the largest; steps for each weight at most; what keeps alike shapes apart; no weight
_ENOUGH, _ROUNDS, _FIRM, _GONE = 5e-4, 3, 1e-10, 1e-14
_MIXTURES = ((1.0, 1.0), (1.0, -1.0), (2.0, 1.0), (1.0, 2.0), (2.0, -1.0), (1.0, -2.0))


def autocovariance(tracks: np.ndarray) -> np.ndarray:
    """(channel, channel, T) mean product of centred tracks (n, T, channel) at every lag, either channel first."""
    n, frames = tracks.shape[:2]
    spectrum = np.fft.rfft(tracks, 2 * frames, axis=1)
    products = np.einsum("nfa,nfb->abf", spectrum.conj(), spectrum)
    out = np.fft.irfft(products, 2 * frames)[..., :frames] / (n * np.arange(frames, 0, -1))
    return (out + out.transpose(1, 0, 2)) / 2


def shapes(frames: int, periods: np.ndarray, decays: np.ndarray) -> np.ndarray:
    """(T, shape) of lags: what lasts, what does not, memories, and oscillations of each period with every decay."""
    lag, longest = np.arange(frames), max(float(frames), _LEAST_FRAMES)
    fading = [np.exp(-lag / t) for t in np.geomspace(_SHORTEST_MEMORY, 1.25 * longest, _MEMORIES)]
    swinging = [np.exp(-lag / d) * np.cos(2 * np.pi * lag / p) for p in periods for d in decays]
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


def smooth_covariance(measured: np.ndarray, sharp: bool = False) -> np.ndarray:
    """The sum of `shapes` nearest to a measured autocovariance (channel, channel, T), in the same form.

    Least squares with weights of zero or more, over lags that are spread evenly in their logarithm and count for as
    many frames as they stand for and as tracks had them.
    """
    channels, frames = measured.shape[1:]
    at = np.unique(np.round(np.geomspace(1, frames, _LAGS)).astype(int)) - 1
    edges = np.r_[0.0, [(a + b) / 2 for a, b in pairwise(at)], frames]
    weight = np.diff(edges) * (frames - at) / frames
    ways = _mixtures(channels)
    size = max(float(np.abs(measured).max()), 1e-300)
    by_mixture = (ways @ ways.T) ** 2
    target = np.einsum("abl,l,ma,mb->ml", measured[..., at] / size, weight, ways, ways, optimize=True)
    count, fades, shortest, longest, zooms = _SHARP if sharp else _BROAD
    length = max(float(frames), _LEAST_FRAMES)
    periods = np.geomspace(shortest, length / 2, count)
    decays = np.geomspace(_SHORTEST_DECAY, longest * length, fades)
    step, swing = np.log(periods[1] / periods[0]), np.zeros((len(ways), count, fades))
    rest = np.zeros((len(ways), _MEMORIES + 2))
    for closer in range(zooms + 1):
        if closer:
            # periods between those tried, beside those that were found
            step, used = step / 3, swing.any((0, 2))
            every = np.r_[periods[used], periods[used] * np.exp(step), periods[used] * np.exp(-step)]
            periods, come = np.unique(every, return_index=True)
            swing = np.pad(swing[:, used], ((0, 0), (0, 2 * used.sum()), (0, 0)))[:, come]
        # inner products of columns, each a shape times a mixture's square, are products of those of their parts
        basis = shapes(frames, periods, decays)
        found = np.concatenate([rest, swing.reshape(len(ways), -1)], 1)
        found = nonnegative(by_mixture, (basis[at].T * weight) @ basis[at], target @ basis[at], found)
        rest, swing = found[:, : rest.shape[1]], found[:, rest.shape[1] :].reshape(len(ways), -1, fades)
    return size * np.einsum("ms,ls,ma,mb->abl", found, basis, ways, ways, optimize=True)


def nonnegative(left: np.ndarray, right: np.ndarray, target: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Weights W >= 0 (m, s) that minimise tr(W' left W right) / 2 - tr(W' target): least squares by inner products.

    From weights `start` >= 0 others leave zero one by one, the steepest first, and are put back where they would become
    negative.

    Source: Lawson and Hanson, Solving Least Squares Problems (1974), chapter 23; on inner products: Bro and de Jong,
    J. Chemometrics 11 (1997).
    """
    found, free = np.array(start), start > 0
    size = np.sqrt(np.outer(np.diag(left), np.diag(right)))
    enough = _ENOUGH * float(np.abs(target / size).max())
    for _ in range(_ROUNDS * target.size):
        _settle(found, free, left, right, target)
        slope = np.where(free, -np.inf, (target - left @ found @ right) / size)
        at = np.unravel_index(int(slope.argmax()), slope.shape)
        if not slope[at] > enough:
            break
        free[at] = True
    return found


def _settle(
    found: np.ndarray, free: np.ndarray, left: np.ndarray, right: np.ndarray, target: np.ndarray
) -> None:
    """The best weights of those that are free, in place; such as would become negative are free no more."""
    while free.any():
        m, s = np.nonzero(free)
        square = left[np.ix_(m, m)] * right[np.ix_(s, s)]
        square[np.diag_indices(len(m))] *= 1 + _FIRM
        wanted, here = np.linalg.solve(square, target[free]), found[free]
        falling = wanted <= 0
        if not falling.any():
            found[free] = wanted
            return
        part = np.min(here[falling] / (here[falling] - wanted[falling]), initial=1.0)
        here += part * (wanted - here)
        here[falling & (here <= _GONE * here.max())] = 0.0
        found[free] = here
        free &= found > 0


def whole(by_lag: np.ndarray) -> np.ndarray:
    """(channel, T, channel, T) covariance of tracks, from that by lag (channel, channel, T)."""
    t = np.arange(by_lag.shape[-1])
    return by_lag[:, :, np.abs(t[:, None] - t)].transpose(0, 2, 1, 3)
