"""The sweep file: which scenario, over which values, which outcomes.

sweep: 1
scenario: mine.yaml                # a file beside this one, or the name of a shipped scenario
over:                              # every combination; each name becomes a dimension
  dose: {key: "perturbations[0].to", values: [0 uM, 0.1 uM, 1 uM]}
  pathway.egfr.k_mek: [0.5, 1, 2]
seeds: 3                           # a dimension too: so many, from the scenario's own on, or a list
set: {time.stop: 12 h}             # for all runs
outcomes: {cells: count(pc9) @ 12 h, ppERK: "mean(pathway.egfr.ppERK, pc9) over 6-12 h"}
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError

from sim.errors import Problem, ScenarioError, escaped
from sim.interpret.over import scenario_key
from sim.library import shipped
from sim.scenario import Scenario
from sim.scenario.files import FileProblem, read_regular, resolve
from sim.scenario.problems import problem_at, schema_problems
from sim.scenario.schema import LARGEST_SEED
from sim.scenario.values import FilePath, Part, Reads, Text, fault
from sim.scenario.yaml_text import MOST_BYTES, Document, dotted, read_yaml

VERSION = 1
MOST_MEMBERS = 1_000_000
#: values of an axis that are built to be checked before anything runs
_MOST_CHECKED = 64
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.\[\]]*")
#: dimensions that the results have by themselves
_TAKEN = ("seed", "time", "type", "status", "log")


def _version(value: object) -> int:
    if isinstance(value, bool) or value != VERSION:
        raise fault(f"must be {VERSION}, the version of the form that this cellweave reads")
    return VERSION


def _axis(value: object) -> tuple[str, list]:
    """(key or "", values) of an axis: a list, or a mapping with key and values."""
    key = ""
    if isinstance(value, Mapping):
        for k in value:
            if k not in ("key", "values"):
                raise fault(f"unknown key '{escaped(k)}'; use key, values")
        if "values" not in value:
            raise fault("'values' is missing; add it")
        key, value = value.get("key", ""), value["values"]
        if not isinstance(key, str):
            raise fault("must be a key such as time.stop or perturbations[0].to", "key")
    if not isinstance(value, list | tuple) or not value:
        raise fault("must be a list of values, or {key: , values: []}")
    for k, v in enumerate(value):
        if not isinstance(v, str | int | float):
            raise fault("each value must be a number or text", k)
        if v != v or v in (float("inf"), -float("inf")):
            raise fault("must be finite", k)
    if len({str(v) for v in value}) < len(value):
        raise fault("a value stands twice")
    return key, list(value)


def _seeds(value: object) -> int | list[int]:
    if isinstance(value, list | tuple):
        for k, v in enumerate(value):
            if isinstance(v, bool) or not isinstance(v, int) or not 0 <= v <= LARGEST_SEED:
                raise fault("must be whole numbers from 0 to 2^64-1", k)
        if not value or len(set(value)) < len(value):
            raise fault("must be different numbers, at least one")
        return list(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 100_000:
        raise fault("must be a number of seeds from 1 to 100000, or a list of them")
    return value


def _single(value: object) -> object:
    if not isinstance(value, str | int | float):
        raise fault("must be a number or text")
    return value


class SweepSpec(Part):
    """A sweep file."""

    sweep: Annotated[int, Reads(_version, {"const": VERSION})] = Field(description="Version of this form: 1.")
    scenario: FilePath = Field(description="The scenario that is run.")
    over: dict[str, Annotated[tuple, Reads(_axis, {})]] = Field(
        min_length=1, description="Values by name; every combination is run."
    )
    seeds: Annotated[Any, Reads(_seeds, {})] = Field(default=1, description="How many seeds, or which.")
    set: dict[str, Annotated[Any, Reads(_single, {})]] = Field(
        default_factory=dict, description="Values of the scenario for all runs."
    )
    outcomes: dict[str, Text] = Field(default_factory=dict, description="Outcomes as `explain` takes them.")


@dataclass(frozen=True)
class Axis:
    """One swept dimension: its name, the key of the scenario that it sets, and the values as YAML text."""

    name: str
    key: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Member:
    """One run of a sweep: its place along every axis, and what it is given."""

    place: tuple[int, ...]
    values: dict[str, str]
    seed: int

    @property
    def name(self) -> str:
        return "-".join(map(str, self.place))


@dataclass(frozen=True)
class Sweep:
    """A checked sweep.

    Attributes:
        scenario: with what `set` says.
        axes: in the order of the file; the seeds are one more dimension, the last.
        outcomes: expressions by name.
        text: of the sweep file.
    """

    file: str
    scenario: Scenario
    axes: tuple[Axis, ...]
    seeds: tuple[int, ...]
    outcomes: dict[str, str]
    text: str

    def begun_with(self, seed: int) -> Sweep:
        """This sweep with the seed that was drawn for its scenario when it began; itself where that says one."""
        scenario, seeds = self.scenario.begun_with(seed), self.seeds
        if seeds == _seeds_from(self.scenario.seed, len(seeds)):
            seeds = _seeds_from(scenario.seed, len(seeds))
        return replace(self, scenario=scenario, seeds=seeds)

    @property
    def shape(self) -> tuple[int, ...]:
        return (*(len(a.values) for a in self.axes), len(self.seeds))

    def members(self) -> list[Member]:
        """All runs, the last axis fastest."""
        found = []
        for place in product(*(range(n) for n in self.shape)):
            values = {a.key: a.values[k] for a, k in zip(self.axes, place)}
            found.append(Member(place, values, self.seeds[place[-1]]))
        return found


def _seeds_from(first: int | None, count: int) -> tuple[int, ...]:
    return tuple(((first or 0) + k) % 2**64 for k in range(count))


def load_sweep(path: str | Path, *, allow_outside: bool = False) -> Sweep:
    """Read and check a sweep file; the scenario with every value of each axis is built, and nothing run.

    Raises:
        ScenarioError: every fault of the first stage that has any: text, keys, scenario, then values.
    """
    file = str(path)
    try:
        content = read_regular(path, MOST_BYTES)
    except FileProblem as problem:
        raise ScenarioError(Problem(file, str(problem))) from None
    document = read_yaml(content, file)
    try:
        spec, error = SweepSpec.model_validate(document.data), None
    except ValidationError as found:
        spec, error = None, found
    problems = schema_problems(error, document, {}, SweepSpec)
    if spec is None or problems:
        raise ScenarioError(problems)
    return _Checker(document, spec, allow_outside).sweep(content.decode("utf-8-sig"))


class _Checker:
    def __init__(self, document: Document, spec: SweepSpec, allow_outside: bool):
        self.document = document
        self.spec = spec
        self.allow_outside = allow_outside
        self.problems: list[Problem] = []

    def sweep(self, text: str) -> Sweep:
        scenario = self._scenario()
        axes = tuple(self._axis(name, scenario) for name in self.spec.over)
        members = 1
        for a in axes:
            members *= len(a.values)
        seeds = self._seeds(scenario)
        if members * len(seeds) > MOST_MEMBERS:
            self._fault(("over",), f"makes {members * len(seeds)} runs; at most {MOST_MEMBERS}")
        keys = [a.key for a in axes]
        for a in axes:
            if keys.count(a.key) > 1:
                self._fault(("over", a.name), f"sets {a.key}, as another axis does")
        self._stop()
        for a in axes:
            self._check_values(a, scenario)
        self._check_outcomes(scenario)
        self._stop()
        return Sweep(self.document.file, scenario, axes, seeds, dict(self.spec.outcomes), text)

    # ---- parts

    def _scenario(self) -> Scenario:
        folder, name = Path(self.document.file).absolute().parent, self.spec.scenario
        if name in shipped() and not (folder / name).exists():
            name = f"{name}.yaml"
        try:
            path = resolve(name, folder, extensions=(".yaml", ".yml"), allow_outside=self.allow_outside)
        except FileProblem as problem:
            self._fault(("scenario",), str(problem))
            self._stop()
            raise
        overrides = {k: _text(v) for k, v in self.spec.set.items()}
        try:
            return Scenario.load(path, overrides=overrides, allow_outside=self.allow_outside)
        except ScenarioError as error:
            given = [
                (p, k) for p in error.problems for k in overrides if p.key and p.key.startswith(f"--set {k}=")
            ]
            if not given:
                raise
            for problem, key in given:
                self._fault(("set", key), problem.message.removeprefix(f"{key}: "))
            self._stop()
            raise

    def _axis(self, name: str, scenario: Scenario) -> Axis:
        key, values = self.spec.over[name]
        if name in _TAKEN or not _NAME.fullmatch(name):
            use = "give the seeds with seeds:" if name == "seed" else "use letters, digits, _ and ."
            self._fault(("over", name), f"'{escaped(name)}' cannot name a dimension; {use}", at_key=True)
        try:
            key = scenario_key(key or name, scenario)
        except ValueError as error:
            self._fault(
                ("over", name), f"{error}; or name it and give its key: {{key: , values: }}", at_key=True
            )
        return Axis(name, key, tuple(_text(v) for v in values))

    def _seeds(self, scenario: Scenario) -> tuple[int, ...]:
        given = self.spec.seeds
        return tuple(given) if isinstance(given, list) else _seeds_from(scenario.seed, given)

    def _check_values(self, axis: Axis, scenario: Scenario) -> None:
        """Every value of one axis, all others as the scenario has them."""
        from sim.build import plan

        inner = isinstance(self.document.data["over"][axis.name], dict)
        for k, value in enumerate(axis.values[:_MOST_CHECKED]):
            where = ("over", axis.name, *(("values",) if inner else ()), k)
            try:
                plan(scenario.with_values({axis.key: value}))
            except ScenarioError as error:
                message = error.problems[0].message if error.problems else error.text
                message = message.removeprefix(f"{axis.key}: ")
                if message.startswith(("unknown key", "there is no entry")):
                    self._fault(("over", axis.name, "key")[: 3 if inner else 2], message, at_key=True)
                    return  # whatever the value
                self._fault(where, message)

    def _check_outcomes(self, scenario: Scenario) -> None:
        from sim.build import plan
        from sim.interpret.outcome import parse_outcome

        planned = plan(scenario)
        for name, text in self.spec.outcomes.items():
            if name in _TAKEN or name in self.spec.over or not _NAME.fullmatch(name):
                self._fault(("outcomes", name), f"'{escaped(name)}' cannot name an outcome", at_key=True)
            try:
                parse_outcome(text, planned)
            except ScenarioError as error:
                self._fault(("outcomes", name), str(error).partition("': ")[2] or str(error))

    def _fault(self, path: tuple, message: str, at_key: bool = False) -> None:
        found = problem_at(self.document, {}, path, message, at_key)
        self.problems.append(Problem(found.file, found.message, found.line, dotted(path)))

    def _stop(self) -> None:
        if self.problems:
            raise ScenarioError(sorted(self.problems, key=lambda p: p.line or 0))


def _text(value: object) -> str:
    """A value as YAML text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value) if isinstance(value, float) else str(value)
