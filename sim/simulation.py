"""A planned scenario made ready to step: state, signals and clock together."""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace

import numpy as np

from sim.build import Plan
from sim.core.by_type import by_type
from sim.core.coupling import Response
from sim.core.random import Streams
from sim.core.schedule import Schedule
from sim.core.signals import Signals
from sim.core.state import State
from sim.errors import SimulationError
from sim.machine.aside import set_aside
from sim.machine.memory import prepare_for
from sim.perturbations import Actors


class Simulation:
    """One run in memory.

    Args:
        plan: a checked scenario.
        cut: indices of couplings that are left out; their targets keep their own base values.

    Attributes:
        state, signals, schedule, streams: see `sim.core`.
    """

    def __init__(self, plan: Plan, cut: Collection[int] = ()):
        self.plan = plan
        self.streams = Streams(plan.seed)
        # before the state is laid out: what must be remembered of each cell is known in full only now
        for process in plan.processes:
            process.prepare(self.streams)
        self._lay_out(cut)

    def again(
        self, seed: int, cut: Collection[int] = (), responses: Mapping[int, Response] | None = None
    ) -> Simulation:
        """Another run of the same plan from its start, with models and kernels as they are loaded.

        The processes are shared: from now on only the new simulation may step.

        Args:
            responses: by the index of a coupling, another response for it.
        """
        other = copy.copy(self)
        other.streams = Streams(seed)
        for process in self.plan.processes:
            process.streams = other.streams
        other._lay_out(cut, responses or {})
        return other

    def _lay_out(self, cut: Collection[int], responses: Mapping[int, Response] | None = None) -> None:
        plan = self.plan
        others = responses or {}
        kept = [c for c in plan.couplings if c.index not in cut]
        self.couplings = [replace(c, response=others[c.index]) if c.index in others else c for c in kept]
        self.state = State(q for p in plan.processes for q in p.quantities)
        self.schedule = Schedule(plan.processes, plan.step, plan.scenario.time.splitting)
        self.signals = Signals(self.state, plan.processes, self.couplings, self._graph, plan.type_names)
        self.actors = Actors(plan.fields, plan.pathways, plan.life)

    def populate(self, placed: tuple[np.ndarray, np.ndarray] | None = None) -> None:
        """Place the cells and fields of time 0; `placed`: at these positions (cell, 3) [um], of these types (cell,)."""
        state = self.state
        for field in self.plan.fields:
            field.start(state)
        positions, types = self._placed() if placed is None else placed
        prepare_for(len(types))
        rows = state.add(types)
        state["cell.position"][rows] = positions
        for process in self.plan.processes:
            for q in process.inputs:
                if q.stored:
                    state[q.name][rows] = by_type(q.by_type, types, q.default)
        for process in self.plan.processes:
            process.initialise(state, rows)
        state.changed()

    def blocks(self, start: float, stop: float) -> list[tuple[float, float]]:
        """The steps of the clock from `start` to `stop` [min] as (start, length)."""
        return self.schedule.blocks(start, stop)

    def step(self, length: float, refine: int = 1) -> None:
        """Advance one block of `length` [min], with every step divided by `refine`.

        Raises:
            SimulationError: naming cell, quantity and time.
        """
        prepare_for(len(self.state))  # which may have grown, or been taken up again
        began = self.state.time
        self._block(length, refine=refine)
        self._require_finite(began)

    def splitting_error(self, length: float) -> dict[str, float]:
        """What one block of `length` [min] errs by for exchanging only at its steps.

        The continuous part of the block is taken once as it stands and once with every step halved; the
        difference, scaled by the order of the splitting (Richardson), is given relative to the root mean square of
        each quantity. The state is left as it was.
        """
        before = set_aside(self.state.content())
        seconds = dict(self.schedule.seconds)
        self._block(length, discrete=False)
        coarse = set_aside(self._continuous())
        self.state.restore(before)
        self._block(length, discrete=False, refine=2)
        scale = 4 / 3 if self.schedule.splitting == "strang" else 2.0
        errors = {name: scale * _relative(coarse[name], fine) for name, fine in self._continuous().items()}
        self.state.restore(before)
        self.schedule.seconds.update(seconds)
        return errors

    # ---- parts

    def _block(self, length: float, *, discrete: bool = True, refine: int = 1) -> None:
        began = self.state.time
        try:
            self.schedule.block(self.state, self.signals, length, discrete=discrete, refine=refine)
        except FloatingPointError as error:
            raise SimulationError(f"mechanics failed in the step from t = {began:g} min: {error}") from error

    def _graph(self):
        return self.plan.neighbourhood.of(self.state, self.signals["cell.living"] > 0)

    def _placed(self) -> tuple[np.ndarray, np.ndarray]:
        from sim.planning.placing import placed

        plan = self.plan
        parts = [
            placed(c, name, plan.box, self.streams, plan.places.get(name, ()))
            for name, c in plan.scenario.cells.items()
        ]
        types = np.repeat(np.arange(len(parts)), [len(p) for p in parts])
        return (np.concatenate(parts) if parts else np.empty((0, 3))), types

    def _continuous(self) -> Mapping[str, np.ndarray]:
        """What the dynamic processes own."""
        state = self.state
        values = {
            q.name: state[q.name]
            for p in self.plan.processes
            if p.kind == "dynamic"
            for q in p.states
            if q.name not in _NO_SOLUTION and not q.name.startswith("integrator.")
        }
        return values | {f"field.{n}": u for n, u in state.fields.items()}

    def _require_finite(self, began: float) -> None:
        for process, name, values, rows in self._owned():
            bad = ~np.isfinite(values[rows]).all(axis=tuple(range(1, values.ndim)))
            if bad.any():
                cell = self.state.ids[rows[np.argmax(bad)]]
                raise SimulationError(
                    f"{process}: '{name}' of cell {cell} is not finite after the step from t = {began:g} min; "
                    "a smaller time.step may help"
                )
        for name, u in self.state.fields.items():
            if not np.isfinite(u).all():
                raise SimulationError(f"field.{name} is not finite after the step from t = {began:g} min")

    def _owned(self) -> Iterator[tuple[str, str, np.ndarray, np.ndarray]]:
        for process in self.plan.processes:
            rows = np.flatnonzero(process.members(self.state))
            for q in process.states:
                if not q.integer:
                    yield process.name, q.name, self.state[q.name], rows


#: what has an error control of its own, or follows from it
_NO_SOLUTION = ("cell.position", "cell.pressure")


def _relative(coarse: np.ndarray, fine: np.ndarray) -> float:
    known = np.isfinite(fine) & np.isfinite(coarse)
    fine, coarse = fine[known], coarse[known]
    # by the largest value, so that no square is too large or too small a number
    scale = float(np.abs(fine).max(initial=0.0))
    if scale == 0.0:
        return 0.0
    return float(np.sqrt(np.mean((fine / scale - coarse / scale) ** 2) / np.mean((fine / scale) ** 2)))
