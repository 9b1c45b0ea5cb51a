"""The clock: orders of the splitting on a problem with a closed solution, and an order that no listing changes."""

import numpy as np
import pytest
from parts import Decay, Store, tissue
from scipy.linalg import expm

from sim.core.quantity import Quantity
from sim.core.schedule import Schedule

A, B, C, D = 1.3, 0.8, 0.6, 0.9
MATRIX = np.array([[-A, B], [C, -D]])
START = np.array([1.0, 2.0])
END = 2.0


def linear(fast=None):
    """x' = -A x + B y and y' = C x - D y as two processes, each exact while it holds the other; `fast` splits off a
    third, z' = x - 2 z, whose step is the smaller one."""
    parts = [Decay("x", "x", "y", A, B), Decay("y", "y", "x", D, C)]
    return [*parts, Decay("z", "z", "x", 2.0, 1.0)] if fast else parts


def after(splitting, step, processes=None, truth=START, refine=1, paces=None):
    processes = processes or linear()
    for process in processes:
        process.step = (paces or {}).get(process.name, step)
    state, signals = tissue(processes, types=(0,))
    for process, value in zip(processes, truth):
        state[process.quantity][:] = value
    state.changed()
    schedule = Schedule(processes, min(p.step for p in processes), splitting)
    for _, length in schedule.blocks(0.0, END):
        schedule.block(state, signals, length, refine=refine)
    assert state.time == pytest.approx(END, rel=1e-14)
    return np.array([state[p.quantity][0] for p in processes])


def slope(steps, errors):
    return np.polyfit(np.log(steps), np.log(errors), 1)[0]


STEPS = [END / n for n in (16, 32, 64, 128)]


@pytest.mark.parametrize(("splitting", "order"), [("strang", 2.0), ("lie", 1.0)])
def test_order_of_the_splitting(splitting, order):
    exact = expm(MATRIX * END) @ START
    errors = [np.abs(after(splitting, h) - exact).max() for h in STEPS]
    assert slope(STEPS, errors) == pytest.approx(order, abs=0.1)


@pytest.mark.parametrize(("splitting", "order"), [("strang", 2.0), ("lie", 1.0)])
def test_order_with_processes_of_different_pace(splitting, order):
    matrix = np.array([[-A, B, 0], [C, -D, 0], [1, 0, -2.0]])
    start = np.array([1.0, 2.0, 0.5])
    exact = expm(matrix * END) @ start
    errors = [
        np.abs(
            after(splitting, h, linear(fast=True), start, paces={"x": h, "y": h / 2, "z": h / 4}) - exact
        ).max()
        for h in STEPS
    ]
    assert slope(STEPS, errors) == pytest.approx(order, abs=0.1)


@pytest.mark.parametrize("splitting", ["strang", "lie"])
def test_refining_is_the_same_as_a_smaller_step(splitting):
    assert np.allclose(after(splitting, 0.25, refine=4), after(splitting, 0.0625), rtol=1e-13, atol=0)


def test_step_doubling_tells_the_error_of_a_step():
    """The estimate used by `Simulation.splitting_error`, against the closed solution of one step."""
    for splitting, scale in (("strang", 4 / 3), ("lie", 2.0)):
        h = 0.1
        results = {}
        for refine in (1, 2):
            processes = linear()
            state, signals = tissue(processes, types=(0,))
            state["x"][:], state["y"][:] = START
            state.changed()
            Schedule(processes, h, splitting).block(state, signals, h, refine=refine)
            results[refine] = np.array([state["x"][0], state["y"][0]])
        true = np.linalg.norm(expm(MATRIX * h) @ START - results[1])
        assert scale * np.linalg.norm(results[2] - results[1]) == pytest.approx(true, rel=0.15)


@pytest.mark.parametrize("splitting", ["strang", "lie"])
def test_the_order_of_listing_changes_no_bit(splitting):
    start = dict(zip("xyz", (1.0, 2.0, 0.5)))
    results = []
    for order in ((0, 1, 2), (2, 0, 1), (1, 2, 0)):
        processes = [linear(fast=True)[k] for k in order]
        found = after(
            splitting,
            0.1,
            processes,
            [start[p.quantity] for p in processes],
            paces={"x": 0.1, "y": 0.1, "z": 0.05},
        )
        results.append({p.quantity: v for p, v in zip(processes, found)})
    assert results[0] == results[1] == results[2]


