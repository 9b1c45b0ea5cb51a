"""Each fault of the wiring names both parties and the way out."""

import pytest
from parts import Store

from sim.core import wiring
from sim.core.coupling import Coupling
from sim.core.quantity import Quantity

TYPES = ("a", "b")


def state(name, **more):
    return Quantity(name, "1", name, **more)


def takes(name):
    return Quantity(name, "1", name, "input")


def shows(*names):
    return dict.fromkeys(names)


def faults(processes, *couplings):
    return [f.message for f in wiring.check(processes, couplings, TYPES)]


PROCESSES = (
    Store("growth", states=[state("cell.volume")]),
    Store("life", inputs=[takes("rate.division"), takes("rate.death")], reads=["cell.volume"]),
    Store("field.oxygen", readouts=shows("field.oxygen")),
    Store("manipulator.m", states=[state("ur.s", width=4)], readouts=shows("decoder.growth")),
)


def test_a_sound_wiring_has_no_fault():
    sound = [
        Coupling("field.oxygen", "rate.division"),
        Coupling("ur.s[3]", "rate.death"),
        Coupling("neighbours.count(b)", "rate.death", mode="scale"),
        Coupling("neighbours.mean(ur.s[0])", "rate.death", mode="add"),
    ]
    assert faults(PROCESSES, *sound) == []


@pytest.mark.parametrize(
    ("coupling", "words"),
    [
        (Coupling("field.oxigen", "rate.division"), ["field.oxigen", "did you mean 'field.oxygen'"]),
        (Coupling("field.oxygen", "rate.divison"), ["rate.divison", "did you mean 'rate.division'"]),
        (
            Coupling("field.oxygen", "cell.volume"),
            ["cell.volume", "owned by growth", "such as rate.division can"],
        ),
        (Coupling("ur.s", "rate.division"), ["ur.s", "4 parts", "ur.s[0]"]),
        (Coupling("ur.s[4]", "rate.division"), ["ur.s[4]", "last index of ur.s is 3"]),
        (Coupling("ur.t[0]", "rate.division"), ["ur.t"]),
        (Coupling("neighbours.count(c)", "rate.division"), ["cells of type 'c'"]),
        (Coupling("neighbours.mean(field.oxigen)", "rate.division"), ["field.oxigen", "did you mean"]),
    ],
)
def test_a_wrong_end_is_named_with_the_fix(coupling, words):
    (message,) = faults(PROCESSES, coupling)
    for word in words:
        assert word in message


def test_two_owners_are_both_named():
    (message,) = faults([*PROCESSES, Store("swelling", states=[state("cell.volume")])])
    assert "cell.volume" in message and "growth" in message and "swelling" in message and "remove" in message


def test_a_read_that_nobody_shows_names_the_reader():
    (message,) = faults([*PROCESSES, Store("tissue", reads=["cell.volum"])])
    assert "tissue" in message and "cell.volum" in message and "did you mean 'cell.volume'" in message


def test_two_setters_of_one_target_are_refused_only_where_they_meet():
    first = Coupling("field.oxygen", "rate.division", types=frozenset({0}), index=0)
    apart = Coupling("decoder.growth", "rate.division", types=frozenset({1}), index=1)
    meeting = Coupling("decoder.growth", "rate.division", index=1)
    assert faults(PROCESSES, first, apart) == []
    (message,) = faults(PROCESSES, first, meeting)
    assert "field.oxygen → rate.division" in message and "mode: add or scale" in message
    (fault,) = wiring.check(PROCESSES, [first, meeting], TYPES)
    assert fault.coupling == 1 and fault.side == "to"


def test_every_fault_is_found_at_once():
    wrong = [Coupling("x.y", "rate.division", index=0), Coupling("field.oxygen", "cell.volume", index=1)]
    found = wiring.check(PROCESSES, wrong, TYPES)
    assert [(f.coupling, f.side) for f in found] == [(0, "from"), (1, "to")]


def test_a_cycle_within_one_step_is_told_in_its_order():
    loop = [
        Store("p", inputs=[takes("p.in")], readouts=shows("p.out")),
        Store("q", inputs=[takes("q.in")], readouts=shows("q.out")),
    ]
    couplings = [Coupling("p.out", "q.in", index=0), Coupling("q.out", "p.in", index=1)]
    (message,) = faults(loop, *couplings)
    assert "cycle" in message and "cut one of them" in message
    assert all(name in message for name in ("p.out", "q.in", "q.out", "p.in"))


def test_a_loop_through_a_state_is_no_cycle():
    parts = [
        Store("p", states=[state("p.x")], inputs=[takes("p.in")]),
        Store("q", states=[state("q.x")], inputs=[takes("q.in")]),
    ]
    assert faults(parts, Coupling("p.x", "q.in"), Coupling("q.x", "p.in")) == []


def test_neighbours_do_not_hide_a_cycle():
    one = [Store("p", inputs=[takes("p.in")], readouts=shows("p.out"))]
    (message,) = faults(one, Coupling("neighbours.mean(p.out)", "p.in"))
    assert "cycle" in message


def test_the_graph_has_every_process_and_what_passes_between_them():
    drawn = wiring.graph(PROCESSES, [Coupling("neighbours.mean(ur.s[0])", "rate.division")])
    assert [n["name"] for n in drawn["nodes"]] == [p.name for p in PROCESSES]
    assert ("manipulator.m", "life", "coupling") in {
        (e["source"], e["target"], e["kind"]) for e in drawn["edges"]
    }
    assert ("growth", "life", "read") in {(e["source"], e["target"], e["kind"]) for e in drawn["edges"]}
