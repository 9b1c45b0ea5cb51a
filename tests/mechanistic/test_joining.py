"""Equations joined to a model that was read: they hold, mass is kept, and the text says the same."""

import numpy as np
import pytest

from mechanistic import PathwayModel, load_model
from mechanistic.errors import ModelError
from mechanistic.joining import NewReaction, joined

TEXT = """
model chain
  compartment c = 2; species A in c, B in c, C in c; A = 5; B = 1; C = 0.5; k = 0.3; s = 1
  R: A -> B; c*k*A
end"""


@pytest.fixture(scope="module")
def network():
    return load_model(TEXT).network


def test_what_is_joined_holds_and_keeps_mass(network):
    more = joined(
        network,
        constants={"w": 0.2, "start": 1.5},
        rules={"u": ["max", ["*", "w", "B"], 0.0], "s": ["+", 1.0, "u"]},
        initial={"C": ["*", 2.0, "start"]},
        reactions=[NewReaction("learned", ["*", "c", "u", "B"], {"B": -1.0, "C": 1.0})],
    )
    table = PathwayModel(more).simulate([0.0, 1.0, 4.0])
    assert table["C"].values[0, 0] == 3.0
    assert table["s"].values == pytest.approx(1.0 + 0.2 * table["B"].values)
    total = (table["A"] + table["B"] + table["C"]).values
    assert total == pytest.approx(np.full_like(total, 9.0), rel=1e-12)
    assert "w" in more.settable_ids and "s" not in more.settable_ids


def test_the_text_of_a_joined_network_says_the_same(network):
    more = joined(
        network,
        constants={"w": 1e-3},
        rules={"u": ["piecewise", ["tanh", ["*", "w", "A"]], ["<", "B", 2.0], ["min", 1.0, "A", ["time"]]]},
        initial={"A": ["^", 2.0, 2.0]},
        reactions=[NewReaction("learned", ["*", "u", "A", "s"], {"A": -1.0, "C": 2.0})],
        rates={"R": ["*", "c", ["+", "k", "u"], "A", "C"]},
        states={"memory": (0.5, ["-", "A", "memory"])},
    )
    times = np.linspace(0.0, 3.0, 7)
    ours = PathwayModel(more).simulate(times, rtol=1e-9)
    read = load_model(more.source).simulate(times, rtol=1e-9)
    other = PathwayModel(more).simulate(times, method="roadrunner", rtol=1e-9)
    for name in ("A", "B", "C", "u", "memory"):
        assert read[name].values == pytest.approx(ours[name].values, rel=1e-6)
        assert other[name].values == pytest.approx(ours[name].values, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"constants": {"k": 1.0}}, "'k' is in the model already"),
        ({"states": {"A": (1.0, 0.0)}}, "'A' is in the model already"),
        ({"rules": {"A": 1.0}}, "'A' is no parameter"),
        ({"rules": {"u": ["*", "kk", 2.0]}}, "'kk' in the formula of 'u'.*did you mean 'k'"),
        ({"initial": {"D": 1.0}}, "'D' is no species or parameter"),
        ({"reactions": [NewReaction("R", 1.0, {"A": 1.0})]}, "'R' is in the model already"),
        ({"reactions": [NewReaction("N", 1.0, {"D": 1.0})]}, "'D' is no species"),
        ({"reactions": [NewReaction("N", 1.0, {})]}, "changes nothing"),
        ({"rates": {"Q": 1.0}}, "'Q' is no reaction"),
    ],
)
def test_what_cannot_be_joined_is_refused(network, given, says):
    with pytest.raises(ModelError, match=says):
        joined(network, **given)


def test_a_rule_takes_the_place_of_one():
    model = load_model("model m; species A; A = 2; v := 3*A; R: A -> ; v; end")
    more = joined(model.network, rules={"v": ["*", 0.5, "A"]})
    times = [0.0, 1.0]
    expected = 2.0 * np.exp(-0.5)
    assert PathwayModel(more).simulate(times, rtol=1e-9)["A"].values[0, 1] == pytest.approx(
        expected, rel=1e-7
    )
    assert load_model(more.source).simulate(times, rtol=1e-9)["A"].values[0, 1] == pytest.approx(
        expected, rel=1e-7
    )


def test_what_changes_by_itself_takes_no_rule():
    model = load_model("model m; species A; A = 1; p = 1; p' = -p; R: A -> ; p*A; end")
    with pytest.raises(ModelError, match="changed by the model itself"):
        joined(model.network, rules={"p": 1.0})
