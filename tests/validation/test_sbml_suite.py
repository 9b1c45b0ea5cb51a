"""Every time course of the SBML Test Suite, from the shared data; skipped where that is missing.

A case is solved where each value lies within the suite's own tolerances (absolute plus relative, its README). What is
not solved must be refused by name; a wrong number fails. RoadRunner solves 88.4 % of the suite's time courses.

The suite's 1,069 cases here are those of the latest level that each has; flux balances are in another test.
"""

from __future__ import annotations

import csv
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest

from mechanistic import load_model
from mechanistic.errors import IntegrationError, ModelError

ARCHIVE = Path(__file__).resolve().parents[3] / "shared" / "data" / "sbml" / "sbml-test-suite.tar.gz"
pytestmark = [
    pytest.mark.validation,
    pytest.mark.skipif(not ARCHIVE.is_file(), reason="../shared/data/sbml is not here"),
]
PARTS = 8
SHARE = 1.0


@pytest.fixture(scope="module")
def suite(tmp_path_factory):
    target = tmp_path_factory.mktemp("suite")
    with tarfile.open(ARCHIVE) as archive:
        members = [m for m in archive.getmembers() if "/semantic/" in m.name]
        archive.extractall(target, members, filter="data")
    folder = target / "sbml-test-suite" / "semantic"
    cases = json.loads((folder / "index.json").read_text())
    return [folder / c["id"] for c in cases if c["type"] == "TimeCourse"]


def _settings(file: Path) -> dict[str, str]:
    pairs = (line.partition(":") for line in file.read_text().splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def _deviations(folder: Path) -> list[str]:
    """Where the course of a case leaves the tolerances; ModelError or IntegrationError where it is refused."""
    settings = _settings(folder / "settings.txt")
    rows = [row for row in csv.reader((folder / "results.csv").read_text().splitlines()) if row]
    names, table = [n.strip() for n in rows[0]], np.array(rows[1:], dtype=float)
    absolute, relative = float(settings["absolute"]), float(settings["relative"])
    course = load_model(folder / "model.xml").simulate(
        table[:, 0], rtol=min(1e-6, 1e-2 * relative), atol=min(1e-9, 1e-2 * absolute)
    )
    amounts = {n.strip() for n in settings["amount"].split(",")}
    found = []
    for name, expected in zip(names[1:], table.T[1:]):
        key = "value.time" if name == "time" else name
        key = f"amount.{name}" if name in amounts and f"amount.{name}" in course else key
        value = course[key].values[0]
        same = (value == expected) | (np.isnan(value) & np.isnan(expected))
        with np.errstate(invalid="ignore"):
            same |= np.abs(value - expected) <= absolute + relative * np.abs(expected)
        if not same.all():
            at = int(np.flatnonzero(~same)[0])
            found.append(f"{name} at {table[at, 0]:g}: {value[at]:g}, not {expected[at]:g}")
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
