"""Which parameters the measurements determine: the spectrum of the information, correlations, and what would help.

At an optimum, linear in what is near (Gutenkunst et al., PLOS Comput. Biol. 3, e189, 2007); `sim.fitting.profiles`
looks further. Parameters count by their natural logarithms, or relatively to their size where they are fitted as they
are, so that all standard deviations are relative ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sim.fitting.objective import Evaluation
from sim.fitting.optimize import FitFunction

_SHARE = 0.2  # of a direction's length from which on a parameter is one of those concerned
_EXACT = 1e-6  # of the largest slope, how exact slopes are: what is less tells nothing
_LOOSE = 1.0  # relative standard deviation from which on a direction counts as hardly determined


@dataclass(frozen=True)
class Direction:
    """A combination of parameters, and how well it is known.

    Attributes:
        eigenvalue: of the information; 1 / its root is the standard deviation along the direction.
        parts: by parameter, the larger first, those of at least a fifth of the length.
    """

    eigenvalue: float
    parts: dict[str, float]


@dataclass(frozen=True)
class Identifiability:
    """Attributes:
    names: of the estimated parameters.
    unit: (parameter,) how much a parameter changes on its scale where it changes by its own size.
    directions: all, the best known first.
    sd: (parameter,) relative standard deviations (Laplace's approximation); infinite where nothing is known.
    correlation: (parameter, parameter); not a number where a standard deviation is infinite.
    """

    names: tuple[str, ...]
    unit: np.ndarray
    directions: tuple[Direction, ...]
    sd: np.ndarray
    correlation: np.ndarray

    def interval(self, x: np.ndarray, confidence: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
        """Ends of the intervals around `x`, on the parameters' scales; infinite where nothing is known."""
        from scipy.stats import norm

        half = float(norm.ppf(0.5 + 0.5 * confidence)) * self.sd * self.unit
        return x - half, x + half

    @property
    def poor(self) -> tuple[Direction, ...]:
        """Directions that are hardly determined, the worst first."""
        return tuple(d for d in reversed(self.directions) if d.eigenvalue < _LOOSE**-2)

    def warnings(self) -> list[str]:
        """One line for every direction that is hardly determined: the parameters that can change together unseen."""
        lines = []
        for d in self.poor:
            names = ", ".join(f"{name} ({share:+.2f})" for name, share in d.parts.items())
            sd = "without bound" if d.eigenvalue <= 0 else f"relative sd {d.eigenvalue**-0.5:.3g}"
            what = "is hardly determined" if len(d.parts) == 1 else "can change together unseen"
            lines.append(f"{names} {what} ({sd})")
        return lines


def identifiability(
    function: FitFunction, x: np.ndarray, found: Evaluation, prior: np.ndarray | None = None
) -> Identifiability:
    """Of an evaluation at `x` with slopes.

    Args:
        prior: (parameter,) curvature of the log-prior on the parameters' scales, which is information too.

    Raises:
        ValueError: the evaluation has no information: it was made without slopes, or back.
    """
    if found.root is None:
        raise ValueError("identifiability needs an evaluation with slopes=True and back=False")
    names, unit = function.names, _units(function.scales, x)
    root = found.root if prior is None else np.concatenate([found.root, np.diag(np.sqrt(prior))])
    root = root * unit
    # of the root rather than its square: half of the digits would be lost
    _, singular, vectors = np.linalg.svd(root, full_matrices=True)
    values = np.zeros(len(names))
    values[: len(singular)] = singular[: len(names)] ** 2
    floor = (_EXACT * max(float(singular.max(initial=0.0)), 1e-300)) ** 2
    values = np.where(values > floor, values, 0.0)
    directions = tuple(Direction(float(v), _parts(names, u)) for v, u in zip(values, vectors))
    unknown = np.abs(vectors[values == 0.0]).max(0, initial=0.0) > 1e-6
    inverse = np.where(values > 0, 1.0 / np.where(values > 0, values, 1.0), 0.0)
    covariance = (vectors.T * inverse) @ vectors
    sd = np.sqrt(np.diag(covariance))
    with np.errstate(invalid="ignore", divide="ignore"):
        correlation = covariance / np.outer(sd, sd)
    correlation[unknown] = correlation[:, unknown] = np.nan
    return Identifiability(tuple(names), unit, directions, np.where(unknown, np.inf, sd), correlation)


def _units(scales: Sequence[str], x: np.ndarray) -> np.ndarray:
    by = {"log": 1.0, "log10": 1.0 / np.log(10.0)}
    return np.array([by[s] if s in by else abs(float(v)) or 1.0 for s, v in zip(scales, x)])


def _parts(names: Sequence[str], vector: np.ndarray) -> dict[str, float]:
    order = np.argsort(-np.abs(vector))
    sign = np.sign(vector[order[0]]) or 1.0
    shares = (vector * sign).tolist()
    return {names[int(k)]: shares[int(k)] for k in order if abs(shares[int(k)]) >= _SHARE}


@dataclass(frozen=True)
class Help:
    """What one more measurement would do.

    Attributes:
        gain: by how much the least eigenvalue would grow.
        sd: relative standard deviation along the direction that is then known least.
    """

    candidate: str
    gain: float
    sd: float


def what_would_help(
    now: Identifiability, found: Evaluation, candidates: Sequence[str], slopes: np.ndarray, noise: np.ndarray
) -> list[Help]:
    """Candidate measurements by how much they would tell about the direction that is known least, the best first.

    Args:
        found: the evaluation that `now` is of.
        slopes: (candidate, parameter) of what would be measured, on the parameters' scales.
        noise: (candidate,) its standard deviations.
    """
    assert found.root is not None
    names = now.names
    worst = now.directions[-1]
    result = []
    for name, slope, sd in zip(candidates, slopes, noise):
        more = np.concatenate([found.root, slope[None] / sd]) * now.unit
        singular = np.linalg.svd(more, compute_uv=False)
        least = float(singular[len(names) - 1] ** 2) if len(singular) >= len(names) else 0.0
        result.append(Help(name, least - worst.eigenvalue, least**-0.5 if least > 0 else np.inf))
    return sorted(result, key=lambda h: -h.gain)
