"""What an experimenter does to the cells, at exact times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sim.core.quantity import component_of
from sim.core.random import Streams
from sim.core.state import State
from sim.processes.fields import FieldProcess
from sim.processes.life import Life
from sim.processes.pathway import PathwayProcess


@dataclass(frozen=True)
class Perturbation:
    """One act, or one that repeats.

    Attributes:
        times: when [min].
        verb: set, add, scale or kill.
        target: quantity name; for `kill` empty.
        value: the number to set, add or scale by, in the target's unit.
        types: codes of the cell types it reaches, None for all.
        fraction: share of these cells that it reaches, chosen by chance.
        centre, radius: it reaches only this disc [um]; None for everywhere.
        index: position in the scenario: of acts at one time, which comes first.
        lot: with the number of the time it keys the choice of cells; see `lots`.
        text: the act in words.
    """

    times: tuple[float, ...]
    verb: str
    target: str
    value: float
    types: frozenset[int] | None
    fraction: float
    centre: tuple[float, ...] | None
    radius: float | None
    index: int
    lot: str
    text: str

    def apply(self, state: State, actors: Actors, streams: Streams) -> np.ndarray:
        """Do it; returns the ids of the cells that it reached (none for a field)."""
        if self.target.startswith("field."):
            self._apply_to_field(state, actors.field(self.target))
            state.changed()
            return np.empty(0, dtype=np.int64)
        rows = self._cells(state, streams)
        if self.verb == "kill":
            actors.life.kill(state, rows)
        else:
            actors.write(state, self.target, rows, self._changed)
        state.changed()
        return state.ids[rows]

    def _changed(self, old: np.ndarray) -> np.ndarray:
        if self.verb == "set":
            return np.full_like(old, self.value)
        return old + self.value if self.verb == "add" else old * self.value

    def _apply_to_field(self, state: State, process: FieldProcess) -> None:
        u = state.fields[process.settings.name]
        where = np.ones(u.shape, dtype=bool)
        if self.centre is not None and self.radius is not None:
            distance = np.zeros(u.shape)
            for axis, centre in enumerate(self.centre):
                shape = [1, 1, 1]
                shape[2 - axis] = -1
                distance = distance + (process.grid.centres(axis).reshape(shape) - centre) ** 2
            where = distance <= self.radius**2
        u[where] = self._changed(u[where])

    def _cells(self, state: State, streams: Streams) -> np.ndarray:
        chosen = state.alive[: len(state)].copy()
        if self.types is not None:
            chosen &= np.isin(state["cell.type"], list(self.types))
        if self.centre is not None and self.radius is not None:
            offset = state["cell.position"][:, : len(self.centre)] - np.array(self.centre)
            chosen &= (offset**2).sum(axis=1) <= self.radius**2
        if self.fraction < 1:
            # which of its times it is tells the clock, also after a resume
            act = int(np.argmin(np.abs(np.array(self.times) - state.time)))
            u = streams.uniforms(f"perturbation.{self.lot}", act, state.ids)[:, 0]
            chosen &= u < self.fraction
        return np.flatnonzero(chosen)


def lots(acts: Sequence[tuple[str, tuple]]) -> list[str]:
    """What keys the choice of each act's cells, whatever the order in which they are listed.

    Args:
        acts: what each is about, and what tells those apart that are about the same: these are counted in its order.
            Times and values are for the latter alone: a dose that is given later, or twice as much, reaches the
            same cells.
    """
    found = [""] * len(acts)
    seen: dict[str, int] = {}
    for k in sorted(range(len(acts)), key=lambda k: acts[k][1]):
        about = acts[k][0]
        seen[about] = seen.get(about, -1) + 1
        found[k] = f"{about}.{seen[about]}"
    return found


class Actors:
    """Who carries a perturbation out: the owners of the quantities it reaches."""

    def __init__(self, fields: Sequence[FieldProcess], pathways: Sequence[PathwayProcess], life: Life):
        self._fields = {f"field.{f.settings.name}": f for f in fields}
        self._pathways = {f"pathway.{p.settings.name}": p for p in pathways}
        self.life = life

    def field(self, name: str) -> FieldProcess:
        return self._fields[name]

    def write(self, state: State, target: str, rows: np.ndarray, change) -> None:
        """Change a cell quantity in `rows`: a column, a component of a block, or a pathway's species."""
        part = component_of(target)
        if part:
            state[part[0]][rows, part[1]] = change(state[part[0]][rows, part[1]])
        elif target in state:
            state[target][rows] = change(state[target][rows])
        else:
            owner, species = target.rsplit(".", 1)
            self._pathways[owner].write(state, species, rows, change)
