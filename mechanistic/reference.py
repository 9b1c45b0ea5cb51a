"""RoadRunner, as the oracle for our own solvers and as the way for what they do not cover.

`time_course`, `steady_state` and `control_coefficients` ask tellurium, as its users do; our own numbers are held
against theirs in the tests. `RoadRunnerStepper` takes RoadRunner itself, which tellurium brings: one instance per
network and thread; a cell's state is set in bulk before every call and read back after it, so nothing of one cell
can reach another.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mechanistic.errors import IntegrationError, ModelError, ModelProblem
from mechanistic.network import ReactionNetwork

# (factor on the tolerances, most internal steps): tried in turn until one gets through
_LADDER = ((1.0, 20_000), (1e-2, 100_000), (1e-4, 500_000))

# RoadRunner looks at triggers after its steps alone: one that is true for less than a step is missed.
_WINDOW_STEPS = 2000
# So many gaps between firings of one event, each smaller than the last, down to this share of the course.
_SHRINKING = 8
_ACCUMULATES = 1e-5


def time_course(
    network: ReactionNetwork,
    times: Sequence[float],
    parameters: Mapping[str, float] | None = None,
    *,
    rtol: float = 1e-10,
    atol: float = 1e-14,
) -> dict[str, np.ndarray]:
    """Concentrations (time,) of every species by id, by tellurium from the model's initial state at times[0].

    Args:
        parameters: parameters by id. Initial assignments that use them follow.

    Raises:
        ModelError: RoadRunner cannot load the model.
        IntegrationError: CVODE fails.
    """
    runner = _by_tellurium(network, parameters)
    runner.setIntegrator("cvode")
    for name, value in (
        ("relative_tolerance", rtol),
        ("absolute_tolerance", atol),
        ("maximum_num_steps", 10**6),
    ):
        runner.getIntegrator().setValue(name, value)
    runner.timeCourseSelections = ["time", *(f"[{s}]" for s in network.species_ids)]
    try:
        result = np.asarray(runner.simulate(times=[float(t) for t in times]))
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise IntegrationError(f"RoadRunner cannot integrate this model: {reason}") from None
    return {s: result[:, i + 1].copy() for i, s in enumerate(network.species_ids)}


def steady_state(network: ReactionNetwork, parameters: Mapping[str, float] | None = None) -> dict[str, float]:
    """Concentrations of every species by id at the steady state, by tellurium; conserved sums are kept.

    Raises:
        ModelError: RoadRunner cannot load the model.
        IntegrationError: it finds no steady state.
    """
    return _settled(network, parameters)[1]


def control_coefficients(
    network: ReactionNetwork, parameters: Mapping[str, float] | None = None
) -> dict[str, np.ndarray]:
    """Scaled control coefficients at the steady state, by tellurium, which takes them by finite differences.

    Returns:
        "flux_control" (reaction_ids, reaction_ids): of the fluxes (rows) by the reactions (columns);
        "concentration_control" (state_ids, reaction_ids).

    Raises:
        ModelError, IntegrationError: as `steady_state`.
    """
    runner, _ = _settled(network, parameters)
    found = {
        "flux_control": (runner.getScaledFluxControlCoefficientMatrix(), network.reaction_ids),
        "concentration_control": (runner.getScaledConcentrationControlCoefficientMatrix(), network.state_ids),
    }
    sorted_by_id = {}
    for name, (matrix, rows) in found.items():
        row_at = {r: i for i, r in enumerate(matrix.rownames)}
        column_at = {c: i for i, c in enumerate(matrix.colnames)}
        columns = [column_at[r] for r in network.reaction_ids]
        sorted_by_id[name] = np.asarray(matrix)[[row_at[r] for r in rows]][:, columns]
    return sorted_by_id


def _by_tellurium(network: ReactionNetwork, parameters: Mapping[str, float] | None) -> Any:
    """A model of tellurium's own, whose local parameters are named as the network names them."""
    _silence()
    import roadrunner
    import tellurium

    _refuse_without_text(network)
    # else every id of a model becomes a property of the class: a parameter "reset" hides reset()
    roadrunner.Config.setValue(roadrunner.Config.ROADRUNNER_DISABLE_PYTHON_DYNAMIC_PROPERTIES, True)
    try:
        source = roadrunner.RoadRunner().getParamPromotedSBML(network.source)
        runner = tellurium.loadSBMLModel(source)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise ModelError(network.file, f"RoadRunner cannot load this model: {reason}") from None
    for name, value in (parameters or {}).items():
        runner[f"init({name})"] = value
    return runner


def _settled(
    network: ReactionNetwork, parameters: Mapping[str, float] | None
) -> tuple[Any, dict[str, float]]:
    runner = _by_tellurium(network, parameters)
    # without this the Jacobian of a model with conserved sums has no inverse
    runner.conservedMoietyAnalysis = True
    try:
        runner.steadyState()
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise IntegrationError(f"RoadRunner finds no steady state: {reason}") from None
    return runner, {s: float(runner[f"[{s}]"]) for s in network.species_ids}


