"""Populations over time as weights: flow matching on full plans, what it says between and beyond snapshots."""

from __future__ import annotations

import anndata
import numpy as np
import pandas as pd
import pytest

from neural import train_transport
from neural.errors import TrainingError
from neural.flow import LinearDrift, Matched, push, wander
from neural.predict import predict_table
from neural.training import train
from neural.transport_model import TransportModel

TIMES = (0.0, 1.0, 2.0, 4.0)
TURN = np.array([[-0.1, -0.5], [0.5, -0.1]])


def snapshots(cells: int = 120) -> list[np.ndarray]:
    """Cells around a point that turns about the origin and draws nearer, other cells at every time."""
    from scipy.linalg import expm

    rng = np.random.default_rng(0)
    start = np.array([3.0, 0.0])
    return [start @ expm(TURN * t).T + 0.3 * rng.standard_normal((cells, 2)) for t in TIMES]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    where = tmp_path_factory.mktemp("cells")
    x, t = np.concatenate(snapshots()), np.repeat(TIMES, 120)
    pd.DataFrame({"day": t, "u": x[:, 0], "v": x[:, 1]}).to_csv(where / "cells.csv", index=False)
    data = anndata.AnnData(
        np.c_[x, x[:, :1] - x[:, 1:]], obs=pd.DataFrame({"day": t}, index=[f"c{k}" for k in range(len(t))])
    )
    data.obsm["X_scGPT"] = x
    data.write_h5ad(where / "cells.h5ad")
    return where


def training(folder, data="cells.csv", space="{name: plane}", fit="{iterations: 60, fine_tuning: 3}"):
    file = folder / "t.yaml"
    file.write_text(
        f"training: 1\nkind: transport\nname: turning\ndata: {{path: {data}}}\ntime: day\nspace: {space}\n"
        f"architecture: {{hidden: 8}}\nfit: {fit}\n"
    )
    return file


@pytest.fixture(scope="module")
def trained(folder):
    return train(training(folder), folder / "turning.safetensors")


def test_linear_drift_finds_the_law_of_the_means():
    cells = snapshots(400)
    matched = Matched.of(cells, TIMES, np.inf, 0)
    drift = LinearDrift.fit(cells, TIMES, matched)
    for k in range(3):
        carried = push(cells[k], TIMES[k], TIMES[k + 1], drift, None, np.array([0.0, 1.0])).numpy()
        np.testing.assert_allclose(carried.mean(0), cells[k + 1].mean(0), atol=0.1)


def test_growth_is_where_there_is_more_later():
    rng = np.random.default_rng(1)
    left, right = rng.normal(-3, 0.3, (100, 1)), rng.normal(3, 0.3, (100, 1))
    early, late = np.concatenate([left, right]), np.concatenate([left[:50], right, right + 0.01])
    drift = LinearDrift.fit([early, late], [0.0, 1.0], Matched.of([early, late], [0.0, 1.0], 0.4, 0))
    rate = np.c_[np.ones(2), [-3.0, 3.0]] @ drift.growth[0]
    assert rate[1] > 0.2 > -0.2 > rate[0]


def test_noise_parts_cells_and_leaves_the_population_as_it_was(trained):
    model = TransportModel.load(trained)
    start = np.tile(model.snapshots[0], (5, 1))
    plain, noisy = model.evolve(start, 0.0, 2.0), model.evolve(start, 0.0, 2.0, seed=1)
    np.testing.assert_allclose(noisy.mean(0), plain.mean(0), atol=0.1)
    same = np.tile(start[:1], (200, 1))
    assert model.evolve(same, 0.0, 2.0).std(0).max() < 1e-9
    parted = model.evolve(same, 0.0, 2.0, seed=1).std(0)
    assert (parted > 0.02).all()
    # the score holds the noise: the whole population is no wider than the snapshot, give or take a quarter
    assert (noisy.std(0) < 1.25 * model.snapshots[2].std(0)).all()
    np.testing.assert_array_equal(noisy, model.evolve(start, 0.0, 2.0, seed=1))


def test_a_stationary_population_stays_under_noise():
    """No drift, a Gaussian: noise and score must balance."""
    rng = np.random.default_rng(2)
    cells = rng.standard_normal((4000, 1))
    law = LinearDrift(
        np.array([0.0, 1.0]), np.zeros((1, 1, 1)), np.zeros((1, 1)), np.zeros((1, 2)), np.ones((1, 1))
    )
    moved = wander(cells, 0.0, 3.0, law, None, np.array([0.5, 0.5]), [cells, cells], 3)
    assert np.corrcoef(moved[:, 0], cells[:, 0])[0, 1] == pytest.approx(np.exp(-1.5), abs=0.05)
    assert moved.std() == pytest.approx(1.0, abs=0.05)


def test_between_snapshots_the_population_lies_between(trained):
    model = TransportModel.load(trained)
    middle = model.population(3.0)
    low, high = model.snapshots[2].mean(0), model.snapshots[3].mean(0)
    np.testing.assert_allclose(middle.mean(0), 0.5 * (low + high), atol=0.1)
    assert model.population(2.0) is model.snapshots[2]
    with pytest.raises(ValueError, match="before the first"):
        model.population(-1.0)


def test_space_leads_there_and_back(trained):
    model = TransportModel.load(trained)
    x = np.concatenate(snapshots())
    np.testing.assert_allclose(model.decode(model.encode(x)), x)
    assert model.encode(x).std(0) == pytest.approx([1.0, 1.0])


