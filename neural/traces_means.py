"""Mean tracks of treatments: how far smoothed, and how far drawn to the mean of all."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product

import numpy as np

#: (share of a track on each side that a mean is taken over, tracks that the common mean is worth to a treatment's)
MEANS = tuple(product((0.0, 1 / 32, 1 / 8), (3.0, 30.0)))
#: taken unless another is surely better on left-out tracks
USUAL_MEANS = (1 / 8, 30.0)


def treatment_means(tracks: np.ndarray, label: np.ndarray, kind: tuple[float, float] = USUAL_MEANS) -> dict:
    """Mean track (T, channel) of each treatment (n,) of `tracks` (n, T, channel), in one of the ways of `MEANS`.

    Averaged over neighbouring frames, fewer near the start where responses are quick; drawn to the common mean as so
    many further tracks would. The key None holds the common mean.
    """
    reach, shrink = kind
    common = _smoothed(tracks.mean(0), reach)
    means: dict = {None: common}
    for one in np.unique(label):
        mine = tracks[label == one]
        means[one] = common + len(mine) / (len(mine) + shrink) * (_smoothed(mine.mean(0), reach) - common)
    return means


def _smoothed(track: np.ndarray, share: float) -> np.ndarray:
    frame = np.arange(len(track))
    reach = np.minimum(np.minimum(int(share * len(track)), frame // 3), len(track) - 1 - frame)
    total = np.r_[np.zeros((1, track.shape[1])), np.cumsum(track, 0)]
    return (total[frame + reach + 1] - total[frame - reach]) / (2 * reach + 1)[:, None]


def expected(means: Mapping, label: np.ndarray) -> np.ndarray:
    """(n, T, channel) mean tracks of the treatments `label`; that under None for those without one."""
    return np.array([means.get(one, means[None]) for one in label]).reshape(len(label), *means[None].shape)
