"""Values by name: defaults, couplings in order, neighbours' aggregates, and what is remembered for how long."""

import numpy as np
from parts import Store, tissue

from sim.core.coupling import Coupling, Linear
from sim.core.quantity import Quantity

HAZARD = Quantity("rate.division", "1/min", "hazard", "input", default=1.0, by_type={1: 3.0})


def signal(name, values):
    return {name: lambda state, signals: np.asarray(values, float)[: len(state)]}


def test_inputs_have_the_default_of_their_type():
    _, signals = tissue([Store("life", inputs=[HAZARD])], types=(0, 1, 0))
    assert np.array_equal(signals["rate.division"], [1, 3, 1])


def test_set_comes_first_then_add_and_scale_in_their_order():
    processes = [Store("life", inputs=[HAZARD]), Store("f", readouts=signal("field.f", [2, 2, 2]))]
    scale, put, add = (
        Coupling("field.f", "rate.division", mode="scale", index=0),
        Coupling("field.f", "rate.division", Linear(5.0), index=1),
        Coupling("field.f", "rate.division", mode="add", index=2),
    )
    _, signals = tissue(processes, [scale, put, add])
    assert np.array_equal(signals["rate.division"], [22, 22, 22])


def test_a_coupling_reaches_only_its_cell_types_and_those_that_have_source_and_target():
    dose = {"decoder.d": lambda state, signals: np.where(state["cell.type"] == 1, 7.0, np.nan)}
    processes = [Store("life", inputs=[HAZARD]), Store("m", readouts=dose, types=frozenset({1}))]
    _, signals = tissue(processes, [Coupling("decoder.d", "rate.division")], types=(0, 1, 1))
    assert np.array_equal(signals["rate.division"], [1, 7, 7])
    _, narrowed = tissue(
        processes, [Coupling("decoder.d", "rate.division", types=frozenset({0}))], types=(0, 1, 1)
    )
    assert np.array_equal(narrowed["rate.division"], [1, 3, 3])


def test_a_driven_input_can_be_the_source_of_another():
    second = Quantity("rate.death", "1/min", "hazard", "input")
    processes = [Store("life", inputs=[HAZARD, second]), Store("f", readouts=signal("field.f", [4, 5, 6]))]
    couplings = [
        Coupling("rate.division", "rate.death", Linear(10.0), index=0),
        Coupling("field.f", "rate.division", index=1),
    ]
    _, signals = tissue(processes, couplings)
    assert np.array_equal(signals["rate.death"], [40, 50, 60])


def test_stored_inputs_are_the_base_that_couplings_act_on():
    from dataclasses import replace

    life = Store("life", inputs=[replace(HAZARD, stored=True)])
    processes = [life, Store("f", readouts=signal("field.f", [2, 2, 2]))]
    state, signals = tissue(processes, [Coupling("field.f", "rate.division", mode="scale")])
    state["rate.division"][:] = [1, 10, 100]
    assert np.array_equal(signals["rate.division"], [2, 20, 200])
    assert np.array_equal(state["rate.division"], [1, 10, 100])


def test_components_of_blocks():
    block = Quantity("ur.s", "1", "representation", width=3)
    state, signals = tissue([Store("m", states=[block])])
    state["ur.s"][:] = np.arange(9).reshape(3, 3)
    assert np.array_equal(signals["ur.s[1]"], [1, 4, 7])
    assert np.array_equal(signals.stack(["ur.s[0]", "ur.s[2]"]), [[0, 2], [3, 5], [6, 8]])


def test_neighbours_are_counted_summed_and_averaged_over_those_that_have_the_quantity():
    # 0 - 1, 1 - 2, 1 - 3; nobody beside 4
    graph = (np.array([0, 1, 4, 5, 6, 6]), np.array([1, 0, 2, 3, 1, 1], dtype=np.int32))
    shown = {"pathway.p.D": lambda state, signals: np.where(state["cell.type"] == 0, state["cell.x"], np.nan)}
    processes = [
        Store("mechanics", states=[Quantity("cell.x", "1", "x")]),
        Store("p", readouts=shown, types=frozenset({0})),
    ]
    state, signals = tissue(processes, types=(0, 0, 1, 0, 0), graph=lambda: graph)
    state["cell.x"][:] = [10, 20, 30, 40, 50]
    state.changed()
    assert np.array_equal(signals["neighbours.count(a)"], [1, 2, 1, 1, 0])
    assert np.array_equal(signals["neighbours.count(b)"], [0, 1, 0, 0, 0])
    assert np.array_equal(signals["neighbours.sum(pathway.p.D)"], [20, 50, 20, 20, 0])
    assert np.array_equal(signals["neighbours.mean(pathway.p.D)"], [20, 25, 20, 20, 0])
    assert np.array_equal(signals["neighbours.mean(cell.x)"], [20, (10 + 30 + 40) / 3, 20, 20, 0])


def test_nobody_beside_anybody_is_none_and_zero():
    graph = (np.zeros(3, np.int64), np.zeros(0, np.int32))
    processes = [Store("mechanics", states=[Quantity("cell.x", "1", "x")])]
    _, signals = tissue(processes, types=(0, 0), graph=lambda: graph)
    for how in ("count(a)", "sum(cell.x)", "mean(cell.x)"):
        found = signals[f"neighbours.{how}"]
        assert found.dtype == float and np.array_equal(found, [0, 0])


def test_values_are_computed_once_until_the_state_changes():
    reader = Store("f", readouts={"field.f": lambda state, signals: state["cell.x"] * 2})
    state, signals = tissue([Store("m", states=[Quantity("cell.x", "1", "x")]), reader])
    state["cell.x"][:] = 1
    state.changed()
    assert signals["field.f"] is signals["field.f"] and reader.asked == 1
    state["cell.x"][:] = 5
    state.changed()
    assert np.array_equal(signals["field.f"], [10, 10, 10]) and reader.asked == 2
