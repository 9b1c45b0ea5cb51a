"""The flux-balance cases of the SBML Test Suite, from the shared data; skipped where that is missing."""

from __future__ import annotations

import csv
import json
import tarfile
from pathlib import Path

import pytest

from mechanistic import load_model
from mechanistic.errors import FluxBalanceError

ARCHIVE = Path(__file__).resolve().parents[3] / "shared" / "data" / "sbml" / "sbml-test-suite.tar.gz"
pytestmark = [
    pytest.mark.validation,
    pytest.mark.skipif(not ARCHIVE.is_file(), reason="../shared/data/sbml is not here"),
]


@pytest.fixture(scope="module")
def cases(tmp_path_factory) -> list[Path]:
    target = tmp_path_factory.mktemp("suite")
    with tarfile.open(ARCHIVE) as archive:
        member = next(m for m in archive.getmembers() if m.name.endswith("semantic/index.json"))
        stream = archive.extractfile(member)
        assert stream is not None
        wanted = {c["id"] for c in json.load(stream) if c["type"] == "FluxBalanceSteadyState"}
        members = [m for m in archive.getmembers() if Path(m.name).parent.name in wanted]
        archive.extractall(target, members, filter="data")
    folder = target / "sbml-test-suite" / "semantic"
    return [folder / name for name in sorted(wanted)]


def _tolerances(folder: Path) -> tuple[float, float]:
    settings = dict(line.split(":", 1) for line in (folder / "settings.txt").read_text().splitlines() if line)
    return float(settings["absolute"]), float(settings["relative"])


def test_every_case_is_solved_or_said_to_be_infeasible(cases):
    """Measured: 22 of 23 at the suite's tolerances; the one whose result is no number has no solution."""
    solved, infeasible = 0, []
    for folder in cases:
        absolute, relative = _tolerances(folder)
        rows = [row for row in csv.reader((folder / "results.csv").read_text().splitlines()) if row]
        expected = {name.strip(): float(value) for name, value in zip(*rows)}
        try:
            found = load_model(folder / "model.xml").flux_balance()
        except FluxBalanceError as error:
            assert error.status == "infeasible"
            assert all(value != value for value in expected.values())
            infeasible.append(folder.name)
            continue
        for name, value in expected.items():
            is_objective = name == found.attrs["objective"]
            got = found["objective_value"] if is_objective else found["flux"].sel(reaction=name)
            assert got.item() == pytest.approx(value, rel=relative, abs=absolute), (folder.name, name)
        solved += 1
    assert (solved, infeasible) == (22, ["01196"])
