"""Arrays set aside in memory and on disk."""

from __future__ import annotations

import numpy as np
import pytest

from sim.machine.aside import set_aside


@pytest.mark.parametrize("large", [2**25, 0])
def test_what_was_set_aside_is_as_it_was(monkeypatch, large):
    monkeypatch.setattr("sim.machine.aside.LARGE", large)
    arrays = {"cells/cell.id": np.arange(7), "fields/oxygen": np.random.default_rng(1).random((2, 3, 4))}
    kept = {name: values.copy() for name, values in arrays.items()}
    aside = set_aside(arrays)
    for values in arrays.values():
        values[...] = -1
    assert set(aside) == set(kept)
    for name, values in kept.items():
        np.testing.assert_array_equal(aside[name], values)
