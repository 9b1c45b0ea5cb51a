"""What can be wrong with a model, told in one line each."""

from __future__ import annotations

from dataclasses import dataclass

_MOST_TOLD = 20  # faults in the text of an error; `problems` has all


@dataclass(frozen=True)
class ModelProblem:
    """One fault of a model file: where it is and what to do about it."""

    message: str
    line: int | None = None
    key: str | None = None


class ModelError(ValueError):
    """A model that cannot be read or solved. Carries every problem found.

    Attributes:
        file: the model's path, or "<text>".
        problems: the faults in file order.
    """

    def __init__(self, file: str, problems: list[ModelProblem] | str, line: int | None = None):
        if isinstance(problems, str):
            problems = [ModelProblem(problems, line)]
        self.file = file
        self.problems = problems
        told = "; ".join(p.message for p in problems[:_MOST_TOLD])
        more = len(problems) - _MOST_TOLD
        super().__init__(f"{told}; and {more} more" if more > 0 else told)


class IntegrationError(RuntimeError):
    """The integrator failed. Names the cell (row), the time and the species where it can.

    Attributes:
        cell: row of the cell in the state, or None.
        time: model time at the failure, or None.
        species: id of the offending variable, or None.
        failed: rows of all cells that failed in the same call; every other cell was advanced.
    """

    failed: tuple[int, ...] = ()

    def __init__(
        self, message: str, cell: int | None = None, time: float | None = None, species: str | None = None
    ):
        self.cell, self.time, self.species = cell, time, species
        super().__init__(message)


class FluxBalanceError(IntegrationError):
    """A flux balance without an optimum.

    Attributes:
        status: "infeasible" (no fluxes meet all bounds) or "unbounded" (the objective grows without end).
    """

    def __init__(self, message: str, status: str, cell: int | None = None):
        self.status = status
        super().__init__(message, cell)
