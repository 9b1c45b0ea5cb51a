"""Growth, the cell cycle, division and death."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from sim.core.process import Process
from sim.core.quantity import Quantity
from sim.processes.fields import BoxSettings


@dataclass(frozen=True)
class Phase:
    """One phase of a cycle: `duration` [min], exponential with that mean or fixed; doubled volume target or not."""

    code: int
    duration: float
    fixed: bool
    doubled: bool


@dataclass(frozen=True)
class LifeSettings:
    """By cell type code. Volumes in um³, rates in 1/min.

    Attributes:
        phase_names: names of all phase codes; the last two are `apoptotic` and `lysed`.
        cycles: phases of each type in order. A type without an entry has the one phase `live`,
            left by division at `rate.division`.
    """

    volume: Mapping[int, float]
    growth: Mapping[int, float]
    cycles: Mapping[int, tuple[Phase, ...]]
    division: Mapping[int, float]
    death: Mapping[int, float]
    lysis: Mapping[int, float]
    clearance: Mapping[int, float]
    phase_names: tuple[str, ...]

    @property
    def apoptotic(self) -> int:
        return len(self.phase_names) - 2

    @property
    def lysed(self) -> int:
        return len(self.phase_names) - 1


#: volume to which an apoptotic cell shrinks, as a share of its healthy volume: fluid loss and blebbing leave about
#: a third (apoptotic volume decrease; Bortner and Cidlowski 1998)
_APOPTOTIC_SHARE = 1 / 3
#: time constant of that shrinkage [1/min] (about an hour)
_SHRINKAGE = 1 / 60


class Growth(Process):
    """Volume relaxes exponentially to the target of the cell's phase."""

    def __init__(self, settings: LifeSettings, step: float):
        super().__init__("growth", step)
        self.settings = settings
        self.states = (Quantity("cell.volume", "um^3", "cell volume", shared=True),)
        self.inputs = (Quantity("rate.growth", "1/min", "rate of approach to the target volume", "input", by_type=settings.growth),)
        self.readouts = (Quantity("cell.radius", "um", "radius of the sphere of the cell's volume", "readout"),)
        self.reads = ("cell.phase",)

    def initialise(self, state, rows) -> None:
        state["cell.volume"][rows] = _by_type(self.settings.volume, state["cell.type"][rows])

    def advance(self, state, signals, dt: float) -> None:
        from sim.agents.life import grow

        phase, types = state["cell.phase"], state["cell.type"]
        target = _by_type(self.settings.volume, types)
        rate = signals["rate.growth"].copy()
        for code, cycle in self.settings.cycles.items():
            doubled = [p.code for p in cycle if p.doubled]
            target[(types == code) & np.isin(phase, doubled)] *= 2
        dying = phase >= self.settings.apoptotic
        target[dying] *= _APOPTOTIC_SHARE
        rate[dying] = _SHRINKAGE
        grow(state["cell.volume"], target, rate, dt)

    def readout(self, name, state, signals) -> np.ndarray:
        return np.cbrt(state["cell.volume"] * (3 / (4 * np.pi)))


