"""Delays and fast reactions in many short calls: the same as one course, what is remembered, what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from test_fast_reactions import fast

from mechanistic import load_model
from mechanistic.errors import IntegrationError, ModelError
from mechanistic.past_memory import COUNT, LAST, NODES, NOW, SCALE, PastMemory, past_width


def past_of(state) -> np.ndarray:
    assert state.past is not None
    return state.past


def stepped(text: str, calls: int, dt: float, name: str):
    """(call + 1,) of one quantity at tight tolerances, and of the same in one course."""
    model = load_model(text)
    model.rtol, model.atol = 1e-8, 1e-12
    state = model.initial_state(1)
    found = [model.observe(state, (name,))[0, 0]]
    for _ in range(calls):
        model.advance(state, dt)
        found.append(model.observe(state, (name,))[0, 0])
    whole = model.simulate(np.arange(calls + 1) * dt, rtol=1e-10, atol=1e-13)[name].values[0]
    return np.array(found), whole


@pytest.mark.parametrize(
    ("text", "calls", "dt", "name"),
    [
        pytest.param("x = 1; x' = -delay(x, 1);", 60, 0.3, "x", id="constant, longer than a call"),
        pytest.param("x = 1; x' = -delay(x, 0.1);", 8, 0.5, "x", id="constant, shorter than a call"),
        pytest.param("x = 1; x' = -delay(x, time / 2);", 20, 0.25, "x", id="in time"),
        pytest.param("y = 1; y' = y * delay(y, time + 1 - ln(y)) / (time + 1);", 24, 0.5, "y", id="in state"),
        pytest.param("x = 0; x' = 1; y := delay(delay(x, 1), 0.5); z = 0; z' = y;", 12, 0.3, "z", id="nested"),
        pytest.param("x = 0; x' = 0; y = 0; y' = delay(x, 0.5); at time >= 1: x = 5;", 8, 0.4, "y", id="a jump"),
        pytest.param(
            "x = 0; x' = 1; y = 0; y' = 0; at 0.5 after delay(x, 1) > 2.5: y = delay(x, 2);", 9, 0.55, "y",
            id="an event that waits",
        ),
        pytest.param(
            "x = 0; x' = 1; y = 0; y' = delay(piecewise(1, x < 0.7, 3), 0.33);", 6, 0.4, "y", id="a condition"
        ),
    ],
)  # fmt: skip
def test_many_calls_are_one_course(text, calls, dt, name):
    found, whole = stepped(f"model m\n{text}\nend", calls, dt, name)
    np.testing.assert_allclose(found, whole, rtol=1e-7, atol=1e-9)


def test_fast_reactions_stay_at_equilibrium():
    model = fast("species A in c, B in c; A = 4; B = 0; S: A -> B; 3*A - B; L: B -> ; 0.4*B;", "S")
    found, whole = stepped(model, 10, 0.5, "B")
    assert found[0] == pytest.approx(3.0)
    np.testing.assert_allclose(found, whole, rtol=1e-7)


def test_what_is_set_between_calls_is_felt_after_the_delay():
    """x' = k(t - 1) in effect: k goes from 1 to 3 at 2."""
    model = load_model("model m\n k = 1; x = 0; x' = delay(k, 1);\nend")
    state = model.initial_state(1, parameters={"k": 1.0})
    for call in range(10):
        if call == 4:
            state.parameters[:] = 3.0
        model.advance(state, 0.5)
    assert model.observe(state, ("x",))[0, 0] == pytest.approx(3 + 3 * 2, rel=1e-9)


def test_a_cell_depends_on_its_own_row_only():
    text = "model m\n lag = 1; x = 1; x' = -delay(x, lag) + 0.1*x;\nend"
    lags = np.array([0.4, 1.0, 2.5])

    def ran(rows):
        model = load_model(text)
        state = model.initial_state(len(rows), parameters={"lag": lags[rows]})
        for _ in range(8):
            model.advance(state, 0.5)
        return state

    together, turned = ran(np.arange(3)), ran(np.array([2, 0, 1]))
    assert np.array_equal(together.amounts[[2, 0, 1]], turned.amounts)
    assert np.array_equal(past_of(together)[[2, 0, 1]], past_of(turned))


