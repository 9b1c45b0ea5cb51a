"""An objective some of whose parameters other code computes: a network that reads data before a simulation, for one."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from sim.errors import ScenarioError
from sim.fitting import scales
from sim.fitting.objective import Evaluation, Objective, Study
from sim.fitting.parts import Parameter
from sim.fitting.priors import log_prior, share
from sim.spelling import did_you_mean

#: of values (input,): the computed values (computed,), and a function of what is asked of these: what that asks of the
#: inputs (a product of a vector with the Jacobian)
Compute = Callable[[np.ndarray], tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]]


class Computed:
    """Looks like an `Objective` whose parameters `computed` are gone and whose `more` have come.

    Args:
        computed: ids of estimated parameters of `objective` that `compute` gives; on scale "lin".
        more: parameters that nothing else knows, such as weights.
        inputs: ids that `compute` reads, of `more` or of the estimated parameters that stay.

    Raises:
        ScenarioError: an id is not there; what is computed has a scale.
    """

    def __init__(
        self,
        objective: Objective,
        computed: Sequence[str],
        more: Sequence[Parameter],
        inputs: Sequence[str],
        compute: Compute,
    ):
        self.objective, self.compute = objective, compute
        for name in computed:
            if name not in objective.names:
                raise ScenarioError(
                    f"'{name}' is not an estimated parameter{did_you_mean(name, objective.names)}"
                )
            if objective.scales[objective.names.index(name)] != "lin":
                raise ScenarioError(f"'{name}' is computed, so its scale must be lin")
        self._to = np.array([objective.names.index(n) for n in computed], dtype=np.intp)
        stays = [i for i, n in enumerate(objective.names) if n not in set(computed)]
        self._stays = np.array(stays, dtype=np.intp)
        chosen = [p for p in more if p.estimate]
        self.names = (*(objective.names[i] for i in stays), *(p.id for p in chosen))
        self.scales = (*(objective.scales[i] for i in stays), *(p.scale for p in chosen))

        def whole(old: np.ndarray, new: list[float]) -> np.ndarray:
            tail = scales.scaled(np.array(new, dtype=float), [p.scale for p in chosen])
            return np.concatenate([old[self._stays], tail])

        self.lower = whole(objective.lower, [p.lower for p in chosen])
        self.upper = whole(objective.upper, [p.upper for p in chosen])
        self.nominal = whole(objective.nominal, [p.nominal for p in chosen])
        missing = next((n for n in inputs if n not in self.names), None)
        if missing is not None:
            raise ScenarioError(
                f"'{missing}' is not an estimated parameter{did_you_mean(missing, self.names)}"
            )
        self._inputs = np.array([self.names.index(n) for n in inputs], dtype=np.intp)
        first = len(stays)
        self._priors = [
            (first + k, p.prior, float(np.log(share(p.prior)))) for k, p in enumerate(chosen) if p.prior
        ]

    def __call__(
        self, x: np.ndarray | None = None, *, slopes: bool = False, back: bool | None = None
    ) -> Evaluation:
        """As `Objective`; priors of what stays count, and those of `more`."""
        x = self.nominal if x is None else np.asarray(x, dtype=float)
        values = scales.unscaled(x, self.scales)
        found, pull = self.compute(values[self._inputs])
        inner = np.empty(len(self.objective.nominal))
        inner[self._stays], inner[self._to] = x[: len(self._stays)], found
        result = self.objective(inner, slopes=slopes, back=back)
        densities = self._densities(x, values)
        result.log_prior += sum(density for density, _ in densities.values())
        if not slopes:
            return result
        by_scaled = scales.slopes(values[self._inputs], [self.scales[i] for i in self._inputs])

        def outer(rows: np.ndarray, passed_on: np.ndarray) -> np.ndarray:
            """(row, inner) to (row, own), with what the inputs get of each row."""
            own = np.zeros((len(rows), len(self.names)))
            own[:, : len(self._stays)] = rows[:, self._stays]
            own[:, self._inputs] += passed_on * by_scaled
            return own

        for name in ("gradient", "prior_gradient"):
            whole = getattr(result, name)
            setattr(result, name, outer(whole[None], pull(whole[self._to])[None])[0])
        assert result.prior_gradient is not None
        for k, (_, slope) in densities.items():
            result.prior_gradient[k] += slope
        if result.root is not None and result.residual_slopes is not None:
            # one product for every computed value, not for every row
            jacobian = np.array([pull(unit) for unit in np.eye(len(self._to))])
            for name in ("root", "residual_slopes"):
                rows = getattr(result, name)
                setattr(result, name, outer(rows, rows[:, self._to] @ jacobian))
        return result

    @property
    def studies(self) -> tuple[Study, ...]:
        return self.objective.studies

    def log_priors(self, x: np.ndarray | None = None) -> dict[str, float]:
        """The log-density of every estimated parameter that has a prior."""
        x = self.nominal if x is None else np.asarray(x, dtype=float)
        inner = self.objective.nominal.copy()
        inner[self._stays] = x[: len(self._stays)]
        own = self._densities(x, scales.unscaled(x, self.scales))
        return self.objective.log_priors(inner) | {self.names[k]: d for k, (d, _) in own.items()}

    def prior_curvature(self, x: np.ndarray) -> np.ndarray:
        """As `Objective.prior_curvature`."""
        inner, step = self.objective.nominal.copy(), 1e-5
        inner[self._stays] = x[: len(self._stays)]
        found = np.zeros(len(x))
        found[: len(self._stays)] = self.objective.prior_curvature(inner)[self._stays]
        sides = [self._densities(x + d, scales.unscaled(x + d, self.scales)) for d in (-step, step)]
        for k, (_, slope) in sides[0].items():
            found[k] = max((slope - sides[1][k][1]) / (2 * step), 0.0)
        return found

    def _densities(self, x: np.ndarray, values: np.ndarray) -> dict[int, tuple[float, float]]:
        """Log-density of each of `more` that has a prior, by its position, and its derivative by the scaled value."""
        found = {}
        slopes = scales.slopes(values, self.scales)
        for k, prior, volume in self._priors:
            density, slope = log_prior(prior, float(x[k] if prior.scaled else values[k]))
            found[k] = density - volume, slope if prior.scaled else slope * slopes[k]
        return found
