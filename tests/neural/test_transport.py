"""Populations between snapshots: plans, births, spread, intervals."""

import numpy as np
import pytest

from neural.transport import (
    GUESSES,
    between,
    energy_distance,
    guesses,
    mixture,
    plan,
    population_interval,
    predict_population,
    rehearse,
)


def drifting(times, n=150, seed=0):
    """Two branches that drift apart while the population widens: (n, 2) per time."""
    rng = np.random.default_rng(seed)
    out = []
    for t in times:
        side = np.where(rng.random(n) < 0.5, 1.0, -1.0)
        out.append(np.stack([t + 0 * side, side * t], 1) + (0.2 + 0.05 * t) * rng.normal(size=(n, 2)))
    return out


def test_a_strict_plan_keeps_both_marginals_and_a_loose_one_does_not():
    early, late = drifting([0.0, 3.0], n=40)
    strict, loose = plan(early, late, np.inf), plan(early, late, 0.2)
    np.testing.assert_allclose(strict.sum(0), 1 / 40, atol=1e-6)
    np.testing.assert_allclose(strict.sum(1), 1 / 40, rtol=0.05)
    assert loose.sum() < 0.9


def test_a_cell_far_from_all_others_is_left_behind_by_a_loose_plan():
    early, late = drifting([0.0, 1.0], n=40)
    early[0] = 1000.0
    loose, strict = plan(early, late, 0.4), plan(early, late, np.inf)
    assert np.isfinite(loose).all()
    assert loose[0].sum() < 1e-12 < 1e-3 < loose[1:].sum(1).min()
    np.testing.assert_allclose(strict.sum(1), 1 / 40)


def test_growth_of_one_branch_sends_no_cell_across():
    """Half of the cells in each of two islands become one in ten and nine in ten: nobody has to travel."""
    rng = np.random.default_rng(1)
    island = np.array([[0.0, 0.0], [10.0, 0.0]])
    early = island[np.arange(100) % 2] + 0.3 * rng.normal(size=(100, 2))
    late = island[(np.arange(100) % 10 > 0).astype(int)] + 0.3 * rng.normal(size=(100, 2))
    travelled = {
        r: (np.abs(early[:, None, 0] - late[None, :, 0]) > 5).ravel() @ plan(early, late, r).ravel()
        for r in (0.2, np.inf)
    }
    assert travelled[np.inf] > 0.3
    assert travelled[0.2] < 0.02


def test_the_left_out_snapshot_is_foretold_better_than_by_its_neighbours():
    cells = drifting([0.0, 1.0, 2.0, 3.0, 4.0])
    snapshots = [*cells[:2], None, *cells[3:]]
    guess = predict_population(snapshots, 2, seed=1)
    nearest = min(energy_distance(cells[1], cells[2]), energy_distance(cells[3], cells[2]))
    assert energy_distance(guess, cells[2]) < 0.2 * nearest
    np.testing.assert_array_equal(guess, predict_population(snapshots, 2, seed=1))
    assert not np.array_equal(guess, predict_population(snapshots, 2, seed=2))


def test_spread_lies_between_the_snapshots():
    early, late = drifting([1.0, 3.0])
    raw, half, full = between(early, late, 0.5, np.inf, np.random.default_rng(0), (0.0, 0.5, 1.0))
    wanted = (np.sqrt(early.var(0).sum()) + np.sqrt(late.var(0).sum())) / 2
    assert np.sqrt(full.var(0).sum()) == pytest.approx(wanted, rel=0.01)
    assert raw.var(0).sum() < half.var(0).sum() < full.var(0).sum()
    early = np.r_[early, [[50.0, 50.0]]]
    paired, every = between(early, late, 0.5, 0.2, np.random.default_rng(0), (1.0, 2.0))
    wanted = (np.sqrt(early.var(0).sum()) + np.sqrt(late.var(0).sum())) / 2
    assert np.sqrt(paired.var(0).sum()) < 0.9 * wanted
    assert np.sqrt(every.var(0).sum()) == pytest.approx(wanted)


def test_without_an_inner_snapshot_all_guesses_count_alike():
    early, late = drifting([0.0, 2.0])
    np.testing.assert_allclose(rehearse({0: early, 2: late})[0], 1 / GUESSES)


