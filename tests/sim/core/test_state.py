"""The state: it grows, divides, forgets the dead, and comes back from a snapshot bit for bit."""

import numpy as np
import pytest

from sim.core.quantity import Quantity
from sim.core.state import NO_PARENT, State


def make(capacity=4, cells=3):
    state = State(
        [
            Quantity("cell.volume", "um^3", "volume", default=8.0, shared=True),
            Quantity("pathway.p.state", "1", "amounts", width=2, shared=True),
            Quantity("ur.s", "1", "representation", width=3),
            Quantity("cell.phase", "1", "phase", integer=True, default=2),
            Quantity("rate.division", "1/min", "hazard", "input"),
            Quantity("pathway.p.k", "1/min", "rate constant", "input", stored=True, default=0.5),
        ],
        capacity=capacity,
    )
    state.add(np.zeros(cells, dtype=int))
    return state


def test_columns_are_states_and_stored_inputs_with_their_defaults():
    state = make()
    assert "rate.division" not in state
    assert np.array_equal(state["cell.volume"], [8, 8, 8])
    assert np.array_equal(state["pathway.p.k"], [0.5] * 3)
    assert state["cell.phase"].dtype == np.int64 and set(state["cell.phase"]) == {2}
    assert state["ur.s"].shape == (3, 3)


def test_growth_beyond_the_capacity_keeps_what_was_there():
    state = make(capacity=4, cells=3)
    state["cell.volume"][:] = [1, 2, 3]
    state.add(np.ones(50, dtype=int))
    assert state.capacity >= 53
    assert np.array_equal(state["cell.volume"][:3], [1, 2, 3])
    assert set(state["cell.volume"][3:]) == {8.0}
    assert state.alive[:53].all() and not state.alive[53:].any()
    assert np.array_equal(state.ids, np.arange(53))


def test_rows_reused_after_a_death_start_from_defaults():
    state = make()
    state["cell.volume"][:] = 99
    state.remove(np.array([2]), "kill")
    state.compact()
    row = state.add(np.array([0]))
    assert state["cell.volume"][row] == 8


def test_ids_are_never_used_again():
    state = make(cells=3)
    state.remove(np.array([2]), "apoptosis")
    state.compact()
    state.add(np.array([0, 0]))
    assert np.array_equal(state.ids, [0, 1, 3, 4])


def test_division_halves_amounts_copies_the_rest_and_records_the_mother():
    state = make(cells=3)
    state.time = 30.0
    state["pathway.p.state"][1] = [10, 4]
    state["ur.s"][1] = [0.1, 0.2, 0.3]
    state["pathway.p.k"][1] = 0.7
    (daughter,) = state.divide(np.array([1]))
    for row in (1, daughter):
        assert np.array_equal(state["pathway.p.state"][row], [5, 2])
        assert state["cell.volume"][row] == 4
        assert np.array_equal(state["ur.s"][row], [0.1, 0.2, 0.3])
        assert state["pathway.p.k"][row] == 0.7
    assert state.ids[1] == 1 and state.ids[daughter] == 3
    assert state.lineage["parent"][3] == 1 and state.lineage["birth_time"][3] == 30
    assert state.lineage["parent"][0] == NO_PARENT


def test_division_beyond_the_capacity_touches_no_other_cell():
    state = make(capacity=3, cells=3)
    state["cell.volume"][:] = [2, 4, 6]
    state.divide(np.array([0, 2]))
    assert np.array_equal(state["cell.volume"], [1, 4, 3, 1, 3])


def test_compact_keeps_the_order_of_ids_and_the_columns_together():
    state = make(cells=6)
    state["cell.volume"][:] = np.arange(6) * 10
    state.remove(np.array([0, 3]), "apoptosis")
    assert len(state) == 6
    state.compact()
    assert np.array_equal(state.ids, [1, 2, 4, 5])
    assert np.array_equal(state["cell.volume"], [10, 20, 40, 50])
    assert state.alive[:4].all() and not state.alive[4:].any()


def test_the_first_cause_of_a_death_stays():
    state = make()
    state.time = 5.0
    state.lineage.died(5.0, np.array([1]), "kill")
    state.time = 9.0
    state.remove(np.array([1, 2]), "apoptosis")
    assert np.array_equal(state.lineage["death_time"][1:], [5, 9])
    assert np.array_equal(state.lineage["cause"], [0, 3, 2])


def test_a_snapshot_brings_everything_back():
    state = make(cells=5)
    state.fields["oxygen"] = np.random.default_rng(1).random((1, 4, 4))
    state["ur.s"][:] = np.random.default_rng(2).random((5, 3))
    state.time, state.steps["life"] = 12.5, 77
    state.divide(np.array([4]))
    state.remove(np.array([1]), "kill")
    kept = state.snapshot()
    other = make(cells=1)
    other.restore(kept)
    again = other.snapshot()
    assert kept.keys() == again.keys()
    for name in kept:
        assert np.array_equal(kept[name], again[name], equal_nan=True), name
    assert other.time == 12.5 and other.steps == {"life": 77}
    assert np.array_equal(other.add(np.array([0])), [5]) and other.ids[-1] == 6


def test_a_snapshot_is_a_copy():
    state = make()
    state.fields["f"] = np.zeros((1, 2, 2))
    kept = state.snapshot()
    state["cell.volume"][:] = -1
    state.fields["f"][:] = -1
    assert (kept["cells/cell.volume"] == 8).all() and (kept["fields/f"] == 0).all()


def test_a_snapshot_of_other_columns_is_refused_by_name():
    kept = make().snapshot()
    other = State([Quantity("cell.mass", "1", "mass")])
    with pytest.raises(ValueError, match=r"cell\.mass"):
        other.restore(kept)


def test_the_torch_view_shares_memory():
    state = make()
    tensor = state.tensor("ur.s")
    tensor[0, 0] = 42.0
    assert state["ur.s"][0, 0] == 42
    state["ur.s"][1, 1] = 7.0
    assert tensor[1, 1].item() == 7


def test_versions_are_new_with_every_change_and_never_those_of_another_state():
    a, b = make(), make()
    seen = {a.version, b.version}
    for state in (a, b, a, b):
        state.changed()
        seen.add(state.version)
    assert len(seen) == 6


def test_a_large_table_keeps_little_room_to_spare():
    state = make(cells=200_000)
    state.add(np.zeros(1, dtype=int))
    assert 200_001 <= state.capacity <= 210_000
