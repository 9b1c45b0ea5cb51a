"""An interrupted fit on disk, to go on from to the same bits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np


class Checkpoint:
    """A file that holds the state of a fit while it runs: numbers, texts, tensors and mappings of them.

    Args:
        file: where; its folder must be there.
        mark: what the fit is of (data, training file); a state of another mark is not read.
        resume: whether an earlier state is read at all.
    """

    def __init__(self, file: Path, mark: str, resume: bool):
        self.file, self._mark, self._resume = file, mark, resume

    def read(self) -> dict[str, Any] | None:
        """The state that was written last, or None. Nothing in the file is run."""
        import torch

        if not self._resume or not self.file.exists():
            return None
        state = torch.load(self.file, weights_only=True)
        return state if state.pop("mark") == self._mark else None

    def write(self, state: dict[str, Any]) -> None:
        """Keep `state`, in one piece or not at all."""
        import torch

        part = self.file.with_name(self.file.name + ".part")
        torch.save({"mark": self._mark, **state}, part)
        part.replace(self.file)


def sorted_text(spec: dict[str, Any]) -> str:
    """A training file's content in one order."""
    return json.dumps(spec, sort_keys=True, default=str)


def drawn(rng: np.random.Generator) -> str:
    """Where a generator stands, as text."""
    return json.dumps(rng.bit_generator.state)


def draw_on(rng: np.random.Generator, state: str) -> None:
    """Go on from where `drawn` was called."""
    rng.bit_generator.state = json.loads(state)
