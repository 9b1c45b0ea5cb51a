"""Run an experiment: tasks by our own solvers, then what is computed from them, as tables and curves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from mechanistic.codegen.graph import Graph
from mechanistic.codegen.numeric import evaluate
from mechanistic.codegen.system import Resolver
from mechanistic.errors import IntegrationError, ModelError, ModelProblem
from mechanistic.model import PathwayModel
from mechanistic.sedml.description import Computation, Curve, Experiment, Generator, Range, Task, Variable
from mechanistic.sedml.session import Session, of, why_not_settable, why_unknown

if TYPE_CHECKING:
    import xarray


@dataclass(frozen=True)
class Column:
    """Numbers one below the other, and for each the iteration of every repeated task that it comes from."""

    values: np.ndarray
    index: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Table:
    """A report: its columns with their labels, which need not differ. Columns may differ in length."""

    id: str
    name: str
    columns: tuple[tuple[str, Column], ...]


@dataclass(frozen=True)
class Picture:
    """A plot: what is drawn over what, with the names of both."""

    id: str
    name: str
    curves: tuple[tuple[Curve, Column, Column], ...]
    labels: Mapping[str, str]


@dataclass(frozen=True)
class Results:
    """What an experiment gave. `methods`: which solver ran each task."""

    file: str
    tables: tuple[Table, ...]
    pictures: tuple[Picture, ...]
    methods: Mapping[str, str]


def check(experiment: Experiment) -> None:
    """Find what can be found without running.

    Raises:
        ModelError: with every fault, each with its line and id.
    """
    problems: list[ModelProblem] = []

    def look(reason: str | None, line: int, key: str) -> None:
        if reason is not None:
            problems.append(ModelProblem(reason, line, key))

    def look_into(computation: Computation, key: str) -> None:
        for v in computation.variables:
            for model in [v.model] if v.task is None else _models_of(experiment, v):
                if model is not None and not v.is_time:
                    look(why_unknown(experiment.models[model], v.quantity), v.line, key)

    changes = [(c, c.model) for c in experiment.initial]
    for task in experiment.tasks.values():
        changes += [(c, task.id) for c in task.changes]
        for r in task.ranges:
            if r.function is not None:
                look_into(r.function, task.id)
    for change, key in changes:
        look(why_not_settable(experiment.models[change.model], change.quantity), change.line, key)
        look_into(change.value, key)
    for g in experiment.generators.values():
        look_into(g.value, g.id)
    if not (experiment.reports or experiment.plots):
        problems.append(ModelProblem("the file asks for no report and no plot: nothing would be told", None))
    if problems:
        raise ModelError(experiment.file, problems)
    for network in experiment.models.values():
        PathwayModel(network)


def _models_of(experiment: Experiment, v: Variable) -> list[str]:
    """The models of the runs in which a variable is looked up."""
    found: list[str] = []
    waiting = [v.task or ""]
    while waiting:
        task = experiment.tasks[waiting.pop()]
        found += [task.model] if task.model else []
        waiting.extend(task.subtasks)
    return [m for m in found if m == v.model] or found


def run(experiment: Experiment, *, seed: int = 0) -> Results:
    """Run every task that a report or a plot needs.

    Args:
        seed: of stochastic tasks whose file says none; each run of one task draws numbers of its own.

    Raises:
        ModelError: see `check`; results that are combined differ in length.
        IntegrationError: a task could not be integrated; names it.
    """
    check(experiment)
    runner = _Runner(experiment, seed)
    tables = tuple(
        Table(r.id, r.name, tuple((label, runner.column(g)) for label, g in r.columns))
        for r in experiment.reports
    )
    pictures = []
    for p in experiment.plots:
        curves = tuple((c, runner.column(c.x), runner.column(c.y)) for c in p.curves)
        used = [g for c in p.curves for g in (c.x, c.y)]
        pictures.append(Picture(p.id, p.name, curves, {g: experiment.generators[g].name or g for g in used}))
    return Results(experiment.file, tables, tuple(pictures), runner.methods)


@dataclass(frozen=True)
class _Piece:
    """What one run of one simulation gave."""

    model: str
    table: xarray.Dataset
    index: dict[str, int]


class _Runner:
    def __init__(self, experiment: Experiment, seed: int):
        self.experiment, self.seed = experiment, seed
        self.models = {name: PathwayModel(network) for name, network in experiment.models.items()}
        self.methods: dict[str, str] = {}
        self.runs = 0
        self.column = cache(self._column)
        self.pieces = cache(lambda name: self._run(experiment.tasks[name], {}, {}))

    # ---- tasks

    def _session(self, model: str) -> Session:
        initial: dict[str, float] = {}
        for change in self.experiment.initial:
            if change.model == model:
                initial[change.quantity] = self._now(change.value, lambda m: Session(self.models[m], {}), {})
        return Session(self.models[model], initial)

    def _run(self, task: Task, sessions: dict[str, Session], index: dict[str, int]) -> list[_Piece]:
        if not task.subtasks and task.model:
            if task.model not in sessions:
                sessions[task.model] = self._session(task.model)
            try:
                table = sessions[task.model].run(
                    self.experiment.simulations[task.simulation], self.seed + self.runs
                )
            except IntegrationError as error:
                where = "".join(f", {name} {i}" for name, i in index.items())
                message = f"task '{task.id}'{where}: {error}"
                raise IntegrationError(message, error.cell, error.time, error.species) from None
            self.runs += 1
            self.methods[task.id] = table.attrs["method"]
            return [_Piece(task.model, table, index)]
        return self._repeat(task, sessions, index)

    def _repeat(self, task: Task, sessions: dict[str, Session], index: dict[str, int]) -> list[_Piece]:
        def session(model: str) -> Session:
            if model not in sessions:
                sessions[model] = self._session(model)
            return sessions[model]

        pieces = []
        for i in range(self._length(task, task.master)):
            if task.reset:
                sessions.clear()
            values: dict[str, float] = {}
            for r in self._ordered(task):
                values[r.id] = self._at(task, r, i, values, session)
            for change in task.changes:
                session(change.model).set(change.quantity, self._now(change.value, session, values))
            for name in task.subtasks:
                pieces += self._run(self.experiment.tasks[name], sessions, {**index, task.id: i})
        return pieces

    def _ordered(self, task: Task) -> Iterable[Range]:
        """Ranges that are functions of others come after them."""
        return sorted(task.ranges, key=lambda r: r.function is not None)

    def _length(self, task: Task, name: str) -> int:
        r = next(r for r in task.ranges if r.id == name)
        if r.function is None or not r.index or r.index == name:
            return len(r.values)
        return self._length(task, r.index)

    def _at(self, task: Task, r: Range, i: int, values: dict[str, float], session: Any) -> float:
        if r.function is not None:
            return self._now(r.function, session, values)
        if i >= len(r.values):
            message = f"the range '{r.id}' has {len(r.values)} values, fewer than '{task.master}'"
            raise ModelError(self.experiment.file, [ModelProblem(message, r.line, task.id)])
        return r.values[i]

    def _now(self, computation: Computation, session: Any, ranges: Mapping[str, float]) -> float:
        """A computation over models as they stand."""
        names = {v.id: session(v.model).value(v.quantity) for v in computation.variables}
        return float(self._evaluated(computation, {**names, **ranges}))

    # ---- what is computed from them

    def _column(self, name: str) -> Column:
        generator = self.experiment.generators[name]
        found = {v.id: self._variable(v) for v in generator.value.variables}
        longest = max(
            found.values(), key=lambda c: (len(c.values), len(c.index)), default=Column(np.zeros(1), {})
        )
        for column in found.values():
            if len(column.values) not in (1, len(longest.values)):
                raise self._unequal(generator, found)
        values = self._evaluated(generator.value, {key: c.values for key, c in found.items()})
        whole = np.broadcast_to(np.asarray(values, dtype=float), longest.values.shape)
        return Column(np.ascontiguousarray(whole), longest.index)

    def _unequal(self, generator: Generator, found: Mapping[str, Column]) -> ModelError:
        sizes = ", ".join(f"'{key}' has {len(c.values)}" for key, c in found.items())
        message = f"results of unequal length are combined: {sizes} values"
        return ModelError(self.experiment.file, [ModelProblem(message, generator.line, generator.id)])

    def _variable(self, v: Variable) -> Column:
        assert v.task is not None
        models = _models_of(self.experiment, v)
        pieces = [p for p in self.pieces(v.task) if p.model in models]
        parts = [
            p.table["time"].values if v.is_time else of(p.table, self.experiment.models[p.model], v.quantity)
            for p in pieces
        ]
        names = dict.fromkeys(name for p in pieces for name in p.index)
        index = {
            name: np.concatenate([np.full(len(part), p.index[name]) for p, part in zip(pieces, parts)])
            for name in names
        }
        return Column(np.concatenate(parts) if parts else np.empty(0), index)

    def _evaluated(self, computation: Computation, names: Mapping[str, Any]) -> Any:
        graph = Graph()
        inputs = {name: graph.input(i) for i, name in enumerate(names)}

        def formula(name: str) -> Any:
            return inputs[name] if name in inputs else computation.parameters[name]

        node = Resolver(graph, formula, self.experiment.file).of(computation.math)
        return evaluate(graph, [node], list(names.values()))[0]
