"""Populations between snapshots: plans, births, spread, intervals."""

import numpy as np
import pytest

from neural.transport import (
    between,
    energy_distance,
    plan,
    population_interval,
    predict_population,
    relaxation_weights,
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
    cells = between(early, late, 0.5, np.inf, np.random.default_rng(0))
    wanted = np.sqrt(early.var(0).sum() * late.var(0).sum())
    assert cells.var(0).sum() == pytest.approx(wanted)


def test_without_an_inner_snapshot_all_relaxations_count_alike():
    early, late = drifting([0.0, 2.0])
    np.testing.assert_allclose(relaxation_weights({0: early, 2: late}), 0.25)


def test_intervals_hold_the_left_out_cells():
    cells = drifting([0.0, 1.0, 2.0, 3.0, 4.0])
    low, high = population_interval([*cells[:2], None, *cells[3:]], 2)
    assert ((cells[2] >= low) & (cells[2] <= high)).mean() >= 0.85


def test_an_end_cannot_be_foretold():
    cells = drifting([0.0, 1.0])
    with pytest.raises(ValueError, match="both sides"):
        predict_population([*cells, None], 2)
