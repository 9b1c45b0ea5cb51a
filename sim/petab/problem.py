"""A PEtab problem: its objective, and its results in PEtab's form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mechanistic.errors import ModelError
from sim.errors import Problem, ScenarioError
from sim.fitting.objective import Evaluation, Objective
from sim.fitting.parts import Parameter
from sim.fitting.spans import Settings
from sim.petab.common import Transform
from sim.petab.tables import Files, Row, Table, has_networks, read_yaml
from sim.petab.version1 import read_version1
from sim.petab.version2 import read_version2


@dataclass(frozen=True)
class PetabProblem:
    """Attributes:
    files: the YAML file.
    objective: of all its models together.
    measurements: the rows of the measurement tables, in the order of the objective's measurements.
    """

    files: Files
    objective: Objective
    measurements: tuple[tuple[Table, int, Row], ...]

    @property
    def arrays(self) -> Mapping[str, np.ndarray]:
        """Ids of the estimated weights of networks, by "network.layer.array"; none where there are no networks."""
        return {}

    def write_networks(self, x: np.ndarray, folder: Path) -> None:
        """Puts the weights at the scaled values `x` into the files of arrays of a copy of the problem in `folder`."""

    def simulations(self, found: Evaluation) -> str:
        """The measurement table with what was simulated in place of what was measured."""
        columns: list[str] = []
        for table, _, _ in self.measurements:
            columns += [c for c in table.columns if c not in columns]
        head = ["simulation" if c == "measurement" else c for c in columns]
        lines = ["\t".join(head)]
        for (_, _, row), value in zip(self.measurements, found.simulated):
            lines.append(
                "\t".join(repr(float(value)) if c == "measurement" else row.get(c, "") for c in columns)
            )
        return "\n".join(lines) + "\n"


def load(
    file: str | Path,
    *,
    transform: Transform | None = None,
    more: Sequence[Parameter] = (),
    settings: Settings | None = None,
) -> PetabProblem:
    """The problem of a YAML file in PEtab 1 or 2.

    Args:
        transform: what to make of each model before anything else, such as one with a network in a rate.
        more: parameters beside those of the tables.

    Raises:
        ScenarioError: with the file and line of what is wrong.
    """
    files = read_yaml(Path(file))
    if files.version == 2 and has_networks(files):
        from sim.petab.sciml import load_sciml

        return load_sciml(files, transform, more, settings)
    reader = read_version1 if files.version == 1 else read_version2
    parameters, studies, rows = reader(files, transform)
    try:
        objective = Objective([*parameters, *more], studies, settings)
    except ModelError as error:
        where = str(files.file) if error.file.startswith("<") else error.file
        raise ScenarioError(Problem(where, p.message, p.line, p.key) for p in error.problems) from None
    return PetabProblem(files, objective, tuple(row for part in rows for row in part))
