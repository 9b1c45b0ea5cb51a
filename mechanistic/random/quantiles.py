"""What a uniform number makes of a distribution, by the inverse of its distribution function, truncated or not.

One uniform number makes one draw, whatever the distribution, so a draw is a pure function of its counter. In
the upper half the complement of the distribution function is inverted, so that far tails keep their digits.
Where parameters have no meaning (a negative spread, bounds with nothing between them) the result is NaN.
"""

from __future__ import annotations

import math

import numpy as np
from numpy import uint32, uint64

from mechanistic.codegen.loops import compiled
from mechanistic.draws import NUMBERS
from mechanistic.random.philox import philox4x32, unit53

_NORMAL, _UNIFORM, _BERNOULLI = NUMBERS["normal"], NUMBERS["uniform"], NUMBERS["bernoulli"]
_BINOMIAL, _CAUCHY, _CHISQUARE = NUMBERS["binomial"], NUMBERS["cauchy"], NUMBERS["chisquare"]
_EXPONENTIAL, _GAMMA, _LAPLACE = NUMBERS["exponential"], NUMBERS["gamma"], NUMBERS["laplace"]
_LOGNORMAL, _POISSON, _RAYLEIGH = NUMBERS["lognormal"], NUMBERS["poisson"], NUMBERS["rayleigh"]
# weight of a whole number, relative to the likeliest, below which nothing more is looked at
_NEGLIGIBLE = 1e-20


def _normal(u, low, high):
    """A standard normal between `low` and `high`."""
    if low > 0.0:
        # the lower tail has digits that the upper one lacks
        return -_normal_below(1.0 - u, -high, -low)
    return _normal_below(u, low, high)


def _normal_below(u, low, high):
    root = math.sqrt(2.0)
    first, last = 0.5 * math.erfc(-low / root), 0.5 * math.erfc(-high / root)
    p = first + u * (last - first)
    tail = min(p, 1.0 - p)
    if tail <= 0.0:
        return low if p <= 0.5 else high
    # Abramowitz and Stegun 26.2.23, then Newton's method on the distribution function
    t = math.sqrt(-2.0 * math.log(tail))
    x = t - (2.515517 + t * (0.802853 + t * 0.010328)) / (
        1.0 + t * (1.432788 + t * (0.189269 + t * 0.001308))
    )
    x = -x
    for _ in range(4):
        error = 0.5 * math.erfc(-x / root) - tail
        slope = math.exp(-0.5 * x * x) / math.sqrt(2.0 * math.pi)
        step = error / slope
        x -= step / (1.0 + 0.5 * x * step)
    x = x if p <= 0.5 else -x
    return min(max(x, low), high)


def _exponential(u, low, high):
    """An exponential of rate 1 between `low` and `high`."""
    low = max(low, 0.0)
    return min(low - math.log1p(u * math.expm1(low - high)), high)


def _gamma_parts(shape, x):
    """The regularised incomplete gamma functions P and Q (DLMF 8.11.4 and 8.9.2)."""
    if x <= 0.0:
        return 0.0, 1.0
    if x == math.inf:
        return 1.0, 0.0
    front = math.exp(shape * math.log(x) - x - math.lgamma(shape))
    if x < shape + 1.0:
        term = total = 1.0 / shape
        k = shape
        while abs(term) > 1e-17 * total:
            k += 1.0
            term *= x / k
            total += term
        p = min(front * total, 1.0)
        return p, 1.0 - p
    tiny = 1e-300
    b = x + 1.0 - shape
    c, d = 1.0 / tiny, 1.0 / b
    h = d
    for i in range(1, 100_000):
        a = -i * (i - shape)
        b += 2.0
        d = a * d + b
        d = 1.0 / (d if abs(d) > tiny else tiny)
        c = b + a / c
        c = c if abs(c) > tiny else tiny
        h *= c * d
        if abs(c * d - 1.0) < 1e-16:
            break
    q = min(front * h, 1.0)
    return 1.0 - q, q


def _gamma(u, shape, low, high):
    """A gamma of scale 1 between `low` and `high`: Newton's method, kept between ends that it narrows."""
    p_low, q_low = _gamma_parts(shape, low)
    p_high, q_high = _gamma_parts(shape, high)
    p, q = p_low + u * (p_high - p_low), q_low + u * (q_high - q_low)
    below, above = max(low, 0.0), high
    if above == math.inf:
        above = max(2.0 * below, 2.0 * shape + 10.0)
        while _gamma_parts(shape, above)[1] > q:
            above *= 2.0
    x = min(max(shape, below), above)
    if shape < 1.0:
        # near 0 the distribution function is x^shape / gamma(shape + 1)
        x = min(max(math.exp((math.log(max(p, 1e-300)) + math.lgamma(shape + 1.0)) / shape), below), above)
    for _ in range(200):
        p_here, q_here = _gamma_parts(shape, x)
        error = p_here - p if p < 0.5 else q - q_here
        if error < 0.0:
            below = x
        else:
            above = x
        slope = math.exp((shape - 1.0) * math.log(max(x, 1e-300)) - x - math.lgamma(shape))
        moved = x - error / slope if slope > 0.0 else math.nan
        if not below <= moved <= above:
            moved = 0.5 * (below + above)
        if abs(moved - x) <= 1e-15 * abs(x) or moved == x:
            return moved
        x = moved
    return x


