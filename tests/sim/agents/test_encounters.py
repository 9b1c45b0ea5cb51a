"""Who acts on whom: in proportion to rates, and the same whatever the order of cells."""

from __future__ import annotations

import numpy as np

from sim.agents.encounters import chosen_contact, settled


def test_contacts_are_chosen_in_proportion_to_their_rates():
    n, rng = 60_000, np.random.default_rng(0)
    indptr = np.arange(n + 1) * 3
    rates = np.tile([0.01, 0.0, 0.03], n)
    at = chosen_contact(indptr, rates, 10.0, rng.random(n), rng.random(n))
    acts = at >= 0
    p = -np.expm1(-0.4)
    assert abs(acts.mean() - p) < 4 * np.sqrt(p * (1 - p) / n)
    of = (at[acts] - indptr[:-1][acts]).astype(int)
    counts = np.bincount(of, minlength=3)
    assert counts[1] == 0
    assert abs(counts[0] / acts.sum() - 0.25) < 4 * np.sqrt(0.25 * 0.75 / acts.sum())


def test_who_has_no_contact_does_not_act():
    at = chosen_contact(np.array([0, 0, 1, 1]), np.array([5.0]), 100.0, np.zeros(3), np.full(3, 0.5))
    np.testing.assert_array_equal(at, [-1, 0, -1])


def test_each_cell_takes_part_in_one_act_and_the_order_does_not_matter():
    rng = np.random.default_rng(1)
    n, m = 40, 60
    ids = np.sort(rng.choice(1000, n, replace=False))
    actors, victims = rng.integers(0, n, m), rng.integers(0, n, m)
    keep = actors != victims
    actors, victims = actors[keep], victims[keep]
    keys = rng.random(len(actors))
    done = settled(actors, victims, keys, ids)
    taking = np.concatenate([actors[done], victims[done]])
    assert len(set(taking)) == len(taking)
    assert int(np.argmin(keys)) in done
    for k in set(range(len(actors))) - set(done):  # whoever lost, lost to an earlier act
        assert any(keys[j] <= keys[k] and {actors[j], victims[j]} & {actors[k], victims[k]} for j in done)
    shuffle = rng.permutation(len(actors))
    again = settled(actors[shuffle], victims[shuffle], keys[shuffle], ids)
    assert {int(shuffle[k]) for k in again} == set(map(int, done))
