"""Training files of spaces: weights and a card, the same after a stop, faults with their line."""

import numpy as np
import pytest
from cells_on_a_curve import GENES, PROTEINS, cells

from neural.encoders import Representation
from neural.encoders.pooling import pooled_names
from neural.encoders.train import held_out
from neural.errors import TrainingError
from neural.training import load_training, train

FILE = """training: 1
kind: representation
name: both
data: {path: cells.csv}
space: {name: both, components: 3, states: day}
modalities:
  expression: {kind: counts, features: [GENES]}
  protein: {kind: real, features: [p0, p1, p2, p3, p4]}
fit: {epochs: 5, hidden: 8, seed: 2}
""".replace("GENES", ", ".join(GENES.features))

TISSUE = """training: 1
kind: representation
name: niche
scale: tissue
method: pca
data: {path: cells.csv}
space: {name: niche, components: 2}
modalities: {cells: {weights: both.safetensors}}
graph: {positions: [x, y], radius: 2}
"""


@pytest.fixture
def folder(tmp_path):
    import pandas as pd

    tables, _, angle = cells()
    columns = [*GENES.features, *PROTEINS.features]
    table = pd.DataFrame(np.hstack([tables["expression"], tables["protein"]]), columns=columns)
    table["day"] = np.where(angle < np.pi, "first", "second")
    table["x"], table["y"] = 10 * np.cos(angle), 10 * np.sin(angle)
    table.to_csv(tmp_path / "cells.csv", index=False)
    (tmp_path / "both.yaml").write_text(FILE)
    (tmp_path / "niche.yaml").write_text(TISSUE)
    return tmp_path


def test_a_training_file_gives_weights_and_a_card_with_controls(folder):
    weights = train(folder / "both.yaml")
    space = Representation.load(weights)
    assert set(space.space.reference_states) == {"mean", "first", "second"}
    assert space.card["split"] == {"training": 480, "held out": 120, "how": "cells at random"}
    card = (folder / "both.md").read_text()
    for control in ("PCA of the same dimension", "mean profile", "the half itself, smoothed"):
        assert control in card
    first = weights.read_bytes()
    train(folder / "both.yaml", resume=True)
    assert weights.read_bytes() == first
    niche = Representation.load(train(folder / "niche.yaml"))
    assert niche.space.scale == "tissue"
    assert niche.modalities[0].features == pooled_names(space.space.labels)
    assert niche.card["below"]["cells"]["space"] == "both"


def test_a_fit_goes_on_after_a_stop_to_the_same_bits(folder):
    file = folder / "both.yaml"
    file.write_text(FILE.replace("epochs: 5", "epochs: 25"))
    whole = train(file, folder / "whole.safetensors").read_bytes()

    def stop(done, total, text):
        if done == 22:
            raise KeyboardInterrupt

    target = folder / "both.safetensors"
    with pytest.raises(KeyboardInterrupt):
        train(file, target, progress=stop)
    assert not target.exists()
    seen = []
    train(file, target, resume=True, progress=lambda done, total, text: seen.append(done))
    assert seen[0] == 21
    assert target.read_bytes() == whole
    assert not list(folder.glob(".*checkpoint*"))
    # of another file nothing is taken over
    with pytest.raises(KeyboardInterrupt):
        train(file, target, progress=stop)
    file.write_text(FILE.replace("epochs: 5", "epochs: 24"))
    seen.clear()
    train(file, target, resume=True, progress=lambda done, total, text: seen.append(done))
    assert seen[0] == 1


def test_whole_groups_are_held_out(folder):
    groups = np.repeat(["a", "b", "c", "d", "e"], [50, 10, 40, 60, 40])
    for seed in range(4):
        rows = held_out(groups, 0.3, seed)
        apart = set(groups[rows]) & set(np.delete(groups, rows))
        assert not apart and 60 <= len(rows) < 120
    assert len(held_out(groups, 0.99, 0)) < 200, "something is left to train on"
    with pytest.raises(ValueError, match="but one group"):
        held_out(np.array(["a", "a"]), 0.5, 0)
    (folder / "both.yaml").write_text(FILE.replace("seed: 2", "seed: 2, hold_out_by: day"))
    card = Representation.load(train(folder / "both.yaml")).card
    assert card["split"]["how"] == "whole groups of day"
    assert set(Representation.load(folder / "both.safetensors").space.reference_states) in (
        {"mean", "first"},
        {"mean", "second"},
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("kind: counts", "kind: count", "modalities.expression.kind: must be counts or real"),
        ("kind: real,", "", "modalities.protein: give either kind"),
        ("components: 3", "components: 0", "space.components: must be at least 1"),
        ("fit:", "method: vaee\nfit:", "did you mean 'vae'"),
        ("fit:", "scale: tissue\nfit:", "a tissue space has a graph, and no other has"),
        ("epochs: 5", "hold_out: 1.5", "fit.hold_out: must be below 1"),
        ("cells.csv", "cell.csv", "data.path: no such file"),
        ("hidden: 8", "hidden: 1000000000", "fit.hidden: must be at most 4096"),
        ("hidden: 8", "hiden: 8", "unknown key 'hiden'; did you mean 'hidden'?"),
    ],
)
def test_faults_of_a_training_file_have_their_line(folder, old, new, message):
    (folder / "both.yaml").write_text(FILE.replace(old, new, 1))
    with pytest.raises(TrainingError) as caught:
        load_training(folder / "both.yaml")
    lines = str(caught.value)
    assert message in lines and "?:" not in lines


def test_faults_of_the_data_are_told(folder):
    (folder / "both.yaml").write_text(FILE.replace("p4]", "p5]"))
    with pytest.raises(TrainingError, match="no feature 'p5' in the data; there are g0"):
        train(folder / "both.yaml")
    with pytest.raises(TrainingError, match=r"no weights 'both.safetensors' beside the data"):
        train(folder / "niche.yaml")
