"""Cells push, stick to each other, and crawl."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from sim.core.by_type import by_type
from sim.core.process import Process
from sim.core.quantity import Quantity
from sim.processes.box import BoxSettings
from sim.processes.contacts import REACH, Contacts, partner_rows
from sim.processes.fields import FieldProcess
from sim.processes.guard import require_finite


@dataclass(frozen=True)
class SpringSettings:
    """Springs to cells that touch: rates of forming and letting go [1/min], how many at most, constant [1/min]."""

    attach: float
    detach: float
    most: int
    elasticity: float


@dataclass(frozen=True)
class MotionSettings:
    """By cell type code. Strengths and speeds in um/min, persistence in min.

    Attributes:
        towards: weight of each field that is followed.
        affinity: what adhesion of a type to another is multiplied by; a pair has the geometric mean of both ways.
        follows: for each type and one that it follows: speed towards it, and from which distance on [um].
        springs: types that form springs with the cells they touch.
        walls: strength of the repulsion by the walls of the domain.
        raw: types for which a gradient counts by its steepness, not by its direction alone.
        crawling: whether a cell may ever crawl; where none does, none has a direction.
    """

    repulsion: Mapping[int, float]
    adhesion: Mapping[int, float]
    fixed: frozenset[int]
    speed: Mapping[int, float] = field(default_factory=dict)
    persistence: Mapping[int, float] = field(default_factory=dict)
    bias: Mapping[int, float] = field(default_factory=dict)
    towards: Mapping[int, Mapping[str, float]] = field(default_factory=dict)
    raw: frozenset[int] = frozenset()
    affinity: Mapping[tuple[int, int], float] = field(default_factory=dict)
    follows: Mapping[tuple[int, int], tuple[float, float]] = field(default_factory=dict)
    springs: Mapping[int, SpringSettings] = field(default_factory=dict)
    walls: Mapping[int, float] = field(default_factory=dict)
    crawling: bool = True


class Mechanics(Process):
    """Overdamped centre-based mechanics with the motile velocity added (Ghaffarizadeh et al. 2018)."""

    cost = 2

    def __init__(self, settings: MotionSettings, box: BoxSettings, step: float, types: Sequence[str] = ()):
        super().__init__("mechanics", step)
        self._contacts = Contacts(box, types)
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
        self._followed = tuple(sorted({other for _, other in settings.follows}))
        for other in self._followed:
            speeds = {code: speed for (code, to), (speed, _) in settings.follows.items() if to == other}
            name = types[other]
            self.inputs += (
                Quantity(f"follow.{name}", "um/min", f"speed towards {name} cells", "input", by_type=speeds),
            )
        if self._followed:
            self.inputs += (
                Quantity("mechanics.lure", "1", "how strongly others follow the cell", "input", default=1.0),
            )
        self.readouts = self._contacts.quantities
        self.reads = ("cell.radius", "cell.living", "motility.speed")

    def _further(self, state, signals):
        """Affinities, springs, walls and whom cells follow, or None where no type has any."""
        from sim.agents.mechanics import Further

        s, types = self.settings, state["cell.type"]
        if not (s.affinity or s.springs or s.walls or s.follows):
            return None
        count = len(self._contacts.types)
        affinity = np.ones((count, count))
        for (a, b), value in s.affinity.items():
            affinity[a, b] = value
        return Further(
            types=types,
            affinity=np.sqrt(affinity * affinity.T) if s.affinity else np.empty((0, 0)),
            partners=partner_rows(state) if s.springs else np.empty((len(state), 0), dtype=np.int64),
            elasticity=by_type({code: spring.elasticity for code, spring in s.springs.items()}, types),
            wall=by_type(s.walls, types) if s.walls else np.empty(0),
            following=self._following(state, signals) if s.follows else None,
        )

    def _following(self, state, signals):
        """Whom the living follow: the living of other types, and their own."""
        from sim.agents.mechanics import Following

        count = len(self._contacts.types)
        reach, speed = np.zeros((count, count)), np.zeros((len(state), count))
        for (code, other), (_, distance) in self.settings.follows.items():
            reach[code, other] = distance
        for other in self._followed:
            speed[:, other] = signals[f"follow.{self._contacts.types[other]}"] * signals["cell.living"]
        return Following(reach, speed, signals["mechanics.lure"] * signals["cell.living"])

    def readout(self, name, state, signals) -> np.ndarray:
        return self._contacts.count(name.removeprefix("contact."), state, signals)

    def advance(self, state, signals, dt: float) -> None:
        tissue = self._laid_out(state, signals) if len(state) else None
        if tissue is not None:
            signals.forget()  # no step of another process takes as much memory as this one
            tissue.advance(dt)

    def _laid_out(self, state, signals):
        """The cells as `sim.agents.mechanics.Tissue`, or None where all are fixed."""
        from sim.agents.mechanics import Tissue
        from sim.agents.motility import motile_velocity

        fixed = None
        if self.settings.fixed:
            fixed = np.isin(state["cell.type"], list(self.settings.fixed))
            if fixed.all():
                return None
        speed = signals["motility.speed"] * signals["cell.living"]
        names = ("cell.radius", *(q.name for q in self.inputs))
        inputs = {name: np.ascontiguousarray(signals[name]) for name in names}
        held = {name: state[name] for name in ("cell.position", "cell.direction") if name in state}
        require_finite(self.name, state, {**inputs, **held, "motility.speed": speed})
        return Tissue(
            state["cell.position"],
            inputs["cell.radius"],
            inputs["mechanics.repulsion"],
            inputs["mechanics.adhesion"],
            state["cell.pressure"],
            REACH,
            motile_velocity(speed, state["cell.direction"])
            if self.settings.crawling and speed.any()
            else None,
            fixed,
            np.array(self.box.lower),
            np.array(self.box.upper),
            self.box.periodic,
            self.box.dims,
            self._further(state, signals),
        )


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
        if settings.crawling:
            self.states = (
                Quantity("cell.direction", "1", "direction of crawling", width=3, labels=("x", "y", "z")),
            )
        self.inputs = (
            Quantity("motility.speed", "um/min", "crawling speed", "input", by_type=settings.speed),
            Quantity(
                "motility.bias", "1", "share of chemotaxis in the direction", "input", by_type=settings.bias
            ),
            Quantity(
                "motility.persistence", "min", "mean time in one direction", "input", by_type=settings.persistence
            ),
            *(
                Quantity(
                    f"chemotaxis.{name}", "1", f"weight of {name} in chemotaxis", "input",
                    by_type={code: w[name] for code, w in settings.towards.items() if name in w},
                )
                for name in fields
            ),
        )  # fmt: skip
        followed = {name for weights in settings.towards.values() for name in weights}
        self.reads = tuple(f"field.{name}" for name in sorted(followed))

    def initialise(self, state, rows) -> None:
        from sim.agents.motility import random_directions

        if not self.settings.crawling:
            return
        state["cell.direction"][rows] = random_directions(
            self.streams.key("motility.start"), 0, state.ids[rows], self.dims
        )

    def advance(self, state, signals, dt: float) -> None:
        from sim.agents.motility import ahead, turn

        if not self.settings.speed or not len(state):
            return
        gradient = np.zeros((len(state), 3))
        raw = np.isin(state["cell.type"], list(self.settings.raw))
        for name, process in self.fields.items():
            weight = signals[f"chemotaxis.{name}"]
            if weight.any():
                gradient += weight[:, None] * ahead(process.gradient(state), raw)
        persistence = np.where(
            np.isin(state["cell.type"], list(self.settings.speed)), signals["motility.persistence"], np.inf
        )
        turn(
            state["cell.direction"],
            gradient,
            np.ascontiguousarray(signals["motility.bias"]),
            persistence,
            dt,
            *self.key_and_step("turn", state),
            state.ids,
            self.dims,
        )
