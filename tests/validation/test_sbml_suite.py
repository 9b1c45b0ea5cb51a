"""Every time course of the SBML Test Suite, from the shared data; skipped where that is missing.

A case is solved where each value lies within the suite's own tolerances (absolute plus relative, its README). What is
not solved must be refused by name; a wrong number fails. RoadRunner solves 88.4 % of the suite's time courses.

The suite's 1,069 cases here are those of the latest level that each has; flux balances are in another test.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import sbml_data
from sbml_data import NEEDED

from mechanistic import load_model
from mechanistic.errors import IntegrationError, ModelError

pytestmark = NEEDED
PARTS = 8
SHARE = 1.0


@pytest.fixture(scope="module")
def suite(tmp_path_factory):
    folder, cases = sbml_data.suite(tmp_path_factory.mktemp("suite"), "semantic")
    return [folder / c["id"] for c in cases if c["type"] == "TimeCourse"]


def _deviations(folder: Path) -> list[str]:
    """Where the course of a case leaves the tolerances; ModelError or IntegrationError where it is refused."""
    settings, table = sbml_data.settings(folder), sbml_data.results(folder)
    times, *columns = table.values()
    absolute, relative = float(settings["absolute"]), float(settings["relative"])
    course = load_model(folder / "model.xml").simulate(
        times, rtol=min(1e-6, 1e-2 * relative), atol=min(1e-9, 1e-2 * absolute)
    )
    amounts = {n.strip() for n in settings["amount"].split(",")}
    found = []
    for name, expected in zip(list(table)[1:], columns):
        key = "value.time" if name == "time" else name
        key = f"amount.{name}" if name in amounts and f"amount.{name}" in course else key
        value = course[key].values[0]
        same = (value == expected) | (np.isnan(value) & np.isnan(expected))
        with np.errstate(invalid="ignore"):
            same |= np.abs(value - expected) <= absolute + relative * np.abs(expected)
        if not same.all():
            at = int(np.flatnonzero(~same)[0])
            found.append(f"{name} at {times[at]:g}: {value[at]:g}, not {expected[at]:g}")
    return found


@pytest.mark.parametrize("part", range(PARTS))
def test_time_courses_are_solved_or_refused_by_name(suite, part):
    cases = suite[part::PARTS]
    wrong, refused = {}, {}
    for folder in cases:
        try:
            deviations = _deviations(folder)
        except (ModelError, IntegrationError) as error:
            refused[folder.name] = str(error)
            continue
        if deviations:
            wrong[folder.name] = deviations
    solved = len(cases) - len(wrong) - len(refused)
    print(f"\n{solved} of {len(cases)} solved; refused: {refused}")
    assert not wrong
    assert all(refused.values())
    assert solved >= SHARE * len(cases)


def test_the_suite_is_whole(suite):
    assert len(suite) == 1069
