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


class Residuals:
    """What least squares sees of an objective: residuals of measurements, of its normal priors, of weights.

    Args:
        deviation: of a normal prior around 0 of those `weights` (positions), one or one each; infinite for none.
        rows: (measurement,) which of them count; all where None.
    """

    def __init__(
        self,
        objective: Any,
        weights: np.ndarray,
        deviation: float | np.ndarray,
        rows: np.ndarray | None = None,
    ):
        self.objective, self.weights = objective, weights
        self.pull = np.broadcast_to(1.0 / np.asarray(deviation, dtype=float), len(weights))
        self.rows = slice(None) if rows is None else rows
        self.priors = normal_priors(objective)

    def __call__(self, x: np.ndarray, slopes: bool) -> tuple[np.ndarray, np.ndarray | None, Evaluation]:
        """Residuals (any,), their slopes (any, estimated), and the evaluation.

        Raises:
            IntegrationError: there is no course.
        """
        found = self.objective(x, slopes=slopes)
        # noise that is fitted weighs in by its logarithm, which is no square; it is constant where it is given
        at, mean, spread = self.priors
        residuals = np.concatenate(
            [found.residual[self.rows], (x[at] - mean) / spread, self.pull * x[self.weights]]
        )
        if not slopes or found.residual_slopes is None:
            return residuals, None, found
        pulls = np.zeros((len(at) + len(self.weights), len(x)))
        pulls[np.arange(len(at)), at] = 1.0 / spread
        pulls[len(at) + np.arange(len(self.weights)), self.weights] = self.pull
        return residuals, np.concatenate([found.residual_slopes[self.rows], pulls]), found


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
    residuals: Callable[[np.ndarray, bool], tuple],
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
    """The nearest minimum of a sum of squares.

    Args:
        residuals: x and whether slopes are wanted to residuals, slopes, evaluation; see `Residuals`.
        tolerance: of the relative fall of the sum in three steps on end.
        watch: told the number of the step and the sum.

    Raises:
        IntegrationError: there is no course at the start.
    """
    low = np.full(len(start), -np.inf) if lower is None else lower
    high = np.full(len(start), np.inf) if upper is None else upper
    x = np.clip(np.asarray(start, dtype=float), low, high)
    r, slopes, found = residuals(x, True)
    cost, growth, path, idle, step = float(r @ r), 2.0, [float(r @ r)], 0, 0
    for step in range(1, most + 1):
        width = max(float(np.sqrt((slopes**2).sum(0).mean())), 1e-300)
        move = _solved(slopes, r, damping * width**2, x <= low, x >= high)
        new = np.clip(x + move, low, high)
        r_new, slopes_new, found_new = r, slopes, found
        try:
            with np.errstate(all="ignore"):
                r_new, slopes_new, found_new = residuals(new, True)
                cost_new = float(r_new @ r_new)
        except IntegrationError:
            cost_new = np.inf
        if not (np.isfinite(cost_new) and np.isfinite(slopes_new).all()):
            cost_new = np.inf
        expected = cost - float(((r + slopes @ (new - x)) ** 2).sum())
        gain = (cost - cost_new) / expected if expected > 0 and np.isfinite(cost_new) else -1.0
        if gain > 1e-4:
            fall = (cost - cost_new) / max(cost, 1e-300)
            x, r, slopes, found, cost = new, r_new, slopes_new, found_new, cost_new
            path.append(cost)
            damping *= max(1.0 / 5.0, 1.0 - (2.0 * gain - 1.0) ** 3)
            growth = 2.0
            idle = idle + 1 if fall < tolerance else 0
        else:
            damping, growth = damping * growth, growth * 2.0
            idle = idle + 1 if expected <= tolerance * cost else idle
        if watch is not None:
            watch(step, cost)
        if idle >= 3 or damping > _LARGEST_DAMPING:
            break
    return Fitted(x, names, cost, found, step, idle >= 3, tuple(path))


def _solved(
    slopes: np.ndarray, r: np.ndarray, damping: float, at_low: np.ndarray, at_high: np.ndarray
) -> np.ndarray:
    """The damped step; parameters at a bound that would leave it stay."""
    gradient = slopes.T @ r
    free = ~((at_low & (gradient > 0)) | (at_high & (gradient < 0)))
    move = np.zeros(len(gradient))
    stacked = np.concatenate([slopes[:, free], np.sqrt(damping) * np.eye(int(free.sum()))])
    wanted = np.concatenate([-r, np.zeros(int(free.sum()))])
    move[free] = np.linalg.lstsq(stacked, wanted, rcond=None)[0]
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
        residuals = Residuals(objective, np.array(chosen, dtype=int), deviation, own)
        tolerance = 1e-6 if share >= 1.0 else 1e-2
        found = descend(
            residuals, x, names, lower=objective.lower, upper=objective.upper,
            most=most if share >= 1.0 else most // 3, tolerance=tolerance, watch=watch,
        )  # fmt: skip
        x = found.x
    assert found is not None
    return found


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
) -> tuple[Fitted, np.ndarray]:
    """As `fit_weights`, with the deviation of each group of weights found by the measurements themselves.

    The evidence of the measurements is raised round by round (MacKay, Neural Comput. 4, 415, 1992; automatic relevance
    determination where the groups are the inputs of a network): what an input does not explain, its weights lose.

    Args:
        groups: ids of the weights of each group.
        rounds: in which deviations are set anew, each followed by a few steps.

    Returns:
        The fit, and the deviation of each group.

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
        slopes = found.evaluation.residual_slopes
        assert slopes is not None
        at_prior, _, deviations = normal_priors(objective)
        precision = np.zeros(len(objective.names))
        precision[at_prior] = 1.0 / deviations**2
        for own, s in zip(positions, spread):
            precision[own] = 1.0 / s**2
        variances = np.diag(np.linalg.pinv(slopes.T @ slopes + np.diag(precision), hermitian=True))
        before = spread.copy()
        for k, own in enumerate(positions):
            told = float(np.sum(1.0 - precision[own] * variances[own]))
            size = float(np.sum(found.x[own] ** 2))
            spread[k] = np.clip(np.sqrt(size / max(told, 1e-6)), 1e-3, 10.0)
        each = np.concatenate([np.full(len(own), s) for own, s in zip(positions, spread)])
        residuals = Residuals(objective, order, each)
        found = descend(
            residuals,
            found.x,
            objective.names,
            lower=objective.lower,
            upper=objective.upper,
            most=most // 4,
            watch=watch,
        )
        if np.all(np.abs(np.log(spread / before)) < 0.05):
            break
    return found, spread


def measured_at(objective: Any) -> np.ndarray:
    """(measurement,) [model time]."""
    inner = getattr(objective, "objective", objective)
    return np.array([m.time for study in inner.studies for m in study.measurements])
