"""A problem in PEtab 2 as parameters and studies (https://petab.readthedocs.io/en/latest/v2)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from mechanistic.network import ReactionNetwork
from mechanistic.parts import Parameter as ModelParameter
from mechanistic.parts import Tree
from sim.errors import Problem, ScenarioError, escaped
from sim.fitting.objective import Study
from sim.fitting.parts import PREEQUILIBRATION, Experiment, Measurement, Observable, Parameter, Period, Prior
from sim.fitting.priors import DENSITIES
from sim.petab.common import Transform, formula, inlined, network_of, overrides, replaced
from sim.petab.tables import Files, Row, Table, each, joined, number, read_table
from sim.spelling import did_you_mean, one_of

Rows = list[tuple[Table, int, Row]]
_ARGUMENTS = {"chisquare": 1, "exponential": 1, "rayleigh": 1}
_NOISE = {
    "normal": ("normal", "lin"), "laplace": ("laplace", "lin"), "log-normal": ("normal", "log"),
    "log-laplace": ("laplace", "log"),
}  # fmt: skip
_NEEDED = {
    "parameter_files": ("parameterId", "estimate"),
    "measurement_files": ("observableId", "time", "measurement"),
    "condition_files": ("conditionId", "targetId", "targetValue"),
    "experiment_files": ("experimentId", "time", "conditionId"),
    "observable_files": ("observableId", "observableFormula", "noiseFormula"),
    "mapping_files": ("petabEntityId", "modelEntityId"),
}


def read_version2(
    files: Files,
    transform: Transform | None,
    adapt: Callable[[dict[str, Rows]], dict[str, Rows]] | None = None,
) -> tuple[list[Parameter], list[Study], list[list[tuple[Table, int, Row]]]]:
    """As `read_version1`; `adapt` takes rows out of the tables before they are read."""
    tables = {
        key: joined([read_table(files.path(name), needed) for name in files.data.get(key) or []])
        for key, needed in _NEEDED.items()
    }
    if adapt is not None:
        tables = adapt(tables)
    parameters = _parameters(tables["parameter_files"])
    aliases = {row["petabEntityId"]: _entity(row["modelEntityId"]) for _, _, row in tables["mapping_files"]}
    aliases = {name: entity for name, entity in aliases.items() if entity and entity != name}
    observables = _observables(tables["observable_files"], aliases)
    models = files.data.get("model_files") or {}
    if not models:
        raise ScenarioError(Problem(str(files.file), "there is no model", None, "model_files"))
    studies, rows = [], []
    for model, where in models.items():
        network = network_of(files, where.get("location"), transform)
        own = [
            (t, i, row)
            for t, i, row in tables["measurement_files"]
            if len(models) == 1 or row.get("modelId", "") in ("", model)
        ]
        experiments = _experiments(tables["experiment_files"], tables["condition_files"], aliases)
        _check_targets(files, experiments, {p.id for p in parameters})
        network = _with_outputs(network, experiments, {p.id for p in parameters})
        points = tuple(each(own, lambda t, i, e=experiments: _measurement(t, i, observables, e)))
        measured = {m.experiment for m in points}
        chosen = tuple(e for name, e in experiments.items() if name in measured)
        if "" in measured:
            chosen += (Experiment("", (Period(0.0),)),)
        studies.append(Study(network, chosen, tuple(observables.values()), points))
        rows.append(own)
    return parameters, studies, rows


def _entity(name: str) -> str:
    """As a model's reader calls it: a parameter of a reaction is known by both names."""
    return name.replace("$", "").replace(".", "_")


def _check_targets(files: Files, experiments: Mapping[str, Experiment], known: set[str]) -> None:
    for e in experiments.values():
        for name in (*e.initial, *(n for p in e.periods for n in p.changes)):
            if name in known:
                message = f"a condition of '{e.id}' sets '{name}', which the parameter table has too"
                raise ScenarioError(Problem(str(files.file), message, None, "condition_files"))


def _with_outputs(
    network: ReactionNetwork, experiments: Mapping[str, Experiment], known: set[str]
) -> ReactionNetwork:
    """With what conditions set for formulas alone."""
    targets = {n for e in experiments.values() for p in e.periods for n in p.changes}
    targets |= {n.removeprefix("amount.") for e in experiments.values() for n in e.initial}
    more = tuple(
        ModelParameter(name, "", None, False, None, False, 0)
        for name in sorted(targets)
        if name not in network and name not in known
    )
    return replace(network, parameters=(*network.parameters, *more)) if more else network


def _parameters(rows: Sequence[tuple[Table, int, Row]]) -> list[Parameter]:
    some = any(row.get("priorDistribution") for _, _, row in rows)
    return each(rows, lambda t, i: _parameter(t, i, some))


def _parameter(table: Table, i: int, some: bool) -> Parameter:
    row = table.rows[i]
    estimate = row["estimate"].lower()
    if estimate not in ("true", "false", "1", "0"):
        raise ScenarioError(
            table.problem(i, "estimate", f"must be 'true' or 'false' (got '{escaped(estimate)}')")
        )
    free = estimate in ("true", "1")
    lower = number(table, i, "lowerBound", -math.inf)
    upper = number(table, i, "upperBound", math.inf)
    nominal = number(table, i, "nominalValue", math.nan)
    if math.isnan(nominal):
        if not free:
            message = f"'{escaped(row['parameterId'])}' is not estimated and has no value"
            raise ScenarioError(table.problem(i, "nominalValue", message))
        inside = math.isfinite(lower) and math.isfinite(upper)
        nominal = 0.5 * (lower + upper) if inside else lower if math.isfinite(lower) else 0.0
    return Parameter(
        row["parameterId"], nominal, lower, upper, "lin", free,
        prior_of(table, i, lower, upper, some) if free else None,
    )  # fmt: skip


