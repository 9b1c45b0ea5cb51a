"""Intervals for what a fitted term says: what other data of the same size would have made of it.

Two questions are asked of the data that a term was fitted to.

    without   fitted again without each of several groups of trajectories: how far chance moves it (the jackknife by
              deleted groups, Tukey 1958; Shao and Wu 1989)
    again     fitted again to the smoothed courses with new noise of the size that smoothing took away, smoothed
              again: how far smoothing and noise in the inputs pull it away from what it was fitted to, and so, to
              first order, how far they have pulled it from the truth (the bootstrap's estimate of bias, Efron 1979)

Where the second was not asked, the interval knows nothing of bias.
"""

from __future__ import annotations

import numpy as np

from sim.interpret.effects import LEVEL


def refit_interval(
    whole: np.ndarray, without: np.ndarray, again: np.ndarray | None = None, level: float = LEVEL
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Centre, lower and upper end (...,) of numbers that were computed from a fitted term.

    Args:
        whole: (...,) from the fit to everything.
        without: (group, ...) from the fits that lack a group each, at least 2 groups.
        again: (draw, ...) from the fits to smoothed courses with new noise.
        level: coverage.

    Raises:
        ValueError: fewer than 2 groups.
    """
    from scipy.stats import t

    groups = len(without)
    if groups < 2:
        raise ValueError(f"an interval needs fits without 2 groups at least, got {groups}")
    variance = (groups - 1) / groups * ((without - without.mean(0)) ** 2).sum(0)
    centre = np.array(whole, float)
    if again is not None and len(again) > 1:
        centre = centre - (again.mean(0) - whole)
        variance = variance + again.var(0, ddof=1) / len(again)
    half = t.ppf((1 + level) / 2, groups - 1) * np.sqrt(variance)
    return centre, centre - half, centre + half
