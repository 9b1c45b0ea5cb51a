"""The choice between the stiff and the other method, its outputs in between, and code in loops for large models."""

from __future__ import annotations

import numpy as np
import pytest

from mechanistic import load_model
from mechanistic.solvers import linear

# three genes that repress each other: nothing is fast
REPRESSILATOR = """model ring
  compartment c = 1; species A in c, B in c, C in c; A = 1; B = 2; C = 0.1; k = 3; n = 3;
  -> A; k / (1 + C^n);  A -> ; A;  -> B; k / (1 + A^n);  B -> ; B;  -> C; k / (1 + B^n);  C -> ; C;
end
"""
# van der Pol's oscillator about (3, 3), in Lienard's form: stiff along its slow branches, not where it jumps
VAN_DER_POL = """model oscillator
  compartment c = 1; species X in c, Y in c; X = 5; Y = 3; mu = 20;
  -> X; mu * ((X - 3) - (X - 3)^3 / 3 - (Y - 3));  -> Y; (X - 3) / mu;
end
"""
STIFF = "model decay\n S -> P; 1000 * S; P -> ; P - 0.5; S = 1; P = 0\nend"


def _steps(state) -> np.ndarray:
    assert state.step is not None
    return state.step


def _after(model, dt, calls=1, cells=1):
    state = model.initial_state(cells)
    for _ in range(calls):
        model.advance(state, dt)
    return state


def test_cells_that_are_not_stiff_leave_the_stiff_method():
    assert (_steps(_after(load_model(REPRESSILATOR), 20.0)) < 0).all()
    assert (_steps(_after(load_model(STIFF), 20.0)) > 0).all()


def test_the_choice_is_made_in_short_calls_too():
    model = load_model(REPRESSILATOR)
    assert (_steps(_after(model, 0.3, calls=20)) < 0).all()
    stiff = load_model(STIFF)
    state = stiff.initial_state(1)
    _steps(state)[:] = -0.001  # as if it had not been stiff before
    for _ in range(40):
        stiff.advance(state, 0.1)
    assert (_steps(state) > 0).all()


def test_changing_methods_keeps_the_accuracy():
    model = load_model(VAN_DER_POL)
    times = np.linspace(0, 100, 41)
    found = model.simulate(times, method="native", rtol=1e-8, atol=1e-10)
    expected = model.simulate(times, method="roadrunner", rtol=1e-12, atol=1e-14)
    for name in ("X", "Y"):
        np.testing.assert_allclose(found[name], expected[name], rtol=2e-4, atol=2e-4)


def test_changing_methods_keeps_cells_apart():
    model = load_model(VAN_DER_POL)
    strengths = np.random.default_rng(2).uniform(1, 60, 100)
    chosen = np.array([3, 97, 12, 50])
    whole, part = (model.initial_state(len(m), {"mu": m}) for m in (strengths, strengths[chosen]))
    for _ in range(3):
        for state in (whole, part):
            model.advance(state, 20.0)
    assert set(np.sign(_steps(whole))) == {-1.0, 1.0}
    np.testing.assert_array_equal(whole.amounts[chosen], part.amounts)
    np.testing.assert_array_equal(_steps(whole)[chosen], _steps(part))


@pytest.mark.parametrize("text", [REPRESSILATOR, STIFF])
def test_outputs_between_steps_are_as_exact_as_the_steps(text):
    model = load_model(text)
    dense = np.linspace(0, 10, 1001)
    found = model.simulate(dense, method="native", rtol=1e-8, atol=1e-10)
    few = model.simulate(dense[::250], method="native", rtol=1e-8, atol=1e-10)
    exact = model.simulate(dense, method="native", rtol=1e-12, atol=1e-14)
    for name in model.network.species_ids:
        np.testing.assert_array_equal(found[name].values[:, ::250], few[name])
        np.testing.assert_allclose(found[name], exact[name], atol=1e-6)


def test_loops_give_the_bits_of_straight_lines(monkeypatch):
    text = "model m\n" + "\n".join(
        f"S{i} -> S{(3 * i + 1) % 12}; k * S{i} * S{(i * i) % 12};" for i in range(12)
    )
    text += "\n" + "\n".join(f"S{i} = {1 + i % 3};" for i in range(12)) + "\nk = 5\nend"
    straight = _after(load_model(text), 3.0).amounts
    monkeypatch.setattr(linear, "_STRAIGHT", 0)
    np.testing.assert_array_equal(_after(load_model(text), 3.0).amounts, straight)