class RoadRunnerStepper:
    """Integrates one cell at a time with CVODE (BDF), events included."""

    name = "roadrunner"

    def __init__(self, network: ReactionNetwork):
        self.network = network
        self._local = threading.local()
        assigned = [c for c in network.compartment_ids if c in network.assignment_rules]
        self._assigned_compartment = assigned[0] if assigned else None

    def advance(
        self,
        state: np.ndarray,
        constants: np.ndarray,
        scale: float,
        times: np.ndarray,
        rtol: float,
        atol: np.ndarray,
    ) -> np.ndarray:
        """The stored state (time, state_ids) of one cell at `times`, of which the first is now.

        Args:
            state, constants: as `codegen.system` stores them, (state_ids,) and (settable_ids,).
            atol: absolute tolerance of every stored value.

        Raises:
            IntegrationError: all of the retry ladder failed.
        """
        engine = self._engine()
        if scale != 1.0 and self._assigned_compartment:
            name = self._assigned_compartment
            message = (
                f"the compartment '{name}' is given by a rule: RoadRunner cannot scale it for a grown cell"
            )
            raise ModelError(self.network.file, [ModelProblem(message, None, name)])
        failure = ""
        for factor, steps in _LADDER:
            try:
                result = engine.run(state, constants, scale, times, rtol * factor, atol * factor, steps)
            except RuntimeError as error:
                failure = " ".join(str(error).split()).split("; In virtual")[0]
                continue
            wrong = ~np.isfinite(result)
            if not wrong.any():
                return result
            first, column = np.argwhere(wrong)[0]
            species, time = self.network.state_ids[column], float(times[first])
            failure = f"'{species}' is not finite at time {time:g}"
        raise IntegrationError(f"RoadRunner cannot integrate this cell: {failure}", time=float(times[0]))

    def _engine(self) -> _Engine:
        engine = getattr(self._local, "engine", None)
        if engine is None:
            engine = self._local.engine = _Engine(self.network)
        return engine


def _silence() -> None:
    """Keep CVODE from writing warnings on standard output, where results go, and errors that it raises as well."""
    for kind in ("ERROR", "WARNING"):
        os.environ.setdefault(f"SUNLOGGER_{kind}_FILENAME", os.devnull)


def _refuse_without_text(network: ReactionNetwork) -> None:
    if not network.source:
        raise ModelError(
            network.file, "RoadRunner cannot run this model: what was joined to it has no SBML text"
        )