class Life(Process):
    """Events: phase changes, division, apoptosis, lysis, clearance, each at its hazard."""

    kind = "discrete"

    def __init__(self, settings: LifeSettings, box: BoxSettings, step: float):
        super().__init__("life", step)
        self.settings = settings
        self.box = box
        self.states = (
            Quantity("cell.phase", "1", "phase of cycle or death", integer=True),
            Quantity("cell.phase_time", "min", "time since the phase began"),
        )
        self.inputs = (
            Quantity("rate.division", "1/min", "hazard of dividing", "input", by_type=settings.division),
            Quantity("rate.death", "1/min", "hazard of apoptosis", "input", by_type=settings.death),
            Quantity("rate.lysis", "1/min", "hazard of an apoptotic cell to lyse", "input", by_type=settings.lysis),
            Quantity("rate.clearance", "1/min", "hazard of debris to vanish", "input", by_type=settings.clearance),
        )
        self.readouts = (Quantity("cell.living", "1", "1 for a living cell, 0 for a dying or dead one", "readout"),)
        self.reads = ("cell.position", "cell.radius")

    def initialise(self, state, rows) -> None:
        """Start each cell in its first phase, at a random age where the phase is of fixed length."""
        for code, cycle in self.settings.cycles.items():
            mine = rows[state["cell.type"][rows] == code]
            state["cell.phase"][mine] = cycle[0].code
            if cycle[0].fixed:
                age = self.streams.uniforms("life.start", 0, state.ids[mine])[:, 0]
                state["cell.phase_time"][mine] = age * cycle[0].duration

    def advance(self, state, signals, dt: float) -> None:
        from sim.agents.life import occurs

        s = self.settings
        u = self.streams.uniforms("life", state.tick, state.ids, 4)
        phase = state["cell.phase"]
        living = phase < s.apoptotic
        dies = living & occurs(signals["rate.death"], dt, u[:, 0])
        lyses = (phase == s.apoptotic) & occurs(signals["rate.lysis"], dt, u[:, 1])
        vanishes = (phase == s.lysed) & occurs(signals["rate.clearance"], dt, u[:, 2])
        leaves = living & ~dies & self._leaves_phase(state, signals["rate.division"], dt, u[:, 3])

        state["cell.phase_time"] += dt
        self._enter(state, np.flatnonzero(dies), s.apoptotic)
        self._enter(state, np.flatnonzero(lyses), s.lysed)
        state.lineage.died(state.time, state.ids[dies], "apoptosis")
        state.remove(np.flatnonzero(vanishes), "apoptosis")
        divides = self._progress(state, leaves)
        if divides.size:
            self._divide(state, divides)

    def kill(self, state, rows: np.ndarray) -> None:
        """Send rows into apoptosis at once."""
        rows = rows[state["cell.phase"][rows] < self.settings.apoptotic]
        self._enter(state, rows, self.settings.apoptotic)
        state.lineage.died(state.time, state.ids[rows], "kill")

    def readout(self, name, state, signals) -> np.ndarray:
        return (state["cell.phase"] < self.settings.apoptotic).astype(float)

    # ---- parts

    def _leaves_phase(self, state, division: np.ndarray, dt: float, u: np.ndarray) -> np.ndarray:
        from sim.agents.life import occurs

        leaves = occurs(division, dt, u)
        for code, cycle in self.settings.cycles.items():
            mine = state["cell.type"] == code
            # the first phase is left at rate.division; the others at their own pace
            for phase in cycle if cycle[0].fixed else cycle[1:]:
                here = mine & (state["cell.phase"] == phase.code)
                if phase.fixed:
                    leaves[here] = state["cell.phase_time"][here] + dt >= phase.duration
                else:
                    leaves[here] = occurs(np.full(here.sum(), 1 / phase.duration), dt, u[here])
        return leaves

    def _progress(self, state, leaves: np.ndarray) -> np.ndarray:
        """Move cells on to their next phase; returns the rows that divide."""
        divides = leaves.copy()
        for code, cycle in self.settings.cycles.items():
            mine = leaves & (state["cell.type"] == code)
            now = state["cell.phase"].copy()
            for phase, following in zip(cycle[:-1], cycle[1:]):
                here = mine & (now == phase.code)
                self._enter(state, np.flatnonzero(here), following.code)
                divides &= ~here
        return np.flatnonzero(divides)

    def _divide(self, state, mothers: np.ndarray) -> None:
        from sim.agents.life import divide_geometry

        directions = self.streams.normals("division", state.tick, state.ids[mothers], 3)
        radii = np.cbrt(state["cell.volume"][mothers] * (3 / (4 * np.pi)))
        daughters = state.divide(mothers)
        first, second = divide_geometry(state["cell.position"][mothers], radii, directions, self.box.dims)
        lower, upper = np.array(self.box.lower), np.array(self.box.upper)
        for rows, positions in ((mothers, first), (daughters, second)):
            inside = lower + np.mod(positions - lower, upper - lower) if self.box.periodic else np.clip(positions, lower, upper)
            state["cell.position"][rows] = inside
            state["cell.phase_time"][rows] = 0.0
        for code, cycle in self.settings.cycles.items():
            for rows in (mothers, daughters):
                state["cell.phase"][rows[state["cell.type"][rows] == code]] = cycle[0].code
        if "cell.direction" in state:
            state["cell.direction"][daughters] *= -1

    def _enter(self, state, rows: np.ndarray, code: int) -> None:
        state["cell.phase"][rows] = code
        state["cell.phase_time"][rows] = 0.0


def _by_type(values: Mapping[int, float], types: np.ndarray) -> np.ndarray:
    out = np.zeros(len(types))
    for code, value in values.items():
        out[types == code] = value
    return out
