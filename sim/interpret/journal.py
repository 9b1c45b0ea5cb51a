"""Finished runs of an explanation, beside its output until it is whole: a stopped one goes on where it was."""

from __future__ import annotations

import json
import os
from pathlib import Path

from sim.errors import ScenarioError
from sim.interpret.variants import Variant
from sim.store.disk import disk_errors, sync_folder, write


class Journal:
    """`EXPLAIN.zarr.runs`: a line for what all runs share, then one for each finished run.

    Args:
        output: the store that the explanation will be written to.
        identity: what runs must share to be taken: scenario, outcome, version, hashes of models and weights.
        resume: take the runs that are there.

    Raises:
        ScenarioError: there are runs and `resume` is not asked, or they are of another question.
        StoreError: the disk.
    """

    def __init__(self, output: Path, identity: dict[str, str], resume: bool):
        self.path = self._beside(output)
        self._known: dict[tuple[str, int], float] = {}
        with disk_errors(self.path):
            if not resume and self.path.exists() and self.path.read_bytes().count(b"\n") < 2:
                self.path.unlink()  # stopped before its first run was finished
        if self.path.exists():
            if not resume:
                raise ScenarioError(
                    f"{self.path}: holds the runs of an explanation that was stopped; go on with --resume, or remove it"
                )
            self._read(identity)
        with disk_errors(self.path):
            new = not self.path.exists()
            how = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            self._file = os.open(self.path, how, 0o666)
            if new:
                self._append(identity)
                sync_folder(self.path.absolute().parent)

    @classmethod
    def seed(cls, output: Path) -> int | None:
        """The seed of the scenario whose runs are kept for `output`; None where there are none."""
        try:
            with open(cls._beside(output), "rb") as file:
                return int(json.loads(file.readline())["seed"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    @staticmethod
    def _beside(output: Path) -> Path:
        return output.with_name(f"{output.name}.runs")

    def get(self, variant: Variant, seed: int) -> float | None:
        """The outcome of a finished run."""
        return self._known.get((variant.text, seed))

    def keep(self, variant: Variant, seed: int, outcome: float) -> None:
        """Write one run; it is durable when this returns."""
        self._known[variant.text, seed] = outcome
        with disk_errors(self.path):
            self._append({"variant": variant.text, "seed": seed, "outcome": outcome})

    def __len__(self) -> int:
        return len(self._known)

    def close(self, remove: bool) -> None:
        """No more runs; `remove` where the explanation is whole."""
        os.close(self._file)
        if remove:
            self.path.unlink(missing_ok=True)

    def _append(self, line: dict) -> None:
        write(self._file, json.dumps(line).encode() + b"\n")
        os.fsync(self._file)

    def _read(self, identity: dict[str, str]) -> None:
        with disk_errors(self.path):
            lines = self.path.read_bytes().split(b"\n")
        # what follows the last line end was cut short by a crash; it is written over
        whole = lines[:-1]
        try:
            found = json.loads(whole[0]) if whole else {}
            runs = [json.loads(line) for line in whole[1:]]
            self._known = {(r["variant"], int(r["seed"])): float(r["outcome"]) for r in runs}
        except (ValueError, KeyError, TypeError):
            raise ScenarioError(f"{self.path}: is damaged; remove it to begin again") from None
        for name, value in identity.items():
            if found.get(name) != value:
                raise ScenarioError(
                    f"{self.path}: {name} is another one than of the runs there; remove it to begin again"
                )
        if lines[-1]:
            with disk_errors(self.path):
                os.truncate(self.path, sum(len(line) + 1 for line in whole))