def test_card_has_scores_beside_controls(trained):
    scores = TransportModel.load(trained).card.raw["scores"]["left-out snapshots"]
    assert {"model", "flow, network", "flow, linear drift", "snapshot before"} <= set(scores)
    assert scores["model"]["energy distance"] < scores["snapshot before"]["energy distance"]
    assert "energy distance" in trained.with_suffix(".md").read_text()


def test_predict_flags_what_lies_beyond_and_says_where_a_snapshot_would_tell_most(trained, tmp_path):
    (tmp_path / "times.csv").write_text("time\n1\n1.5\n3\n5\n")
    table = predict_table(trained, tmp_path / "times.csv")
    assert table["flag"].tolist() == ["", "", "", "after the last snapshot at 4"]
    assert (table["u.lower"] < table["u"]).all() and (table["u"] < table["u.upper"]).all()
    gain = table["gain"]
    assert gain[0] == pytest.approx(0.0, abs=1e-3)
    assert gain[1] < gain[2] < gain[3]


def test_a_fit_goes_on_after_a_stop_to_the_same_bits(folder, trained, tmp_path, monkeypatch):
    target = tmp_path / "again.safetensors"

    def stop(done, total, text):
        if done == 50:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(training(folder), target, progress=stop)
    assert not target.exists()
    begun = []
    advance = train_transport.FlowFit.advance
    monkeypatch.setattr(
        train_transport.FlowFit, "advance", lambda self: begun.append(self.iteration) or advance(self)
    )
    train(training(folder), target, resume=True)
    assert begun[0] == 50
    assert TransportModel.load(target).card.sha256 == TransportModel.load(trained).card.sha256


@pytest.mark.parametrize(
    ("data", "space", "labels"),
    [
        ("cells.h5ad", "{name: pca, components: 2}", ["PC1", "PC2"]),
        ("cells.h5ad", "{name: scgpt, embedding: X_scGPT}", ["scGPT1", "scGPT2"]),
        ("cells.csv", "{name: one, features: [v]}", ["v"]),
    ],
)
def test_spaces_from_components_embeddings_and_features(folder, tmp_path, data, space, labels):
    found = train(training(folder, data, space, "{iterations: 2}"), tmp_path / "w.safetensors")
    assert TransportModel.load(found).labels == labels


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("time: day", "time: dya"), "did you mean 'day'"),
        (("{name: plane}", "{name: plane, features: [w]}"), "no feature 'w'"),
        (("{name: plane}", "{name: plane, components: 9}"), "at most"),
        (("cells.csv", "cells.txt"), "no such file"),
        (("{name: plane}", "{name: plane, conserved: []}"), "names no sum"),
    ],
)
def test_faults_are_told(folder, tmp_path, change, said):
    file = training(folder)
    file.write_text(file.read_text().replace(*change))
    with pytest.raises(TrainingError, match=said):
        train(file, tmp_path / "w.safetensors")


def test_intervals_hold_cells_of_a_snapshot_that_was_left_out(folder, tmp_path):
    """The card's own coverage, on average over inner snapshots."""
    found = train(training(folder, fit="{iterations: 2}"), tmp_path / "w.safetensors")
    inside = TransportModel.load(found).card.raw["scores"]["left-out snapshots"]["model"]["inside 90 %"]
    assert 0.75 < inside <= 1.0


@pytest.fixture(scope="module")
def forms(tmp_path_factory):
    """A protein whose two forms turn into each other, in amounts of each cell's own; a third quantity rises."""
    where, rng = tmp_path_factory.mktemp("forms"), np.random.default_rng(5)
    rows = []
    for t in TIMES:
        total, share = rng.uniform(2, 4, 100), rng.normal(0.2 + 0.15 * t, 0.05, 100)
        rows.append(np.c_[np.full(100, t), total * share, total * (1 - share), t + rng.normal(0, 0.3, 100)])
    table = pd.DataFrame(np.concatenate(rows), columns=["day", "active", "resting", "size"])
    table.to_csv(where / "cells.csv", index=False)
    return where


@pytest.mark.parametrize("space", ["{name: s, conserved: [[active, resting]]}", "{name: s}"])
def test_a_conserved_sum_is_kept_in_every_cell(forms, tmp_path, space):
    kept = "conserved" in space
    model = TransportModel.load(train(training(forms, space=space), tmp_path / "w.safetensors"))
    cells = model.snapshots[0]
    before = model.decode(cells)
    for after in (
        model.evolve(cells, 0.0, 3.0),
        model.evolve(cells, 0.0, 3.0, seed=1),
        model.step(cells, np.zeros(len(cells)), 3.0),
    ):
        there = model.decode(after)
        changed = np.abs(there[:, :2].sum(1) - before[:, :2].sum(1)).max()
        assert changed < 1e-9 if kept else changed > 1e-3
        assert (there[:, 0].mean() - before[:, 0].mean()) > 0.8
        assert (there[:, 2].mean() - before[:, 2].mean()) > 2


def test_a_cell_steps_to_the_same_bits_wherever_it_stands(forms, tmp_path):
    """In a space of three components, whose rows do not all begin alike."""
    model = TransportModel.load(train(training(forms), tmp_path / "w.safetensors"))
    cells = model.snapshots[0]
    order, at = np.random.default_rng(0).permutation(len(cells)), np.zeros(len(cells))
    np.testing.assert_array_equal(model.step(cells[order], at, 1.5), model.step(cells, at, 1.5)[order])


def test_a_conserved_sum_of_unknown_features_is_told(forms, tmp_path):
    with pytest.raises(TrainingError, match="names 'ghost', which no cell has; there are active"):
        train(training(forms, space="{name: s, conserved: [[active, ghost]]}"), tmp_path / "w.safetensors")
