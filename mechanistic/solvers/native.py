"""The native engine of one network: compiled step, driven over all cells at once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from mechanistic.codegen.system import System
from mechanistic.event_memory import TRIGGERS, slot_width, with_room
from mechanistic.random import stream_key
from mechanistic.solvers import instants, lockstep
from mechanistic.solvers.program import Program
from mechanistic.solvers.rosenbrock import build
from mechanistic.solvers.sharing import share_out

_MOST_STEPS = 1_000_000
_CELLS_A_THREAD = 256  # below this, waking another thread takes longer
_REASONS = {
    lockstep.TOO_MANY_STEPS: f"more than {_MOST_STEPS} steps",
    lockstep.STEP_TOO_SMALL: "the step became too small",
    lockstep.TOO_FAST: "changes too fast",
}
_AT_AN_INSTANT = {
    lockstep.AT_AN_INSTANT + instants.ENDLESS: "fires without end",
    lockstep.AT_AN_INSTANT + instants.TOO_MANY_WAIT: "waits too many times over",
    lockstep.AT_AN_INSTANT + instants.BAD_DELAY: "has a delay that is negative or not a number",
}
_MOST_ROOM = 1 << 16  # numbers in the memory of a cell


@dataclass(frozen=True)
class Failure:
    """Why a cell could not be integrated.

    Attributes:
        reason: in words.
        time: [model time] how far it came.
        variable: of `state_ids`, what could not be followed; or an event.
        event: whether it is one.
        hopeless: whether a more careful method would fare no better.
    """

    reason: str
    time: float
    variable: str
    event: bool = False
    hopeless: bool = False


class NativeStepper:
    """A `Program` in machine code, eight cells in lockstep.

    Args:
        system: its graph gains the Jacobian.
        defaults: (settable_ids,) the model's own constants.

    Raises:
        mechanistic.solvers.program.OutOfScope: the network needs what this engine does not do.
    """

    name = "native"

    def __init__(self, system: System, defaults: np.ndarray):
        self._names = system.network.state_ids
        self._program: Program = build(system)
        self._shared = np.concatenate([[1.0], defaults])
        address = self._program.code.address
        self._event_functions = np.array([address(f) for f in ("modes", "watch", "actions")], dtype=np.int64)
        self._network = system.network
        self._species = np.array([n in system.network.species_ids for n in self._names], dtype=bool)

    def run(
        self,
        state: np.ndarray,
        time: np.ndarray,
        step: np.ndarray,
        scale: np.ndarray,
        columns: np.ndarray,
        values: np.ndarray,
        memory: np.ndarray,
        dt: float,
        outputs: np.ndarray,
        rtol: float,
        atol: np.ndarray,
        seed: int = 0,
    ) -> tuple[np.ndarray, np.ndarray, dict[int, Failure]]:
        """Steps every cell by `dt`, or to the last of `outputs`, in place.

        Args:
            state: (cell, state_ids); time, step, scale: (cell,); see `PathwayState`. Beside the size of the
                step to try first `step` holds which method goes on, see `lockstep`.
            columns, values: positions in settable_ids and (cell, columns) the cells' own constants.
            memory: (cell, width) of events, see `mechanistic.event_memory`.
            dt: infinite where `outputs` are given.
            outputs: (time,) after each cell's own time, rising from 0. A step may reach beyond the last.
            atol: (state_ids,) absolute tolerance of every stored value.
            seed: of the lots that decide between events of equal priority.

        Returns:
            The state (cell, time, state_ids) at `outputs`; the memory, with more room where it was short; and the
            cells that failed, which stay as they were. What they reached before they failed is in the course.
        """
        for name, array in (("state", state), ("time", time), ("step", step)):
            if array.dtype != np.float64 or not array.flags.c_contiguous:
                raise ValueError(
                    f"{name} must be a contiguous array of double precision: it is changed in place"
                )
        cells, n = state.shape
        atol = np.ascontiguousarray(atol, dtype=np.float64)
        task = lockstep.Task(
            float(dt), np.ascontiguousarray(outputs, dtype=np.float64), float(rtol), atol,
            np.where(self._species, -atol, -np.inf), _MOST_STEPS, float(outputs[-1]) if len(outputs) else float(dt),
        )  # fmt: skip
        batch = lockstep.Batch(
            state, time, step, step.view(np.int64),
            np.ascontiguousarray(np.concatenate([scale[:, None], values], axis=1)),
            np.zeros(cells, np.int64), np.zeros((cells, 2)), np.zeros(cells, np.int64),
            np.full((cells, len(outputs), n), np.nan), np.ascontiguousarray(memory, dtype=np.float64),
        )  # fmt: skip
        self._drive(task, batch, columns, seed)
        full = lockstep.AT_AN_INSTANT + instants.TOO_MANY_WAIT
        while np.any(short := batch.status == full) and batch.memory.shape[1] < _MOST_ROOM:
            batch = batch._replace(memory=with_room(batch.memory, self._network.events))
            rows = np.flatnonzero(short)
            part = lockstep.Batch(*(np.ascontiguousarray(array[rows]) for array in batch))
            part = part._replace(bits=part.h.view(np.int64))
            part.status[:] = part.taken[:] = 0
            self._drive(task, part, columns, seed)
            for array, own in zip(batch, part):
                array[rows] = own
        failed = {int(k): self._failure(batch, int(k)) for k in np.flatnonzero(batch.status)}
        return batch.course, batch.memory, failed

    def _drive(self, task: lockstep.Task, batch: lockstep.Batch, columns: np.ndarray, seed: int) -> None:
        program, events = self._program, self._program.events
        width = slot_width(self._network.events)
        switches = instants.Switches(
            self._event_functions, events.places, events.events, events.watched, events.locked,
            max(0, batch.memory.shape[1] - TRIGGERS - events.events) // width, width,
            events.table, events.targets, events.looked_at, stream_key(seed, "order of events"),
        )  # fmt: skip
        code = lockstep.Code(
            program.functions, program.places, program.numbers, program.dense, self._shared,
            np.concatenate([[0], 1 + columns]).astype(np.int64),
        )  # fmt: skip
        share_out(
            partial(lockstep.run_cells, code, switches, task, batch), len(batch.state), each=_CELLS_A_THREAD
        )

    def _failure(self, batch: lockstep.Batch, k: int) -> Failure:
        status, (time, at) = int(batch.status[k]), batch.where[k]
        if status in _AT_AN_INSTANT:
            return Failure(_AT_AN_INSTANT[status], float(time), self._network.events[int(at)].id, True, True)
        return Failure(
            _REASONS[status], float(time), self._names[int(at)], hopeless=status == lockstep.TOO_FAST
        )
