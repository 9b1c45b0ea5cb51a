"""How well parameters explain measurements: log-likelihood, posterior, their gradient, residuals and information.

    objective = Objective(parameters, [Study(network, experiments, observables, measurements)])
    found = objective(objective.nominal, slopes=True)
    found.llh, found.gradient, found.information

Parameters are those of the model by their ids, of observables and noise, or of a network inside the model: whoever
inlines a network into the model's rates (`Study(network=...)` takes any `ReactionNetwork`) lists its weights as
parameters of the same ids. What is computed by other code before a simulation (initial values or parameters from
data) is a parameter here too, and `sim.fitting.computed.Computed` puts that code in front, with its gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mechanistic.network import ReactionNetwork
from sim.errors import ScenarioError
from sim.fitting import scales
from sim.fitting.noise import likelihoods
from sim.fitting.parts import Experiment, Measurement, Observable, Parameter, Prior
from sim.fitting.priors import log_prior, share
from sim.fitting.readings import Readings
from sim.fitting.spans import Integrator, Settings
from sim.fitting.timeline import Timeline
from sim.spelling import did_you_mean

_MANY = 500  # estimated parameters from which on a gradient goes back over the course


@dataclass(frozen=True)
class Study:
    """One model and what was measured on it.

    Attributes:
        integrator: of the model, made of tolerances and the ids of all parameters of the fit, where it is not that of
            pathways; its gradient goes back over the course, whatever the number of parameters.
    """

    network: ReactionNetwork
    experiments: tuple[Experiment, ...]
    observables: tuple[Observable, ...]
    measurements: tuple[Measurement, ...]
    integrator: Callable[[Settings, Sequence[str]], Integrator] | None = None


@dataclass
class Evaluation:
    """What an objective says at one vector of parameters. Derivatives are by scaled parameters.

    Attributes:
        llh, log_prior: natural logarithms; `chi2`: sum of squared residuals.
        simulated, noise, residual: (measurement,), those of all studies one after the other.
        gradient, prior_gradient: (estimated,) of `llh` and of `log_prior`, or None.
        root: (any, estimated): the expected information is its transpose times itself; None where the gradient
            went back over the course, or there is none.
        residual_slopes: (measurement, estimated), or None likewise.
    """

    llh: float
    log_prior: float
    chi2: float
    simulated: np.ndarray
    noise: np.ndarray
    residual: np.ndarray
    gradient: np.ndarray | None = None
    prior_gradient: np.ndarray | None = None
    root: np.ndarray | None = None
    residual_slopes: np.ndarray | None = None

    @property
    def log_posterior(self) -> float:
        return self.llh + self.log_prior

    @property
    def information(self) -> np.ndarray:
        """(estimated, estimated): Fisher's expected information of the measurements."""
        assert self.root is not None, "ask for slopes"
        return self.root.T @ self.root


