"""Gillespie's direct method: exact, keyed by cell, and honest about what it does not do."""

from __future__ import annotations

import numpy as np
import pytest
from pathway_examples import BASE

from mechanistic import load_model
from mechanistic.codegen.numeric import evaluate
from mechanistic.codegen.system import System
from mechanistic.errors import IntegrationError, ModelError
from mechanistic.random import stream_key
from mechanistic.random.philox import philox4x32
from mechanistic.threads import set_threads, threads

# Immigration, death and dimerisation of counted entities; Y follows from X at every moment.
DIMERS = """model dimers
  compartment c = 1;
  substanceOnly species X in c, X2 in c;
  X = 20; X2 = 0;
  alpha = 4; mu = 0.1; k1 = 0.02; k2 = 0.3; Y := 2 * X;
  come: -> X; alpha;
  go: X -> ; mu * Y / 2;
  bind: 2 X -> X2; k1 * X * (X - 1) / 2;
  part: X2 -> 2 X; k2 * X2;
end
"""
TIMES = np.linspace(0, 5, 11)


def _decay(*lines: str, law: str = "k * X") -> str:
    body = "\n  ".join(lines)
    return (
        "model decay\n  compartment c = 1;\n  substanceOnly species X in c;\n  X = 50; k = 0.2;\n"
        f"  go: X -> ; {law};\n  {body}\nend\n"
    )


@pytest.fixture(scope="module")
def dimers():
    return load_model(DIMERS)


def _course(model, cells=1, times=TIMES, **options):
    return model.simulate(times, cells=cells, method="ssa", **options)


def _plain(model, cell: int, seed: int) -> np.ndarray:
    """The same method, one draw after the other in Python."""
    system = System(model.network)
    state = {s.id: s.amount for s in model.network.species}
    names = model.network.state_ids
    constants = [model.network[i].value if i != "c" else 1.0 for i in model.network.settable_ids]
    key = int(stream_key(seed, "ssa"))
    words = np.array([key & 0xFFFFFFFF, key >> 32], dtype=np.uint32)
    nodes = [system.quantity(r) for r in model.network.reaction_ids]
    out, row, now, draw = np.empty((len(TIMES), len(names))), 0, 0.0, 0
    while True:
        values = [state[s] for s in names]
        rates = [float(v) for v in evaluate(system.graph, nodes, [now, 1.0, *values, *constants])]
        a, b, c, d = (int(w) for w in philox4x32(*np.array([cell, 0, draw, 0], np.uint32), *words))
        first, second = ((h >> 5) * 2.0**-27 + (low >> 6) * 2.0**-53 for h, low in ((a, b), (c, d)))
        now, draw = now - np.log(1 - first) / sum(rates), draw + 1
        while row < len(TIMES) and TIMES[row] < now:
            out[row], row = values, row + 1
        if row == len(TIMES):
            return out
        reaction = model.network.reactions[
            int(np.searchsorted(np.cumsum(rates), second * sum(rates), side="right"))
        ]
        for q in reaction.reactants:
            state[q.species] -= q.stoichiometry
        for q in reaction.products:
            state[q.species] += q.stoichiometry


def test_equals_the_method_in_plain_python(dimers):
    course = _course(dimers, cells=5, seed=11)
    for cell in (0, 4):
        expected = _plain(dimers, cell, 11)
        for i, name in enumerate(dimers.network.state_ids):
            np.testing.assert_array_equal(course[f"amount.{name}"].values[cell], expected[:, i])


def test_a_cell_is_the_same_in_any_company(dimers):
    many, before = _course(dimers, cells=150, seed=3), threads()
    try:
        set_threads(1)
        alone, few = _course(dimers, cells=150, seed=3), _course(dimers, cells=5, seed=3)
    finally:
        set_threads(before)
    np.testing.assert_array_equal(many["X"], alone["X"])
    np.testing.assert_array_equal(many["X"][:5], few["X"])
    assert not np.array_equal(many["X"], _course(dimers, cells=150, seed=4)["X"])
    assert len(np.unique(many["X"].values[:, -1])) > 5


def test_the_output_grid_changes_nothing(dimers):
    fine = _course(dimers, cells=9, times=np.linspace(0, 5, 101))
    np.testing.assert_array_equal(fine["X"].values[:, ::10], _course(dimers, cells=9)["X"])


