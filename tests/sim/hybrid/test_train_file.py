"""`cellweave train` finds a missing term; a wrong file is told in lines."""

import numpy as np
import pytest

from mechanistic import load_model
from neural.errors import TrainingError
from sim.hybrid.train import load_hybrid
from sim.hybrid.train_file import load_hybrid_training
from sim.learning import trained
from sim.validation import validated

FILE = """\
training: 1
kind: hybrid
name: decay
model: m.ant
networks:
  loss: {inputs: [S], rate: {S: -1}, times: [S], positive: true, widths: [3], input_scales: [5]}
data: {path: points.csv}
noise: {S: 0.05}
learn: {k: [0.1, 10]}
experiments: {high: {S: 5}, low: {S: 2}}
starts: 1
steps: 30
held_out: 0.3
structure: {degree: 2}
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "m.ant").write_text("model m\n  species S; S = 5; k = 1; In: -> S; 0.5*k\nend\n")
    times = np.linspace(0.0, 4.0, 21)
    true = load_model("model t\n  species S; S = 5; In: -> S; 0.5; Out: S -> ; 0.4*S*S/(1 + S)\nend\n")
    course = true.simulate(times, cells=2, initial={"S": [5.0, 2.0]})["S"].values
    noisy = course + 0.05 * np.random.default_rng(0).normal(size=course.shape)
    rows = [f"{e},{t:g},{v:.6g}" for e, own in zip(("high", "low"), noisy) for t, v in zip(times, own)]
    (tmp_path / "points.csv").write_text("\n".join(["experiment,time,S", *rows]) + "\n")
    (tmp_path / "train.yaml").write_text(FILE)
    return tmp_path


def test_train_writes_weights_that_load_and_scores_beside_controls(folder):
    assert validated(folder / "train.yaml") == []
    text = trained(folder / "train.yaml")
    path = folder / "decay.safetensors"
    assert path.is_file() and "pathway alone" in text and "mean" in text and "loss: " in text
    hybrid = load_hybrid(path, folder / "m.ant")
    course = hybrid.simulate([0.0, 3.6, 4.0], initial={"S": 2.0})["S"].values[0]
    rows = (folder / "points.csv").read_text().splitlines()
    measured = float(next(r for r in rows if r.startswith("low,4,")).split(",")[2])
    assert course[-1] == pytest.approx(measured, abs=0.3)
    ours, alone = (
        float(next(r for r in text.splitlines() if r.startswith("| held out")).split("|")[k]) for k in (2, 3)
    )
    assert ours < 0.1 and ours < alone


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("rate: {S: -1}", "rat: {S: -1}", "did you mean 'rate'"),
        ("rate: {S: -1}", "rate: {S: -1}, parameter: k", "exactly one of"),
        ("input_scales: [5]", "input_scales: [5, 5]", "must be 1 numbers"),
        ("noise: {S: 0.05}", "noise: {S: 0}", "above 0"),
        ("learn: {k: [0.1, 10]}", "learn: {k: [10, 0.1]}", "lower and an upper bound"),
        ("points.csv", "absent.csv", "no such file"),
        ("positive: true", "positive: 1", "must be true or false"),
        ("rate: {S: -1}", "rate: {S: 1 uM}", "must be a number"),
        ("times: [S]", "times: [[S]]", "must be text"),
        ("widths: [3]", "widths: [0]", "at least 1"),
        ("high: {S: 5}", "high: {S: []}", "must be a number"),
        ("high: {S: 5}", "high: 5", "must be a mapping"),
        ("  loss: {", "  gain: 3\n  loss: {", "must be a mapping"),
        ("points.csv", "p" * 5000, "no such file"),
    ],
)
def test_a_wrong_file_is_told(folder, old, new, says):
    (folder / "train.yaml").write_text(FILE.replace(old, new))
    with pytest.raises(TrainingError) as caught:
        load_hybrid_training(folder / "train.yaml")
    assert any(says in message and line for _, line, _, message in caught.value.problems)
