"""A learned term as a formula: what it computes, in the rate laws of biology, and how much of it that explains.

    found = distil(inputs, outputs, ["glucose", "ATP"])
    found.text         # 3.97 glucose / (0.503 + glucose)
    found.parameters   # {"V": Interval(3.97, 3.91, 4.03), "K": ...}
    found.explained    # 0.998

Polynomials are found by sparse regression (SINDy: Brunton, Proctor and Kutz 2016; by PySINDy), saturating and
rational terms by variable projection over the shapes of `sim.interpret.formulas`. All compete by the Bayesian
information criterion, where what lies below `floor` of the outputs' spread counts as noise. A shape that does as
well with as many parameters is told as a rival.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from sim.interpret.effects import LEVEL
from sim.interpret.formulas import Shape, shapes

#: criteria closer than this cannot be told apart (Kass and Raftery 1995)
_NEAR = 2.0
#: shapes that are fitted: those that are nearest with the inner parameters that the search begins with
_MOST_FITTED = 16
#: thresholds of the sparse regression, of the largest standardised coefficient
_THRESHOLDS = (0.3, 0.1, 0.03, 0.01, 0.003)
_SMALLEST = 1e-300


@dataclass(frozen=True)
class Interval:
    """A fitted number with its interval."""

    value: float
    lower: float
    upper: float


@dataclass(frozen=True)
class Distilled:
    """A formula for a learned term.

    Attributes:
        text: with the numbers in it.
        family: what people call it.
        parameters: by name, with 90 % intervals.
        explained: share of the outputs' variance; 1 is all.
        criterion: Bayesian information criterion, smaller is better.
        rivals: texts of other shapes that the data do not tell from it.
        inputs: names, in the order of the columns that `predict` takes.
    """

    text: str
    family: str
    parameters: dict[str, Interval]
    explained: float
    criterion: float
    inputs: tuple[str, ...]
    predict: Callable[[np.ndarray], np.ndarray] = field(repr=False, compare=False)
    rivals: tuple[str, ...] = ()


def distil(
    inputs: np.ndarray,
    outputs: np.ndarray,
    names: Sequence[str],
    *,
    degree: int = 2,
    floor: float = 1e-3,
    level: float = LEVEL,
) -> Distilled:
    """The simplest formula that explains what a term does to its inputs.

    Args:
        inputs: (row, input), or (row,) of one input. outputs: (row,) what the term said there.
        names: of the inputs.
        degree: of the polynomials that are tried.
        floor: of the outputs' standard deviation; what is smaller is not explained further.
        level: coverage of the intervals.

    Raises:
        ValueError: shapes do not fit, there are fewer rows than 8, or a value is not finite.
    """
    x = np.asarray(inputs, float)
    x = x[:, None] if x.ndim == 1 else x
    y = np.asarray(outputs, float)
    if x.ndim != 2 or y.shape != (len(x),) or x.shape[1] != len(names):
        raise ValueError(
            f"inputs must be (row, {len(names)}) and outputs (row,), got {x.shape} and {y.shape}"
        )
    if len(y) < 8 or not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError("at least 8 rows of finite numbers are needed")
    smallest = (floor * float(np.std(y))) ** 2
    candidates = _polynomials(x, y, names, degree, smallest, level)
    # what is constant everywhere has no shape
    if np.ptp(y) > 0:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            promising = sorted(shapes(x, names), key=lambda s: _left_at_start(s, x, y))[:_MOST_FITTED]
            candidates += [
                found
                for s in promising
                if (found := _fitted(s, x, y, tuple(names), smallest, level)) is not None
            ]
    return _simplest(candidates)


def _simplest(candidates: list[Distilled]) -> Distilled:
    """The candidate of the smallest criterion; of those near it, one with the fewest parameters."""
    best = min(c.criterion for c in candidates)
    near = [c for c in candidates if c.criterion <= best + _NEAR]
    chosen = min(near, key=lambda c: (len(c.parameters), c.criterion))
    rivals = tuple(c.text for c in near if c is not chosen and len(c.parameters) <= len(chosen.parameters))
    return Distilled(**{**chosen.__dict__, "rivals": rivals})


# ---- shapes with inner parameters


def _left_at_start(shape: Shape, x: np.ndarray, y: np.ndarray) -> float:
    """What the best of a shape's starts leaves over, for each degree of freedom."""
    left = []
    for start in shape.starts:
        parts = shape.parts(x, np.array(start))
        if np.isfinite(parts).all():
            factors = np.linalg.lstsq(parts, y, rcond=None)[0]
            left.append(float(np.sum((parts @ factors - y) ** 2)))
    return min(left, default=np.inf)


