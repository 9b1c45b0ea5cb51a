"""The native engine of one network: compiled step, driven over all cells at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mechanistic.codegen.system import System
from mechanistic.jit import threads_for
from mechanistic.solvers import lockstep
from mechanistic.solvers.program import Program
from mechanistic.solvers.rosenbrock import build

_MOST_STEPS = 1_000_000
_CELLS_A_THREAD = 256  # below this, waking another thread takes longer
_REASONS = {
    lockstep.TOO_MANY_STEPS: f"more than {_MOST_STEPS} steps",
    lockstep.STEP_TOO_SMALL: "the step became too small",
}


@dataclass(frozen=True)
class Failure:
    """Why a cell could not be integrated.

    Attributes:
        reason: in words.
        time: [model time] how far it came.
        variable: of `state_ids`, what could not be followed.
    """

    reason: str
    time: float
    variable: str


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
        self._species = np.array([n in system.network.species_ids for n in self._names], dtype=bool)

    def run(
        self,
        state: np.ndarray,
        time: np.ndarray,
        step: np.ndarray,
        scale: np.ndarray,
        columns: np.ndarray,
        values: np.ndarray,
        dt: float,
        outputs: np.ndarray,
        rtol: float,
        atol: np.ndarray,
    ) -> tuple[np.ndarray, dict[int, Failure]]:
        """Steps every cell by `dt`, or to the last of `outputs`, in place.

        Args:
            state: (cell, state_ids); time, step, scale: (cell,); see `PathwayState`. Beside the size of the
                step to try first `step` holds which method goes on, see `lockstep`.
            columns, values: positions in settable_ids and (cell, columns) the cells' own constants.
            dt: infinite where `outputs` are given.
            outputs: (time,) after each cell's own time, rising from 0. A step may reach beyond the last.
            atol: (state_ids,) absolute tolerance of every stored value.

        Returns:
            The state (cell, time, state_ids) at `outputs`, and the cells that failed, which stay as they were;
            what they reached before they failed is in the course.
        """
        for name, array in (("state", state), ("time", time), ("step", step)):
            if array.dtype != np.float64 or not array.flags.c_contiguous:
                raise ValueError(
                    f"{name} must be a contiguous array of double precision: it is changed in place"
                )
        cells, n = state.shape
        atol = np.ascontiguousarray(atol, dtype=np.float64)
        program = self._program
        code = lockstep.Code(
            program.functions, program.places, program.numbers, program.dense, self._shared,
            np.concatenate([[0], 1 + columns]).astype(np.int64),
        )  # fmt: skip
        task = lockstep.Task(
            float(dt), np.ascontiguousarray(outputs, dtype=np.float64), float(rtol), atol,
            np.where(self._species, -atol, -np.inf), _MOST_STEPS,
        )  # fmt: skip
        batch = lockstep.Batch(
            state, time, step, step.view(np.int64),
            np.ascontiguousarray(np.concatenate([scale[:, None], values], axis=1)),
            np.zeros(cells, np.int64), np.zeros((cells, 2)), np.zeros(cells, np.int64),
            np.full((cells, len(outputs), n), np.nan),
        )  # fmt: skip
        with threads_for(cells, each=_CELLS_A_THREAD):
            lockstep.run_cells(code, task, batch)
        failed = {
            int(k): Failure(
                _REASONS[int(batch.status[k])], float(batch.where[k, 0]), self._names[int(batch.where[k, 1])]
            )
            for k in np.flatnonzero(batch.status)
        }
        return batch.course, failed
