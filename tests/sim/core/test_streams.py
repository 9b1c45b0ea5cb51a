"""Random numbers depend on seed, purpose, cell and step, and on nothing else; every process has its own."""

import numpy as np
import pytest
from parts import Store

from sim.core.random import Streams
from sim.core.state import State

IDS = np.array([0, 1, 5, 2**40])


def test_the_same_cell_gets_the_same_numbers_in_any_company():
    together = Streams(3).uniforms("life", 7, IDS, 3)
    alone = np.concatenate([Streams(3).uniforms("life", 7, IDS[k : k + 1], 3) for k in (2, 0, 3, 1)])
    assert np.array_equal(together[[2, 0, 3, 1]], alone)


def test_seed_purpose_step_and_draw_each_matter():
    base = Streams(3).uniforms("life", 7, IDS, 2)
    others = [
        Streams(4).uniforms("life", 7, IDS, 2),
        Streams(3).uniforms("cycle", 7, IDS, 2),
        Streams(3).uniforms("life", 8, IDS, 2),
    ]
    assert all(not np.any(base == o) for o in others)
    assert not np.any(base[:, 0] == base[:, 1])


def test_more_draws_leave_the_first_ones_as_they_are():
    few, many = Streams(1).uniforms("a", 0, IDS, 2), Streams(1).uniforms("a", 0, IDS, 7)
    assert np.array_equal(few, many[:, :2])


@pytest.mark.parametrize("seed", [0, 1, 2**63, 2**64 - 1])
def test_every_allowed_seed_works(seed):
    u = Streams(seed).uniforms("a", 0, np.arange(4000))
    assert u.min() >= 0 and u.max() < 1
    assert abs(u.mean() - 0.5) < 4 * np.sqrt(1 / 12 / 4000)


def test_a_process_draws_by_its_own_name_and_steps():
    state, streams = State(()), Streams(3)
    one, other = Store("one"), Store("other")
    for process in (one, other):
        process.prepare(streams)
    first = one.uniforms("turn", state, IDS)
    assert not np.any(first == other.uniforms("turn", state, IDS))
    assert not np.any(first == one.uniforms("rest", state, IDS))
    state.steps["other"] += 1
    assert np.array_equal(first, one.uniforms("turn", state, IDS))
    state.steps["one"] += 1
    assert not np.any(first == one.uniforms("turn", state, IDS))


def test_a_kernel_draws_the_same_numbers():
    from mechanistic.random import uniforms

    state, process = State(()), Store("one")
    process.prepare(Streams(3))
    state.steps["one"] = 5
    drawn = uniforms(*process.key_and_step("turn", state), IDS, 2)
    assert np.array_equal(drawn, process.uniforms("turn", state, IDS, 2))
