"""The tables of a PEtab-SciML problem that speak of networks, taken apart from those that speak of the model.

Source: PEtab-SciML's format specification (https://petab-sciml.readthedocs.io), in its final words and in those of
its version 0.1 (`pre_initialization` for `static`, "array" for an empty field).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mechanistic.parts import Tree
from neural.errors import TrainingError, WeightsError
from neural.sciml import Arrays, SciMLNetwork, read_arrays
from sim.errors import Problem, ScenarioError, escaped
from sim.fitting.parts import Parameter, Prior
from sim.petab.common import formula
from sim.petab.tables import Files, Row, Table, joined, number, read_table
from sim.petab.version2 import prior_of
from sim.spelling import did_you_mean

Rows = list[tuple[Table, int, Row]]
Tables = dict[str, Rows]
_ENTITY = re.compile(
    r"(?P<net>\w+)\.(?P<what>inputs|outputs|parameters)(?P<first>\[[^\]]*\])?(\.(?P<array>\w+))?(?P<rest>(\[[^\]]*\])*)\Z"
)


@dataclass(frozen=True)
class Place:
    """An input or an output of a network: which argument, and which element of it; () for all of it."""

    network: str
    what: str
    argument: int
    index: tuple[int, ...]


@dataclass(frozen=True)
class WeightRow:
    """A row of the parameter table about weights: of a network, a layer, an array, or an element."""

    path: tuple[str, ...]
    index: tuple[int, ...]
    nominal: float | None
    estimate: bool
    lower: float
    upper: float
    prior: Prior | None


@dataclass
class Part:
    """One network of the problem.

    Attributes:
        static: whether it acts before the simulation.
        inputs, outputs: id in the tables -> its place.
        weights: parameters by layer and array, each an array of `Parameter`.
    """

    id: str
    static: bool
    module: SciMLNetwork
    inputs: dict[str, Place] = field(default_factory=dict)
    outputs: dict[str, Place] = field(default_factory=dict)
    weights: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)


@dataclass
class Hybridization:
    """What the files say about networks.

    Attributes:
        parts: by id.
        values: formulas of inputs and of what outputs set, from the hybridization tables; None for an array.
        arrays: of the HDF5 files.
        by_condition: condition -> input -> formula, from the condition tables.
        first: experiment -> the conditions that hold at its start.
        names: ids of the parameter tables that are no weights.
    """

    parts: dict[str, Part]
    values: dict[str, Tree | None]
    arrays: Arrays
    by_condition: dict[str, dict[str, Tree]] = field(default_factory=dict)
    first: dict[str, list[str]] = field(default_factory=dict)
    names: dict[str, float] = field(default_factory=dict)

    def place(self, name: str) -> Place | None:
        """Of an input or an output by its id."""
        for part in self.parts.values():
            found = part.inputs.get(name) or part.outputs.get(name)
            if found is not None:
                return found
        return None


def extension(files: Files) -> dict[str, Any] | None:
    """The part of the YAML file about networks, or None."""
    found = files.data.get("extensions")
    if not isinstance(found, dict):
        return None
    own = found.get("petab_sciml", found.get("sciml"))
    return own if isinstance(own, dict) else None


def read_hybridization(files: Files) -> Hybridization:
    """The networks, their arrays, and the hybridization tables.

    Raises:
        ScenarioError: a file cannot be read; a network's format is not known.
    """
    own = extension(files)
    assert own is not None
    arrays = Arrays()
    parts: dict[str, Part] = {}
    try:
        for name in own.get("array_files") or []:
            arrays.add(read_arrays(files.path(name)))
        for name, given in (own.get("neural_networks") or {}).items():
            if not isinstance(given, dict) or str(given.get("format", "")).lower() != "yaml":
                got = given.get("format") if isinstance(given, dict) else given
                message = f"networks are read from YAML (got {escaped(got)}); others would run code of theirs"
                raise ScenarioError(Problem(str(files.file), message, None, f"neural_networks.{name}.format"))
            static = bool(given.get("static", given.get("pre_initialization", False)))
            parts[str(name)] = Part(str(name), static, SciMLNetwork.load(files.path(given.get("location"))))
    except TrainingError as error:
        raise ScenarioError(
            Problem(f, message, line, key) for f, line, key, message in error.problems
        ) from None
    except WeightsError as error:
        raise ScenarioError(Problem(error.file, error.message)) from None
    rows = joined(
        [
            read_table(files.path(name), ("targetId", "targetValue"))
            for name in own.get("hybridization_files") or []
        ]
    )
    values: dict[str, Tree | None] = {}
    for t, i, row in rows:
        text = row.get("targetValue", "")
        values[row["targetId"]] = None if text in ("", "array") else formula(t, i, "targetValue")
    return Hybridization(parts, values, arrays)


def taken_apart(found: Hybridization, tables: Tables) -> Tables:
    """The tables without what speaks of networks, which goes into `found`.

    Raises:
        ScenarioError: a mapping names no such network, input or array.
    """
    left = dict(tables)
    weights: dict[str, tuple[str, tuple[str, ...], tuple[int, ...]]] = {}
    left["mapping_files"] = [r for r in tables["mapping_files"] if not _mapped(found, r, weights)]
    left["parameter_files"] = []
    by_network: dict[str, list[WeightRow]] = {}
    for t, i, row in tables["parameter_files"]:
        if row["parameterId"] in weights:
            network, path, index = weights[row["parameterId"]]
            by_network.setdefault(network, []).append(_weight_row(t, i, path, index))
        else:
            left["parameter_files"].append((t, i, row))
            found.names[row["parameterId"]] = number(t, i, "nominalValue", math.nan)
    for part in found.parts.values():
        part.weights = _weights(part, by_network.get(part.id, []), found.arrays)
    inputs = {name for part in found.parts.values() for name in part.inputs}
    left["condition_files"] = []
    for t, i, row in tables["condition_files"]:
        if row["targetId"] in inputs:
            found.by_condition.setdefault(row["conditionId"], {})[row["targetId"]] = formula(
                t, i, "targetValue"
            )
        else:
            left["condition_files"].append((t, i, row))
    known = {row["conditionId"] for _, _, row in left["condition_files"]}
    starts: dict[str, list[tuple[float, str]]] = {}
    left["experiment_files"] = []
    for t, i, row in tables["experiment_files"]:
        condition = row.get("conditionId", "")
        starts.setdefault(row["experimentId"], []).append((number(t, i, "time"), condition))
        if condition not in known and (condition in found.by_condition or _has_array(found, condition)):
            # it sets nothing but inputs of networks
            rows = tuple({**r, "conditionId": ""} if k == i else r for k, r in enumerate(t.rows))
            t = Table(t.file, t.columns, rows, t.lines)
            row = t.rows[i]
        left["experiment_files"].append((t, i, row))
    for name, pairs in starts.items():
        begin = min(time for time, _ in pairs)
        found.first[name] = [condition for time, condition in pairs if time == begin and condition]
    return left


def _has_array(found: Hybridization, condition: str) -> bool:
    return any(condition in conditions for conditions in found.arrays.inputs.values())


def _mapped(found: Hybridization, row: tuple[Table, int, Row], weights: dict) -> bool:
    """Whether a row of the mapping table is about a network; it is taken in."""
    t, i, fields = row
    text = fields["modelEntityId"].replace(" ", "")
    network = text.partition(".")[0].partition("[")[0]
    if network not in found.parts:
        return False
    match = _ENTITY.match(text)
    if match is None or (match["what"] != "parameters" and match["array"]):
        message = f"must be like {network}.inputs[0][1] or {network}.parameters[layer].array (got '{escaped(text)}')"
        raise ScenarioError(t.problem(i, "modelEntityId", message))
    part, name = found.parts[network], fields["petabEntityId"]
    if match["what"] == "parameters":
        layer = (match["first"] or "")[1:-1]
        path = tuple(p for p in (layer, match["array"]) if p)
        known = part.module.weights()
        for level, key in enumerate(path):
            there = known if level == 0 else known[path[0]]
            if key not in there:
                message = f"'{network}' has no weights '{escaped('.'.join(path))}'{did_you_mean(key, there)}"
                raise ScenarioError(t.problem(i, "modelEntityId", message))
        weights[name] = (network, path, _index(match["rest"] or ""))
        return True
    first = _index(match["first"] or "")
    place = Place(network, match["what"], first[0] if first else 0, _index(match["rest"] or ""))
    if match["what"] == "inputs" and place.argument >= len(part.module.description.inputs):
        message = (
            f"'{network}' has {len(part.module.description.inputs)} inputs (got number {place.argument})"
        )
        raise ScenarioError(t.problem(i, "modelEntityId", message))
    (part.inputs if match["what"] == "inputs" else part.outputs)[name] = place
    return True


def _index(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text))


def _weight_row(table: Table, i: int, path: tuple[str, ...], index: tuple[int, ...]) -> WeightRow:
    row = table.rows[i]
    text = row.get("nominalValue", "")
    nominal = None if text in ("", "array") else number(table, i, "nominalValue")
    lower, upper = number(table, i, "lowerBound", -math.inf), number(table, i, "upperBound", math.inf)
    estimate = row["estimate"].lower() in ("true", "1")
    return WeightRow(
        path,
        index,
        nominal,
        estimate,
        lower,
        upper,
        prior_of(table, i, lower, upper, False) if estimate else None,
    )


def _weights(part: Part, rows: list[WeightRow], arrays: Arrays) -> dict[str, dict[str, np.ndarray]]:
    """Every weight as a parameter; the most specific row about it counts."""
    ordered = sorted(rows, key=lambda r: (len(r.path), len(r.index)))
    given = arrays.parameters.get(part.id, {})
    found: dict[str, dict[str, np.ndarray]] = {}
    for layer, group in part.module.weights().items():
        found[layer] = {}
        for array, own in group.items():
            values = given.get(layer, {}).get(array, own)
            if np.shape(values) != own.shape:
                message = (
                    f"'{part.id}.{layer}.{array}' must have the shape {own.shape} (got {np.shape(values)})"
                )
                raise ScenarioError(message)
            result = np.empty(own.shape, dtype=object)
            for index in np.ndindex(*own.shape):
                nominal, row = float(values[index]), None
                for candidate in ordered:
                    if candidate.path == (layer, array)[: len(candidate.path)] and candidate.index in (
                        (),
                        index,
                    ):
                        row = candidate
                        nominal = nominal if row.nominal is None else row.nominal
                name = "__".join([part.id, layer, array, *map(str, index)])
                result[index] = (
                    Parameter(name, nominal, estimate=False)
                    if row is None
                    else Parameter(name, nominal, row.lower, row.upper, "lin", row.estimate, row.prior)
                )
            found[layer][array] = result
    return found


def input_array(found: Hybridization, name: str, conditions: list[str]) -> np.ndarray | None:
    """The array that an input is given where these conditions hold, or None where it has none."""
    given: Mapping[str, np.ndarray] = found.arrays.inputs.get(name, {})
    for condition in (*conditions, "0"):
        if condition in given:
            return given[condition]
    return None