class Objective:
    """The likelihood of all studies, as a function of the estimated parameters on their scales.

    Attributes:
        parameters: all, in the order given; `names`, `scales`, `lower`, `upper`, `nominal`: of the estimated ones,
            bounds and nominal values scaled.

    Raises:
        ModelError: a formula or a condition names what is not there, or sets what cannot be set.
        ScenarioError: two parameters of one id; a measurement of what is not there.
    """

    def __init__(
        self, parameters: Sequence[Parameter], studies: Sequence[Study], settings: Settings | None = None
    ):
        self.parameters, self.studies = tuple(parameters), tuple(studies)
        ids = [p.id for p in self.parameters]
        twice = next((name for i, name in enumerate(ids) if name in ids[:i]), None)
        if twice is not None:
            raise ScenarioError(f"the parameter '{twice}' is there twice")
        self._estimated = np.array([i for i, p in enumerate(self.parameters) if p.estimate], dtype=np.intp)
        chosen = [self.parameters[i] for i in self._estimated]
        self.names, self.scales = tuple(p.id for p in chosen), tuple(p.scale for p in chosen)
        self.lower = scales.scaled(np.array([p.lower for p in chosen]), self.scales)
        self.upper = scales.scaled(np.array([p.upper for p in chosen]), self.scales)
        self.nominal = scales.scaled(np.array([p.nominal for p in chosen]), self.scales)
        self._shares = [1.0 if p.prior is None else share(p.prior) for p in chosen]
        self._parts = [_Part(study, ids, self._estimated, settings) for study in self.studies]

    def __call__(
        self, x: np.ndarray | None = None, *, slopes: bool = False, back: bool | None = None
    ) -> Evaluation:
        """At the scaled values `x` of the estimated parameters; at the nominal ones where None.

        Args:
            slopes: whether derivatives are wanted.
            back: whether they go back over the course: the gradient alone, at a cost that does not grow with the
                number of parameters. From 500 parameters on where None.

        Raises:
            IntegrationError: an experiment could not be followed, or came to no rest; names it.
        """
        x = self.nominal if x is None else np.asarray(x, dtype=float)
        if x.shape != self.nominal.shape:
            raise ValueError(f"x must have {len(self.nominal)} values (got shape {x.shape})")
        if back is None:
            back = len(x) >= _MANY or any(s.integrator is not None for s in self.studies)
        values = self.values(x)
        found = [part(values, slopes, back) for part in self._parts]
        by_scaled = scales.slopes(values[self._estimated], self.scales)
        result = _joined(found)
        result.log_prior, by_prior = self._prior(x, values[self._estimated])
        if slopes:
            result.prior_gradient = by_prior
            for name in ("gradient", "root", "residual_slopes"):
                slope = getattr(result, name)
                setattr(result, name, None if slope is None else slope * by_scaled)
        return result

    def values(self, x: np.ndarray) -> np.ndarray:
        """(parameters,): the values of all parameters, those that are not estimated too."""
        values = np.array([p.nominal for p in self.parameters], dtype=float)
        values[self._estimated] = scales.unscaled(x, self.scales)
        return values

    def log_priors(self, x: np.ndarray | None = None) -> dict[str, float]:
        """The log-density of every estimated parameter that has a prior."""
        x = self.nominal if x is None else x
        values = scales.unscaled(x, self.scales)
        found = {}
        for k, i in enumerate(self._estimated):
            prior = self.parameters[i].prior
            if prior is not None:
                at = x[k] if prior.scaled else values[k]
                found[self.names[k]] = log_prior(prior, float(at))[0] - float(np.log(self._shares[k]))
        return found

    def _prior(self, x: np.ndarray, values: np.ndarray) -> tuple[float, np.ndarray]:
        total, by_x = 0.0, np.zeros(len(x))
        slopes = scales.slopes(values, self.scales)
        for k, i in enumerate(self._estimated):
            prior = self.parameters[i].prior
            if prior is None:
                continue
            density, slope = log_prior(prior, float(x[k] if prior.scaled else values[k]))
            total += density - float(np.log(self._shares[k]))
            by_x[k] = slope if prior.scaled else slope * slopes[k]
        return total, by_x

    def prior_curvature(self, x: np.ndarray) -> np.ndarray:
        """(estimated,) minus the second derivatives of the log-prior, 0 where they are negative."""
        step = 1e-5
        up, down = (self._prior(x + d, scales.unscaled(x + d, self.scales))[1] for d in (step, -step))
        return np.maximum((down - up) / (2 * step), 0.0)

    def scaled_priors(self) -> dict[int, Prior]:
        """By position among the estimated, the priors that are densities of the scaled value."""
        chosen = ((k, self.parameters[i]) for k, i in enumerate(self._estimated))
        return {k: p.prior for k, p in chosen if p.prior and (p.prior.scaled or p.scale == "lin")}