def prior_of(table: Table, i: int, lower: float, upper: float, some: bool) -> Prior | None:
    """Where one parameter has a prior, each has: uniform between its bounds if it says nothing else."""
    row = table.rows[i]
    kind = row.get("priorDistribution", "")
    if not kind:
        finite = math.isfinite(lower) and math.isfinite(upper)
        return Prior("uniform", (lower, upper), lower, upper) if some and finite else None
    if kind not in DENSITIES:
        message = f"must be {one_of(DENSITIES)} (got '{escaped(kind)}')"
        raise ScenarioError(table.problem(i, "priorDistribution", message))
    text = row.get("priorParameters", "")
    try:
        values = tuple(float(part) for part in text.split(";"))
    except ValueError:
        message = f"must be numbers between semicolons (got '{escaped(text)}')"
        raise ScenarioError(table.problem(i, "priorParameters", message)) from None
    if len(values) != _ARGUMENTS.get(kind, 2):
        message = f"'{kind}' has {_ARGUMENTS.get(kind, 2)} parameters (got {len(values)})"
        raise ScenarioError(table.problem(i, "priorParameters", message))
    return Prior(kind, values, lower, upper)


def _observables(rows: Sequence[tuple[Table, int, Row]], aliases: Mapping[str, str]) -> dict[str, Observable]:
    formulas = each(rows, lambda t, i: formula(t, i, "observableFormula"))
    values = inlined({row["observableId"]: tree for (_, _, row), tree in zip(rows, formulas)})
    found = {}
    for t, i, row in rows:
        name, kind = row["observableId"], row.get("noiseDistribution") or "normal"
        if kind not in _NOISE:
            message = f"must be {one_of(_NOISE)} (got '{escaped(kind)}')"
            raise ScenarioError(t.problem(i, "noiseDistribution", message))
        placeholders = [
            part.strip()
            for column in ("observablePlaceholders", "noisePlaceholders")
            for part in row.get(column, "").split(";")
            if part.strip()
        ]
        noise = replaced(formula(t, i, "noiseFormula"), values)
        found[name] = Observable(
            name,
            replaced(values[name], aliases),
            replaced(noise, aliases),
            *_NOISE[kind],
            tuple(placeholders),
        )
    return found


def _measurement(
    table: Table, i: int, observables: Mapping[str, Observable], experiments: Mapping[str, Experiment]
) -> Measurement:
    row = table.rows[i]
    name, experiment = row["observableId"], row.get("experimentId", "")
    if name not in observables:
        message = f"no such observable '{escaped(name)}'{did_you_mean(name, observables)}"
        raise ScenarioError(table.problem(i, "observableId", message))
    if experiment and experiment not in experiments:
        message = f"no such experiment '{escaped(experiment)}'{did_you_mean(experiment, experiments)}"
        raise ScenarioError(table.problem(i, "experimentId", message))
    values = [*overrides(table, i, "observableParameters"), *overrides(table, i, "noiseParameters")]
    if len(values) != len(observables[name].placeholders):
        wanted = ", ".join(observables[name].placeholders) or "no placeholders"
        message = f"{len(values)} values are given for {wanted}"
        raise ScenarioError(table.problem(i, "observableParameters", message))
    return Measurement(
        name, experiment, number(table, i, "time"), number(table, i, "measurement"), tuple(values)
    )


def _experiments(
    rows: Sequence[tuple[Table, int, Row]],
    conditions: Sequence[tuple[Table, int, Row]],
    aliases: Mapping[str, str],
) -> dict[str, Experiment]:
    changes: dict[str, dict[str, Tree]] = {}
    for t, i, row in conditions:
        target = aliases.get(row["targetId"], row["targetId"])
        own = changes.setdefault(row["conditionId"], {})
        if target in own:
            raise ScenarioError(
                t.problem(i, "targetId", f"'{escaped(target)}' is set twice by this condition")
            )
        own[target] = replaced(formula(t, i, "targetValue"), aliases)
    starts: dict[str, dict[float, dict[str, Tree]]] = {}
    for t, i, row in rows:
        at = starts.setdefault(row["experimentId"], {}).setdefault(number(t, i, "time"), {})
        condition = row.get("conditionId", "")
        if condition and condition not in changes:
            message = f"no such condition '{escaped(condition)}'{did_you_mean(condition, changes)}"
            raise ScenarioError(t.problem(i, "conditionId", message))
        for target, value in changes.get(condition, {}).items():
            if target in at:
                message = f"two conditions set '{escaped(target)}' at the same time"
                raise ScenarioError(t.problem(i, "conditionId", message))
            at[target] = value
    found = {}
    for name, periods in starts.items():
        (first, initial), *later = sorted(periods.items())
        if not later and first == PREEQUILIBRATION:
            later = [(0.0, {})]
        # the first one holds before the model's initial assignments
        found[name] = Experiment(name, (Period(first), *(Period(s, c) for s, c in later)), initial)
    return found