def test_cells_that_leap_are_not_put_in_between():
    """Ever more cells of one island are found on another, and none between."""
    rng = np.random.default_rng(2)
    cells = []
    for share in (0.1, 0.3, 0.5, 0.7, 0.9):
        far = np.where(rng.random(150) < share, 40.0, 0.0)
        cells.append(np.stack([far, np.zeros(150)], 1) + rng.normal(size=(150, 2)))
    found = predict_population([*cells[:2], None, *cells[3:]], 2)
    assert ((found[:, 0] > 8) & (found[:, 0] < 32)).mean() < 0.05
    middle = between(cells[1], cells[3], 0.5, np.inf, np.random.default_rng(0))[0]
    assert ((middle[:, 0] > 8) & (middle[:, 0] < 32)).mean() > 0.3
    assert energy_distance(found, cells[2]) < 0.1 * energy_distance(middle, cells[2])


def test_of_many_cells_few_are_paired_and_all_are_found():
    early, late = drifting([0.0, 2.0], n=1500)
    rng = np.random.default_rng(0)
    for weight, snapshot in ((0.0, early), (1.0, late)):
        cells = between(early, late, weight, np.inf, rng, (0.0,))[0]
        found, times = np.unique(cells.round(9), axis=0, return_counts=True)
        np.testing.assert_allclose(found, np.unique(snapshot.round(9), axis=0), atol=1e-8)
        assert times.max() <= 3
    middle = between(early, late, 0.5, np.inf, rng)[0]
    truth = drifting([1.0], n=1500, seed=3)[0]
    assert energy_distance(middle, truth) < 0.1 * energy_distance(early, truth)


def test_a_mixture_is_evenly_drawn():
    early, late = drifting([0.0, 2.0])
    shares = np.zeros(GUESSES)
    shares[[0, -1]] = 0.25, 0.75
    told = guesses(early, late, 0.5, np.random.default_rng(5))
    drawn = mixture(early, late, 0.5, shares, np.random.default_rng(5))
    unmoved = (drawn[:, None] == told[-1][:, None]).all((1, 2))
    assert unmoved.mean() == pytest.approx(0.75, abs=0.01)
    assert (drawn[~unmoved] == told[0][~unmoved]).all()
    of_late = (drawn[unmoved][:, None] == late[None]).all(2).any(1)
    assert of_late.mean() == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize(
    "kind",
    [
        "one cell",
        "all alike",
        "most alike",
        "constant column",
        "tiny unit",
        "large unit",
        "a cell without numbers",
    ],
)
def test_odd_snapshots(kind):
    cells = [x.copy() for x in drifting([0.0, 1.0, 2.0, 3.0, 4.0], n=40)]
    scale = {"tiny unit": 1e-12, "large unit": 1e12}.get(kind, 1.0)
    cells = [x * scale for x in cells]
    if kind == "one cell":
        cells = [x[:1] for x in cells]
    elif kind == "all alike":
        cells = [np.ones_like(x) for x in cells]
    elif kind == "most alike":
        cells = [np.where(np.arange(40)[:, None] % 5 > 0, 0.0, x) for x in cells]
    elif kind == "constant column":
        cells = [np.c_[x, np.full(40, 3.0)] for x in cells]
    elif kind == "a cell without numbers":
        cells[1][3] = np.nan
        cells[0] = cells[0][:0]
    snapshots = [*cells[:2], None, *cells[3:]]
    found = predict_population(snapshots, 2)
    low, high = population_interval(snapshots, 2)
    assert np.isfinite(found).all()
    assert np.isfinite(low).all()
    assert (low <= high).all()
    if scale != 1.0:
        alike = predict_population([None if x is None else x / scale for x in snapshots], 2)
        np.testing.assert_allclose(found / scale, alike, rtol=1e-3, atol=1e-3)
    if kind == "constant column":
        np.testing.assert_allclose(found[:, 2], 3.0)
        assert low[2] == high[2] == pytest.approx(3.0)


def test_intervals_hold_the_left_out_cells():
    cells = drifting([0.0, 1.0, 2.0, 3.0, 4.0])
    low, high = population_interval([*cells[:2], None, *cells[3:]], 2)
    assert ((cells[2] >= low) & (cells[2] <= high)).mean() >= 0.85


def test_an_end_cannot_be_foretold():
    cells = drifting([0.0, 1.0])
    with pytest.raises(ValueError, match="both sides"):
        predict_population([*cells, None], 2)
