"""Events and conditions on time in the native engine: when they happen, in which order, and cell by cell."""

from __future__ import annotations

import numpy as np
import pytest

from mechanistic import load_model
from mechanistic.errors import IntegrationError


def values(text: str, times, name: str, **options) -> np.ndarray:
    course = load_model(text).simulate(times, method="native", **options)
    return course[name].values


def test_an_event_happens_where_its_trigger_turns():
    """S = exp(-t) falls to 0.5 at ln 2, and again ln 10 after it was set to 5."""
    text = "model e\n S -> ; S; S = 1; n = 0; at S < 0.5: S = 5, n = n + 1;\nend"
    first, second = np.log(2), np.log(2) + np.log(10)
    times = [first - 1e-6, first + 1e-6, second - 1e-6, second + 1e-6]
    tight = {"rtol": 1e-10, "atol": 1e-14}
    np.testing.assert_allclose(values(text, times, "n", **tight)[0], [0, 1, 1, 2])
    np.testing.assert_allclose(values(text, times, "S", **tight)[0], [0.5, 5, 0.5, 5], rtol=1e-5)


@pytest.mark.parametrize(
    ("trigger", "at_five"), [("time >= 5", 1.0), ("time > 5", 0.0), ("time == 5", 1.0), ("5 <= time", 1.0)]
)
def test_an_instant_has_two_sides(trigger, at_five):
    found = values(f"model e\n x = 0; at {trigger}: x = 1;\nend", [4.999999, 5.0, 5.000001], "x")
    np.testing.assert_array_equal(found[0], [0.0, at_five, 1.0])


def test_pulses_of_time_are_not_leapt_over():
    """A day has 12 hours of light; a second trigger holds for a millionth of the step that the model allows."""
    text = """model day
      x = 0; x' = piecewise(1, time - 24 * floor(time / 24) < 12, 0); n = 0; y = 0;
      at time > 70 && time < 70.000001: n = n + 1;
      at abs(time - 80) < 1e-7: y = y + 1;
    end"""
    times = [12.0, 24.0, 36.0, 100.0]
    np.testing.assert_allclose(values(text, times, "x")[0], [12.0, 12.0, 24.0, 52.0], rtol=1e-9)
    assert values(text, [1e4], "n")[0, 0] == 1.0
    assert values(text, [1e4], "y")[0, 0] == 1.0


def test_a_trigger_of_two_conditions_on_a_state():
    """x passes from 2.5 to 2.6 within one step."""
    text = "model m\n x = 0; y = 0; x' = 1;\n at 1 after (x > 2.5 && x < 2.6): y = x;\nend"
    np.testing.assert_allclose(values(text, [3.4, 3.6], "y")[0], [0.0, 2.5], rtol=1e-9)


def test_priorities_and_what_they_set_off():
    """Of events at one time the highest priority goes first, and may set off or call off others."""
    text = """model p
      a = 0; b = 0; c = 0; k = 0;
      E1: at time >= 1, fromTrigger = false, priority = 1: a = k, k = k + 1;
      E2: at time >= 1, fromTrigger = false, priority = 2: b = k, k = k + 1;
      E3: at b == 0 && time >= 1 && k > 0, fromTrigger = false, priority = 9: c = k, k = k + 1;
    end"""
    found = [values(text, [2.0], name)[0, 0] for name in ("b", "c", "a", "k")]
    assert found == [0.0, 1.0, 2.0, 3.0]


def test_equal_priorities_are_drawn_by_lot_cell_by_cell():
    text = """model p
      a = 0; k = 1;
      E1: at time >= 1, fromTrigger = false, priority = 1: a = k, k = k + 1;
      E2: at time >= 1, fromTrigger = false, priority = 1: k = k + 1;
    end"""
    firsts = values(text, [2.0], "a", cells=1000)[:, 0]
    assert 430 < np.sum(firsts == 1.0) < 570
    np.testing.assert_array_equal(firsts[:100], values(text, [2.0], "a", cells=100)[:, 0])
    assert not np.array_equal(firsts, values(text, [2.0], "a", cells=1000, seed=1)[:, 0])


def test_what_is_not_persistent_is_called_off():
    text = """model p
      x = 0; y = 0; x' = 1;
      E1: at 2 after x > 1 && x < 2, persistent = {persistent}: y = 1;
    end"""
    assert values(text.format(persistent="true"), [5.0], "y")[0, 0] == 1.0
    assert values(text.format(persistent="false"), [5.0], "y")[0, 0] == 0.0


@pytest.mark.parametrize(("from_trigger", "expected"), [("true", 1.0), ("false", 3.0)])
def test_the_time_of_the_values(from_trigger, expected):
    text = f"model d\n x = 0; y = 0; x' = 1; at 2 after x > 1, fromTrigger = {from_trigger}: y = x;\nend"
    np.testing.assert_allclose(values(text, [5.0], "y"), expected, rtol=1e-9)