def _weight_ratio(count, chance, k):
    """Weight of k + 1 relative to k: of a Poisson of mean `chance` where `count` is infinite, else binomial."""
    if count == math.inf:
        return chance / (k + 1.0)
    return (count - k) / (k + 1.0) * chance / (1.0 - chance)


def _whole(u, count, chance, low, high):
    """A whole number from `low` to `high`, by weights from the likeliest of them outwards."""
    first, last = max(np.ceil(low), 0.0), min(np.floor(high), count)
    if not first <= last:
        return math.nan
    if count < math.inf and chance >= 1.0:
        return count if last == count else math.nan
    likeliest = np.floor(chance if count == math.inf else (count + 1.0) * chance)
    likeliest = min(max(likeliest, first), last)
    total = weight = 1.0
    k = likeliest
    while k < last and weight > _NEGLIGIBLE:
        weight *= _weight_ratio(count, chance, k)
        total += weight
        k += 1.0
    weight, k = 1.0, likeliest
    while k > first and weight > _NEGLIGIBLE:
        weight /= _weight_ratio(count, chance, k - 1.0)
        total += weight
        k -= 1.0
    left = u * total
    while left >= weight and k < last:
        left -= weight
        if weight <= 0.0 and k > likeliest:
            break
        weight *= _weight_ratio(count, chance, k)
        k += 1.0
    return k


def _cauchy(u, low, high):
    first, last = math.atan(low), math.atan(high)
    return min(max(math.tan(first + u * (last - first)), low), high)


def _laplace(u, low, high):
    if low >= 0.0:
        return _exponential(u, low, high)
    if high <= 0.0:
        return -_exponential(1.0 - u, -high, -low)
    left, right = -math.expm1(low), -math.expm1(-high)
    share = left / (left + right)
    if u < share:
        return -_exponential(1.0 - u / share, 0.0, -low)
    return _exponential((u - share) / (1.0 - share), 0.0, high)


def quantile(kind, a, b, low, high, u):
    """The draw that the uniform number `u` in [0, 1) makes.

    Args:
        kind: see `mechanistic.draws.NUMBERS`; a, b: its parameters; low, high: its bounds.
    """
    # neither 0 nor 1: an unbounded distribution has no value there
    u = min(max(u, 2.0**-54), 1.0 - 2.0**-53)
    if not low <= high or math.isnan(a) or math.isnan(b):
        return math.nan
    if kind in (_NORMAL, _LOGNORMAL):
        if kind == _LOGNORMAL:
            if high <= 0.0:
                return math.nan
            low = math.log(low) if low > 0.0 else -math.inf
            high = math.log(high)
        if b == 0.0:
            x = a if low <= a <= high else math.nan
        else:
            x = a + b * _normal(u, (low - a) / b, (high - a) / b) if 0.0 < b < math.inf else math.nan
        return math.exp(x) if kind == _LOGNORMAL else x
    if kind == _UNIFORM:
        return a + (b - a) * u if a <= b else math.nan
    if kind == _BERNOULLI:
        return (1.0 if u < a else 0.0) if 0.0 <= a <= 1.0 else math.nan
    if kind == _BINOMIAL:
        fine = 0.0 <= a < 1e15 and a == np.floor(a) and 0.0 <= b <= 1.0
        return _whole(u, a, b, low, high) if fine else math.nan
    if kind == _POISSON:
        return _whole(u, math.inf, a, low, high) if 0.0 <= a < 1e15 else math.nan
    if kind in (_CAUCHY, _LAPLACE):
        if not 0.0 < b < math.inf:
            return math.nan
        low, high = (low - a) / b, (high - a) / b
        return a + b * (_cauchy(u, low, high) if kind == _CAUCHY else _laplace(u, low, high))
    # what is left is never negative
    if high <= 0.0 or not 0.0 < a < math.inf:
        return math.nan
    if kind == _EXPONENTIAL:
        return _exponential(u, low * a, high * a) / a
    if kind == _RAYLEIGH:
        low, high = max(low, 0.0) / a, high / a
        return a * math.sqrt(2.0 * _exponential(u, 0.5 * low * low, 0.5 * high * high))
    if kind == _CHISQUARE:
        return 2.0 * _gamma(u, 0.5 * a, 0.5 * low, 0.5 * high)
    return b * _gamma(u, a, low / b, high / b) if 0.0 < b < math.inf else math.nan


def drawn(key, cell, site, occurrence, kind, a, b, low, high):
    """The draw at `site` of a cell, the `occurrence`-th time that it is made (all uint64 but the last five)."""
    low_word, half = uint64(0xFFFFFFFF), uint64(32)
    first, second, _c, _d = philox4x32(
        uint32(cell & low_word), uint32(cell >> half), uint32(occurrence), uint32(site),
        uint32(key & low_word), uint32(key >> half),
    )  # fmt: skip
    return quantile(kind, a, b, low, high, unit53(first, second))


@compiled
def fill(out, key, site, kind, a, b, low, high):
    """out[i] becomes the first draw at `site` of cell i; the parameters are arrays like `out`."""
    for i in range(len(out)):
        out[i] = drawn(key, np.uint64(i), np.uint64(site), np.uint64(0), kind, a[i], b[i], low[i], high[i])
