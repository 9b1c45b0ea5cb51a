"""Published models told in Antimony run to the same numbers; from the shared data, skipped where that is missing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sbml_data import NEEDED, biomodels

from mechanistic import load_model

pytestmark = NEEDED


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> dict[int, Path]:
    return biomodels(tmp_path_factory.mktemp("biomodels"))


@pytest.mark.parametrize("number", [5, 9, 10, 12, 19, 21, 35, 49, 64, 84, 88])
def test_a_published_model_told_in_antimony_runs_the_same(models, number):
    """Measured: the same bits; the order of species may differ (64)."""
    model = load_model(models[number])
    again = load_model(model.to_antimony())
    assert set(again.network.species_ids) == set(model.network.species_ids)
    times = np.linspace(0, 10, 6)
    first, second = (m.simulate(times, rtol=1e-9, atol=1e-12) for m in (model, again))
    for s in model.network.species_ids:
        scale = np.abs(first[s].values).max()
        np.testing.assert_allclose(second[s].values, first[s].values, rtol=1e-9, atol=1e-9 * scale, err_msg=s)
