"""The native engine: its parts against numpy, its results against RoadRunner, and cells in lockstep."""

from __future__ import annotations

import os
from functools import partial

import numpy as np
import pytest
from pathway_examples import CHAIN, ENZYME

from mechanistic import load_model
from mechanistic.codegen.derivatives import jacobian
from mechanistic.codegen.graph import Graph
from mechanistic.codegen.numeric import evaluate
from mechanistic.codegen.sparse import eliminate
from mechanistic.errors import IntegrationError, ModelError
from mechanistic.solvers import lockstep, native

# Robertson's problem: rates eleven orders of magnitude apart.
ROBERTSON = """model robertson
  compartment c = 1; species A in c, B in c, C in c; A = 1; B = 0; C = 0;
  A -> B; 0.04 * A;  2 B -> B + C; 3e7 * B^2;  B + C -> A + C; 1e4 * B * C;
end
"""
# every kind of operation that the machine code knows, in rates that stay finite
OPERATIONS = """model operations
  compartment c = 1; species S in c, T in c; S = 1; T = 2; n = 2.5; k = 0.3;
  A1: S -> T; k * S^n / (1 + S^n) + 0.1 * exp(-T) + 0.05 * ln(1 + S) + 0.02 * sqrt(T);
  A2: T -> S; 0.1 * sin(S)^2 + 0.1 * cosh(T / 10) - 0.05 * tanh(S) + 0.01 * arctan(T) + 0.1 * abs(S - T);
  A3: -> S; piecewise(0.2, S < T, 0.1) + 0.01 * log10(T + 1) + 0.05 * max(S, T) - 0.01 * min(S, 2);
  A4: -> T; 0.1 * cos(time) + 0.2 + S^-2 / 100 + T^0.5 / 50 + 0.02 * floor(T) + 0.01 * sinh(S / 9) * tan(S / 9);
end
"""
# slow, then fast, over and over
OSCILLATOR = """model oscillator
  x' = 200 * (y - (x^3 / 3 - x)); y' = -x / 200 * 40; x = 2; y = 0;
end
"""


def test_jacobian_against_differences():
    graph = Graph()
    x, y = graph.input(0), graph.input(1)
    tree = ["+", ["/", ["^", "x", 2.5], ["+", 1.0, ["exp", "y"]]], ["*", "x", ["ln", "y"], ["tanh", "x"]]]
    tree += [
        ["piecewise", ["*", "x", "y"], ["<", "x", "y"], ["sqrt", "y"]],
        ["max", "x", "y"],
        ["cos", ["sinh", "x"]],
    ]
    node = graph.tree(tree, {"x": x, "y": y}.__getitem__, lambda _: 0)
    slopes = jacobian(graph, [node], [x, y])
    at = np.array([0.7, 1.9])

    def value(point):
        return float(evaluate(graph, [node], list(point))[0])

    for j in range(2):
        shift = np.eye(2)[j] * 1e-6
        expected = (value(at + shift) - value(at - shift)) / 2e-6
        assert float(evaluate(graph, [slopes[0, j]], list(at))[0]) == pytest.approx(expected, rel=1e-7)


def test_elimination_holds_all_fill():
    rng = np.random.default_rng(3)
    matrix = np.where(rng.random((12, 12)) < 0.2, rng.standard_normal((12, 12)), 0) + 10 * np.eye(12)
    plan = eliminate(12, {(int(i), int(j)) for i, j in np.argwhere(matrix)})
    work, x = matrix.copy(), np.arange(12.0)
    entries = set(plan.entries)
    for k in plan.order:
        for i in plan.below[k]:
            work[i, k] /= work[k, k]
            for j in plan.right[k]:
                assert (i, j) in entries
                work[i, j] -= work[i, k] * work[k, j]
            x[i] -= work[i, k] * x[k]
    for k in reversed(plan.order):
        x[k] = (x[k] - sum(work[k, j] * x[j] for j in plan.right[k])) / work[k, k]
    np.testing.assert_allclose(matrix @ x, np.arange(12.0), atol=1e-12)


@pytest.mark.parametrize(("text", "end"), [(CHAIN, 5.0), (ENZYME, 2.0), (ROBERTSON, 1e4), (OPERATIONS, 6.0)])
def test_native_equals_roadrunner(text, end):
    model = load_model(text)
    times = np.linspace(0, end, 5)
    native = model.simulate(times, method="native", rtol=1e-9, atol=1e-13)
    reference = model.simulate(times, method="roadrunner", rtol=1e-11, atol=1e-15)
    assert native.attrs["method"] == "native"
    for name in model.network.species_ids:
        np.testing.assert_allclose(native[name], reference[name], rtol=2e-6, atol=1e-11)


