"""What `cellweave petab` says of a problem."""

from __future__ import annotations

import math
from typing import Any

from sim.fitting import scales
from sim.fitting.objective import Evaluation
from sim.petab.problem import PetabProblem


def told(problem: PetabProblem, found: Evaluation) -> dict[str, Any]:
    """`llh`, `chi2`, `log_posterior`, and where there are derivatives `grad`, all as plain numbers.

    `grad` is the derivative of `llh` by each estimated parameter's value, whatever scale it is fitted on;
    `grad_log_posterior` is there too where a parameter has a prior.
    """
    objective = problem.objective
    result: dict[str, Any] = {
        "llh": _plain(found.llh),
        "chi2": _plain(found.chi2),
        "log_posterior": _plain(found.log_posterior),
    }
    if found.gradient is not None and found.prior_gradient is not None:
        values = scales.unscaled(objective.nominal, objective.scales)
        by = scales.slopes(values, objective.scales)
        result["grad"] = dict(zip(objective.names, map(_plain, found.gradient / by)))
        if objective.log_priors():
            whole = (found.gradient + found.prior_gradient) / by
            result["grad_log_posterior"] = dict(zip(objective.names, map(_plain, whole)))
    return result


def _plain(value: float) -> float | None:
    """JSON has no word for what is not a finite number."""
    return float(value) if math.isfinite(value) else None