class _Engine:
    def __init__(self, network: ReactionNetwork):
        _silence()
        import roadrunner

        roadrunner.Logger.setLevel(roadrunner.Logger.LOG_FATAL)
        # else every id of a model becomes a property of RoadRunner's class: a parameter "reset" hides reset()
        roadrunner.Config.setValue(roadrunner.Config.ROADRUNNER_DISABLE_PYTHON_DYNAMIC_PROPERTIES, True)
        _refuse_without_text(network)
        self.network = network
        self.events = bool(network.events)
        _refuse_doubled_stoichiometries(network)
        self.windows = any(_may_pass_unseen(e.trigger) for e in network.events)
        self.delayed = any(e.delay is not None for e in network.events)
        try:
            # local parameters become global ones, named as the network names them
            self.source = roadrunner.RoadRunner().getParamPromotedSBML(network.source)
            self._start()
        except RuntimeError as error:
            if "cascaded events" in str(error):
                named = ", ".join(e.id for e in network.events)
                message = f"events set each other off without end at the start: {named}"
                raise IntegrationError(message, time=0.0) from None
            reason = " ".join(str(error).split())
            raise ModelError(network.file, f"RoadRunner cannot load this model: {reason}") from None
        names = {
            "species": list(self.model.getFloatingSpeciesIds()),
            "boundary": list(self.model.getBoundarySpeciesIds()),
            "compartments": list(self.model.getCompartmentIds()),
            "parameters": list(self.model.getGlobalParameterIds()),
        }
        self.set_state = _positions(network.state_ids, names)
        self.set_constants = _positions(network.settable_ids, names)
        # constants of species are stored as they stand in math: amounts or concentrations
        self.as_amount = {
            i: s.substance_only
            or s.compartment in network.state_ids
            or s.compartment in network.assignment_rules
            for i, name in enumerate(network.settable_ids)
            if name in network.species_ids and (s := network[name])
        }
        self.compartment_of = {i: network[network.settable_ids[i]].compartment for i in self.as_amount}
        self.compartments = names["compartments"]
        self.boundary_compartments = np.array(
            [network[name].compartment for name in names["boundary"]], dtype=object
        )
        self.in_state = [i for i, name in enumerate(network.state_ids) if name in network.compartment_ids]

    def _start(self) -> None:
        import roadrunner

        self.runner: Any = roadrunner.RoadRunner(self.source)
        self.runner.setIntegrator("cvode")
        self.model: Any = self.runner.model
        self.fired: dict[str, list[float]] = {}
        for name in self.model.getEventIds():
            times = self.fired.setdefault(name, [])
            self.model.getEvent(name).setOnTrigger(lambda m, _i, _n, times=times: times.append(m.getTime()))
        self.runner.timeCourseSelections = ["time", *self.network.state_ids]

    def run(self, state, constants, scale, times, rtol, atol, steps) -> np.ndarray:
        if len(times) == 1 and not self.events:
            return state[None, :].copy()
        if self.delayed:
            # resetAll() would leave events of before in the queue
            self._start()
        runner = self.runner
        integrator = runner.getIntegrator()
        integrator.setValue("relative_tolerance", rtol)
        integrator.setValue("absolute_tolerance", float(np.min(atol)) if len(atol) else 1e-12)
        integrator.setValue("maximum_num_steps", steps)
        if self.windows:
            integrator.setValue("maximum_time_step", float(times[-1] - times[0]) / _WINDOW_STEPS)
        if self.events and not self.delayed:
            # forgets what is pending from another cell
            runner.resetAll()
        self._set(state, constants, scale, float(times[0]))
        if self.events and not self.delayed:
            # fires what is triggered at the start; simulate() alone does so only where no state was set. With
            # delays it would enter the same event in RoadRunner's queue twice.
            integrator.restart(float(times[0]))
        for fired in self.fired.values():
            fired.clear()
        result = np.asarray(runner.simulate(times=[float(t) for t in times]))[:, 1:].copy()
        self._refuse_accumulation(float(times[-1] - times[0]))
        result[:, self.in_state] /= scale
        return result

    def _refuse_accumulation(self, span: float) -> None:
        """An event that fires ever faster (a bouncing ball) has no course beyond; RoadRunner steps through."""
        for name, fired in self.fired.items():
            gaps = np.diff(fired)
            shrinking = (gaps[1:] > 0) & (gaps[1:] < 0.95 * gaps[:-1])
            for k in range(len(shrinking) - _SHRINKING + 1):
                last = k + _SHRINKING
                if shrinking[k:last].all() and gaps[last] < _ACCUMULATES * span:
                    message = f"the event '{name}' fires without end near time {fired[last]:.6g}"
                    raise IntegrationError(message, time=float(fired[last]), species=name)

    def _set(self, state, constants, scale, time) -> None:
        model = self.model
        # a time before 0 makes RoadRunner fire at once what is triggered at the start
        model.setTime(-1.0 if self.events and time <= 0 else time)
        stored, fixed = self.set_state, self.set_constants
        for source, where, values in (("compartments", fixed, constants), ("compartments", stored, state)):
            at, columns = where[source]
            if len(at):
                model.setCompartmentVolumes(at, values[columns] * scale)
        for where, values in ((fixed, constants), (stored, state)):
            at, columns = where["parameters"]
            if len(at):
                model.setGlobalParameterValues(at, values[columns])
        volumes = dict(zip(self.compartments, model.getCompartmentVolumes()))
        amounts = constants.copy()
        for i, is_amount in self.as_amount.items():
            if not is_amount:
                amounts[i] *= volumes[self.compartment_of[i]]
            elif not self.network[self.network.settable_ids[i]].substance_only:
                amounts[i] *= scale
        for where, values in ((fixed, amounts), (stored, state)):
            at, columns = where["boundary"]
            if len(at):
                sizes = np.array([volumes[c] for c in self.boundary_compartments[at]])
                model.setBoundarySpeciesConcentrations(at, values[columns] / sizes)
            at, columns = where["species"]
            if len(at):
                model.setFloatingSpeciesAmounts(at, values[columns])


def _refuse_doubled_stoichiometries(network: ReactionNetwork) -> None:
    """RoadRunner takes one alone of two references to a species whose stoichiometries are computed."""
    for r in network.reactions:
        named = [q.species for q in (*r.reactants, *r.products)]
        for q in (*r.reactants, *r.products):
            computed = not isinstance(q.stoichiometry, float) or q.id in network.assignment_rules
            if computed and named.count(q.species) > 1:
                message = (
                    f"'{q.species}' occurs twice in '{r.id}' with a stoichiometry that is computed, which is "
                    "not supported here: RoadRunner counts one of them"
                )
                raise ModelError(network.file, [ModelProblem(message, r.line, r.id)])


def _may_pass_unseen(trigger: Any) -> bool:
    """Whether a trigger holds conditions joined, so that it may be true for a short while only."""
    if not isinstance(trigger, list):
        return False
    joined = trigger[0] in ("and", "or", "xor", "==", "!=", "not", "implies", "piecewise") or len(trigger) > 3
    return joined or any(_may_pass_unseen(part) for part in trigger[1:])


def _positions(ids: tuple[str, ...], names: dict[str, list[str]]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """For each kind of quantity of the engine: its positions there, and the columns here."""
    result = {}
    for kind, known in names.items():
        at = {name: i for i, name in enumerate(known)}
        pairs = [(at[name], column) for column, name in enumerate(ids) if name in at]
        result[kind] = (
            np.array([p for p, _ in pairs], dtype=np.int32),
            np.array([c for _, c in pairs], dtype=np.intp),
        )
    return result
