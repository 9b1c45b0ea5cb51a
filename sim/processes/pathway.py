"""An SBML pathway in every cell."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mechanistic.event_memory import STREAM, fresh_memory
from mechanistic.past_memory import NOW, amounts_in, past_width
from sim.core.process import Process
from sim.core.quantity import Quantity
from sim.errors import SimulationError

if TYPE_CHECKING:
    from mechanistic.distributions import Distribution
    from mechanistic.errors import IntegrationError
    from mechanistic.network import ReactionNetwork
    from mechanistic.pathway_state import PathwayState


_log = logging.getLogger("cellweave")
_NO_ROOM = {
    False: "so many delayed events: shorten their delay, or make the trigger turn less often",
    True: "a past as long as its delays now look back: begin with the longest, or give the pathway a longer step",
}
_STEPS = 32  # of its past, that a cell remembers beside those that its delays call for


@dataclass(frozen=True)
class PathwaySettings:
    """What a scenario says of one pathway.

    Attributes:
        name: as in `pathway.<name>.<species>`.
        model: path of the SBML or Antimony file.
        minutes_per_unit: length of the model's unit of time [min].
        dilutes: True where growth of the cell dilutes its species; False where synthesis is taken to keep pace.
        set: parameter values in place of the model's.
        vary: distributions of parameters over the cells.
        removes_failed: what to do with a cell that cannot be integrated: remove it, or stop the run.
        units: unit of every id, as people write it.
        active: ids of parameters that couplings, perturbations or `vary` reach; each cell remembers its own.
    """

    name: str
    model: Path
    minutes_per_unit: float
    dilutes: bool
    set: Mapping[str, float] = field(default_factory=dict)
    vary: Mapping[str, Distribution] = field(default_factory=dict)
    removes_failed: bool = False
    units: Mapping[str, str] = field(default_factory=dict)
    active: tuple[str, ...] = ()


class PathwayProcess(Process):
    """Every living cell of the given types carries its own copy of the network's state.

    Where `dilutes`, the state is amounts in the cell's volume: growth thins them and division shares them. Elsewhere
    it is amounts in the reference volume, so that concentrations stay as they are through growth and division.
    Dying cells keep their last values.
    """

    cost = 4

    def __init__(
        self,
        settings: PathwaySettings,
        network: ReactionNetwork,
        volume: Mapping[int, float],
        types: frozenset[int],
        step: float,
    ):
        super().__init__(f"pathway.{settings.name}", step, types)
        self.settings = settings
        self.network = network
        self.reference_volume = volume
        prefix = f"pathway.{settings.name}"
        self.block = f"{prefix}.state"
        self.steps = f"integrator.{settings.name}"
        ids = tuple(network.state_ids)
        self.states = (
            Quantity(
                self.block,
                "model units",
                f"amounts of {settings.name}",
                width=len(ids),
                labels=ids,
                # only amounts are shared; a parameter that changes in time, or a compartment, is the same in both
                shared=tuple(settings.dilutes and i in network.species_ids for i in ids),
            ),
            Quantity(self.steps, "model time", f"last step of the integrator of {settings.name}"),
        )
        self.memory, self.past = (f"integrator.{settings.name}.{what}" for what in ("events", "past"))
        self._unstarted = fresh_memory(network.events, 1)[0]
        self._followed: dict[str, tuple[str, ...]] = {}
        if network.events:
            what = f"triggers and waiting events of {settings.name}"
            self.states += (Quantity(self.memory, "1", what, width=len(self._unstarted)),)
        self.looks_back = bool(network.delays or network.fast_reactions)
        if self.looks_back:
            # how far the delays look back, and so how much there is to remember, shows when the run is prepared
            self.states += (Quantity(self.past, "model units", f"the past of {settings.name}", width=1),)
        self.inputs = tuple(
            Quantity(
                f"{prefix}.{i}",
                settings.units.get(i, ""),
                f"{i} of {settings.name}",
                "input",
                default=float("nan"),
            )
            for i in network.settable_ids
        )
        settable = set(network.settable_ids)
        self.readouts = tuple(
            Quantity(f"{prefix}.{i}", settings.units.get(i, ""), f"{i} of {settings.name}", "readout")
            for i in (
                *network.species_ids,
                *network.parameter_ids,
                *network.compartment_ids,
                *network.reaction_ids,
            )
            if i not in settable
        )
        self.reads = ("cell.volume", "cell.living") if settings.dilutes else ("cell.living",)

    def prepare(self, streams) -> None:
        from mechanistic import PathwayModel

        super().prepare(streams)
        # the network was read and checked when the run was planned
        self.model = PathwayModel(self.network)
        plain = self.model.initial_state(1, parameters=dict(self.settings.set))
        reached = {i: self.model.observe(plain, (i,))[0, 0] for i in self.settings.active}
        # what the model computes at the start from a parameter that differs between cells, differs too
        nominal = self.model.initial_state(1, parameters={**reached, **self.settings.set})
        self.active = nominal.active
        self._nominal = dict(zip(nominal.active, nominal.parameters[0]))
        if self.looks_back:
            self._make_room(self.model.initial_state(1, parameters={**reached, **self.settings.set}))
        prefix = f"pathway.{self.settings.name}."
        self.inputs = tuple(
            replace(q, stored=q.name.removeprefix(prefix) in self.active) for q in self.inputs
        )

    def _make_room(self, nominal: PathwayState) -> None:
        """For a past as long as the delays of a cell are at the start, twice over; an amount in it is shared."""
        delays, dilutes = len(self.network.delays), self.settings.dilutes
        calls = self.model.longest_delay(nominal) * self.settings.minutes_per_unit / self.step
        # a cell that grows feels the end of each call again after each delay
        pieces = 2 * ceil(calls) * (1 + delays if dilutes else 1) + _STEPS if delays else 0
        width = past_width(delays, pieces)
        shared = amounts_in(self.model.delayed_amounts() if dilutes else [False] * delays, width)
        self.states = tuple(
            replace(q, width=width, shared=shared if any(shared) else False) if q.name == self.past else q
            for q in self.states
        )

    def initialise(self, state, rows) -> None:
        from mechanistic.distributions import sample

        rows = rows[self.members(state)[rows]]
        given: dict[str, Any] = {**{i: self._nominal[i] for i in self.settings.active}, **self.settings.set}
        for name, distribution in self.settings.vary.items():
            u = self.streams.uniforms(f"vary.{self.settings.name}.{name}", 0, state.ids[rows])[:, 0]
            given[name] = sample(distribution, float(given[name]), u)
        start = self.model.initial_state(len(rows), parameters=given)
        for k, name in enumerate(start.active):
            state[f"pathway.{self.settings.name}.{name}"][rows] = start.parameters[:, k]
        state[self.block][rows] = start.amounts
        if self.network.events:
            state[self.memory][rows] = self._unstarted
        if start.past is not None:
            state[self.past][rows] = self._as_wide(state, rows, start.past, self.past)

    def advance(self, state, signals, dt: float) -> None:
        from mechanistic.errors import IntegrationError

        rows = np.flatnonzero(self.members(state) & state.alive[: len(state)] & (signals["cell.living"] > 0))
        if not rows.size:
            return
        cells = self._cells(state, signals, rows)
        try:
            self.model.advance(cells, dt / self.settings.minutes_per_unit)
        except IntegrationError as error:
            self._give_up(state, rows, error)
        state[self.block][rows] = cells.amounts
        state[self.steps][rows] = cells.step
        if self.network.events and cells.memory is not None:
            state[self.memory][rows] = self._as_wide(state, rows, cells.memory, self.memory)
        if cells.past is not None:
            state[self.past][rows] = self._as_wide(state, rows, cells.past, self.past)

    def _as_wide(self, state, rows: np.ndarray, remembered: np.ndarray, column: str) -> np.ndarray:
        """What cells remember, as wide as its column: a cell has room for so much."""
        width = state[column].shape[1]
        if np.any(remembered[:, width:]):
            cell = state.ids[rows[np.argmax(np.any(remembered[:, width:], axis=1))]]
            raise SimulationError(
                f"{self.name}: cell {cell} has no room at t = {state.time:g} min for {_NO_ROOM[column == self.past]}"
            )
        return np.pad(remembered[:, :width], ((0, 0), (0, max(0, width - remembered.shape[1]))))

    def _give_up(self, state, rows: np.ndarray, error: IntegrationError) -> None:
        """Stop the run, or take the cells that failed out of the tissue; all others have been advanced."""
        cell = state.ids[rows[error.cell]] if error.cell is not None else "?"
        what = f"'{error.species}' of cell {cell}" if error.species else f"cell {cell}"
        # without the row that begins the reason: it is not the cell's id
        reason = str(error).partition(": ")[2] or str(error)
        message = f"{self.name}: {what} at t = {state.time:g} min: {reason}"
        if not self.settings.removes_failed or not error.failed:
            raise SimulationError(message) from error
        gone = rows[list(error.failed)]
        _log.warning("%s; removed, as on_failure says, with %d like it", message, len(gone) - 1)
        state.remove(gone, "failure")

    def readout(self, name, state, signals) -> np.ndarray:
        short = name.removeprefix(f"pathway.{self.settings.name}.")
        values = np.full(len(state), np.nan)
        rows = np.flatnonzero(self.members(state))
        if rows.size:
            cells = self._cells(state, signals, rows, set(self.follows(name)))
            values[rows] = self.model.observe(cells, (short,))[:, 0]
        return values

    def follows(self, name: str) -> tuple[str, ...]:
        prefix = f"pathway.{self.settings.name}."
        if name not in self._followed:
            needed = _needed_at_once(self.network, name.removeprefix(prefix))
            self._followed[name] = tuple(f"{prefix}{i}" for i in self.settings.active if i in needed)
        return self._followed[name]

    def compartment_size(self, species: str) -> float:
        """Size of the compartment of a species in the model's unit, 1 for what is no species."""
        if species not in self.network.species_ids:
            return 1.0
        compartment = self.network[species].compartment
        return float(self.model.observe(self.model.initial_state(1), (compartment,))[0, 0])

    def write(self, state, species: str, rows: np.ndarray, change) -> None:
        """Change a species' concentration in `rows` by the function `change` (perturbations)."""
        rows = rows[self.members(state)[rows]]
        column = self.network.state_ids.index(species)
        volume = self._scale(state, rows) * self.compartment_size(species)
        state[self.block][rows, column] = change(state[self.block][rows, column] / volume) * volume

    def _cells(self, state, signals, rows: np.ndarray, asked: Collection[str] | None = None):
        """The rows as the pathway engine takes them.

        `asked` are the inputs that matter; the others stay as stored, since to ask for what does not matter could
        let two cells wait for each other.
        """
        from mechanistic.model import PathwayState

        active = self.active
        parameters = np.empty((len(rows), len(active)))
        for k, i in enumerate(active):
            name = f"pathway.{self.settings.name}.{i}"
            source = signals if asked is None or name in asked else state
            parameters[:, k] = source[name][rows]
        past = state[self.past][rows] if self.looks_back else None
        # a past is told in the pathway's own time: who asks may have come half a step less far
        time = (
            np.full(len(rows), state.time / self.settings.minutes_per_unit)
            if past is None
            else past[:, NOW].copy()
        )
        return PathwayState(
            amounts=state[self.block][rows],
            parameters=parameters,
            active=active,
            scale=self._scale(state, rows),
            time=time,
            step=state[self.steps][rows],
            memory=self._memory(state, rows),
            past=past,
        )

    def _memory(self, state, rows: np.ndarray) -> np.ndarray | None:
        """What the rows remember of events; every cell draws its own lots between events of equal priority."""
        if not self.network.events:
            return None
        memory = state[self.memory][rows]
        lots = self.streams.uniforms(f"order of events.{self.settings.name}", 0, state.ids[rows])[:, 0]
        memory[:, STREAM] = np.floor(lots * 2.0**53)
        return memory

    def _scale(self, state, rows: np.ndarray) -> np.ndarray:
        """Volume of each cell relative to the model's (cell,)."""
        scale = np.ones(len(rows))
        if self.settings.dilutes:
            for code, volume in self.reference_volume.items():
                here = state["cell.type"][rows] == code
                scale[here] = state["cell.volume"][rows][here] / volume
        return scale


def _needed_at_once(network: ReactionNetwork, name: str) -> set[str]:
    """All ids that the value of `name` is computed from, through assignment rules and rate laws."""
    from mechanistic.codegen.system import dependencies

    found: set[str] = set()
    waiting = [name]
    while waiting:
        here = waiting.pop()
        if here in network.state_ids or here in found:
            continue
        found.add(here)
        if here in network.assignment_rules:
            waiting += dependencies(network.assignment_rules[here].math)
        elif here in network.reaction_ids:
            waiting += dependencies(network[here].rate)
    return found
