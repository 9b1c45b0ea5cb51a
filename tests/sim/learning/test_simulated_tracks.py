"""A law learned from tissues that the simulator runs, beside the law that it ran them with."""

import json
from pathlib import Path

import pytest
import yaml

from neural import weights
from neural.errors import TrainingError
from neural.training import load_training, train
from sim.errors import ScenarioError
from sim.learning import trained

SHIPPED = Path(__file__).parents[3] / "scenarios" / "training" / "delta_notch.yaml"
SMALL = {
    "time": {"stop": "4 h", "save_every": "10 min", "step": "10 min"},
    "cells.epithelium.count": 60,
    "space.domain": {"x": ["0 um", "150 um"], "y": ["0 um", "150 um"]},
}


def file_of(folder, **changed):
    """The shipped training file, smaller, and with other values."""
    spec = yaml.safe_load(SHIPPED.read_text()) | {"output": str(folder / "dn.safetensors")}
    scenario = SHIPPED.parent / spec["simulated"]["scenario"]
    later = {"time": SMALL["time"], "cells.epithelium.count": 19}
    asked = {
        "scenario": str(scenario),
        "set": spec["simulated"]["set"] | SMALL,
        "seeds": [1],
        "held_out": {"set": spec["simulated"]["held_out"]["set"] | later, "seeds": [4]},
    }
    path = folder / "law.yaml"
    path.write_text(json.dumps(spec | {"simulated": asked} | changed))
    return path


def test_the_law_is_learned_from_simulated_tissues_and_judged_beside_the_true_one(tmp_path):
    said = trained(file_of(tmp_path))
    assert "beside the truth" in said
    card = weights.read_card(tmp_path / "dn.safetensors")
    scores = card.raw["scores"]["what neighbours add to the rate of N, beside the truth, left out"]
    assert scores["law"]["r2"] > 0.98  # from 60 cells; the shipped weights know it to 0.999
    assert scores["law"]["r2"] > scores["a line in what is heard, fitted to the truth"]["r2"] + 0.1
    assert [m["unit"] for m in card.raw["messages"]] == ["uM/min", "uM/min"]
    assert "seeds [1]" in card.raw["data"]["made"] and "seeds [4]" in card.raw["data"]["left out"]


def test_the_shipped_weights_know_the_published_law():
    scores = weights.read_card(SHIPPED.parent / "../weights/delta_notch.safetensors").raw["scores"]
    known = scores["what neighbours add to the rate of N, beside the truth, left out"]
    assert known["law"]["r2"] > 0.999
    assert known["a line in what is heard, fitted to the truth"]["r2"] < 0.5


@pytest.mark.parametrize(
    ("changed", "key", "message"),
    [
        ({"truth": {"Q": "pathway.dn.F"}}, "truth.Q", "is none of the signals"),
        ({"quantities": {"N": "pathway.dn.N"}}, "quantities", "which quantity of the scenario D is"),
        ({"data": {"path": "x.csv"}}, "data", "either data"),
        ({"signals": []}, "signals", "must be names of states"),
    ],
)
def test_a_training_file_says_what_is_wrong_with_it(tmp_path, changed, key, message):
    with pytest.raises(TrainingError) as error:
        load_training(file_of(tmp_path, **changed))
    assert any(k == key and message in m for _, _, k, m in error.value.problems)


def test_faults_of_the_scenario_are_told(tmp_path):
    with pytest.raises(ScenarioError, match="no quantity"):
        trained(file_of(tmp_path, quantities={"N": "pathway.dn.Nn", "D": "pathway.dn.D"}))
    with pytest.raises(ScenarioError, match="is in 1, which is no uM"):
        trained(file_of(tmp_path, truth={"N": "pathway.dn.F"}))
    with pytest.raises(TrainingError, match="simulated first"):
        train(file_of(tmp_path))
    assert not (tmp_path / "dn.safetensors").exists()
