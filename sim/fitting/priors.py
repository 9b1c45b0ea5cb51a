"""Log-densities of parameters before anything was measured, with their derivatives.

The distributions of PEtab 1 and 2. One that is cut off at bounds is normalised again between them.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from sim.fitting.parts import Prior

Density = Callable[..., tuple[float, float]]


def _normal(x: float, mean: float, sd: float) -> tuple[float, float]:
    z = (x - mean) / sd
    return -0.5 * z * z - math.log(sd * math.sqrt(2 * math.pi)), -z / sd


def _laplace(x: float, location: float, scale: float) -> tuple[float, float]:
    z = (x - location) / scale
    return -abs(z) - math.log(2 * scale), -math.copysign(1.0, z) / scale if z else 0.0


def _uniform(x: float, low: float, high: float) -> tuple[float, float]:
    return (-math.log(high - low), 0.0) if low <= x <= high else (-math.inf, 0.0)


def _cauchy(x: float, location: float, scale: float) -> tuple[float, float]:
    z = (x - location) / scale
    return -math.log(math.pi * scale * (1 + z * z)), -2 * z / (scale * (1 + z * z))


def _gamma(x: float, shape: float, scale: float) -> tuple[float, float]:
    if x <= 0:
        return -math.inf, 0.0
    density = (shape - 1) * math.log(x) - x / scale - math.lgamma(shape) - shape * math.log(scale)
    return density, (shape - 1) / x - 1 / scale


def _chisquare(x: float, freedom: float) -> tuple[float, float]:
    return _gamma(x, freedom / 2, 2.0)


def _exponential(x: float, scale: float) -> tuple[float, float]:
    return (-math.log(scale) - x / scale, -1 / scale) if x >= 0 else (-math.inf, 0.0)


def _rayleigh(x: float, scale: float) -> tuple[float, float]:
    if x <= 0:
        return -math.inf, 0.0
    return math.log(x) - 2 * math.log(scale) - 0.5 * (x / scale) ** 2, 1 / x - x / scale**2


def _log_uniform(x: float, low: float, high: float) -> tuple[float, float]:
    if not low <= x <= high:
        return -math.inf, 0.0
    return -math.log(x * (math.log(high) - math.log(low))), -1 / x


def _logarithmic(of: Density) -> Density:
    def density(x: float, *parameters: float) -> tuple[float, float]:
        if x <= 0:
            return -math.inf, 0.0
        value, slope = of(math.log(x), *parameters)
        return value - math.log(x), (slope - 1) / x

    return density


DENSITIES: dict[str, Density] = {
    "normal": _normal,
    "laplace": _laplace,
    "uniform": _uniform,
    "cauchy": _cauchy,
    "gamma": _gamma,
    "chisquare": _chisquare,
    "exponential": _exponential,
    "rayleigh": _rayleigh,
    "log-normal": _logarithmic(_normal),
    "log-laplace": _logarithmic(_laplace),
    "log-uniform": _log_uniform,
}


def _distribution(prior: Prior):
    """Of scipy, for its cumulative distribution."""
    from scipy import stats

    a, *rest = prior.values
    b = rest[0] if rest else 1.0
    return {
        "normal": lambda: stats.norm(a, b),
        "laplace": lambda: stats.laplace(a, b),
        "uniform": lambda: stats.uniform(a, b - a),
        "cauchy": lambda: stats.cauchy(a, b),
        "gamma": lambda: stats.gamma(a, scale=b),
        "chisquare": lambda: stats.chi2(a),
        "exponential": lambda: stats.expon(scale=a),
        "rayleigh": lambda: stats.rayleigh(scale=a),
        "log-normal": lambda: stats.lognorm(b, scale=math.exp(a)),
        "log-laplace": lambda: stats.loglaplace(1 / b, scale=math.exp(a)),
        "log-uniform": lambda: stats.loguniform(a, b),
    }[prior.kind]()


def share(prior: Prior) -> float:
    """How much of the distribution lies within its bounds."""
    if prior.low == -math.inf and prior.high == math.inf:
        return 1.0
    distribution = _distribution(prior)
    return float(distribution.cdf(prior.high) - distribution.cdf(prior.low))


def log_prior(prior: Prior, x: float) -> tuple[float, float]:
    """The log-density at `x`, not normalised to the bounds, and its derivative; -inf outside of them."""
    if not prior.low <= x <= prior.high:
        return -math.inf, 0.0
    return DENSITIES[prior.kind](x, *prior.values)


def sample(prior: Prior, shares: list[float]) -> list[float]:
    """Values of the distribution within its bounds, by shares of it in (0, 1)."""
    distribution = _distribution(prior)
    low, high = distribution.cdf(prior.low), distribution.cdf(prior.high)
    return [float(distribution.ppf(low + s * (high - low))) for s in shares]