def test_settling_comes_before_moving_and_events_after_it():
    order = []

    def note(name):
        return lambda state, signals, dt: order.append((name, state.time, dt))

    processes = [
        Store("event", step=2.0, kind="discrete", act=note("event")),
        Store("move", step=2.0, act=note("move")),
        Store("settle", step=2.0, kind="quasi-steady", act=note("settle")),
    ]
    state, signals = tissue(processes)
    schedule = Schedule(processes, 2.0)
    schedule.block(state, signals, 2.0)
    assert order == [("settle", 0, 2), ("move", 0, 2), ("event", 2, 2)]
    schedule.block(state, signals, 2.0, discrete=False)
    assert [name for name, *_ in order[3:]] == ["settle", "move"]


def test_the_dearest_of_the_fastest_is_called_once():
    order = []

    def note(name):
        return lambda state, signals, dt: order.append((name, dt))

    processes = [Store(name, step=2.0, act=note(name)) for name in ("a", "b", "c")]
    processes[0].cost = 1
    state, signals = tissue(processes)
    Schedule(processes, 2.0).block(state, signals, 2.0)
    assert order == [("b", 1), ("c", 1), ("a", 2), ("c", 1), ("b", 1)]


def test_a_slow_process_wraps_the_fast_ones():
    order = []

    def note(name):
        return lambda state, signals, dt: order.append((name, round(dt, 12)))

    processes = [Store("slow", step=6.0, act=note("slow")), Store("fast", step=2.0, act=note("fast"))]
    state, signals = tissue(processes)
    Schedule(processes, 2.0, "strang").block(state, signals, 6.0)
    assert order == [("slow", 3), ("fast", 2), ("fast", 2), ("fast", 2), ("slow", 3)]
    order.clear()
    Schedule(processes, 2.0, "lie").block(state, signals, 6.0)
    assert order == [("slow", 6), ("fast", 2), ("fast", 2), ("fast", 2)]


def test_the_coupling_step_is_the_shortest_that_a_process_gets():
    processes = [Store("eager", step=0.1)]
    state, signals = tissue(processes)
    schedule = Schedule(processes, 2.0)
    schedule.block(state, signals, 2.0)
    assert processes[0].calls == [(0.0, 2.0)]


@pytest.mark.parametrize(
    ("start", "stop", "count"),
    [(0, 60, 10), (0, 61, 11), (0.1, 0.2, 1), (5.0, 17.0, 2), (0, 60.00000001, 10)],
)
def test_blocks_are_equal_and_no_longer_than_the_step(start, stop, count):
    blocks = Schedule([Store("p", step=6.0)], 6.0).blocks(start, stop)
    assert len(blocks) == count
    assert blocks[0][0] == start and blocks[-1][0] + blocks[-1][1] == pytest.approx(stop, rel=1e-15)
    lengths = [length for _, length in blocks]
    assert max(lengths) <= 6.0 * (1 + 1e-8) and max(lengths) - min(lengths) < 1e-9


def test_every_process_counts_its_own_steps_both_halves_and_all():
    counted = {"halved": [], "whole": [], "event": []}

    def count(name):
        return lambda state, signals, dt: counted[name].append(state.steps[name])

    processes = [
        Store("halved", step=1.0, act=count("halved")),
        Store("whole", step=1.0, act=count("whole")),
        Store("event", step=1.0, kind="discrete", act=count("event")),
    ]
    state, signals = tissue(processes)
    schedule = Schedule(processes, 1.0)
    for _, length in schedule.blocks(0, 5):
        schedule.block(state, signals, length)
    assert counted == {"halved": list(range(10)), "whole": list(range(5)), "event": list(range(5))}
    assert set(schedule.seconds) == set(counted)


def test_the_dead_leave_at_the_end_of_the_step_that_killed_them():
    def kill(state, signals, dt):
        state.remove(np.array([1]), "kill")

    seen = []
    processes = [
        Store("death", states=[Quantity("cell.x", "1", "x")], kind="discrete", act=kill),
        Store("later", kind="discrete", act=lambda state, signals, dt: seen.append(len(state))),
    ]
    state, signals = tissue(processes)
    Schedule(processes, 1.0).block(state, signals, 1.0)
    assert seen == [3] and np.array_equal(state.ids, [0, 2])