def test_auto_takes_the_native_engine_where_it_can():
    assert load_model(CHAIN).simulate([0, 1]).attrs["method"] == "native"
    events = load_model("model e\n S -> ; S; S = 1; at (time > 1): S = 5\nend")
    assert events.simulate([0, 1]).attrs["method"] == "native"
    refused = load_model("model e\n S -> ; S; S = 1; at (S == 0.5): S = 5\nend")
    assert refused.simulate([0, 1]).attrs["method"] == "roadrunner"
    with pytest.raises(ModelError, match="equal"):
        refused.simulate([0, 1], method="native")
    with pytest.raises(ModelError, match="unknown method"):
        events.simulate([0, 1], method="euler")


def test_the_error_follows_the_tolerance():
    model = load_model(ROBERTSON)
    exact = model.simulate([40.0], method="native", rtol=1e-11, atol=1e-16)["A"].values[0, 0]
    # Hairer & Wanner, stiff test set: A(40) = 0.7158270688
    assert exact == pytest.approx(0.7158270688, rel=1e-8)
    errors = [
        abs(model.simulate([40.0], rtol=r, atol=r * 1e-4)["A"].values[0, 0] - exact)
        for r in (1e-4, 1e-6, 1e-8)
    ]
    assert errors[0] < 1e-4
    assert errors[1] < 1e-6
    assert errors[2] < 1e-8


def test_cells_in_lockstep_are_alone():
    model = load_model(OPERATIONS)
    rng = np.random.default_rng(11)
    rates = rng.lognormal(size=300)
    whole = model.initial_state(300, {"k": rates})
    whole.scale[:] = rng.uniform(1, 2, 300)
    order = rng.permutation(300)[:137]
    part = model.initial_state(137, {"k": rates[order]})
    part.scale[:] = whole.scale[order]
    single = model.initial_state(1, {"k": rates[order[:1]]})
    single.scale[:] = part.scale[:1]
    for _ in range(4):
        for state in (whole, part, single):
            model.advance(state, 0.7)
    np.testing.assert_array_equal(part.amounts, whole.amounts[order])
    np.testing.assert_array_equal(part.step, whole.step[order])
    np.testing.assert_array_equal(single.amounts[0], part.amounts[0])


def test_a_failing_cell_leaves_the_others_alone():
    model = load_model("model blow\n -> S; a * S^2; S = 1; a = 0\nend")
    rates = np.zeros(20)
    rates[7] = 1.0  # infinite at t = 1
    state, calm = model.initial_state(20, {"a": rates}), model.initial_state(20, {"a": np.zeros(20)})
    model.advance(calm, 2.0)
    with pytest.raises(IntegrationError) as caught:
        model.advance(state, 2.0)
    assert caught.value.cell == 7
    assert caught.value.species == "S"
    others = np.arange(20) != 7
    np.testing.assert_array_equal(state.amounts[others], calm.amounts[others])
    assert state.time[7] == 0.0


BLOWS_UP = ENZYME.replace("end\n", "  a = 0; grow: -> P; a * P^2;\nend\n")


def test_one_cell_of_a_thousand_that_fails():
    """It is named with variable and time, and no other cell feels it, in short calls and along a course."""
    model = load_model(BLOWS_UP)
    a = np.zeros(1000)
    a[357] = 1e3
    state, calm = model.initial_state(1000, {"a": a}), model.initial_state(1000, {"a": np.zeros(1000)})
    model.advance(calm, 2.0)
    with pytest.raises(IntegrationError, match=r"cell 357 at time 0.0.*'P' cannot be followed") as caught:
        model.advance(state, 2.0)
    error = caught.value
    assert (error.cell, error.species, error.failed) == (357, "P", (357,))
    others = np.arange(1000) != 357
    np.testing.assert_array_equal(state.amounts[others], calm.amounts[others])
    np.testing.assert_array_equal(state.step[others], calm.step[others])
    np.testing.assert_array_equal(state.amounts[357], [5.0, 1.0, 0.0, 0.0])
    with pytest.raises(IntegrationError, match=r"cell 357 at time 0.0.*'P' cannot be followed"):
        model.simulate([0.0, 1.0], cells=1000, parameters={"a": a})


def test_a_cell_that_fails_once_is_tried_with_finer_tolerances(monkeypatch):
    from mechanistic.solvers.native import Failure, NativeStepper

    model, plain = load_model(ENZYME), load_model(ENZYME)
    states, expected = model.initial_state(20), plain.initial_state(20)
    plain.advance(expected, 1.0)
    run, calls = NativeStepper.run, []

    def fails_first(self, state, *arguments):
        before = state[7].copy() if not calls else None
        course, memory, failed = run(self, state, *arguments)
        calls.append(len(state))
        if before is not None:
            state[7] = before
            failed = {7: Failure("for the test", 0.0, "S")}
        return course, memory, failed

    monkeypatch.setattr(NativeStepper, "run", fails_first)
    model.advance(states, 1.0)
    assert calls == [20, 1]
    others = np.arange(20) != 7
    np.testing.assert_array_equal(states.amounts[others], expected.amounts[others])
    np.testing.assert_allclose(states.amounts[7], expected.amounts[7], rtol=1e-5, atol=1e-8)
    assert not np.array_equal(states.amounts[7], expected.amounts[7])


