"""Cutting the tissue layer changes the outcome as explain says it does: in the two scenarios that ship one.

The layer is cut here where explain cannot reach: in a copy of the scenario whose network's numbers are all 0, so that
it tells everybody nothing. Such runs draw the same random numbers as those with the layer.
"""

import numpy as np
import pytest

from neural import weights
from sim import Scenario, run
from sim.interpret.explain import explain
from sim.library import copy


def last_mean(scenario, quantity):
    """Mean of a quantity over the living cells of the last frame of a run of its own, as it is stored."""
    cells = run(scenario)["cells"].to_dataset()
    here = slice(int(cells["row_size"].values[:-1].sum()), None)
    living = cells["cell.living"].values[here] > 0
    return float(cells[quantity].values[here][living].astype(float).mean())


def told_and_cut(folder, name, layer, quantity, cells, values, count=2):
    """(row of explain's ranking for the layer, difference of runs with and without it by each of `count` seeds)."""
    path, _ = f"{folder / name}.yaml", copy(name, folder)
    values = {**values, "outputs": f"{{cells: [{quantity}, cell.living]}}"}
    outcome = f"mean({quantity}, {cells}) @ {values['time.stop']}"
    tree = explain(Scenario.load(path, overrides=values), outcome, methods=("ablation",), seeds=count)
    table = tree["ranking"].to_dataset()
    (row,) = [k for k, q in enumerate(table["quantity"].values) if str(q).startswith("tissue.")]
    first = Scenario.load(path).seed
    seeds = range(first, first + count)
    whole = [last_mean(Scenario.load(path, overrides=values, seed=s), quantity) for s in seeds]
    card, tensors = weights.load(folder / layer)
    learned = {k: v for k, v in tensors.items() if k.startswith(("does", "readout", "phi"))}
    assert learned
    weights.save(folder / layer, tensors | {k: np.zeros_like(v) for k, v in learned.items()}, card.raw)
    cut = [last_mean(Scenario.load(path, overrides=values, seed=s), quantity) for s in seeds]
    return table.isel(row=row), np.array(whole) - np.array(cut)


def test_lateral_inhibition_needs_its_layer_as_much_as_explain_says(tmp_path):
    small = {"cells.epithelium.count": "19", "time": "{stop: 6 h, save_every: 6 h, step: 15 min}"}
    small["time.stop"] = "6 h"
    row, cut = told_and_cut(
        tmp_path, "delta_notch", "weights/delta_notch.safetensors", "pathway.dn.D", "epithelium", small
    )
    assert float(row["effect"]) == pytest.approx(cut.mean(), rel=1e-6)
    assert str(row["verdict"].values) == "lowers" and cut.max() < -0.3  # nobody is held back without it
    assert int(row["rank"]) == 1


def test_the_flagship_hears_its_neighbours_as_much_as_explain_says(tmp_path):
    small = {
        "time": "{stop: 2 h, save_every: 2 h, step: 30 min}",
        "time.stop": "2 h",
        "cells.pc9.count": "20",
        "space.domain": "{x: [0 um, 100 um], y: [0 um, 100 um]}",
    }
    row, cut = told_and_cut(
        tmp_path, "pc9_combination", "weights/contact.safetensors", "rate.division", "pc9", small, count=4
    )
    assert float(row["effect"]) == pytest.approx(cut.mean(), rel=1e-6)
    assert str(row["verdict"].values) == "lowers" and cut.max() < 0  # who is crowded divides less
