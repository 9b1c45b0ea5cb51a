"""Checking a PEtab problem without running it."""

from __future__ import annotations

from pathlib import Path

from sim.petab.problem import load


def checked(file: Path) -> list[str]:
    """What to tell about a good problem.

    Raises:
        ScenarioError: with the file and line of what is wrong.
    """
    objective = load(file).objective
    measurements = sum(len(study.measurements) for study in objective.studies)
    experiments = sum(len(study.experiments) for study in objective.studies)
    outside = [
        name
        for name, x, low, high in zip(objective.names, objective.nominal, objective.lower, objective.upper)
        if not low <= x <= high
    ]
    notes = [
        f"{file}: {len(objective.names)} parameters to estimate from {measurements} measurements in "
        f"{experiments} experiments"
    ]
    return notes + [f"{file}: the nominal value of '{name}' lies outside its bounds" for name in outside]
