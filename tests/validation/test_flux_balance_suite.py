"""The flux-balance cases of the SBML Test Suite, from the shared data; skipped where that is missing."""

from __future__ import annotations

from pathlib import Path

import pytest
import sbml_data
from sbml_data import NEEDED

from mechanistic import load_model
from mechanistic.errors import FluxBalanceError

pytestmark = NEEDED


@pytest.fixture(scope="module")
def cases(tmp_path_factory) -> list[Path]:
    folder, index = sbml_data.suite(tmp_path_factory.mktemp("suite"), "semantic")
    return sorted(folder / c["id"] for c in index if c["type"] == "FluxBalanceSteadyState")


def test_every_case_is_solved_or_said_to_be_infeasible(cases):
    """Measured: 22 of 23 at the suite's tolerances; the one whose result is no number has no solution."""
    solved, infeasible = 0, []
    for folder in cases:
        settings = sbml_data.settings(folder)
        absolute, relative = float(settings["absolute"]), float(settings["relative"])
        expected = {name: float(column[0]) for name, column in sbml_data.results(folder).items()}
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
