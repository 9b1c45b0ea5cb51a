"""What a SED-ML file asks for, as plain data; made from what the guarded child hands back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mechanistic.network import ReactionNetwork
from mechanistic.parts import Tree


@dataclass(frozen=True)
class Variable:
    """A quantity that math uses: `quantity` of the task `task`, or of the model `model` as it stands.

    `quantity` is an id of the model or `amount.<species>`; with `is_time` it is the time of the task.
    """

    id: str
    quantity: str
    is_time: bool
    task: str | None
    model: str | None
    line: int


@dataclass(frozen=True)
class Computation:
    """Math over variables and parameters; a range is used by its id."""

    variables: tuple[Variable, ...]
    parameters: Mapping[str, float]
    math: Tree


@dataclass(frozen=True)
class Change:
    """`quantity` of a model takes the value of `value`."""

    model: str
    quantity: str
    value: Computation
    line: int


@dataclass(frozen=True)
class Simulation:
    """How to run a model.

    Attributes:
        kind: "course" (times, steps), "step" (step) or "rest" (to the steady state).
        method: of `PathwayModel.simulate`, or "rest".
        options: rtol, atol, seed, where the file says them.
        times: initial time, start and end of the output [model time].
    """

    id: str
    kind: str
    method: str
    options: Mapping[str, float]
    line: int
    times: tuple[float, float, float] = (0.0, 0.0, 0.0)
    steps: int = 1
    step: float = 0.0


@dataclass(frozen=True)
class Range:
    """Values to go through: `values`, or `function` of the range `index`."""

    id: str
    values: tuple[float, ...]
    function: Computation | None
    index: str | None
    line: int


@dataclass(frozen=True)
class Task:
    """One simulation of one model (`model`, `simulation`), or `subtasks` once for each value of a range."""

    id: str
    line: int
    model: str = ""
    simulation: str = ""
    subtasks: tuple[str, ...] = ()
    ranges: tuple[Range, ...] = ()
    master: str = ""
    reset: bool = False
    changes: tuple[Change, ...] = ()


@dataclass(frozen=True)
class Generator:
    """A result: math over what tasks gave."""

    id: str
    name: str
    value: Computation
    line: int


@dataclass(frozen=True)
class Report:
    """A table: (label, generator) for every column."""

    id: str
    name: str
    columns: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Curve:
    """Generator `y` over generator `x`."""

    name: str
    x: str
    y: str
    log_x: bool
    log_y: bool


@dataclass(frozen=True)
class Plot:
    """Curves in one picture."""

    id: str
    name: str
    curves: tuple[Curve, ...]


@dataclass(frozen=True)
class Experiment:
    """One SED-ML file with its models, changed as it says.

    Attributes:
        file: the file, in an archive `archive/location`.
        initial: what is computed for a model before it starts (computeChange), by model.
        notes: what of the file is not used, and why.
    """

    file: str
    models: Mapping[str, ReactionNetwork]
    initial: tuple[Change, ...]
    simulations: Mapping[str, Simulation]
    tasks: Mapping[str, Task]
    generators: Mapping[str, Generator]
    reports: tuple[Report, ...]
    plots: tuple[Plot, ...]
    notes: tuple[str, ...]


def from_data(data: dict, models: Mapping[str, ReactionNetwork], file: str) -> Experiment:
    """The experiment of the plain data of `mechanistic.reading.sedml.read_experiment`."""
    initial = [
        Change(m["id"], c["id"], _computation(c), c["line"])
        for m in data["models"]
        for c in m["changes"]
        if c["kind"] == "computeChange"
    ]
    outputs = data["outputs"]
    return Experiment(
        file=file,
        models=models,
        initial=tuple(initial),
        simulations={s["id"]: _simulation(s) for s in data["simulations"]},
        tasks={t["id"]: _task(t) for t in data["tasks"]},
        generators={
            g["id"]: Generator(g["id"], g["name"], _computation(g), g["line"]) for g in data["generators"]
        },
        reports=tuple(
            Report(o["id"], o["name"], tuple((c["label"], c["generator"]) for c in o["columns"]))
            for o in outputs
            if o["kind"] == "report"
        ),
        plots=tuple(
            Plot(o["id"], o["name"], tuple(Curve(**c) for c in o["curves"]))
            for o in outputs
            if o["kind"] == "plot"
        ),
        notes=tuple(data["notes"]),
    )


def _computation(data: Mapping[str, Any]) -> Computation:
    return Computation(tuple(Variable(**v) for v in data["variables"]), data["parameters"], data["math"])


def _simulation(data: dict) -> Simulation:
    return Simulation(**{**data, "times": tuple(data["times"])} if "times" in data else data)


def _task(data: dict) -> Task:
    if data["kind"] == "task":
        return Task(data["id"], data["line"], data["model"], data["simulation"])
    ranges = (
        Range(
            r["id"],
            tuple(r.get("values", ())),
            _computation(r) if "math" in r else None,
            r.get("index"),
            r["line"],
        )
        for r in data["ranges"]
    )
    changes = (Change(c["model"], c["id"], _computation(c), c["line"]) for c in data["changes"])
    return Task(
        id=data["id"],
        line=data["line"],
        subtasks=tuple(data["subtasks"]),
        ranges=tuple(ranges),
        master=data["master"],
        reset=data["reset"],
        changes=tuple(changes),
    )