def test_what_no_delay_looks_back_to_is_dropped():
    model = load_model("model m\n x = 1; x' = -delay(x, 1);\nend")
    state = model.initial_state(1)
    width = past_of(state).shape[1]
    for _ in range(100):
        model.advance(state, 0.3)
    assert past_of(state).shape[1] == width
    long = load_model("model m\n x = 1; x' = -delay(x, 100);\nend")
    state = long.initial_state(1)
    for _ in range(100):
        long.advance(state, 0.3)
    assert past_of(state).shape[1] > width


def test_a_delay_that_looks_beyond_what_is_remembered_is_an_error():
    model = load_model("model m\n lag = 1; x = 1; x' = -delay(x, lag);\nend")
    state = model.initial_state(1, parameters={"lag": 1.0})
    for _ in range(100):
        model.advance(state, 0.3)
    before = state.amounts.copy()
    state.parameters[:] = 29.0
    with pytest.raises(IntegrationError, match=r"cell 0: a delay looks back to time .*no longer remembers"):
        model.advance(state, 0.3)
    assert np.array_equal(state.amounts, before)


def test_a_past_that_changes_before_the_start_is_refused():
    model = load_model("model m\n x := sin(time); y = 0; y' = delay(x, 1);\nend")
    with pytest.raises(ModelError, match="a tissue cannot run a delay of what changes before the start"):
        model.initial_state(1)


def test_amounts_are_told_from_what_is_the_same_in_cells_of_any_size():
    text = """model m
      compartment c = 2; species A in c; substanceOnly species B in c; A = 1; B = 1; p = 1; p' = {};
      J: A -> B; c*A;
    end"""

    def amount(looked_at):
        return load_model(text.format(f"delay({looked_at}, 1)")).delayed_amounts()

    found = [amount(looked_at) for looked_at in ("A", "B", "p", "J", "A*B", "B/c")]
    assert found == [[False], [True], [False], [True], [True], [False]]
    assert amount("delay(B, 1)*A") == [True, True]
    with pytest.raises(ModelError, match="neither an amount nor the same in cells of any size"):
        amount("B^2")


def test_pieces_are_read_as_they_were_written():
    """Polynomials of degree 5, joined smoothly, with a kink, with a jump."""
    memory = PastMemory(np.zeros(past_width(1, 4)), 1)
    pieces = [(0.0, 1.0, lambda t: t**5), (1.0, 3.0, lambda t: 5 * t - 4), (3.0, 4.0, lambda t: 14 - t)]
    pieces.append((4.0, 5.0, lambda t: 0 * t))
    for start, end, function in pieces:
        assert memory.make_room(1, 0.0)
        memory.add(start, end, 7, function(start + (end - start) * NODES)[None, :], 1e-9)
    assert memory.breaks() == [(0.0, 0), (3.0, 1), (4.0, 0)]
    times = np.array([-1.0, 0.3, 0.9, 1.0, 2.2, 3.5, 4.5, 6.0])
    np.testing.assert_allclose(memory.value(0, times), [0, 0.3**5, 0.9**5, 1, 7, 10.5, 0, 0], atol=1e-12)
    assert not memory.make_room(1, 0.5)
    assert memory.make_room(1, 1.5)
    assert np.array_equal(np.isnan(memory.value(0, times)), times < 1)


def test_growth_is_spread_over_the_call_in_which_it_was_not_told():
    memory = PastMemory(np.zeros(past_width(1, 4)), 1)
    memory.add(0.0, 2.0, 0, np.full((1, 6), 10.0), 1e-9)
    memory.add(2.0, 4.0, 7, np.full((1, 6), 10.0), 1e-9)
    memory.row[[NOW, LAST, SCALE]] = 4.0, 2.0, 1.0
    before = memory.row.copy()
    memory.grown(np.array([4.0]), 2.5)  # more than a cell grows by in one call
    memory.grown(np.array([9.0]), 1.0)  # of a cell that did not grow
    assert np.array_equal(memory.row, before)
    memory.grown(np.array([9.0]), 1.1)
    np.testing.assert_allclose(memory.value(0, np.array([1.0, 2.0, 3.0, 4.0])), [10, 10, 9.5, 9], atol=1e-12)


def test_a_cell_that_grows_needs_few_pieces():
    """Its concentrations fall by 5 % at each call, which no later step has to end at."""
    model = load_model("model m\n compartment c = 1; species S in c; S = 1;\n J: -> S; c*delay(S, 5);\nend")
    state = model.initial_state(1)
    for _ in range(12):
        model.advance(state, 1.0)
        state.scale *= 1.05
    assert past_of(state)[0, COUNT] < 3 * 12
