"""The pieces of FAITH-Hybrid: what is known of trajectories, what networks are fitted, how scores are kept."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.interpolate import make_smoothing_spline
from scipy.stats import binomtest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

import faith_networks
import faith_problem
import faith_scores
from faith_families import problems


def test_courses_are_those_of_a_solver_with_error_control():
    def slope(t, x):
        return np.stack([x[..., 0] * (1 - x[..., 1]), x[..., 1] * (x[..., 0] - 1) + 0.1 * np.sin(t)], -1)

    times, start = np.linspace(0, 6, 13), np.array([[0.5, 1.5], [1.2, 0.7]])
    found = faith_problem.courses(slope, start, times)
    for k in range(2):
        exact = solve_ivp(slope, (0, 6), start[k], t_eval=times, rtol=1e-10, atol=1e-12).y.T
        assert found[k] == pytest.approx(exact, abs=1e-5)


def test_one_series_is_smoothed_as_scipy_does():
    times = np.linspace(0, 8, 61)
    series = np.sin(times) + 0.1 * np.random.default_rng(0).normal(size=61)
    level, slope, _ = faith_problem.smoothed(times, series[None, :, None])
    peer = make_smoothing_spline(times, series)
    assert level[0, :, 0] == pytest.approx(peer(times), abs=0.02)
    assert slope[0, 3:-3, 0] == pytest.approx(peer.derivative()(times)[3:-3], abs=0.05)


def test_smoothing_finds_the_noise_and_measures_again():
    rng = np.random.default_rng(1)
    times = np.linspace(0, 8, 61)
    clean = np.sin(times + np.arange(20)[:, None])[..., None]
    tracks = faith_problem.Tracks(times, clean + 0.1 * rng.normal(size=clean.shape))
    assert np.sqrt(np.mean((tracks.level - clean) ** 2)) < 0.05
    assert tracks.sd.mean() == pytest.approx(0.1, rel=0.05)
    again = tracks.again(rng)
    assert again.sd.mean() == pytest.approx(0.1, rel=0.1)
    assert 0.01 < np.sqrt(np.mean((again.level - tracks.level) ** 2)) < 0.05


def test_a_network_finds_the_edges_and_its_other_fits_are_of_other_data():
    problem = problems("forces", 200, 0.05, 24)[0]
    fit = faith_networks.fitted(problem, 0)
    assert set(np.flatnonzero(problem.active)) <= set(fit.used.tolist())
    assert fit.learned and fit.held_out < 0.1
    numbers = [*fit.starts, *fit.without, *fit.again]
    assert numbers == list(range(len(fit.networks)))
    assert len(fit.without) == faith_networks.GROUPS and len(fit.again) == faith_networks.DRAWS
    import torch

    z = torch.tensor(problem.z[:50])
    said = np.array([fit.each(z, torch.full((50,), k)).numpy() for k in numbers])
    truth = problem.truth(problem.z[:50])
    assert np.corrcoef(fit(z).numpy(), truth)[0, 1] > 0.98
    assert len(np.unique(said[:, 0])) == len(numbers)


def test_what_is_noise_alone_is_not_learned():
    silent = problems("forces", 201, 0.05, 24, off=True)[0]
    fit = faith_networks.fitted(silent, 0)
    assert not fit.learned and len(fit.networks) == 1


def test_binomial_intervals():
    for hits, count in ((0, 10), (3, 10), (10, 10), (27, 30)):
        peer = binomtest(hits, count).proportion_ci(0.95, method="exact")
        assert faith_scores.binomial(hits, count) == pytest.approx((peer.low, peer.high))


def test_average_precision():
    labels = np.array([True, False, True, False])
    assert faith_scores.average_precision(labels, np.array([4, 3, 2, 1])) == pytest.approx((1 + 2 / 3) / 2)
    assert faith_scores.average_precision(labels, np.array([4, 1, 3, 2])) == 1


def test_what_was_done_is_kept_beside_what_others_did(tmp_path):
    file = tmp_path / "kept.json"
    one, other = faith_scores.Kept(file), faith_scores.Kept(file)
    one.add("a", [{"x": 1}])
    other.add("b", [{"x": 2}])
    assert json.loads(file.read_text()) == {"a": [{"x": 1}], "b": [{"x": 2}]}
    assert faith_scores.Kept(file).get("a") == [{"x": 1}]
    assert faith_scores.Kept(file).get("c") is None
    assert [p.name for p in tmp_path.iterdir()] == ["kept.json"]


def record(missed: float) -> dict:
    rng = np.random.default_rng(1)
    return {
        "active": [1, 0],
        "share": [0.9, 0.1],
        "first": 1.0,
        "causal": 1.0,
        "decoys": [0],
        "null_first": 0.5,
        "null_chance": 0.5,
        "null_claimed": [0],
        "sign": [1],
        "spearman": 1.0,
        "fits": {
            "effect": [1 + missed],
            "whole": [1.0],
            "without": rng.normal(1, 0.1, (12, 1)).tolist(),
            "starts": [[1.0], [1.0]],
            "again": [[1.0], [1.0]],
        },
    }


def test_scores_and_tables():
    records = [record(0.0), record(0.0), record(9.0), record(0.0)]
    said = {what: (value, ends) for what, value, ends in faith_scores.values(records)}
    assert said["AUPRC"][0] == 1
    assert said[faith_scores.COVERAGE][0] == 0.75
    ratio, ends = said[faith_scores.NULL_RATIO]
    assert ratio == 1 and ends is not None and ends[0] < 1 < ends[1]
    groups = {("forces", 0.05, 24): [{"gradients": r} for r in records]}
    text = faith_scores.tables(groups, 4)
    assert "5% noise, 24 trajectories, 4 seeds:" in text
    assert "| forces | gradients | 1.00 | 1.00 |" in text and "| 0.75 (" in text
