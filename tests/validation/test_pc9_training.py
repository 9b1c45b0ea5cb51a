"""The shipped PC9 manipulator against the measured wells: scores as stated, controls as the protocol has them."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from neural import Manipulator
from neural.population import CHANNELS
from neural.scores import combination_scores, relative
from neural.training import load_training, train
from neural.wells import read_wells

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data" / "neural" / "pc9_combo_timecourse.npz"
PROTOCOL = ROOT.parent / "shared" / "eval" / "combo_eval.py"
WEIGHTS = ROOT / "scenarios" / "weights" / "pc9_drugs.safetensors"
TRAINING = ROOT / "scenarios" / "training" / "pc9_drugs.yaml"

pytestmark = [
    pytest.mark.validation,
    pytest.mark.skipif(
        not DATA.is_file(), reason="the measured PC9 wells (../shared/data/neural) are not here"
    ),
]


@pytest.fixture(scope="module")
def wells():
    return read_wells(DATA, load_training(TRAINING, need_data=False).spec["drugs"], 3)


@pytest.fixture(scope="module")
def drugs():
    return Manipulator.load(WEIGHTS)


def in_use(drugs, wells):
    """log2 signals (well, T, 3) relative to 0 h by the weights as tissues use them: no plate is known."""
    live = wells.curves[:, :, 0, 0].mean(1)
    course = drugs.evolve(drugs.initial("untreated"), wells.time, wells.dose, live_area=live)
    channels = [course["mean"].sel(quantity=f"channel.{c}").values for c in CHANNELS]
    return relative(np.stack(channels, -1))


def test_weights_are_of_these_data(drugs, wells):
    assert drugs.card.raw["data"]["sha256"] == wells.sha256


def _with_the_data(folder: Path) -> Path:
    """The shipped training file, reading the measured wells where they are."""
    file = folder / TRAINING.name
    text = TRAINING.read_text(encoding="utf-8").replace("path: pc9_combo_timecourse.npz", f"path: {DATA}")
    file.write_text(text, encoding="utf-8")
    return file


@pytest.mark.skipif(not PROTOCOL.is_file(), reason="the scoring protocol (../shared/eval) is not here")
def test_controls_are_those_of_the_protocol(wells):
    """Bliss, HSA and no effect score here as in combo_eval.py, to rounding."""
    spec = importlib.util.spec_from_file_location("combo_eval", PROTOCOL)
    assert spec is not None and spec.loader is not None
    protocol = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(protocol)
    zero = np.zeros((len(wells.dose), len(wells.time), 3))
    mine = combination_scores(wells, {"zero": zero})["file"]
    for name, model in (("Bliss", protocol.bliss), ("HSA", protocol.hsa), ("no effect", protocol.control)):
        theirs = protocol.run(model, str(DATA))
        for ours, channel in zip(CHANNELS, ("live", "apop", "dead"), strict=True):
            assert mine[name][ours]["rmse_log"] == pytest.approx(theirs[channel]["rmse_log"], rel=1e-6)
            assert mine[name][ours]["skill"] == pytest.approx(theirs[channel]["skill"], abs=1e-6)


def test_card_says_how_combinations_compare(drugs):
    """Unseen combinations, both windows, every channel: better than Bliss, HSA and no effect."""
    for window in ("file", "replicates"):
        table = drugs.card.raw["scores"]["combinations"][window]
        for channel in CHANNELS:
            controls = [table[c][channel]["rmse_log"] for c in ("Bliss", "HSA", "no effect")]
            assert table["network"][channel]["rmse_log"] < min(controls)


def test_weights_in_use_beat_no_effect_without_knowing_the_plate(drugs, wells):
    """What a tissue steps, not the fit's plate factors: one laboratory against measured combinations of all."""
    table = combination_scores(wells, {"in use": in_use(drugs, wells)})["replicates"]
    live = {name: row["live_area"]["rmse_log"] for name, row in table.items()}
    assert live["in use"] < min(live["Bliss"], live["HSA"], live["no effect"])
    for channel in ("live_area", "dead_dna"):
        assert table["in use"][channel]["rmse_log"] < 0.8 * table["no effect"][channel]["rmse_log"]


def test_intervals_in_use_cover_measured_combinations(drugs, wells):
    """90 % intervals of the live area, calibrated on left-out single-drug wells, on combinations never seen."""
    pairs = wells.drugs_given == 2
    live = wells.curves[pairs][:, :, 0, 0].mean(1)
    course = drugs.evolve(drugs.initial("untreated"), wells.time, wells.dose[pairs], live_area=live)
    seen = wells.curves[pairs].mean(1)[..., 0]
    one = course.sel(quantity="channel.live_area")
    inside = (seen >= one["lower"].values) & (seen <= one["upper"].values)
    assert 0.8 < inside.mean() <= 1.0


@pytest.mark.slow
def test_training_again_gives_the_same_scores(drugs, tmp_path):
    """The training file as shipped, from the start: 5 to 8 CPU-minutes."""
    again = Manipulator.load(train(_with_the_data(tmp_path), tmp_path / "again.safetensors"))
    for window, table in drugs.card.raw["scores"]["combinations"].items():
        for channel in CHANNELS:
            assert again.card.raw["scores"]["combinations"][window]["network"][channel][
                "rmse_log"
            ] == pytest.approx(table["network"][channel]["rmse_log"], abs=0.02)
