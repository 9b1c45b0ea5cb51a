"""The native engine of one network: compiled step, driven over all cells at once."""

from __future__ import annotations

import numpy as np

from mechanistic.codegen.system import System
from mechanistic.jit import threads_for
from mechanistic.solvers import lockstep
from mechanistic.solvers.rosenbrock import build

_MOST_STEPS = 100_000
_CELLS_A_THREAD = 256  # below this, waking another thread takes longer
_REASONS = {
    lockstep.TOO_MANY_STEPS: f"more than {_MOST_STEPS} steps",
    lockstep.STEP_TOO_SMALL: "the step became too small",
}


class NativeStepper:
    """Rodas4 in machine code, eight cells in lockstep.

    Args:
        system: its graph gains the Jacobian.
        defaults: (settable_ids,) the model's own constants.

    Raises:
        mechanistic.solvers.rosenbrock.OutOfScope: the network needs what this engine does not do.
    """

    name = "native"

    def __init__(self, system: System, defaults: np.ndarray):
        program = build(system)
        self._program = program
        offset = program.layout.offset
        places = [offset[name] for name in ("y", "w", "K5", "p", "g", "hi")]
        self._layout = np.array([program.layout.size, *places, int(program.timed)], dtype=np.int64)
        self._shared = np.concatenate([[1.0], defaults])
        self._step, self._prepare = program.code.address("step"), program.code.address("prepare")

    def advance(
        self,
        state: np.ndarray,
        time: np.ndarray,
        step: np.ndarray,
        scale: np.ndarray,
        columns: np.ndarray,
        values: np.ndarray,
        dt: float,
        rtol: float,
        atol: np.ndarray,
    ) -> dict[int, str]:
        """Steps every cell by `dt`, in place.

        Args:
            state: (cell, state_ids); time, step, scale: (cell,); see `PathwayState`.
            columns, values: positions in settable_ids and (cell, columns) the cells' own constants.
            atol: (state_ids,) absolute tolerance of every stored value.

        Returns:
            The cells that failed, with the reason. They stay as they were, all others are done.
        """
        for name, array in (("state", state), ("time", time), ("step", step)):
            if array.dtype != np.float64 or not array.flags.c_contiguous:
                raise ValueError(
                    f"{name} must be a contiguous array of double precision: it is changed in place"
                )
        own = np.ascontiguousarray(np.concatenate([scale[:, None], values], axis=1))
        at = np.concatenate([[0], 1 + columns]).astype(np.int64)
        status = np.zeros(len(state), dtype=np.int64)
        taken = np.zeros(len(state), dtype=np.int64)
        with threads_for(len(state), each=_CELLS_A_THREAD):
            lockstep.advance_cells(
                self._step, self._prepare, self._layout, state, time, step, self._shared, at, own,
                float(dt), float(rtol), np.asarray(atol), _MOST_STEPS, status, taken,
            )  # fmt: skip
        return {int(k): _REASONS[int(status[k])] for k in np.flatnonzero(status)}
