"""A problem in PEtab 1 as parameters and studies (https://petab.readthedocs.io/en/latest/v1)."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

from mechanistic.codegen.system import dependencies
from mechanistic.network import ReactionNetwork
from mechanistic.parts import Tree
from sim.errors import Problem, ScenarioError, escaped
from sim.fitting.objective import Study
from sim.fitting.parts import (
    PREEQUILIBRATION,
    SCALES,
    Experiment,
    Measurement,
    Observable,
    Parameter,
    Period,
    Prior,
)
from sim.petab.common import Transform, formula, inlined, network_of, overrides, replaced
from sim.petab.tables import Files, Row, Table, each, joined, number, read_table
from sim.spelling import did_you_mean, one_of

_PRIORS = {
    "uniform": ("uniform", False), "normal": ("normal", False), "laplace": ("laplace", False),
    "logNormal": ("log-normal", False), "logLaplace": ("log-laplace", False),
    "parameterScaleNormal": ("normal", True), "parameterScaleLaplace": ("laplace", True),
}  # fmt: skip
_PLACEHOLDER = re.compile(r"(observable|noise)Parameter(\d+)_(.+)")


def read_version1(
    files: Files, transform: Transform | None
) -> tuple[list[Parameter], list[Study], list[list[tuple[Table, int, Row]]]]:
    """Parameters, and for every model its study and the rows of its measurements, in the same order.

    Raises:
        ScenarioError: with every fault of a table found at once.
    """
    data = files.data
    names = data.get("parameter_file")
    tables = [
        read_table(files.path(name), ("parameterId", "estimate"))
        for name in (names if isinstance(names, list) else [names])
    ]
    parameters = each(joined(tables), _parameter)
    known = {p.id for p in parameters}
    studies, rows = [], []
    for problem in data.get("problems") or []:
        models = problem.get("sbml_files") or [
            m["location"] for m in (problem.get("model_files") or {}).values()
        ]
        if len(models) != 1:
            message = f"a problem has one model (got {len(models)})"
            raise ScenarioError(Problem(str(files.file), message, None, "problems"))
        network = network_of(files, models[0], transform)
        measured = joined(
            [
                read_table(files.path(name), ("observableId", "simulationConditionId", "measurement", "time"))
                for name in problem.get("measurement_files") or []
            ]
        )
        conditions = {
            row["conditionId"]: (t, i, row)
            for t, i, row in joined(
                [
                    read_table(files.path(name), ("conditionId",))
                    for name in problem.get("condition_files") or []
                ]
            )
        }
        observables = _observables(
            [
                read_table(files.path(name), ("observableId", "observableFormula"))
                for name in problem.get("observable_files") or []
            ]
        )
        experiments = _experiments(network, known, conditions, measured)
        points = tuple(each(measured, lambda t, i, o=observables: _measurement(t, i, o)))
        studies.append(Study(network, experiments, tuple(observables.values()), points))
        rows.append(measured)
    return parameters, studies, rows


def _parameter(table: Table, i: int) -> Parameter:
    row = table.rows[i]
    name = row["parameterId"]
    scale = row.get("parameterScale") or "lin"
    if scale not in SCALES:
        raise ScenarioError(
            table.problem(i, "parameterScale", f"must be {one_of(SCALES)} (got '{escaped(scale)}')")
        )
    estimate = number(table, i, "estimate", 0.0) != 0.0
    nominal = number(table, i, "nominalValue", math.nan)
    if not estimate and math.isnan(nominal):
        raise ScenarioError(table.problem(i, "nominalValue", f"'{name}' is not estimated and has no value"))
    lower = number(table, i, "lowerBound", -math.inf if not estimate else None)
    upper = number(table, i, "upperBound", math.inf if not estimate else None)
    if math.isnan(nominal):
        nominal = math.sqrt(lower * upper) if scale != "lin" and lower > 0 else 0.5 * (lower + upper)
    prior = _prior(table, i, lower, upper) if estimate else None
    return Parameter(name, nominal, lower, upper, scale, estimate, prior)


def _prior(table: Table, i: int, lower: float, upper: float) -> Prior | None:
    row = table.rows[i]
    kind = row.get("objectivePriorType", "")
    if kind in ("", "parameterScaleUniform"):
        return None
    if kind not in _PRIORS:
        message = f"unknown distribution '{escaped(kind)}'{did_you_mean(kind, _PRIORS)}"
        raise ScenarioError(table.problem(i, "objectivePriorType", message))
    text = row.get("objectivePriorParameters", "") or f"{lower};{upper}"
    try:
        values = tuple(float(part) for part in text.split(";"))
    except ValueError:
        message = f"must be numbers between semicolons (got '{escaped(text)}')"
        raise ScenarioError(table.problem(i, "objectivePriorParameters", message)) from None
    if len(values) != 2:
        message = f"'{kind}' has 2 parameters (got {len(values)})"
        raise ScenarioError(table.problem(i, "objectivePriorParameters", message))
    name, scaled = _PRIORS[kind]
    return Prior(name, values, scaled=scaled)


def _observables(tables: Sequence[Table]) -> dict[str, Observable]:
    rows = joined(list(tables))
    formulas = each(rows, lambda t, i: formula(t, i, "observableFormula"))
    values = inlined({row["observableId"]: tree for (_, _, row), tree in zip(rows, formulas)})
    found = {}
    for t, i, row in rows:
        name = row["observableId"]
        noise = replaced(formula(t, i, "noiseFormula"), values) if row.get("noiseFormula") else 1.0
        scale = row.get("observableTransformation") or "lin"
        distribution = row.get("noiseDistribution") or "normal"
        for column, value, allowed in (
            ("observableTransformation", scale, SCALES),
            ("noiseDistribution", distribution, ("normal", "laplace")),
        ):
            if value not in allowed:
                raise ScenarioError(
                    t.problem(i, column, f"must be {one_of(allowed)} (got '{escaped(value)}')")
                )
        placeholders = sorted(_placeholders(name, values[name]) | _placeholders(name, noise), key=_order)
        found[name] = Observable(name, values[name], noise, distribution, scale, tuple(placeholders))
    return found


def _placeholders(observable: str, tree: Tree) -> set[str]:
    found = ((name, _PLACEHOLDER.fullmatch(name)) for name in dependencies(tree))
    return {name for name, match in found if match and match[3] == observable}


def _order(name: str) -> tuple[bool, int]:
    kind, index, _ = _PLACEHOLDER.fullmatch(name).groups()  # pyright: ignore[reportOptionalMemberAccess]
    return kind == "noise", int(index)


def _measurement(table: Table, i: int, observables: Mapping[str, Observable]) -> Measurement:
    row = table.rows[i]
    name = row["observableId"]
    if name not in observables:
        message = f"no such observable '{escaped(name)}'{did_you_mean(name, observables)}"
        raise ScenarioError(table.problem(i, "observableId", message))
    given = {
        "observable": overrides(table, i, "observableParameters"),
        "noise": overrides(table, i, "noiseParameters"),
    }
    found: list[float | str] = []
    for placeholder in observables[name].placeholders:
        kind, index, _ = _PLACEHOLDER.fullmatch(placeholder).groups()  # pyright: ignore[reportOptionalMemberAccess]
        if int(index) > len(given[kind]):
            column = f"{kind}Parameters"
            raise ScenarioError(table.problem(i, column, f"there is no value for '{placeholder}'"))
        found.append(given[kind][int(index) - 1])
    return Measurement(
        name, _experiment_id(row), number(table, i, "time"), number(table, i, "measurement"), tuple(found)
    )


def _experiment_id(row: Row) -> str:
    before = row.get("preequilibrationConditionId", "")
    return f"{before} -> {row['simulationConditionId']}" if before else row["simulationConditionId"]


def _experiments(
    network: ReactionNetwork,
    known: set[str],
    conditions: Mapping[str, tuple[Table, int, Row]],
    measured: Sequence[tuple[Table, int, Row]],
) -> tuple[Experiment, ...]:
    found: dict[str, Experiment] = {}
    for t, i, row in measured:
        name = _experiment_id(row)
        if name in found:
            continue
        for column in ("simulationConditionId", "preequilibrationConditionId"):
            condition = row.get(column, "")
            if condition and condition not in conditions:
                message = f"no such condition '{escaped(condition)}'{did_you_mean(condition, conditions)}"
                raise ScenarioError(t.problem(i, column, message))
        now = _values(network, known, *conditions[row["simulationConditionId"]])
        before = row.get("preequilibrationConditionId", "")
        if not before:
            found[name] = Experiment(name, (Period(0.0),), _initial(network, now))
            continue
        earlier = _values(network, known, *conditions[before])
        # what is remembered is set anew; constants follow from the condition that now holds
        changes = {n: v for n, v in now.items() if n in network.state_ids}
        lasting = {
            n: v for n, v in earlier.items() if n in network.species_ids and n not in network.state_ids
        }
        constants = {**lasting, **{n: v for n, v in now.items() if n not in network.state_ids}}
        periods = (
            Period(PREEQUILIBRATION),
            Period(0.0, changes, _initial(network, constants)),
        )
        found[name] = Experiment(name, periods, _initial(network, earlier))
    return tuple(found.values())


def _initial(network: ReactionNetwork, values: Mapping[str, Tree]) -> dict[str, Tree]:
    """By the names that say how species are counted."""
    return {
        f"amount.{n}" if n in network.species_ids and network[n].substance_only else n: v
        for n, v in values.items()
    }


def _values(network: ReactionNetwork, known: set[str], table: Table, i: int, row: Row) -> dict[str, Tree]:
    found: dict[str, Tree] = {}
    for column in table.columns:
        if column in ("conditionId", "conditionName") or not row.get(column):
            continue
        if column not in network:
            if column in known:
                continue
            everything = (*network.species_ids, *network.parameter_ids, *network.compartment_ids)
            message = f"'{escaped(column)}' is not in the model{did_you_mean(column, everything)}"
            raise ScenarioError(table.problem(i, column, message))
        value = formula(table, i, column)
        if isinstance(value, str) and value not in known:
            if value not in network.parameter_ids or network[value].value is None:
                message = f"'{escaped(value)}' is not a parameter{did_you_mean(value, known)}"
                raise ScenarioError(table.problem(i, column, message))
            value = float(network[value].value)
        found[column] = value
    return found
