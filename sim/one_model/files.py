"""Pathway models as users bring them: read, with the faults of files told as the command line tells all faults."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sim.errors import Problem, ScenarioError, SimulationError, escaped

if TYPE_CHECKING:
    from mechanistic import PathwayModel


@contextmanager
def told(file: Path) -> Iterator[None]:
    """Errors of models and integrators as those of the command line.

    Raises:
        ScenarioError: for every fault of a model; each with file, line and id.
        SimulationError: for what could not be integrated.
    """
    from mechanistic.errors import IntegrationError, ModelError

    try:
        yield
    except IntegrationError as error:
        raise SimulationError(f"{escaped(file, 200)}: {error}") from None
    except ModelError as error:
        raise ScenarioError(
            Problem(str(error.file), p.message, p.line, p.key) for p in error.problems
        ) from None


def loaded(file: Path) -> PathwayModel:
    """The model of a file.

    Raises:
        ScenarioError: with every fault found.
    """
    from mechanistic import load_model

    with told(file):
        return load_model(file)
