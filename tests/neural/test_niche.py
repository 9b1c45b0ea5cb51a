"""The niche model on tissues whose truth is known, and from a training file."""

import numpy as np
import pytest
import yaml

from neural.tissue.niche import NicheModel, Sample, cross_validated, fit_niche, spatial_blocks
from neural.training import train


def tissue(heard, n=900, seed=0):
    """Cells of two types and regions; a hidden patchy signal moves gene 0 of all who are near each other by `heard`."""
    rng = np.random.default_rng(seed)
    where = rng.uniform(0, 600, (n, 2))
    types, regions = rng.choice(["a", "b"], n), np.where(where[:, 0] < 300, "left", "right")
    patchy = np.sin(where[:, 0] / 25) * np.sin(where[:, 1] / 25)
    noise = rng.normal(0, 0.5, (n, 3))
    level = 1.0 * (types == "a")[:, None] + 0.5 * (regions == "left")[:, None] + noise
    return Sample(level + heard * patchy[:, None] * np.array([1.0, 0.5, 0.0]), types, regions, where)


def test_a_niche_that_matters_gains_and_its_shuffle_does_not():
    scores = cross_validated(tissue(1.0), 40.0, size=150.0, shuffles=1)
    assert scores["type, region, niche"]["gain"] > 0.05
    assert scores["type, region, niche shuffled"]["gain"] <= 0
    assert scores["type, region, neighbours' types"]["gain"] < 0.02
    assert scores["type and region"]["r2"] > scores["type alone"]["r2"]


def test_where_nothing_is_heard_nothing_is_gained():
    scores = cross_validated(tissue(0.0), 40.0, size=150.0, shuffles=1)
    assert abs(scores["type, region, niche"]["gain"]) < 0.02


def test_left_out_blocks_take_no_part():
    """Whatever the left-out cells express, the model is the same to the bit."""
    sample = tissue(1.0)
    block, fold = spatial_blocks(sample.positions, 150.0, 5, 0)
    assert all(len(set(fold[block == b])) == 1 for b in set(block))
    other = sample.expression.copy()
    other[fold == 0] = 77.0
    changed = Sample(other, sample.types, sample.regions, sample.positions)
    a, b = (fit_niche(s, fold != 0, 40.0, blocks=block) for s in (sample, changed))
    assert all(np.array_equal(getattr(a, k), getattr(b, k)) for k in ("base", "weights", "more", "level"))


def test_order_of_cells_does_not_matter():
    sample, order = tissue(1.0), np.random.default_rng(1).permutation(900)
    moved = Sample(*(a[order] for a in (sample.expression, sample.types, sample.regions, sample.positions)))
    a, b = (fit_niche(s, np.ones(900, bool), 40.0).predict(s) for s in (sample, moved))
    np.testing.assert_allclose(b, a[order], atol=1e-9)


def test_unknown_messages_are_named():
    with pytest.raises(ValueError, match=r"unknown messages \['far'\]; there are all, same, near, types"):
        fit_niche(tissue(0.0), np.ones(900, bool), 40.0, messages=("far",))


def test_train_writes_weights_with_their_controls(tmp_path):
    sample = tissue(1.0)
    counts = np.maximum(np.round(5 * np.exp(sample.expression)), 0)
    lines = ["cell,type,region,px,py,G1,G2,G3"] + [
        f"c{i},{t},{r},{2 * x},{2 * y},{','.join(map(str, row))}"
        for i, (t, r, (x, y), row) in enumerate(zip(sample.types, sample.regions, sample.positions, counts))
    ]
    (tmp_path / "cells.csv").write_text("\n".join(lines))
    spec = {
        "training": 1, "kind": "niche", "name": "patches", "data": {"path": "cells.csv"}, "scale": 0.5, "radius": 40,
        "columns": {"x": "px", "y": "py"}, "fit": {"block": 150, "seed": 0},
    }  # fmt: skip
    (tmp_path / "niche.yaml").write_text(yaml.safe_dump(spec))
    path = train(tmp_path / "niche.yaml", tmp_path / "patches.safetensors")
    model = NicheModel.load(path)
    read = Sample(np.log1p(counts), sample.types, sample.regions, sample.positions)
    fitted = fit_niche(read, np.ones(900, bool), 40.0)
    np.testing.assert_allclose(model.predict(read), fitted.predict(read), atol=1e-9)
    assert "niche shuffled" in path.with_suffix(".md").read_text()
