"""The ranking of total effects is that of deleting each line of the file and running again: a small quickstart."""

from pathlib import Path

import numpy as np
from cut_lines import true_effects
from scipy.stats import spearmanr

from sim import Scenario
from sim.interpret.explain import explain

QUICKSTART = Path(__file__).resolve().parents[3] / "scenarios" / "quickstart.yaml"
#: a few hours of enough cells, and drug, for every line to tell
SMALL = {
    "cells.pc9.count": "120",
    "time.stop": "4 h",
    "time.save_every": "4 h",
    "instruments.incucyte.every": "4 h",
    "perturbations[0].at": "1 min",
    "perturbations[0].to": "1 uM",
}


def test_the_ranking_of_the_quickstart_is_that_of_cutting_its_lines():
    scenario = Scenario.load(QUICKSTART, overrides=SMALL)
    data = explain(scenario, "count(pc9) @ 4 h", ("ablation",), seeds=2)["ablation"]
    keys = data["key"].values.tolist()
    assert {"couplings[0]", "manipulators.drugs.conditions.erlotinib", "tissue"} <= set(keys)
    found = data["effect"].mean("seed").values
    truth = true_effects(scenario, keys, "pc9", [int(s) for s in data["seed"].values])
    assert truth.all() and spearmanr(found, truth).statistic >= 0.9
    # a run without the layer takes fewer steps and so draws other numbers; all others are paired to the bit
    paired = np.array([k != "tissue" for k in keys])
    assert np.array_equal(found[paired], truth[paired])
