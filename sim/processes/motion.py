"""Cells push, hold on to each other, and crawl."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from sim.core.process import Process
from sim.core.quantity import Quantity
from sim.processes.fields import BoxSettings, FieldProcess
from sim.processes.guard import require_finite

#: reach of adhesion in units of the sum of two radii (Macklin et al. 2012)
REACH = 1.25


@dataclass(frozen=True)
class MotionSettings:
    """By cell type code. Strengths and speeds in um/min, persistence in min."""

    repulsion: Mapping[int, float]
    adhesion: Mapping[int, float]
    fixed: frozenset[int]
    speed: Mapping[int, float] = field(default_factory=dict)
    persistence: Mapping[int, float] = field(default_factory=dict)
    bias: Mapping[int, float] = field(default_factory=dict)
    towards: Mapping[int, str] = field(default_factory=dict)


class Mechanics(Process):
    """Overdamped centre-based mechanics with the motile velocity added (Ghaffarizadeh et al. 2018)."""

    def __init__(self, settings: MotionSettings, box: BoxSettings, step: float):
        super().__init__("mechanics", step)
        self.settings = settings
        self.box = box
        self.states = (
            Quantity("cell.position", "um", "position of the cell's centre", width=3, labels=("x", "y", "z")),
            Quantity("cell.pressure", "1", "mechanical pressure by neighbours"),
        )
        self.inputs = (
            Quantity(
                "mechanics.repulsion", "um/min", "strength of repulsion", "input", by_type=settings.repulsion
            ),
            Quantity(
                "mechanics.adhesion", "um/min", "strength of adhesion", "input", by_type=settings.adhesion
            ),
        )
        self.reads = ("cell.radius", "cell.living", "motility.speed")

    def advance(self, state, signals, dt: float) -> None:
        from sim.agents.mechanics import move
        from sim.agents.motility import motile_velocity

        if not len(state):
            return
        speed = signals["motility.speed"] * signals["cell.living"]
        fixed = np.isin(state["cell.type"], list(self.settings.fixed))
        if fixed.all():
            return
        names = ("cell.radius", *(q.name for q in self.inputs))
        inputs = {name: np.ascontiguousarray(signals[name]) for name in names}
        held = {name: state[name] for name in ("cell.position", "cell.direction")}
        require_finite(self.name, state, {**inputs, **held, "motility.speed": speed})
        pressure = move(
            state["cell.position"],
            inputs["cell.radius"],
            inputs["mechanics.repulsion"],
            inputs["mechanics.adhesion"],
            REACH,
            motile_velocity(speed, state["cell.direction"]),
            fixed,
            np.array(self.box.lower),
            np.array(self.box.upper),
            self.box.periodic,
            self.box.dims,
            dt,
        )
        state["cell.pressure"][:] = pressure


class Motility(Process):
    """Biased persistent random walk: when and where a cell turns. The mechanics carry it there."""

    kind = "discrete"

    def __init__(
        self, settings: MotionSettings, fields: Mapping[str, FieldProcess], dims: Literal[2, 3], step: float
    ):
        super().__init__("motility", step)
        self.settings = settings
        self.fields = fields
        self.dims: Literal[2, 3] = dims
        self.states = (
            Quantity("cell.direction", "1", "direction of crawling", width=3, labels=("x", "y", "z")),
        )
        self.inputs = (
            Quantity("motility.speed", "um/min", "crawling speed", "input", by_type=settings.speed),
            Quantity(
                "motility.bias", "1", "share of chemotaxis in the direction", "input", by_type=settings.bias
            ),
        )
        self.reads = tuple(f"field.{name}" for name in sorted(set(settings.towards.values())))

    def initialise(self, state, rows) -> None:
        from sim.agents.motility import random_directions

        state["cell.direction"][rows] = random_directions(
            self.streams.key("motility.start"), 0, state.ids[rows], self.dims
        )

    def advance(self, state, signals, dt: float) -> None:
        from sim.agents.motility import turn

        if not self.settings.speed or not len(state):
            return
        gradient = np.zeros((len(state), 3))
        for code, name in self.settings.towards.items():
            rows = state["cell.type"] == code
            gradient[rows] = self.fields[name].gradient(state)[rows]
        persistence = np.full(len(state), np.inf)
        for code, value in self.settings.persistence.items():
            persistence[state["cell.type"] == code] = value
        turn(
            state["cell.direction"],
            gradient,
            np.ascontiguousarray(signals["motility.bias"]),
            persistence,
            dt,
            self.streams.key("motility"),
            state.tick,
            state.ids,
            self.dims,
        )
