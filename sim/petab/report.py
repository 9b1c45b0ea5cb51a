"""What `cellweave petab` says of a problem."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from sim.fitting import scales
from sim.fitting.objective import Evaluation
from sim.petab.problem import PetabProblem


def told(problem: PetabProblem, found: Evaluation, x: np.ndarray | None = None) -> dict[str, Any]:
    """Of an evaluation at `x`, the nominal values where None, as plain numbers.

    `llh`, `chi2`, `log_posterior`; with derivatives `grad`, that of `llh` by each estimated parameter's value, whatever
    scale it is fitted on; and `grad_log_posterior` where a parameter has a prior.
    """
    objective = problem.objective
    result: dict[str, Any] = {
        "llh": _plain(found.llh),
        "chi2": _plain(found.chi2),
        "log_posterior": _plain(found.log_posterior),
    }
    if found.gradient is not None and found.prior_gradient is not None:
        values = scales.unscaled(objective.nominal if x is None else x, objective.scales)
        by = scales.slopes(values, objective.scales)
        result["grad"] = _grouped(problem, found.gradient / by)
        if objective.log_priors():
            whole = (found.gradient + found.prior_gradient) / by
            result["grad_log_posterior"] = _grouped(problem, whole)
    return result


def _grouped(problem: PetabProblem, gradient: Any) -> dict[str, Any]:
    """By parameter; weights of networks by "network.layer.array", in lists shaped like it.

    Null stands where one weight of an array is fixed, an empty list for an array that is fixed as a whole.
    """
    found = dict(zip(problem.objective.names, map(_plain, gradient)))
    arrays = {
        name: [found.pop(id, None) for id in ids.flat] if any(ids.flat) else []
        for name, ids in problem.arrays.items()
    }
    shaped = {name: _nested(values, problem.arrays[name].shape) for name, values in arrays.items()}
    return {**found, **shaped}


def _nested(values: list, shape: tuple[int, ...]) -> Any:
    if len(shape) <= 1 or not values:
        return values
    size = len(values) // shape[0]
    return [_nested(values[i * size : (i + 1) * size], shape[1:]) for i in range(shape[0])]


def _plain(value: float) -> float | None:
    """JSON has no word for what is not a finite number."""
    return float(value) if math.isfinite(value) else None
