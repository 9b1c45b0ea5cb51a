"""Where functions of one number cross 0, many at a time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

_MOST = 200
_NEXT = 4.0 * np.finfo(float).eps


def roots(
    function: Callable[[np.ndarray, np.ndarray], np.ndarray],
    end: np.ndarray,
    at_begin: np.ndarray,
    at_end: np.ndarray,
) -> np.ndarray:
    """(row,): where each function crosses 0 between 0 and `end`, to rounding.

    Inverse quadratic interpolation where it will do, else halves (Chandrupatla, Adv. Eng. Software 28, 145, 1997).

    Args:
        function: of points (some,) and of the rows that they are of: the values there.
        at_begin, at_end: (row,) values at 0 and `end`, on different sides of 0.
    """
    found = np.zeros(len(end))
    rows = np.arange(len(end))
    # the last point, the one beyond the root, the one before the last; and the values there
    a, b, c = end.copy(), np.zeros(len(end)), np.zeros(len(end))
    fa, fb, fc = at_end.copy(), at_begin.copy(), at_begin.copy()
    share = np.full(len(end), 0.5)
    for _ in range(_MOST):
        if not len(rows):
            break
        x = a + share * (b - a)
        fx = function(x, rows)
        same = (fx > 0) == (fa > 0)
        c, fc = np.where(same, a, b), np.where(same, fa, fb)
        b, fb = np.where(same, b, a), np.where(same, fb, fa)
        a, fa = x, fx
        nearer = np.abs(fa) < np.abs(fb)
        best, value = np.where(nearer, a, b), np.where(nearer, fa, fb)
        found[rows] = best
        least = _NEXT * np.abs(best) / np.abs(b - a)
        on = ~((least > 0.5) | (value == 0.0))
        rows = rows[on]
        a, b, c, fa, fb, fc, least = (v[on] for v in (a, b, c, fa, fb, fc, least))
        with np.errstate(all="ignore"):
            x, f = (a - b) / (c - b), (fa - fb) / (fc - fb)
            quadratic = (f * f < x) & ((1.0 - f) ** 2 < 1.0 - x)
            share = fa / (fb - fa) * fc / (fb - fc) + (c - a) / (b - a) * fa / (fc - fa) * fb / (fc - fb)
        share = np.clip(np.where(quadratic, share, 0.5), least, 1.0 - least)
    return found