def _fitted(
    shape: Shape, x: np.ndarray, y: np.ndarray, names: tuple[str, ...], smallest: float, level: float
) -> Distilled | None:
    """The shape with its parameters fitted; None where no start leads anywhere."""
    from scipy.optimize import least_squares

    def projected(theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Factors that least squares give for inner parameters exp(theta), and what is left over."""
        parts = shape.parts(x, np.exp(theta))
        if not np.isfinite(parts).all():
            return np.zeros(parts.shape[1]), np.full(len(y), 1e6)
        factors = np.linalg.lstsq(parts, y, rcond=None)[0]
        return factors, parts @ factors - y

    spread = float(np.std(y)) or 1.0
    first = sorted(shape.starts, key=lambda s: float(np.sum(projected(np.log(s))[1] ** 2)))[:2]
    best: np.ndarray | None = None
    cost = np.inf
    for start in first:
        low = np.log(np.array(start)) - 7.0
        high = np.log(np.array(start)) + 7.0
        try:
            found = least_squares(
                lambda t: projected(t)[1] / spread, np.log(start), bounds=(low, high), xtol=1e-10, ftol=1e-10
            )
        except (ValueError, np.linalg.LinAlgError):
            continue
        if found.cost < cost:
            best, cost = found.x, float(found.cost)
    if best is None:
        return None
    factors, left = projected(best)
    inner = np.exp(best)

    def predict(values: np.ndarray) -> np.ndarray:
        return shape.parts(np.asarray(values, float).reshape(len(values), -1), inner) @ factors

    slopes = _slopes(lambda p: shape.parts(x, np.exp(p[len(factors) :])) @ p[: len(factors)], factors, best)
    half = _half_widths(slopes, left, level)
    k = len(factors)
    parameters = {
        n: Interval(float(v), float(v - h), float(v + h)) for n, v, h in zip(shape.factors, factors, half)
    }
    for n, v, h in zip(shape.inner, best, half[k:]):
        parameters[n] = Interval(*(float(np.exp(np.clip(t, -700, 700))) for t in (v, v - h, v + h)))
    text = shape.text.format(**{n: f"{p.value:.4g}" for n, p in parameters.items()})
    return _told(text, shape.family, parameters, y, left, smallest, names, predict)


def _slopes(model: Callable[[np.ndarray], np.ndarray], factors: np.ndarray, inner: np.ndarray) -> np.ndarray:
    """d(outputs)/d(parameters) (row, parameter), central differences."""
    at = np.concatenate([factors, inner])
    columns = []
    for k in range(len(at)):
        step = np.zeros(len(at))
        step[k] = 1e-5 * max(abs(at[k]), 1e-3)
        columns.append((model(at + step) - model(at - step)) / (2 * step[k]))
    return np.stack(columns, 1)


def _half_widths(slopes: np.ndarray, left: np.ndarray, level: float) -> np.ndarray:
    """Half-widths of the parameters' t-intervals; infinite where the data do not determine one."""
    from scipy.stats import t

    free = len(left) - slopes.shape[1]
    if free < 1:
        return np.full(slopes.shape[1], np.inf)
    size = np.linalg.norm(slopes, axis=0)
    size[size == 0] = 1.0
    scaled = slopes / size
    curvature = scaled.T @ scaled
    if np.linalg.cond(curvature) > 1e14:
        return np.full(slopes.shape[1], np.inf)
    variance = np.diag(np.linalg.inv(curvature)) * float(left @ left) / free
    return t.ppf((1 + level) / 2, free) * np.sqrt(variance) / size


# ---- polynomials


def _polynomials(
    x: np.ndarray, y: np.ndarray, names: Sequence[str], degree: int, smallest: float, level: float
) -> list[Distilled]:
    """Sparse polynomials of several thresholds; the constant is always among them."""
    import pysindy

    library = pysindy.PolynomialLibrary(degree=degree)
    library.fit(x)  # pyright: ignore[reportArgumentType]
    labels = [str(n) for n in library.get_feature_names(list(names))]
    powers = np.asarray(library.powers_)
    terms = _monomials(x, powers)
    # columns of one size, so that one threshold means the same to all
    size = np.sqrt(np.mean(terms**2, axis=0))
    size[size == 0] = 1.0
    scale = np.sqrt(np.mean(y**2)) or 1.0
    supports: set[tuple[int, ...]] = {(0,)}
    for threshold in _THRESHOLDS:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            optimizer = pysindy.STLSQ(threshold=threshold, alpha=1e-6)
            optimizer.fit(terms / size, y[:, None] / scale)
        kept = tuple(int(k) for k in np.flatnonzero(optimizer.coef_[0]))
        if kept and len(kept) < len(y):
            supports.add(kept)
    return [_polynomial(terms, powers, labels, k, y, tuple(names), smallest, level) for k in supports]


def _monomials(x: np.ndarray, powers: np.ndarray) -> np.ndarray:
    """(row, term) products of the inputs to these powers (term, input)."""
    out = np.ones((len(x), len(powers)))
    for k, row in enumerate(powers):
        for i in np.flatnonzero(row):
            out[:, k] *= x[:, i] ** row[i]
    return out


def _polynomial(
    terms: np.ndarray,
    powers: np.ndarray,
    labels: list[str],
    kept: tuple[int, ...],
    y: np.ndarray,
    names: tuple[str, ...],
    smallest: float,
    level: float,
) -> Distilled:
    chosen = terms[:, kept]
    factors = np.linalg.lstsq(chosen, y, rcond=None)[0]
    left = chosen @ factors - y
    half = _half_widths(chosen, left, level)
    parameters = {
        labels[k]: Interval(float(v), float(v - h), float(v + h)) for k, v, h in zip(kept, factors, half)
    }
    pieces = [f"{v:.4g}" if labels[k] == "1" else f"{v:.4g} {labels[k]}" for k, v in zip(kept, factors)]
    text = " + ".join(pieces).replace("+ -", "- ")

    own = powers[list(kept)]

    def predict(values: np.ndarray) -> np.ndarray:
        return _monomials(np.asarray(values, float).reshape(len(values), -1), own) @ factors

    family = "constant" if kept == (0,) else "polynomial"
    return _told(text, family, parameters, y, left, smallest, names, predict)


def _told(
    text: str,
    family: str,
    parameters: dict[str, Interval],
    y: np.ndarray,
    left: np.ndarray,
    smallest: float,
    names: tuple[str, ...],
    predict: Callable[[np.ndarray], np.ndarray],
) -> Distilled:
    n = len(y)
    total = float(np.sum((y - y.mean()) ** 2))
    unexplained = float(left @ left)
    criterion = n * np.log(max(unexplained / n, smallest, _SMALLEST)) + (len(parameters) + 1) * np.log(n)
    explained = 1 - unexplained / total if total > 0 else 1.0
    return Distilled(text, family, parameters, explained, float(criterion), names, predict)
