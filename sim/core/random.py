"""Random numbers that depend on what they are for, not on who asked first.

Each number is a pure function of (seed, purpose, cell id, step): the same bits at any thread count, in
any order of the cells and after a resume. The purpose names the process that draws, the step is how many that
process has taken: what other processes there are changes no number. Two runs with one seed share their numbers
cell by cell, which is what makes paired comparisons sharp (common random numbers).
"""

from __future__ import annotations

import numpy as np

#: by what numbers are keyed; what was begun with other numbers is not gone on with
KEYED_BY = "seed, process, purpose (of perturbations: what they are about), steps of the process, cell"


class Streams:
    """Counter-based streams of one run (Philox4x32-10, Salmon et al. 2011)."""

    def __init__(self, seed: int):
        self.seed = seed
        self._keys: dict[str, np.uint64] = {}

    def key(self, purpose: str) -> np.uint64:
        """The stream's key, for kernels that draw inside."""
        if purpose not in self._keys:
            from mechanistic.random import stream_key

            self._keys[purpose] = stream_key(self.seed, purpose)
        return self._keys[purpose]

    def uniforms(self, purpose: str, step: int, ids: np.ndarray, draws: int = 1) -> np.ndarray:
        """(cell, draws) numbers in [0, 1)."""
        from mechanistic.random import uniforms

        return uniforms(self.key(purpose), step, ids, draws)
