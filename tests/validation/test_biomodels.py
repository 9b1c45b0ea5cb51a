"""Published models (BioModels), from the shared data; skipped where that is missing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sbml_data import MODELS, NEEDED, biomodels

from mechanistic import load_model

pytestmark = NEEDED


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return biomodels(tmp_path_factory.mktemp("sbml"))


def biomodel(folder: dict[int, Path], number: int):
    return load_model(folder[number])


@pytest.mark.parametrize("number", MODELS)
def test_methods_agree(folder, number):
    """Native (where it can) and RoadRunner at tight tolerances, over 50 units of model time."""
    model = biomodel(folder, number)
    times = [0.0, 10.0, 50.0]
    ours = model.simulate(times, rtol=1e-9, atol=1e-13)
    if ours.attrs["method"] == "roadrunner":
        # RoadRunner reading the file by itself is the other party then
        expected = _roadrunner(folder[number], model, times)
    else:
        reference = model.simulate(times, method="roadrunner", rtol=1e-10, atol=1e-14)
        expected = {s: reference[f"amount.{s}"].values[0] for s in model.network.species_ids}
    assert expected
    for name, values in expected.items():
        level = np.abs(values).max()
        np.testing.assert_allclose(
            ours[f"amount.{name}"].values[0], values, rtol=1e-5, atol=1e-6 * level + 1e-13
        )


def _roadrunner(file: Path, model, times) -> dict[str, np.ndarray]:
    import roadrunner

    runner = roadrunner.RoadRunner(str(file))
    ids = list(runner.model.getFloatingSpeciesIds())
    runner.timeCourseSelections = ids
    runner.getIntegrator().setValue("relative_tolerance", 1e-10)
    runner.getIntegrator().setValue("absolute_tolerance", 1e-15)
    return dict(zip(ids, np.asarray(runner.simulate(times=times)).T))


def test_cells_of_a_tissue_equal_simulate(folder):
    """Kholodenko's MAPK cascade (BioModels 10): 200 cells that differ in k3, in ten calls."""
    model = biomodel(folder, 10)
    rates = 0.025 * np.exp(0.3 * np.random.default_rng(1).standard_normal(200))
    state = model.initial_state(200, {"J2_k3": rates})
    for _ in range(10):
        model.advance(state, 100.0)
    for method in ("native", "roadrunner"):
        course = model.simulate(
            [1000.0], cells=200, parameters={"J2_k3": rates}, rtol=1e-9, atol=1e-12, method=method
        )
        expected = np.stack([course[s].values[:, 0] for s in model.network.species_ids], axis=1)
        np.testing.assert_allclose(model.concentrations(state), expected, rtol=1e-4, atol=1e-3)