class _Part:
    """One study."""

    def __init__(self, study: Study, ids: Sequence[str], estimated: np.ndarray, settings: Settings | None):
        self.study, self.estimated = study, estimated
        known = {e.id: c for c, e in enumerate(study.experiments)}
        observables = {o.id for o in study.observables}
        for m in study.measurements:
            for what, name, there in (
                ("experiment", m.experiment, known),
                ("observable", m.observable, observables),
            ):
                if name not in there:
                    raise ScenarioError(
                        f"a measurement names the {what} '{name}', not there{did_you_mean(name, there)}"
                    )
            for name in m.overrides:
                if isinstance(name, str) and name not in ids:
                    message = f"a measurement of '{m.observable}' names '{name}', not a parameter of the fit"
                    raise ScenarioError(message + did_you_mean(name, ids))
        cells = np.array([known[m.experiment] for m in study.measurements], dtype=np.intp)
        times = np.array([m.time for m in study.measurements], dtype=float)
        asked = [np.unique(times[cells == c]) for c in range(len(study.experiments))]
        for e, own in zip(study.experiments, asked):
            first = next((p.start for p in e.periods if np.isfinite(p.start)), 0.0)
            if len(own) and own[0] < first:
                raise ScenarioError(
                    f"a measurement of '{e.id}' at {own[0]:g} lies before its start, {first:g}"
                )
        self.timeline = Timeline(
            study.network, ids, estimated, study.experiments, asked, settings, study.integrator
        )
        first_point = np.concatenate([[0], np.cumsum([len(a) for a in asked])])
        points = np.array(
            [first_point[c] + np.searchsorted(asked[c], t) for c, t in zip(cells, times)], dtype=np.intp
        )
        self.readings = Readings(self.timeline, study.observables, study.measurements, points)
        self.measured = np.array([m.value for m in study.measurements], dtype=float)

    @cached_property
    def _kinds(self):
        return [(k.observable.distribution, k.observable.scale, k.rows) for k in self.readings.kinds]

    def __call__(self, values: np.ndarray, slopes: bool, back: bool) -> Evaluation:
        back = slopes and back
        points, way = self.timeline.run(values, slopes and not back, back)
        read = self.readings.read(points, values)
        table = np.zeros((6, len(self.measured)))
        for distribution, scale, rows in self._kinds:
            found = likelihoods(
                distribution, scale, self.measured[rows], read.simulated[rows], read.noise[rows]
            )
            table[:, rows] = [
                found.llh, found.residual, found.by_value, found.by_noise,
                found.information, found.noise_information,
            ]  # fmt: skip
        llh, residual, by_value, by_noise, information, noise_information = table
        result = Evaluation(
            float(llh.sum()), 0.0, float((residual**2).sum()), read.simulated, read.noise, residual
        )
        if read.slopes is not None and read.noise_slopes is not None:
            result.gradient = by_value @ read.slopes + by_noise @ read.noise_slopes
            first = information[:, None] * read.slopes
            second = noise_information[:, None] * read.noise_slopes
            told = np.any(second != 0, axis=1)
            result.root = np.concatenate([first, second[told]])
            result.residual_slopes = -first - (residual / read.noise)[:, None] * read.noise_slopes
        elif back:
            of_points, parameters = self.readings.pulled(points, values, by_value, by_noise)
            asked = np.zeros((len(self.study.experiments), self.timeline.variables))
            for pull in way:
                pull(asked, of_points, parameters)
            result.gradient = parameters[self.estimated]
        return result


def _joined(found: list[Evaluation]) -> Evaluation:
    def together(name: str) -> np.ndarray:
        return np.concatenate([np.empty(0), *(getattr(f, name) for f in found)])

    def below(name: str) -> np.ndarray | None:
        parts = [getattr(f, name) for f in found]
        return np.concatenate(parts) if parts and all(p is not None for p in parts) else None

    gradients = [f.gradient for f in found if f.gradient is not None]
    return Evaluation(
        sum(f.llh for f in found), 0.0, sum(f.chi2 for f in found),
        together("simulated"), together("noise"), together("residual"),
        np.sum(gradients, axis=0) if gradients else None, None, below("root"), below("residual_slopes"),
    )  # fmt: skip
