"""The course of a cell depends on its own values alone: not on the output grid, its neighbours or the threads.

Held bit for bit over the published models of the shared data; skipped where they are missing.
"""

from __future__ import annotations

import numba
import numpy as np
import pytest
from sbml_data import MODELS, NEEDED, biomodels

from mechanistic import PathwayModel, load_model

pytestmark = NEEDED
CELLS = 100


@pytest.fixture(scope="module", params=MODELS)
def model(request, tmp_path_factory) -> PathwayModel:
    return load_model(biomodels(tmp_path_factory.mktemp("biomodels"))[request.param])


def cells_that_differ(model: PathwayModel) -> dict[str, np.ndarray]:
    """A tenth of spread in each of the model's own constants that is not 0."""
    rng = np.random.default_rng(len(model.network.id))
    values = {p.id: p.value for p in model.network.parameters if p.id in model.network.settable_ids}
    return {
        name: value * (1 + 0.1 * rng.uniform(-1, 1, CELLS))
        for name, value in list(values.items())[:5]
        if value is not None and np.isfinite(value) and value != 0
    }


def course(
    model: PathwayModel, times, values: dict[str, np.ndarray] | None = None, cells: int = 1
) -> np.ndarray:
    """(cell, time, species)"""
    found = model.simulate(times, cells=cells, parameters=values)
    return np.stack([found[f"amount.{s}"].values for s in model.network.species_ids], axis=-1)


def test_again(model):
    times = np.linspace(0.0, 50.0, 6)
    first = course(model, times)
    assert np.isfinite(first).all()
    course(model, [0.0, 7.0])
    np.testing.assert_array_equal(course(model, times), first)


def test_output_grid(model):
    """Times in between, and an end further on, change nothing."""
    fine = course(model, np.linspace(0.0, 60.0, 121))
    coarse = course(model, [0.0, 10.0, 50.0])
    np.testing.assert_array_equal(fine[:, [0, 20, 100]], coarse)


def test_other_cells(model):
    """Cells alone, or in company that fills the registers or does not."""
    values = cells_that_differ(model)
    together = course(model, [20.0], values, CELLS)
    for chosen in ([0], [7], [0, 1, 2], range(8), range(1, 10), range(99, -1, -1)):
        rows = list(chosen)
        few = course(model, [20.0], {name: v[rows] for name, v in values.items()}, len(rows))
        np.testing.assert_array_equal(few, together[rows])


def test_threads(model):
    values = cells_that_differ(model)
    most = numba.get_num_threads()
    many = course(model, [20.0], values, CELLS)
    try:
        numba.set_num_threads(1)
        one = course(model, [20.0], values, CELLS)
    finally:
        numba.set_num_threads(most)
    np.testing.assert_array_equal(one, many)
