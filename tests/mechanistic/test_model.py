"""Pathway models: values against closed forms, and cells that do not know of each other."""

from __future__ import annotations

import numpy as np
import pytest
from pathway_examples import CHAIN, ENZYME, changed

from mechanistic import load_model
from mechanistic.errors import IntegrationError, ModelError
from mechanistic.reading.problems import closest


@pytest.fixture(scope="module")
def chain():
    return load_model(CHAIN)


@pytest.fixture(scope="module")
def enzyme():
    return load_model(ENZYME)


def test_simulate_equals_the_closed_form(chain):
    times = np.linspace(0, 5, 11)
    course = chain.simulate(times, rtol=1e-9, atol=1e-12)
    a = 10 * np.exp(-0.5 * times)
    # k2 = k1/5 = 0.1, D = 3
    b = 10 * 0.5 / (0.3 - 0.5) * (np.exp(-0.5 * times) - np.exp(-0.3 * times))
    np.testing.assert_allclose(course["A"].values[0], a, rtol=1e-7)
    np.testing.assert_allclose(course["B"].values[0], b, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(course["amount.A"].values[0], 2 * a, rtol=1e-7)
    np.testing.assert_allclose(course["R1"].values[0], 2 * 0.5 * a, rtol=1e-7)
    assert course["k2"].values[0, 0] == pytest.approx(0.1)
    assert course["half"].values[0, 0] == pytest.approx(1.0)
    assert course["c"].values[0, 0] == 2.0
    assert course["A"].dims == ("cell", "time")
    assert all({"units", "long_name"} <= set(v.attrs) for v in course.variables.values())


def test_times_may_begin_late(chain):
    late = chain.simulate([2.0, 3.0], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(late["A"].values[0], 10 * np.exp([-1.0, -1.5]), rtol=1e-7)


def test_cells_have_their_own_parameters_and_initial_values(chain):
    course = chain.simulate(
        [0, 1], cells=3, parameters={"k1": [0.1, 0.2, 0.3], "D": 0.0}, initial={"A": [1, 2, 3]}
    )
    np.testing.assert_allclose(course["A"].values[:, 1], [1, 2, 3] * np.exp([-0.1, -0.2, -0.3]), rtol=1e-5)
    # what the model computes from k1 follows
    np.testing.assert_allclose(course["half"].values[:, 0], [0.2, 0.4, 0.6])
    np.testing.assert_allclose(course["A"] + course["B"], course["A"][:, :1].values.repeat(2, 1), rtol=1e-5)


def test_initial_amounts(chain):
    course = chain.simulate([0], initial={"amount.A": 8.0})
    assert course["A"].values[0, 0] == 4.0


def test_advance_equals_simulate(enzyme):
    rates = np.linspace(1, 3, 5)
    state = enzyme.initial_state(5, {"k_cat": rates})
    assert state.active == ("k_cat",)
    for _ in range(8):
        enzyme.advance(state, 0.25)
    course = enzyme.simulate([2.0], cells=5, parameters={"k_cat": rates}, rtol=1e-10, atol=1e-13)
    expected = np.stack([course[s].values[:, 0] for s in enzyme.network.species_ids], 1)
    np.testing.assert_allclose(enzyme.concentrations(state), expected, rtol=2e-4, atol=1e-7)
    np.testing.assert_array_equal(state.time, 2.0)


def test_a_cell_does_not_depend_on_the_others(enzyme):
    rates = np.linspace(1, 3, 21)
    whole = enzyme.initial_state(21, {"k_cat": rates})
    order = np.random.default_rng(5).permutation(21)[:13]
    part = enzyme.initial_state(13, {"k_cat": rates[order]})
    for _ in range(3):
        enzyme.advance(whole, 0.3)
        enzyme.advance(part, 0.3)
    np.testing.assert_array_equal(part.amounts, whole.amounts[order])


def test_growth_dilutes(chain):
    state = chain.initial_state(2)
    before = chain.concentrations(state)
    state.scale[1] = 2.0
    after = chain.concentrations(state)
    np.testing.assert_allclose(after[1, :2], before[1, :2] / 2)
    assert after[1, 2] == before[1, 2] == 3.0  # held from outside
    chain.advance(state, 1.0)
    # R1 = c k1 [A] moves amounts at the same relative rate in both
    np.testing.assert_allclose(state.amounts[0], state.amounts[1], rtol=1e-5)


def test_parameters_may_change_between_calls(chain):
    state = chain.initial_state(2, {"D": 3.0})
    chain.advance(state, 1.0)
    state.parameters[1, 0] = 0.0
    kept = state.amounts[1].sum()
    chain.advance(state, 1.0)
    assert state.amounts[1].sum() == pytest.approx(kept, rel=1e-6)
    assert state.amounts[0].sum() < 0.95 * kept


def test_observe_knows_every_name(chain):
    state = chain.initial_state(1)
    values = chain.observe(state, ["A", "amount.A", "k2", "R1", "c"])
    np.testing.assert_allclose(values, [[10, 20, 0.1, 10, 2]])
    with pytest.raises(ModelError, match="not in the model"):
        chain.observe(state, ["Q"])


@pytest.mark.parametrize(
    ("given", "says"),
    [({"k9": 1.0}, "did you mean 'k1'"), ({"k2": 1.0}, "determines it"), ({"k1": [1.0, 2.0]}, "3 cells"),
     ({"k1": np.nan}, "finite"), ({"A": -1.0}, "negative")],
)  # fmt: skip
def test_what_cannot_be_set_is_refused(chain, given, says):
    with pytest.raises(ModelError, match=says):
        chain.simulate([0, 1], cells=3, parameters=given)


def test_substance_only_species_are_still_given_as_concentrations():
    model = load_model(
        changed('size="1"', 'size="4"').replace('OnlySubstanceUnits="false"', 'OnlySubstanceUnits="true"')
    )
    course = model.simulate([0])
    assert course["S1"].values[0, 0] == 1.0
    assert course["amount.S1"].values[0, 0] == 4.0
    # the rate k S1 counts the amount
    assert course["R1"].values[0, 0] == 4.0


def test_events_happen_at_their_time():
    model = load_model("model e\n S -> ; 0*S; S = 1; k = 0; at (time > 1.5): S = 5\nend")
    course = model.simulate([0, 1, 2])
    np.testing.assert_allclose(course["S"].values[0], [1, 1, 5])
    state = model.initial_state(1)
    for _ in range(4):
        model.advance(state, 0.5)
    assert state.amounts[0, 0] == 5.0


def test_rate_rules_are_part_of_the_state():
    model = load_model("model r\n p = 1; p' = -0.5 * p; S -> ; k * S * p; S = 1; k = 0.2\nend")
    assert model.network.state_ids == ("S", "p")
    state = model.initial_state(1)
    model.advance(state, 2.0)
    p = np.exp(-1.0)
    np.testing.assert_allclose(
        model.observe(state, ["p", "S"])[0], [p, np.exp(-0.2 * (1 - p) / 0.5)], rtol=1e-4
    )


def test_delayed_events_are_refused_where_roadrunner_runs_a_tissue():
    model = load_model("model d\n S -> ; S; S = 1; at 2 after (time > 1): S = 5\nend")
    model.method = "roadrunner"
    state = model.initial_state(1)
    with pytest.raises(ModelError, match="delay"):
        model.advance(state, 1.0)


def test_the_vector_field_is_differentiable(enzyme):
    torch = pytest.importorskip("torch")
    field = enzyme.vector_field()
    x = torch.tensor([[5.0, 1.0, 0.5, 0.0], [2.0, 0.4, 0.6, 3.0]], dtype=torch.float64, requires_grad=True)
    s, e, es, _ = x.detach().unbind(1)
    bind, make = 500 * s * e - 300 * es, 2 * es
    expected = torch.stack([-bind, make - bind, bind - make, make], 1)
    torch.testing.assert_close(field(0.0, x).detach(), expected)
    assert torch.autograd.gradcheck(lambda y: field(0.0, y), (x,))


def test_a_trigger_that_holds_for_a_moment_is_seen():
    """x grows straight, so that an integrator steps far; the event waits for 1 after x passes 2.5 .. 2.6."""
    model = load_model("model m\n x = 0; y = 0; x' = 1;\n at 1 after (x > 2.5 && x < 2.6): y = x;\nend")
    course = model.simulate([0.0, 10.0])
    np.testing.assert_allclose(course["y"].values[0], [0.0, 2.5], atol=0.01)


def test_a_computed_stoichiometry_twice_in_a_reaction_is_refused_with_events():
    """RoadRunner would count one of the two."""
    text = "model m\n n = 2; p = 1; S = 1; k = 1;\n J: n S -> p S; -k;\n at time > 5: n = 1, p = 2;\nend"
    with pytest.raises(ModelError, match="occurs twice"):
        load_model(text).simulate([0.0, 1.0], method="roadrunner")
    ours = load_model(text).simulate([0.0, 5.0, 7.0])
    np.testing.assert_allclose(ours["S"].values[0], [1.0, 6.0, 4.0], rtol=1e-6)


def test_events_that_never_end_are_named():
    """A ball that comes back with half its speed: infinitely many bounces before t = 1.36."""
    ball = "model ball\n h = 1; v = 0; h' = v; v' = -9.81;\n B: at h < 0: v = -0.5 * v;\nend"
    model = load_model(ball)
    with pytest.raises(IntegrationError, match="'B' fires without end"):
        model.simulate([0.0, 5.0])
    bounces = model.simulate([0.0, 1.0])["v"].values[0, -1]
    # falls to t0 = sqrt(2/g), flies up at v0/2 for t0 more, and falls again
    first = np.sqrt(2 / 9.81)
    np.testing.assert_allclose(bounces, 0.25 * 9.81 * first - 9.81 * (1 - 2 * first), rtol=1e-4)


def test_rates_beyond_what_numbers_hold_are_named():
    """At 1e300 per time a stiff solver steps over the reaction, and its rounding loses the product."""
    model = load_model(changed('id="k" value="1"', 'id="k" value="1e300"'))
    with pytest.raises(IntegrationError, match="changes too fast"):
        model.simulate([0.0, 5.0])
    slow = load_model(changed("<!--rules-->", ""))
    state = slow.initial_state(2, {"k": np.array([1.0, 1e300])})
    with pytest.raises(IntegrationError) as error:
        slow.advance(state, 1.0)
    assert error.value.cell == 1
    np.testing.assert_allclose(state.amounts[:, 0], [np.exp(-1), 1.0], rtol=1e-4)


@pytest.mark.parametrize(
    "bad", [{"rtol": 0.0}, {"rtol": -1e-6}, {"rtol": np.nan}, {"atol": 0.0}, {"atol": np.inf}]
)
def test_tolerances_that_are_none_are_refused(chain, bad):
    with pytest.raises(ValueError, match="rtol and atol must be finite and above 0"):
        chain.simulate([0.0, 1.0], **bad)


def test_an_id_in_other_letters_is_told_before_one_as_near():
    assert closest("K", ["S", "k"]) == "; did you mean 'k'?"
