"""Intervals for what a fitted term says: what other data of the same size would have made of it.

Up to three questions are asked of the data that a term was fitted to.

    without   fitted again without each of several groups of trajectories: how far chance moves it (the jackknife by
              deleted groups, Tukey 1958; Shao and Wu 1989)
    starts    fitted again from other starting points: what the data leave open, where no trajectory went above all; the
              truth is taken for one more of the functions that fit them as well (Lakshminarayanan 2017)
    again     fitted again to the smoothed courses with new noise of the size that smoothing took away, smoothed
              again: how far smoothing and noise in the inputs pull it away from what it was fitted to, and so, to
              first order, how far they have pulled it from the truth (the bootstrap's estimate of bias, Efron 1979)

That pull counts as spread and is not taken off: it is known to first order only, and where courses are smooth
already, smoothing them once more may even pull the other way. Where the last was not asked, the interval knows
nothing of bias.
"""

from __future__ import annotations

import numpy as np

from sim.interpret.effects import LEVEL


def refit_interval(
    whole: np.ndarray | float,
    without: np.ndarray,
    starts: np.ndarray | None = None,
    again: np.ndarray | None = None,
    level: float = LEVEL,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Centre, lower and upper end (...,) of numbers that were computed from a fitted term.

    Args:
        whole: (...,) from the fit to everything.
        without: (group, ...) from the fits that lack a group each, at least 2 groups.
        starts: (start, ...) from fits to everything, that of `whole` among them; the centre is their mean.
        again: (draw, ...) from the fits to smoothed courses with new noise.
        level: coverage.

    The variances add up, with Satterthwaite's (1946) degrees of freedom.

    Raises:
        ValueError: fewer than 2 groups.
    """
    from scipy.stats import t

    groups = len(without)
    if groups < 2:
        raise ValueError(f"an interval needs fits without 2 groups at least, got {groups}")
    centre = np.array(whole, float)
    spreads = [((groups - 1) / groups * ((without - without.mean(0)) ** 2).sum(0), groups - 1)]
    if starts is not None and len(starts) > 1:
        centre = starts.mean(0)
        spreads.append((starts.var(0, ddof=1) * (1 + 1 / len(starts)), len(starts) - 1))
    variance = np.sum([v for v, _ in spreads], axis=0)
    freedom = variance**2 / np.maximum(np.sum([v**2 / n for v, n in spreads], axis=0), 1e-300)
    if again is not None and len(again):
        variance = variance + (again.mean(0) - whole) ** 2
    half = t.ppf((1 + level) / 2, np.maximum(freedom, 1.0)) * np.sqrt(variance)
    return centre, centre - half, centre + half
