"""Tau-leaping and the chemical Langevin equation, held to closed forms and to the exact method."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats as stats

from mechanistic import load_model
from mechanistic.errors import ModelError
from mechanistic.random.poisson import poisson_number
from mechanistic.solvers.chance import leaps
from mechanistic.threads import set_threads, threads

METHODS = ("tau-leaping", "langevin")


def _immigration(rate: float, more: str = "") -> str:
    return (
        f"model m\n  compartment c = 1;\n  substanceOnly species X in c;\n  X = 0; a = {rate}; mu = 0.1;\n"
        f"  come: -> X; a;\n  go: X -> ; mu * X;\n  {more}\nend\n"
    )


def _dimers(start: int, bind: float) -> str:
    return (
        f"model d\n  compartment c = 1;\n  substanceOnly species X in c, X2 in c;\n  X = {start}; X2 = 0;\n"
        f"  k1 = {bind}; k2 = 0.3;\n  bind: 2 X -> X2; k1 * X * (X - 1) / 2;\n  part: X2 -> 2 X; k2 * X2;\nend\n"
    )


@pytest.mark.parametrize("mean", [0.3, 9.5, 12.0, 300.0])
def test_poisson_numbers(mean):
    key, step = np.uint64(5), np.uint64(0)
    drawn = np.array([poisson_number(mean, key, np.uint64(i), step, 0) for i in range(4000)])
    assert np.all(drawn == np.floor(drawn))
    assert abs(drawn.mean() - mean) < 4.5 * np.sqrt(mean / 4000)
    assert abs(drawn.var() / mean - 1) < 4.5 * np.sqrt((2 + 1 / mean) / 4000)
    lower = stats.poisson(mean).ppf(0.25)
    share = stats.poisson(mean).cdf(lower)
    assert abs(np.mean(drawn <= lower) - share) < 4.5 * np.sqrt(share * (1 - share) / 4000)


@pytest.mark.parametrize("method", METHODS)
def test_immigration_and_death_are_poisson(method):
    """From 0 the amount is Poisson with mean a / mu (1 - exp(-mu t)); leaps of 3 % may be off by 1 % of it."""
    times, cells = np.array([0.0, 5.0, 20.0]), 2000
    x = load_model(_immigration(100)).simulate(times, cells=cells, method=method, seed=1)["X"].values
    mean = 1000 * (1 - np.exp(-0.1 * times[1:]))
    assert np.all(np.abs(x[:, 1:].mean(0) - mean) < 4.5 * np.sqrt(mean / cells) + 0.01 * mean)
    assert np.all(np.abs(x[:, 1:].var(0) / mean - 1) < 4.5 * np.sqrt(2 / cells) + 0.03)


@pytest.mark.parametrize(("start", "bind", "methods"), [(1000, 0.002, METHODS), (20, 0.02, METHODS[:1])])
def test_dimers_as_by_the_exact_method(start, bind, methods):
    model, times, cells = load_model(_dimers(start, bind)), [0, 1, 5], 1500
    exact = model.simulate(times, cells=cells, method="ssa", seed=2)["X"].values[:, 1:]
    for method in methods:
        course = model.simulate(times, cells=cells, method=method, seed=3)
        x = course["X"].values[:, 1:]
        spread = np.sqrt((x.var(0) + exact.var(0)) / cells)
        assert np.all(np.abs(x.mean(0) - exact.mean(0)) < 4.5 * spread + 0.01 * exact.mean(0))
        assert np.all(np.abs(x.var(0) / exact.var(0) - 1) < 0.25)
        np.testing.assert_allclose(course["X"] + 2 * course["X2"], start, rtol=1e-12)
        assert np.all((course["X"] >= 0) & (course["X2"] >= 0))


def test_amounts_are_whole_and_never_below_zero():
    course = load_model(_dimers(20, 0.5)).simulate(np.linspace(0, 3, 31), cells=200, method="tau-leaping")
    for name in ("X", "X2"):
        x = course[name].values
        assert np.all(x >= 0)
        assert np.all(x == np.floor(x))


@pytest.mark.parametrize("method", METHODS)
def test_a_cell_is_the_same_in_any_company(method):
    model, before = load_model(_dimers(500, 0.002)), threads()
    options = {"times": [0, 1, 2], "method": method, "seed": 4}
    many = model.simulate(cells=300, **options)["X"].values
    try:
        set_threads(1)
        alone, few = (model.simulate(cells=n, **options)["X"].values for n in (300, 5))
    finally:
        set_threads(before)
    np.testing.assert_array_equal(many, alone)
    np.testing.assert_array_equal(many[:5], few)
    assert len(np.unique(many[:, -1])) > 5


@pytest.mark.parametrize("method", METHODS)
def test_leaps_have_the_bits_of_python(method, monkeypatch):
    model, options = load_model(_dimers(300, 0.01)), {"cells": 9, "method": method, "seed": 6}
    compiled = model.simulate([0, 0.1, 0.2], **options)["X"].values
    monkeypatch.setattr(leaps, "_run_block", leaps._run_block.python)
    straight = model.simulate([0, 0.1, 0.2], **options)["X"].values
    assert straight.tobytes() == compiled.tobytes()


@pytest.mark.parametrize("method", METHODS)
def test_what_leaps_do_not_do_is_refused(method):
    for more, says in (
        ("at (X > 5): X = 0;", "leaps do not do events"),
        ("r = 0; r' = 1;", "leaps do not do rate rules \\('r'\\)"),
        ("more: -> X; piecewise(0, time < 3, a);", "the rate law of 'more' turns with time"),
    ):
        with pytest.raises(ModelError, match=says):
            load_model(_immigration(5, more)).simulate([0, 1], method=method)