def test_entities_are_whole_and_rules_hold(dimers):
    course = _course(dimers, cells=40)
    assert course.attrs["method"] == "ssa"
    x = course["X"].values
    assert np.all(x == np.floor(x))
    assert np.all(x >= 0)
    np.testing.assert_array_equal(course["Y"], 2 * x)
    np.testing.assert_allclose(course["go"], 0.1 * x)


def test_mean_and_spread_of_decay():
    """Independent lives: X is binomial with n = 50 and p = exp(-k t)."""
    n = 4000
    x = _course(load_model(_decay()), cells=n, times=[1.0, 5.0], seed=1)["X"].values
    p = np.exp(-0.2 * np.array([1.0, 5.0]))
    spread = np.sqrt(50 * p * (1 - p))
    assert np.all(np.abs(x.mean(0) - 50 * p) < 4 * spread / np.sqrt(n))
    assert np.all(np.abs(x.var(0) / spread**2 - 1) < 4 * np.sqrt(2 / n))


def test_cells_may_differ():
    x = _course(load_model(_decay()), cells=3, times=[2.0], parameters={"k": [0, 0.2, 50]})["X"].values
    assert x[0, 0] == 50
    assert 0 < x[1, 0] < 50
    assert x[2, 0] == 0


@pytest.mark.parametrize(("relation", "at_two"), [("time >= 2", 70.0), ("time > 2", 50.0)])
def test_events_at_exact_times(relation, at_two):
    model = load_model(_decay(f"at ({relation}): X = 70, k = 0;").replace("k = 0.2", "k = 0"))
    x = _course(model, cells=2, times=[1.999, 2, 2.001, 5])["X"].values
    np.testing.assert_array_equal(x, [[50, at_two, 70, 70]] * 2)


def test_events_on_state_reset_at_the_firing_that_sets_them_off():
    model = load_model(_decay("at (X < 40): X = 50;"))
    x = _course(model, cells=50, times=np.linspace(0, 20, 41))["X"].values
    assert x.min() == 40
    assert x[:, -1].max() <= 50


def test_a_rate_that_switches_with_time():
    """k is 0 until 3: nothing may happen before, whatever was drawn."""
    model = load_model(_decay(law="piecewise(0, time < 3, k * X)"))
    x = _course(model, cells=300, times=[2.999, 5.0], seed=2)["X"].values
    assert np.all(x[:, 0] == 50)
    p = np.exp(-0.4)
    assert abs(x[:, 1].mean() - 50 * p) < 4 * np.sqrt(50 * p * (1 - p) / 300)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (_decay("r = 1; r' = r;"), "rate rule of 'r' changes between firings"),
        (
            _decay("r = 0; r' = 1; at (r * r > 2): r = 0;"),
            "trigger of 'event_1' changes|trigger of '_E0' changes",
        ),
        (_decay("more: -> 0.5 X; k;"), "stoichiometry of 'X' in 'more' must be a whole number \\(got 0.5\\)"),
        (_decay("at 1 after (X < 40): X = 50;"), "delays of events"),
        (_decay("at (X < 40), priority = 1: X = 50; at (X < 30): X = 40;"), "priorities of events"),
        (BASE, "'S1' must be in item \\(got mole\\)"),
        (_decay(law="k * X * sin(time)"), "rate law of 'go' changes with time"),
        (_decay().replace("X = 50", "X = 50.5"), "'X' at the start must be a whole number \\(got 50.5\\)"),
    ],
)
def test_what_is_not_done_is_refused_by_name(text, says):
    with pytest.raises(ModelError, match=says) as caught:
        _course(load_model(text))
    assert caught.value.problems[0].key


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (_decay(law="k * X - 5.1"), "rate law of 'go' is negative"),
        (_decay(law="1 + X"), "'go' fired without enough of its reactants"),
        (_decay("at (X < 40): X = 50.5;"), "sets an amount that is not a whole number"),
        (_decay("at (X < 50): X = 51; at (X > 50): X = 49;"), "events set each other off without end"),
    ],
)
def test_what_goes_wrong_on_the_way_names_cell_and_culprit(text, says):
    with pytest.raises(IntegrationError, match=says) as caught:
        _course(load_model(text), cells=3, times=[0, 100])
    assert caught.value.cell == 0
    assert caught.value.time is not None