def test_short_calls_add_up():
    model = load_model(ENZYME)
    short, long = model.initial_state(3), model.initial_state(3)
    for _ in range(50):
        model.advance(short, 0.02)
    model.advance(long, 1.0)
    np.testing.assert_allclose(short.amounts, long.amounts, rtol=1e-5, atol=1e-8)
    np.testing.assert_allclose(short.time, 1.0)


def test_time_in_rate_laws():
    model = load_model("model t\n -> S; 3 * time^2; S = 1\nend")
    state = model.initial_state(2)
    state.time[1] = 1.0
    model.advance(state, 1.0)
    np.testing.assert_allclose(state.amounts[:, 0], [2.0, 8.0], rtol=1e-6)


def test_a_model_in_which_nothing_is_remembered():
    model = load_model("model r\n p = 2; x := p * time;\nend")
    course = model.simulate([0, 1, 3])
    assert course.attrs["method"] == "native"
    np.testing.assert_array_equal(course["x"].values, [[0.0, 2.0, 6.0]])
    state = model.initial_state(2, {"p": np.array([2.0, 5.0])})
    model.advance(state, 3.0)
    np.testing.assert_array_equal(model.observe(state, ["x"])[:, 0], [6.0, 15.0])


def test_machine_code_is_kept_in_the_users_private_cache(tmp_path, monkeypatch):
    from mechanistic.codegen import machine

    folder = tmp_path / "pathways"
    folder.mkdir(mode=0o700)
    monkeypatch.setattr(machine, "private_folder", lambda name: folder)
    first = load_model(CHAIN).simulate([0, 1], method="native")
    kept = os.listdir(folder)
    assert len(kept) == 1
    again = load_model(CHAIN).simulate([0, 1], method="native")
    assert os.listdir(folder) == kept
    np.testing.assert_array_equal(first["B"], again["B"])


def test_arrays_that_cannot_be_changed_in_place_are_refused():
    model = load_model(CHAIN)
    state = model.initial_state(4)
    state.amounts = np.asfortranarray(state.amounts)
    with pytest.raises(ValueError, match="contiguous"):
        model.advance(state, 1.0)


def test_a_cell_that_roadrunner_finished_is_told(monkeypatch):
    model = load_model(ROBERTSON)
    slow = {"A": np.array([0.0, 1.0, 0.0])}
    exact = model.simulate([0.0, 40.0], cells=3, initial=slow, method="native")
    monkeypatch.setattr(native, "_MOST_STEPS", 20)
    found = load_model(ROBERTSON).simulate([0.0, 40.0], cells=3, initial=slow)
    assert exact.attrs["method"] == "native"
    assert found.attrs["method"] == "native, 1 cell by roadrunner"
    assert np.allclose(found["A"], exact["A"], rtol=1e-5)


def _switching(cells: int):
    """Cells of an oscillator that changes method many times, each in its own way."""
    model = load_model(OSCILLATOR)
    start = {"x": np.linspace(0.5, 2.5, cells), "y": np.linspace(0.0, 1.0, cells)}
    return model, start


def test_cells_that_change_method_keep_their_numbers_in_any_company():
    model, start = _switching(37)
    times = np.linspace(0.0, 10.0, 21)
    state = model.initial_state(parameters=start, cells=37)
    method_turns = 0
    for _ in range(20):
        before = state.step < 0
        model.advance(state, 0.5)
        method_turns += int((before != (state.step < 0)).sum())
    assert method_turns > 37
    together = model.simulate(times, cells=37, parameters=start, method="native")
    for k in (0, 11, 36):
        one = {name: value[k] for name, value in start.items()}
        alone = model.simulate(times, parameters=one, method="native")
        assert alone["x"].values.tobytes() == together["x"].values[k : k + 1].tobytes()


def test_the_driver_gives_the_bits_of_python(monkeypatch):
    model, start = _switching(11)
    times = np.linspace(0.0, 0.5, 5)
    compiled = model.simulate(times, cells=11, parameters=start, method="native")
    monkeypatch.setattr(lockstep._run, "on", lambda *first: partial(lockstep._run.python, *first))
    straight = model.simulate(times, cells=11, parameters=start, method="native")
    assert straight["x"].values.tobytes() == compiled["x"].values.tobytes()
