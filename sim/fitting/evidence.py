"""Fitting the weights of networks, and parameters beside them: from early measurements to all, with priors by evidence.

The deviation of the weights' prior is found by the measurements themselves: their evidence, by Laplace's method, is
raised round by round (MacKay, Neural Comput. 4, 415, 1992; automatic relevance determination where the groups of
weights are the inputs of a network). Whoever descends is `sim.fitting.optimize`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mechanistic.errors import IntegrationError
from sim.fitting.objective import Evaluation
from sim.fitting.optimize import Fit, FitFunction, Stop, fit, prior_curvature

#: shares of the measured time; with fewer of them oscillations are met half a turn off, and no descent finds back
HORIZONS = (0.1, 0.2, 0.4, 0.6, 0.8, 1.0)
_NARROWEST, _WIDEST = 1e-3, 10.0  # deviations that are looked at


class WithWeights:
    """An objective with normal priors around 0 of some parameters beside its own; of some of its measurements alone.

    Args:
        weights: positions; deviation: of their priors, one or one each.
        rows: (measurement,) which count, with the noise as it is at x; all, with what noise costs, where None.
    """

    def __init__(
        self,
        objective: FitFunction,
        weights: np.ndarray,
        deviation: float | np.ndarray,
        rows: np.ndarray | None = None,
    ):
        self.objective, self.rows = objective, rows
        self.names, self.scales = objective.names, objective.scales
        self.lower, self.upper, self.nominal = objective.lower, objective.upper, objective.nominal
        self._precision = np.zeros(len(objective.names))
        self._precision[weights] = np.asarray(deviation, dtype=float) ** -2

    def __call__(
        self, x: np.ndarray | None = None, *, slopes: bool = False, back: bool | None = None
    ) -> Evaluation:
        """As `Objective`.

        Raises:
            IntegrationError: there is no course.
        """
        x = self.nominal if x is None else np.asarray(x, dtype=float)
        found = self.objective(x, slopes=slopes, back=back)
        if self.rows is not None:
            found = self._some(found)
        found.log_prior -= 0.5 * float(self._precision @ x**2)
        if found.prior_gradient is not None:
            found.prior_gradient = found.prior_gradient - self._precision * x
        return found

    def prior_curvature(self, x: np.ndarray) -> np.ndarray:
        """(estimated,) minus the second derivatives of the log-prior."""
        return prior_curvature(self.objective, x) + self._precision

    def _some(self, found: Evaluation) -> Evaluation:
        r = found.residual[self.rows]
        result = replace(found, llh=-0.5 * float(r @ r))
        if found.residual_slopes is not None:
            assert found.root is not None
            # noise that is fitted stays as it is: of some measurements alone it would only grow
            slopes = found.residual_slopes
            if len(getattr(self.objective, "objective", self.objective).studies) == 1:
                slopes = -found.root[: len(found.residual)]
            result.root = slopes[self.rows]
            result.gradient = -(result.root.T @ r)
        elif found.gradient is not None:
            raise ValueError("a gradient that goes back is that of all measurements")
        return result


def fit_weights(
    objective: Any,
    *,
    deviation: float = 3.0,
    horizons: Sequence[float] = HORIZONS,
    weights: Sequence[str] | None = None,
    start: np.ndarray | None = None,
    most: int = 150,
) -> Fit:
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
    found: Fit | None = None
    for share in horizons:
        whole = share >= 1.0
        rows = None if whole else times <= times.min() + share * (times.max() - times.min()) + 1e-12
        own = WithWeights(objective, np.array(chosen, dtype=int), deviation, rows)
        found = _fitted(own, x, Stop(most, 1e-7) if whole else Stop(most // 3, 1e-3))
        x = found.x
    assert found is not None
    return found


def _fitted(function: WithWeights, x: np.ndarray, stop: Stop) -> Fit:
    found = fit(function, x, stop)
    if found.reason == "failed":
        function(found.x, slopes=True)
        raise IntegrationError("the measurements have no finite likelihood at the start")
    return found


@dataclass(frozen=True)
class ByEvidence:
    """A fit, the deviation of the prior of each group of weights, and the logarithm of the evidence (Laplace's method).

    The evidence is what fits from different starts, or of networks with different inputs, are compared by: a fit that
    needs more weights has less of it.
    """

    fit: Fit
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
    horizons: Sequence[float] = HORIZONS,
) -> ByEvidence:
    """As `fit_weights`, with the deviation of each group of weights found by the measurements themselves.

    What an input does not explain, its weights lose.

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

    def each() -> np.ndarray:
        return np.concatenate([np.full(len(own), s) for own, s in zip(positions, spread)])

    found = fit_weights(
        objective, deviation=deviation, horizons=horizons, weights=[n for g in groups for n in g], start=start,
        most=most,
    )  # fmt: skip
    for _ in range(rounds):
        precision = WithWeights(objective, order, each()).prior_curvature(found.x)
        variances = np.diag(np.linalg.pinv(_information(found) + np.diag(precision), hermitian=True))
        before = spread.copy()
        for k, own in enumerate(positions):
            told = float(np.sum(1.0 - precision[own] * variances[own]))
            size = float(np.sum(found.x[own] ** 2))
            spread[k] = np.clip(np.sqrt(size / max(told, 1e-6)), _NARROWEST, _WIDEST)
        found = _fitted(WithWeights(objective, order, each()), found.x, Stop(most // 4, 1e-7))
        if np.all(np.abs(np.log(spread / before)) < 0.05):
            break
    precision = WithWeights(objective, order, each()).prior_curvature(found.x)
    curvature = _information(found) + np.diag(precision) + 1e-9 * np.eye(len(found.x))
    evidence = found.log_posterior - 0.5 * float(np.linalg.slogdet(curvature)[1])
    return ByEvidence(found, spread, evidence - float(np.log(each()).sum()))


def _information(found: Fit) -> np.ndarray:
    assert found.evaluation is not None
    return found.evaluation.information


def measured_at(objective: Any) -> np.ndarray:
    """(measurement,) [model time]."""
    inner = getattr(objective, "objective", objective)
    return np.array([m.time for study in inner.studies for m in study.measurements])