@pytest.mark.parametrize(("t0", "expected"), [("false", 7.0), ("true", 1.0)])
def test_triggers_at_the_start(t0, expected):
    assert values(f"model s\n x = 1; at time >= 0, t0 = {t0}: x = 7;\nend", [0.0], "x")[0, 0] == expected


DELAYED = """model d
  S -> ; 0.5 * S; S = 1; k = 1; n = 0;
  E1: at 3 after S < k * 0.5: S = S + 2;
  E2: at 0.25 after time - 2 * floor(time / 2) < 1: n = n + 1;
end"""


def test_short_calls_and_one_course_agree():
    """With delays longer than a call: what waits lives in the state between calls."""
    model = load_model(DELAYED)
    k = np.array([0.4, 0.8, 1.2])
    state = model.initial_state(3, {"k": k})
    for _ in range(40):
        model.advance(state, 0.3)
    course = model.simulate([12.0], cells=3, parameters={"k": k}, rtol=1e-9, atol=1e-12)
    assert course.attrs["method"] == "native"
    np.testing.assert_allclose(model.observe(state, ["S", "n"])[:, 0], course["S"].values[:, 0], rtol=1e-4)
    np.testing.assert_array_equal(model.observe(state, ["n"])[:, 0], course["n"].values[:, 0])


def test_the_memory_of_events_moves_with_the_cells():
    model = load_model(DELAYED)
    k = np.linspace(0.3, 1.3, 20)
    whole = model.initial_state(20, {"k": k})
    model.advance(whole, 3.0)
    order = np.random.default_rng(1).permutation(20)[:7]
    part = model.initial_state(7, {"k": k[order]})
    assert whole.memory is not None
    part.amounts, part.memory = whole.amounts[order].copy(), whole.memory[order].copy()
    part.time, part.step = whole.time[order].copy(), whole.step[order].copy()
    for state in (whole, part):
        model.advance(state, 6.0)
    np.testing.assert_array_equal(part.amounts, whole.amounts[order])
    np.testing.assert_array_equal(part.memory, whole.memory[order])


def test_a_trigger_that_is_turned_between_two_calls_fires():
    model = load_model("model t\n x = 0; S -> ; S; S = 1; k = 0; at k > 1: x = x + 1;\nend")
    state = model.initial_state(2, {"k": np.zeros(2)})
    model.advance(state, 1.0)
    state.parameters[1, 0] = 2.0
    for _ in range(3):
        model.advance(state, 1.0)
    np.testing.assert_array_equal(model.observe(state, ["x"])[:, 0], [0.0, 1.0])


def test_a_cell_may_wait_for_many_events():
    """More than there is room for at first: room is made, and nothing is lost."""
    text = """model many
      n = 0; x = 0; E1: at 50 after time - floor(time) < 0.5, fromTrigger = false: n = n + 1;
    end"""
    np.testing.assert_array_equal(values(text, [49.9, 60.9, 99.9], "n")[0], [0.0, 10.0, 49.0])


def test_the_output_grid_changes_nothing():
    for text in (DELAYED, "model e\n S -> ; S; S = 1; at S < 0.5: S = 5;\nend"):
        grid = np.linspace(0, 12, 121)
        whole = values(text, grid, "S")[0]
        few = [3, 50, 77, 120]
        np.testing.assert_array_equal(values(text, grid[few], "S")[0], whole[few])
        np.testing.assert_array_equal(values(text, grid[:60], "S")[0], whole[:60])


def test_events_without_end_are_named():
    flip = "model f\n x = 0; A: at x < 0.5 && time > 1: x = 1; B: at x > 0.5: x = 0;\nend"
    with pytest.raises(IntegrationError, match=r"cell 0 at time 1: the event .[AB]. fires without end"):
        load_model(flip).simulate([0.0, 2.0])
    ball = "model ball\n h = 1; v = 0; h' = v; v' = -9.81;\n B: at h < 0: v = -0.8 * v;\nend"
    state = load_model(ball).initial_state(3)
    with pytest.raises(IntegrationError, match="'B' fires without end") as error:
        load_model(ball).advance(state, 20.0)
    # t0 (1 + 2 r / (1 - r)), t0 = sqrt(2 / g)
    assert error.value.time == pytest.approx(9 * np.sqrt(2 / 9.81), rel=1e-4)
    assert error.value.failed == (0, 1, 2)


def test_a_delay_that_is_none_is_named():
    text = "model d\n x = 0; S -> ; S; S = 1; E: at S - 1 after time > 1: x = 1;\nend"
    with pytest.raises(IntegrationError, match="'E' has a delay that is negative"):
        load_model(text).simulate([0.0, 5.0], method="native")
