"""What `cellweave petab` does."""

from __future__ import annotations

import json
from pathlib import Path

from mechanistic.errors import IntegrationError
from sim.errors import SimulationError, StoreError
from sim.petab.problem import load
from sim.petab.report import told


def evaluated(file: Path, *, gradient: bool, output: Path | None) -> str:
    """The evaluation at the nominal parameters as JSON; simulations go to `output`.

    Raises:
        ScenarioError: the problem is wrong.
        SimulationError: an experiment could not be simulated.
        StoreError: `output` cannot be written.
    """
    problem = load(file)
    try:
        found = problem.objective(slopes=gradient)
    except IntegrationError as error:
        raise SimulationError(f"{file}: {error}") from None
    if output is not None:
        write(output / "simulations.tsv", problem.simulations(found))
    return json.dumps(told(problem, found))


def write(file: Path, text: str) -> None:
    """A file in a folder that is made where it is missing."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    except OSError as error:
        raise StoreError(f"{file}: {error.strerror or error}") from None
