"""The flagship's simulated instrument beside measured wells of two drugs, on which nothing was trained."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from neural.population import CHANNELS, EPSILON
from neural.scores import by_experiment, combination_scores
from neural.training import load_training
from neural.wells import Wells, read_wells

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data" / "neural" / "pc9_combo_timecourse.npz"
TRAINING = ROOT / "scenarios" / "training" / "pc9_drugs.yaml"
EXPERIMENTS = ("020720_PC9_Erl_THZ1", "022020_PC9_Erl_THZ1_rep2")
#: of the twenty-four measured pairs of doses [uM], by erlotinib and THZ1
DOSES = [(e, t) for e in (0.0123, 0.037, 0.111) for t in (0.0333, 0.1)]

pytestmark = [
    pytest.mark.validation,
    pytest.mark.skipif(
        not DATA.is_file(), reason="the measured PC9 wells (../shared/data/neural) are not here"
    ),
]


def tissue(erlotinib: float, thz1: float, live: float = 7.0, side: int = 520) -> np.ndarray:
    """Readings [%] (frame, channel) every 3 h to 72 h of a smaller field of view, `live` % of it covered at 0 h."""
    from sim import Scenario, run
    from sim.agents.life import radius_of

    cells = round(live / 100 * side**2 / (np.pi * float(radius_of(2494.0)) ** 2))
    over = {
        "perturbations[0].to": f"{erlotinib} uM",
        "perturbations[1].to": f"{thz1} uM",
        "space.domain": f"{{x: [0 um, {side} um], y: [0 um, {side} um]}}",
        "cells.pc9.count": str(cells),
    }
    read = run(Scenario.load(ROOT / "scenarios" / "pc9_combination.yaml", overrides=over))
    instrument = read["instruments/incucyte"].to_dataset()
    return np.stack([instrument[c].values for c in CHANNELS], 1)


def beside(wells: Wells, readings: dict[tuple[float, float], np.ndarray]) -> tuple[Wells, np.ndarray]:
    """The two experiments' wells of the simulated doses, and the tissue's log2 signals as the scores take them.

    As in the protocol, a well's own first frame is known: of live area the tissue foretells the ratio to it, of the
    stains what will be read.
    """
    ours = [wells.experiments.index(e) for e in EXPERIMENTS]
    pair = wells.dose[:, [wells.drugs.index("erlotinib"), wells.drugs.index("thz1")]]
    which = np.full(len(pair), -1)
    keys = list(readings)
    for i, key in enumerate(keys):
        which[np.isclose(pair, key, rtol=0.02).all(1) & (wells.drugs_given == 2)] = i
    keep = np.isin(wells.experiment, ours) & ((wells.drugs_given < 2) | (which >= 0))
    fields = ("dose", "curves", "plate", "pair", "experiment", "shared")
    some = replace(wells, **{f: getattr(wells, f)[keep] for f in fields}, experiments=list(EXPERIMENTS))
    some = replace(some, experiment=np.searchsorted(ours, some.experiment))
    eps = np.array(EPSILON)
    told = np.zeros((keep.sum(), len(wells.time), len(CHANNELS)))
    for row, i in enumerate(which[keep]):
        if i >= 0:
            logs = np.log2(np.maximum(readings[keys[i]], 0) + eps)
            first = np.log2(np.maximum(some.curves[row, :, 0], 0) + eps).mean(0)
            told[row] = logs - np.array([logs[0, 0], *first[1:]])
    return some, told


@pytest.fixture(scope="module")
def scored():
    wells = read_wells(DATA, load_training(TRAINING, need_data=False).spec["drugs"], 3)
    some, told = beside(wells, {d: tissue(*d) for d in DOSES})
    assert (some.drugs_given == 2).sum() == 2 * len(DOSES)
    return combination_scores(some, {"tissue": told}), by_experiment(some, {"tissue": told})


@pytest.mark.parametrize("window", ["file", "replicates"])
def test_every_channel_is_nearer_than_bliss(scored, window):
    table = scored[0][window]
    for channel in CHANNELS:
        assert table["tissue"][channel]["rmse_log"] < table["Bliss"][channel]["rmse_log"]


@pytest.mark.parametrize("window", ["file", "replicates"])
@pytest.mark.parametrize("channel", ["live_area", "dead_dna"])
def test_cells_alive_and_dead_are_nearer_than_the_highest_single_agent(scored, window, channel):
    table = scored[0][window]
    assert table["tissue"][channel]["rmse_log"] < table["HSA"][channel]["rmse_log"]
