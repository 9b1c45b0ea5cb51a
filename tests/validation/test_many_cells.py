"""A hundred thousand cells of one pathway: memory, and one of them that fails."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from mechanistic import load_model
from mechanistic.errors import IntegrationError

pytestmark = pytest.mark.validation

CELLS = 100_000


def cascade(levels: int) -> str:
    """Phosphorylation step by step, each level driven by the one above: two species a level, stiff."""
    parts = ["model cascade", "compartment c = 1; drive = 1; a = 0;"]
    above = "drive"
    for k in range(levels):
        parts.append(f"species X{k} in c, P{k} in c; X{k} = 1; P{k} = 0;")
        parts.append(f"U{k}: X{k} -> P{k}; {10.0 ** (k % 4)} * {above} * X{k} / (0.1 + X{k});")
        parts.append(f"D{k}: P{k} -> X{k}; {10.0 ** (k % 4)} * P{k} / (0.2 + P{k});")
        above = f"P{k}"
    return "\n".join([*parts, f"grow: -> P{levels - 1}; a * (1 + P{levels - 1}^2);", "end"])


def test_one_cell_of_a_hundred_thousand_that_fails():
    model = load_model(cascade(11))
    drive = np.random.default_rng(4).uniform(0.5, 2.0, CELLS)
    a = np.zeros(CELLS)
    a[71_234] = 1e4
    state = model.initial_state(CELLS, {"drive": drive, "a": a})
    calm = model.initial_state(CELLS, {"drive": drive, "a": np.zeros(CELLS)})
    model.advance(calm, 1.0)
    with pytest.raises(IntegrationError, match=r"cell 71234 at time .*'P10' cannot be followed") as caught:
        model.advance(state, 1.0)
    assert (caught.value.failed, caught.value.species) == ((71_234,), "P10")
    others = np.arange(CELLS) != 71_234
    np.testing.assert_array_equal(state.amounts[others], calm.amounts[others])
    np.testing.assert_array_equal(state.step[others], calm.step[others])


def test_memory_of_a_cell():
    """22 species: less than 8 kB a cell at its largest, in short calls."""
    model = load_model(cascade(11))
    drive = np.random.default_rng(4).uniform(0.5, 2.0, CELLS)
    model.advance(model.initial_state(10), 1.0)
    tracemalloc.start()
    state = model.initial_state(CELLS, {"drive": drive})
    for _ in range(3):
        model.advance(state, 0.1)
    memory = tracemalloc.get_traced_memory()[1] / CELLS
    tracemalloc.stop()
    assert len(model.network.state_ids) == 22
    assert memory < 8192
