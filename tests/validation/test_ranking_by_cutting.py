"""On the flagship `explain` names what drives the response, as deleting each coupling's line and running again says."""

from pathlib import Path

import numpy as np
import pytest
from cut_lines import true_effects
from scipy.stats import spearmanr

from sim import Scenario
from sim.interpret.effects import rows_of
from sim.interpret.explain import explain

FLAGSHIP = Path(__file__).resolve().parents[2] / "scenarios" / "pc9_combination.yaml"
#: a quarter of the dish with a quarter of its cells: as dense, and so told the same by its neighbours; longer steps
SMALL = {
    "cells.pc9.count": "50",
    "space.domain.x": "[0 um, 400 um]",
    "space.domain.y": "[0 um, 400 um]",
    "time.step": "30 min",
}


@pytest.mark.validation
def test_the_flagship_is_explained_as_cutting_each_coupling_has_it():
    scenario = Scenario.load(FLAGSHIP, overrides=SMALL)
    tree = explain(scenario, "count(pc9) @ 72 h", ("ablation",), seeds=2)
    data = tree["ablation"]
    keys, found = data["key"].values.tolist(), data["effect"].mean("seed").values
    truth = true_effects(scenario, keys, "pc9", [int(s) for s in data["seed"].values])
    assert len(keys) == 9 and spearmanr(found, truth).statistic >= 0.9
    # sizes, too: what is told to drive the response is what does
    assert spearmanr(np.abs(found), np.abs(truth)).statistic >= 0.9
    by_name = {r.quantity: r for r in rows_of(tree["ranking"].to_dataset())}
    most = int(np.argmax(np.abs(truth)))
    named = by_name[str(data["coupling"].values[most])]
    assert np.sign(named.effect) == np.sign(truth[most])
    assert abs(named.effect) == max(abs(r.effect) for r in by_name.values())
