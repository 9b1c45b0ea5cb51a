"""The cell cycle, division and death."""

from __future__ import annotations

import numpy as np

from sim.agents.wrapping import nearest_images
from sim.core.process import Process
from sim.core.quantity import Quantity
from sim.processes.box import BoxSettings
from sim.processes.life_settings import RUPTURE, Cycle, LifeSettings


class Life(Process):
    """Events: phase changes, division, apoptosis, lysis, clearance, each at its hazard."""

    kind = "discrete"

    def __init__(self, settings: LifeSettings, box: BoxSettings, step: float, crawling: bool = True):
        super().__init__("life", step)
        self.settings = settings
        self.box = box
        self.states = (
            Quantity("cell.phase", "1", "phase of cycle or death", integer=True, code=True),
            Quantity("cell.phase_time", "min", "time since the phase began"),
            *(
                [Quantity("cell.rupture", "um^3", "volume at which a necrotic cell bursts")]
                if settings.necrosis
                else ()
            ),
        )
        self.inputs = (
            Quantity("rate.division", "1/min", "hazard of dividing", "input", by_type=settings.division),
            Quantity("rate.death", "1/min", "hazard of apoptosis", "input", by_type=settings.death),
            Quantity(
                "rate.lysis", "1/min", "hazard of an apoptotic cell to lyse", "input", by_type=settings.lysis
            ),
            Quantity(
                "rate.clearance", "1/min", "hazard of debris to vanish", "input", by_type=settings.clearance
            ),
            *(
                [Quantity("rate.necrosis", "1/min", "hazard of necrosis", "input", by_type=settings.necrosis)]
                if settings.necrosis
                else ()
            ),
            *(
                [
                    Quantity(
                        "rate.arrest", "1/min", "hazard of entering G0", "input", by_type=settings.arrest
                    ),
                    Quantity(
                        "rate.release", "1/min", "hazard of leaving G0", "input", by_type=settings.release
                    ),
                ]
                if settings.arrest
                else ()
            ),
            *(
                Quantity(f"exit.{name}", "1/min", f"rate of leaving {name}", "input", by_type=rates)
                for name, rates in settings.exits.items()
            ),
        )
        self.readouts = (
            Quantity("cell.living", "1", "1 for a living cell, 0 for a dying or dead one", "readout"),
            Quantity("cell.dead", "1", "1 for a dying or dead cell, 0 for a living one", "readout"),
            Quantity("cell.apoptotic", "1", "1 from the start of apoptosis until lysis", "readout"),
            Quantity("cell.necrotic", "1", "1 from the start of necrosis until the cell bursts", "readout"),
            Quantity("clock.time", "min", "time since the start", "readout"),
        )
        self.reads = ("cell.position", "cell.volume", *(("cell.direction",) if crawling else ()))

    def initialise(self, state, rows) -> None:
        """Start each cell in its first phase, at a random age where the phase is of fixed length."""
        for code, cycle in self.settings.cycles.items():
            mine = rows[state["cell.type"][rows] == code]
            state["cell.phase"][mine] = cycle.codes[0]
            if cycle.fixed[0]:
                age = self.streams.uniforms("life.start", 0, state.ids[mine])[:, 0]
                state["cell.phase_time"][mine] = age * cycle.durations[0]

    def advance(self, state, signals, dt: float) -> None:
        from sim.agents.life import occurs

        s = self.settings
        u = self.uniforms("events", state, state.ids, 4)
        division = signals["rate.division"]
        phase = state["cell.phase"]
        living = phase < s.apoptotic
        dies = living & occurs(signals["rate.death"], dt, u[:, 0])
        lyses = (phase == s.apoptotic) & occurs(signals["rate.lysis"], dt, u[:, 1])
        vanishes = (phase == s.lysed) & occurs(signals["rate.clearance"], dt, u[:, 2])
        bursts = np.zeros(len(state), dtype=bool)
        starves = bursts
        if s.necrosis:
            v = self.uniforms("necrosis", state, state.ids)[:, 0]
            starves = living & ~dies & occurs(signals["rate.necrosis"], dt, v)
            bursts = (phase == s.necrotic) & (state["cell.volume"] > state["cell.rupture"])
        for code, duration in s.remains.items():
            mine = (phase == s.apoptotic) & (state["cell.type"] == code)
            vanishes |= mine & (state["cell.phase_time"] + dt >= duration * (1 - 1e-12))
        staying = living & ~dies & ~starves
        staying &= ~self._rest(state, signals, living, dt)
        divides = staying & occurs(division, dt, u[:, 3])
        in_phases = np.isin(state["cell.type"], list(s.cycles))
        state["cell.phase_time"][~(staying & in_phases)] += dt
        for code, cycle in s.cycles.items():
            mine = np.flatnonzero(staying & (state["cell.type"] == code))
            exits = zip(cycle.codes, cycle.durations)
            pace = np.stack([signals[f"exit.{s.phase_names[p]}"][mine] / (1 / d) for p, d in exits], axis=1)
            pace *= (division[mine] / s.division[code])[:, None]
            divides[mine] = self._cycle(state, mine, cycle, pace, dt)

        self._enter(state, np.flatnonzero(dies), s.apoptotic)
        self._enter(state, np.flatnonzero(lyses | bursts), s.lysed)
        state.lineage.died(state.time, state.ids[dies], "apoptosis")
        if starves.any():
            self._enter(state, np.flatnonzero(starves), s.necrotic)
            state["cell.rupture"][starves] = RUPTURE * state["cell.volume"][starves]
            state.lineage.died(state.time, state.ids[starves], "necrosis")
        state.remove(np.flatnonzero(vanishes), "apoptosis")
        if divides.any():
            self._divide(state, np.flatnonzero(divides))

    def kill(self, state, rows: np.ndarray) -> None:
        """Send rows into apoptosis at once."""
        rows = rows[state["cell.phase"][rows] < self.settings.apoptotic]
        self._enter(state, rows, self.settings.apoptotic)
        state.lineage.died(state.time, state.ids[rows], "kill")

    def readout(self, name, state, signals) -> np.ndarray:
        if name == "clock.time":
            return np.full(len(state), state.time)
        phase = state["cell.phase"]
        dying = {"cell.apoptotic": self.settings.apoptotic, "cell.necrotic": self.settings.necrotic}
        if name in dying:
            return (phase == dying[name]).astype(float)
        living = phase < self.settings.apoptotic
        return (~living if name == "cell.dead" else living).astype(float)

    # ---- parts

    def _rest(self, state, signals, living: np.ndarray, dt: float) -> np.ndarray:
        """Let cells enter G0 and leave it; returns which of them rest, or just came back, and do not cycle in dt."""
        from sim.agents.life import occurs

        s = self.settings
        if not s.arrest:
            return np.zeros(len(state), dtype=bool)
        types, phase = state["cell.type"], state["cell.phase"]
        first = np.zeros(len(state), dtype=np.int64)
        for code, cycle in s.cycles.items():
            first[types == code] = cycle.codes[0]
        u = self.uniforms("rest", state, state.ids, 2)
        can = living & np.isin(types, list(s.arrest))
        rests = can & (phase == s.resting)
        back = rests & occurs(signals["rate.release"], dt, u[:, 1])
        enters = can & (phase == first) & occurs(signals["rate.arrest"], dt, u[:, 0])
        self._enter(state, np.flatnonzero(enters), s.resting)
        state["cell.phase"][back] = first[back]
        state["cell.phase_time"][back] = 0.0
        return rests | enters

    def _cycle(self, state, rows: np.ndarray, cycle: Cycle, pace: np.ndarray, dt: float) -> np.ndarray:
        """Let `rows` run through their phases; returns which of them divide."""
        from sim.agents.life import PhaseProgramme

        programme = PhaseProgramme(tuple(map(str, cycle.codes)), cycle.durations, cycle.fixed)
        codes = np.array(cycle.codes)
        order = np.argsort(codes)
        phase = order[np.searchsorted(codes, state["cell.phase"][rows], sorter=order)]
        elapsed = state["cell.phase_time"][rows]
        u = self.uniforms("cycle", state, state.ids[rows], programme.draws)
        divides = programme.advance(phase, elapsed, dt, u, pace)
        state["cell.phase"][rows] = codes[phase]
        state["cell.phase_time"][rows] = elapsed
        return divides

    def _divide(self, state, mothers: np.ndarray) -> None:
        from sim.agents.life import divide_geometry, radius_of
        from sim.agents.motility import across, random_directions

        directions = random_directions(
            *self.key_and_step("division", state), state.ids[mothers], self.box.dims
        )
        for code, d in self.settings.daughters.items():
            if d.polarity > 0 and self.box.dims == 3:
                mine = state["cell.type"][mothers] == code
                directions[mine] = across(directions[mine], d.axis, d.polarity)
        radii = radius_of(state["cell.volume"][mothers])
        share, types = self._fates(state, mothers)
        changing = types != state["cell.type"][mothers]
        daughters = state.divide(mothers, share)
        places = divide_geometry(state["cell.position"][mothers], radii, directions, share)
        for rows, positions in zip((mothers, daughters), places):
            state["cell.position"][rows] = self.box.inside(positions)
        phased = np.isin(state["cell.type"][mothers], list(self.settings.cycles))
        for rows in (mothers, daughters):
            state["cell.phase_time"][rows[~phased]] = 0.0
        if "cell.direction" in state:
            state["cell.direction"][daughters] *= -1
        for name in ("cell.attacked", "spring.partners"):
            if name in state:  # what holds on to others stays with the mother
                state[name][daughters] = -1
        if changing.any():
            self.adopt(state, daughters[changing], types[changing])
            state.lineage["type"][state.ids[daughters[changing]]] = types[changing]

    def _fates(self, state, mothers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Share and type of the new daughter of each mother."""
        share, types = np.full(len(mothers), 0.5), state["cell.type"][mothers].copy()
        if self.settings.daughters:
            u = self.uniforms("daughters", state, state.ids[mothers])[:, 0]
            for code, d in self.settings.daughters.items():
                mine = state["cell.type"][mothers] == code
                share[mine] = d.share
                ends = np.cumsum(list(d.types.values()))
                drawn = np.searchsorted(ends, u, side="right")
                for k, other in enumerate(d.types):
                    types[mine & (drawn == k)] = other
        return share, types

    def adopt(self, state, rows: np.ndarray, types: np.ndarray) -> None:
        """Living cells become of another type, in the first phase of its cycle."""
        state["cell.type"][rows] = types
        state["cell.phase"][rows] = 0
        for code, cycle in self.settings.cycles.items():
            state["cell.phase"][rows[types == code]] = cycle.codes[0]
        state["cell.phase_time"][rows] = 0.0

    def meet(self, state, keepers: np.ndarray, gone: np.ndarray) -> None:
        """`keepers` move to the common centre of volume with `gone`."""
        volume = state["cell.volume"]
        away = state["cell.position"][gone] - state["cell.position"][keepers]
        if self.box.periods is not None:
            nearest_images(away, self.box.periods)
        part = volume[gone] / np.maximum(volume[gone] + volume[keepers], 1e-300)
        state["cell.position"][keepers] = self.box.inside(
            state["cell.position"][keepers] + part[:, None] * away
        )

    def _enter(self, state, rows: np.ndarray, code: int) -> None:
        state["cell.phase"][rows] = code
        state["cell.phase_time"][rows] = 0.0
