"""Fitting the weights of a hybrid, and parameters beside them: damped Gauss-Newton over forward sensitivities.

Small networks in stiff models are fitted in tens of such steps where gradient descent takes tens of thousands: the
Jacobian of a few hundred weights costs no more than some courses, and the damping keeps steps where the model is
known (Levenberg 1944; by gain as Madsen, Nielsen & Tingleff give it, Methods for non-linear least squares problems,
2004). All parameters are damped alike: a weight that nothing depends on yet must not run away.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mechanistic.errors import IntegrationError
from sim.errors import ScenarioError
from sim.fitting.objective import Evaluation

_LARGEST_DAMPING = 1e12


@dataclass(frozen=True)
class Fitted:
    """Where a fit ended.

    Attributes:
        x: (estimated,) scaled values; `names` of them.
        cost: minus twice the logarithm of likelihood and priors, but for constants.
        evaluation: there, with slopes.
        steps: how many were tried. `converged`: the last ones changed nothing more.
        path: the cost after each step that was taken.
    """

    x: np.ndarray
    names: tuple[str, ...]
    cost: float
    evaluation: Evaluation
    steps: int
    converged: bool
    path: tuple[float, ...] = field(repr=False, default=())


@dataclass(frozen=True)
class Quadratic:
    """What is minimised around one point: minus twice a logarithm of a density, but for constants.

    Attributes:
        value: at the point.
        gradient: half of its derivative; `curvature`: half of its expected second derivative (Fisher's information).
    """

    value: float
    gradient: np.ndarray
    curvature: np.ndarray
    evaluation: Evaluation

    def of(self, which: np.ndarray) -> Quadratic:
        """As a function of some parameters alone."""
        return Quadratic(
            self.value, self.gradient[which], self.curvature[np.ix_(which, which)], self.evaluation
        )


class Posterior:
    """The measurements, the normal priors of an objective, and priors of weights, as a function of x.

    Args:
        deviation: of a normal prior around 0 of those `weights` (positions), one or one each; infinite for none.
        rows: (measurement,) which of them count, with the noise as it is at x; all, with what noise costs, where None.
    """

    def __init__(
        self,
        objective: Any,
        weights: np.ndarray,
        deviation: float | np.ndarray,
        rows: np.ndarray | None = None,
    ):
        self.objective, self.rows = objective, rows
        at, mean, spread = normal_priors(objective)
        self.mean, self.pull = np.zeros(len(objective.names)), np.zeros(len(objective.names))
        self.mean[at], self.pull[at] = mean, 1.0 / spread
        self.pull[weights] = 1.0 / np.asarray(deviation, dtype=float)

    def __call__(self, x: np.ndarray) -> Quadratic:
        """Around x; not a number where there is no likelihood.

        Raises:
            IntegrationError: there is no course.
        """
        found = self.objective(x, slopes=True)
        assert found.root is not None and found.gradient is not None and found.residual_slopes is not None
        off = self.pull * (x - self.mean)
        if self.rows is None:
            value, gradient, root = -2.0 * found.llh, -found.gradient, found.root
        else:
            # noise that is fitted stays as it is: of some measurements alone it would only grow
            slopes = found.residual_slopes
            if len(getattr(self.objective, "objective", self.objective).studies) == 1:
                slopes = -found.root[: len(found.residual)]
            r, root = found.residual[self.rows], slopes[self.rows]
            value, gradient = float(r @ r), root.T @ r
        return Quadratic(
            value + float(off @ off), gradient + self.pull * off, root.T @ root + np.diag(self.pull**2), found
        )


def normal_priors(objective: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Positions, means and deviations of the estimated parameters with a normal prior of what is fitted.

    Raises:
        ScenarioError: a prior is of another kind, which is no square.
    """
    inner = getattr(objective, "objective", objective)
    found = []
    for parameter in inner.parameters:
        prior = parameter.prior
        if prior is None or parameter.id not in objective.names:
            continue
        fits = prior.scaled or parameter.scale == "lin"
        if prior.kind == "normal" and fits:
            found.append((objective.names.index(parameter.id), *prior.values))
        elif prior.kind != "uniform":
            message = f"the prior of '{parameter.id}' is {prior.kind}: least squares takes normal ones"
            raise ScenarioError(f"{message} of what is fitted, and uniform ones")
    table = np.array(found, dtype=float).reshape(-1, 3)
    return table[:, 0].astype(int), table[:, 1], table[:, 2]


def descend(
    around: Callable[[np.ndarray], Quadratic],
    start: np.ndarray,
    names: tuple[str, ...],
    *,
    lower: np.ndarray | None = None,
    upper: np.ndarray | None = None,
    most: int = 200,
    tolerance: float = 1e-6,
    damping: float = 1e-2,
    watch: Callable[[int, float], None] | None = None,
) -> Fitted:
    """The nearest minimum.

    Args:
        around: see `Posterior`.
        tolerance: of the fall in three steps on end, relative to the value (to 1 where it is small).
        watch: told the number of the step and the value.

    Raises:
        IntegrationError: there is no course at the start.
    """
    low = np.full(len(start), -np.inf) if lower is None else lower
    high = np.full(len(start), np.inf) if upper is None else upper
    x = np.clip(np.asarray(start, dtype=float), low, high)
    now, growth, idle, step = around(x), 2.0, 0, 0
    path = [now.value]
    for step in range(1, (most if len(x) else 0) + 1):
        least = damping * max(float(np.trace(now.curvature)) / len(x), 1e-300)
        new = np.clip(x + _solved(now, least, x <= low, x >= high), low, high)
        there = _tried(around, new)
        move = new - x
        expected = -float(2.0 * now.gradient @ move + move @ now.curvature @ move)
        gain = (now.value - there.value) / expected if expected > 0 and there is not None else -1.0
        small = tolerance * max(abs(now.value), 1.0)
        if there is not None and gain > 1e-4:
            idle = idle + 1 if now.value - there.value < small else 0
            x, now = new, there
            path.append(now.value)
            damping *= max(1.0 / 5.0, 1.0 - (2.0 * gain - 1.0) ** 3)
            growth = 2.0
        else:
            damping, growth = damping * growth, growth * 2.0
            idle = idle + 1 if expected <= small else idle
        if watch is not None:
            watch(step, now.value)
        if idle >= 3 or damping > _LARGEST_DAMPING:
            break
    return Fitted(x, names, now.value, now.evaluation, step, idle >= 3 or not len(x), tuple(path))


def _tried(around: Callable[[np.ndarray], Quadratic], x: np.ndarray) -> Quadratic | None:
    """Around x; None where there is no course, or nothing finite."""
    try:
        with np.errstate(all="ignore"):
            found = around(x)
    except IntegrationError:
        return None
    finite = (
        np.isfinite(found.value) and np.isfinite(found.gradient).all() and np.isfinite(found.curvature).all()
    )
    return found if finite else None


def _solved(now: Quadratic, damping: float, at_low: np.ndarray, at_high: np.ndarray) -> np.ndarray:
    """The damped step; parameters at a bound that would leave it stay."""
    free = ~((at_low & (now.gradient > 0)) | (at_high & (now.gradient < 0)))
    own = now.of(np.flatnonzero(free))
    move = np.zeros(len(free))
    values, vectors = np.linalg.eigh(own.curvature)
    # rounding may leave a curvature below 0, which the least of the damping must outweigh
    shifted = np.maximum(values, 0.0) + damping
    move[free] = vectors @ (-(vectors.T @ own.gradient) / shifted)
    return move


def fit_weights(
    objective: Any,
    *,
    deviation: float = 3.0,
    horizons: Sequence[float] = (0.25, 0.5, 1.0),
    weights: Sequence[str] | None = None,
    start: np.ndarray | None = None,
    most: int = 150,
    watch: Callable[[int, float], None] | None = None,
) -> Fitted:
    """The weights of a hybrid and what is fitted beside them, from `start`.

    A course that is wrong early is wrong later whatever the weights: the fit begins with early measurements and goes on
    to all of them.

    Args:
        objective: of `sim.fitting`.
        deviation: of the normal prior around 0 of the weights.
        horizons: shares of the time that is measured, rising, the last one 1.
        weights: their ids; all names with "__" where None, as `sim.hybrid` calls them.
        start: scaled values; the nominal ones where None.
        most: steps for each horizon.

    Raises:
        IntegrationError: there is no course at the start.
    """
    names = objective.names
    chosen = [i for i, n in enumerate(names) if (("__" in n) if weights is None else n in set(weights))]
    times = measured_at(objective)
    x = objective.nominal if start is None else start
    found: Fitted | None = None
    for share in horizons:
        rows = times <= times.min() + share * (times.max() - times.min()) + 1e-12
        own = None if share >= 1.0 else rows
        around = Posterior(objective, np.array(chosen, dtype=int), deviation, own)
        tolerance = 1e-6 if share >= 1.0 else 1e-2
        found = descend(
            around, x, names, lower=objective.lower, upper=objective.upper,
            most=most if share >= 1.0 else most // 3, tolerance=tolerance, watch=watch,
        )  # fmt: skip
        x = found.x
    assert found is not None
    return found


@dataclass(frozen=True)
class ByEvidence:
    """A fit, the deviation of the prior of each group of weights, and the logarithm of the evidence (Laplace's method).

    The evidence is what fits from different starts are compared by: a fit that needs more weights has less of it.
    """

    fit: Fitted
    deviations: np.ndarray
    evidence: float


def fit_by_evidence(
    objective: Any,
    groups: Sequence[Sequence[str]],
    *,
    start: np.ndarray | None = None,
    rounds: int = 8,
    most: int = 100,
    deviation: float = 1.0,
    horizons: Sequence[float] = (0.25, 0.5, 1.0),
    watch: Callable[[int, float], None] | None = None,
) -> ByEvidence:
    """As `fit_weights`, with the deviation of each group of weights found by the measurements themselves.

    The evidence of the measurements is raised round by round (MacKay, Neural Comput. 4, 415, 1992; automatic relevance
    determination where the groups are the inputs of a network): what an input does not explain, its weights lose.

    Args:
        groups: ids of the weights of each group.
        rounds: in which deviations are set anew, each followed by a few steps.

    Raises:
        IntegrationError: there is no course at the start.
    """
    at = {name: i for i, name in enumerate(objective.names)}
    positions = [np.array([at[id] for id in group], dtype=int) for group in groups]
    order = np.concatenate(positions)
    spread = np.full(len(groups), deviation)
    found = fit_weights(
        objective, deviation=deviation, horizons=horizons, weights=[n for g in groups for n in g], start=start,
        most=most, watch=watch,
    )  # fmt: skip
    for _ in range(rounds):
        each = np.concatenate([np.full(len(own), s) for own, s in zip(positions, spread)])
        around = Posterior(objective, order, each)
        assert found.evaluation.root is not None
        precision = around.pull**2
        information = found.evaluation.root.T @ found.evaluation.root
        variances = np.diag(np.linalg.pinv(information + np.diag(precision), hermitian=True))
        before = spread.copy()
        for k, own in enumerate(positions):
            told = float(np.sum(1.0 - precision[own] * variances[own]))
            size = float(np.sum(found.x[own] ** 2))
            spread[k] = np.clip(np.sqrt(size / max(told, 1e-6)), 1e-3, 10.0)
        each = np.concatenate([np.full(len(own), s) for own, s in zip(positions, spread)])
        found = descend(
            Posterior(objective, order, each), found.x, objective.names, lower=objective.lower,
            upper=objective.upper, most=most // 4, watch=watch,
        )  # fmt: skip
        if np.all(np.abs(np.log(spread / before)) < 0.05):
            break
    each = np.concatenate([np.full(len(own), s) for own, s in zip(positions, spread)])
    last = Posterior(objective, order, each)(found.x)
    evidence = -0.5 * last.value - 0.5 * float(
        np.linalg.slogdet(last.curvature + 1e-9 * np.eye(len(found.x)))[1]
    )
    return ByEvidence(found, spread, evidence - float(np.log(each).sum()))


def measured_at(objective: Any) -> np.ndarray:
    """(measurement,) [model time]."""
    inner = getattr(objective, "objective", objective)
    return np.array([m.time for study in inner.studies for m in study.measurements])
