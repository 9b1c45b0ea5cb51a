"""An interrupted fit on disk, to go on from to the same bits."""

from __future__ import annotations

import hashlib
import io
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np

from neural.errors import TrainingError

_SEAL = hashlib.sha256().digest_size
# where this process wrote or read one
_files: set[Path] = set()


def any_kept() -> bool:
    """Whether there is something on disk from which a fit of this process can go on."""
    return any(file.exists() for file in _files)


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
        """The state that was written last, or None. Nothing in the file is run.

        Raises:
            TrainingError: the file is not as it was written.
        """
        import torch

        if not self._resume or not self.file.exists():
            return None
        content = self.file.read_bytes()
        body, seal = content[:-_SEAL], content[-_SEAL:]
        if hashlib.sha256(body).digest() != seal:
            message = "this checkpoint is damaged; go on without --resume to begin again"
            raise TrainingError(self.file, [(None, None, message)])
        state = torch.load(io.BytesIO(body), weights_only=True)
        if state.pop("mark") != self._mark:
            said = "is of another training file or of other data; the fit begins again"
            logging.getLogger("cellweave").warning("%s: %s", self.file, said)
            return None
        _files.add(self.file)
        return state

    def write(self, state: dict[str, Any]) -> None:
        """Keep `state`, in one piece or not at all.

        Raises:
            OSError: the disk; the state before stays.
        """
        import torch

        body = io.BytesIO()
        torch.save({"mark": self._mark, **state}, body)
        content = body.getvalue()
        part = self.file.with_name(self.file.name + ".part")
        try:
            part.write_bytes(content + hashlib.sha256(content).digest())
            part.replace(self.file)
            _files.add(self.file)
        except OSError:
            part.unlink(missing_ok=True)
            raise


def sorted_text(spec: dict[str, Any]) -> str:
    """A training file's content in one order."""
    return json.dumps(spec, sort_keys=True, default=str)


def drawn(rng: np.random.Generator) -> str:
    """Where a generator stands, as text."""
    return json.dumps(rng.bit_generator.state)


def draw_on(rng: np.random.Generator, state: str) -> None:
    """Go on from where `drawn` was called."""
    rng.bit_generator.state = json.loads(state)
