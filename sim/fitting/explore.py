"""From a local optimum to a better one: each parameter is moved over its range while the others follow.

A fit often ends with a parameter at a bound or where it no longer matters, on the wrong side of a ridge. Whoever sets
that parameter elsewhere, lets the others follow for some steps and then lets it go too gets over the ridge. What is
at a bound or told least by the data is tried first; the rest where that finds nothing.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sim.fitting.optimize import Fit, FitFunction, Stop, fit

_LEVELS = (0.0, 0.25, 0.5, 0.75, 1.0)
_BETTER = 1e-2  # log-posterior
_FOLLOW, _FREE = Stop(steps=15), Stop(steps=20)
_WIDE = 3.0  # how far to go where a parameter has no bound


def fit_widely(
    function: FitFunction,
    x: np.ndarray,
    stop: Stop | None = None,
    *,
    steps: int = 5000,
    go_on: Callable[[], bool] = lambda: True,
) -> Fit:
    """The best optimum found from `x`, by `fit` and moves from where it ends.

    Args:
        steps: how many may be tried in moves, over all of them.
    """
    stop = stop or Stop()
    best = fit(function, x, stop, go_on=go_on)
    left = steps
    while best.reason not in ("failed", "stopped") and left > 0:
        found, left = _moved(function, best, left, go_on)
        if found is None or not go_on():
            break
        found = fit(function, found.x, stop, go_on=go_on)
        if found.log_posterior <= best.log_posterior + _BETTER:
            break
        best = found
    return best


def _moved(function: FitFunction, best: Fit, left: int, go_on) -> tuple[Fit | None, int]:
    """What the first group of parameters leads to that leads somewhere better, and how many steps are left."""
    now = function(best.x, slopes=True)
    if now.root is None:
        return None, 0
    low = np.where(np.isfinite(function.lower), function.lower, best.x - _WIDE)
    high = np.where(np.isfinite(function.upper), function.upper, best.x + _WIDE)
    width = high - low
    told = np.sqrt(np.einsum("ij,ij->j", now.root, now.root)) * width
    first = (best.x - low < 1e-2 * width) | (high - best.x < 1e-2 * width) | (told < 2.0)
    for group in (np.flatnonzero(first), np.flatnonzero(~first)):
        found: Fit | None = None
        for k in group:
            for share in _LEVELS:
                value = low[k] + share * width[k]
                if abs(value - best.x[k]) < 0.15 * width[k]:
                    continue
                if left <= 0 or not go_on():
                    return _if_better(found, best), left
                start, held = best.x.copy(), np.zeros(len(best.x), dtype=bool)
                start[k], held[k] = value, True
                beside = fit(function, start, _FOLLOW, fixed=held)
                trial = fit(function, beside.x, _FREE)
                left -= beside.steps + trial.steps + 1
                if found is None or trial.log_posterior > found.log_posterior:
                    found = trial
        if _if_better(found, best) is not None:
            return found, left
    return None, left


def _if_better(found: Fit | None, best: Fit) -> Fit | None:
    return found if found is not None and found.log_posterior > best.log_posterior + _BETTER else None
