"""Known rate laws are found again from noisy values, with intervals that hold the truth."""

import numpy as np
import pytest

from sim.interpret.distil import distil
from sim.interpret.formulas import rising


def noisy(values, share, seed):
    """Values with noise of `share` of their largest."""
    return values + share * np.abs(values).max() * np.random.default_rng(seed).normal(size=len(values))


@pytest.mark.parametrize("seed", range(3))
def test_michaelis_menten_within_five_percent_at_two_percent_noise(seed):
    x = np.geomspace(0.02, 10, 300)
    found = distil(x, noisy(3.0 * x / (0.5 + x), 0.02, seed), ["S"])
    assert found.family == "Michaelis-Menten" and "S" in found.text
    assert found.parameters["K"].value == pytest.approx(0.5, rel=0.05)
    assert found.parameters["V"].value == pytest.approx(3.0, rel=0.05)
    assert found.parameters["K"].lower < found.parameters["K"].value < found.parameters["K"].upper
    assert found.explained > 0.98


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("power", "falls"), [(2.0, False), (4.0, True)])
def test_hill_exponents_within_five_percent_at_two_percent_noise(seed, power, falls):
    x = np.geomspace(0.05, 8, 300)
    curve = rising(x, 0.8, power)
    found = distil(x, noisy(2.0 * (1 - curve if falls else curve), 0.02, seed), ["S"])
    assert found.family == ("falling Hill" if falls else "Hill")
    assert found.parameters["n"].value == pytest.approx(power, rel=0.05)
    assert found.parameters["K"].value == pytest.approx(0.8, rel=0.05)


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    x = np.geomspace(0.02, 10, 60)
    truth = 3.0 * x / (0.5 + x)
    held = [
        p.lower <= 0.5 <= p.upper
        for p in (distil(x, noisy(truth, 0.02, seed), ["S"], degree=1).parameters["K"] for seed in range(40))
    ]
    # 90 % of 40: between 31 and 40 with probability 0.99
    assert 31 <= sum(held) <= 40


def test_a_polynomial_of_two_inputs_and_a_decoy():
    x = np.random.default_rng(1).uniform(0, 2, (200, 3))
    found = distil(x, noisy(0.7 * x[:, 0] - 1.3 * x[:, 0] * x[:, 1], 0.01, 2), ["prey", "predator", "decoy"])
    assert found.family == "polynomial" and set(found.parameters) == {"prey", "prey predator"}
    assert found.parameters["prey predator"].value == pytest.approx(-1.3, rel=0.02)
    assert "decoy" not in found.text


@pytest.mark.parametrize(
    ("law", "family", "inner"),
    [
        (lambda s, e: 2 * e * s / (0.4 + s), "Michaelis-Menten with enzyme", {"K": 0.4}),
        (lambda s, e: 3 * s / (0.5 * (1 + e / 0.3) + s), "competitive inhibition", {"K": 0.5, "Ki": 0.3}),
        (lambda s, e: s / (0.5 + s) * e / (1.2 + e), "two substrates", {"K": 0.5, "L": 1.2}),
    ],
)
def test_laws_of_two_inputs(law, family, inner):
    x = np.random.default_rng(4).uniform(0.02, 3, (400, 2))
    found = distil(x, noisy(law(x[:, 0], x[:, 1]), 0.01, 5), ["S", "E"])
    assert found.family == family
    for name, value in inner.items():
        assert found.parameters[name].value == pytest.approx(value, rel=0.1)


def test_without_noise_the_formula_predicts_elsewhere_and_the_simplest_wins():
    x = np.linspace(0.1, 4, 80)
    found = distil(x, 2 * x / (1 + x), ["S"])
    assert found.family == "Michaelis-Menten" and len(found.parameters) == 2
    assert found.predict(np.array([[10.0]])) == pytest.approx([20 / 11], rel=1e-6)
    assert found.explained == pytest.approx(1.0)


def test_chance_alone_is_a_constant():
    found = distil(np.linspace(0, 1, 100), np.random.default_rng(0).normal(size=100), ["x"])
    assert found.family == "constant" and found.explained == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(
    ("inputs", "outputs", "words"),
    [
        (np.ones((9, 2)), np.ones(9), r"must be \(row, 1\)"),
        (np.ones(5), np.ones(5), "at least 8"),
        (np.full(9, np.nan), np.ones(9), "finite"),
    ],
)
def test_what_cannot_be_fitted_is_refused(inputs, outputs, words):
    with pytest.raises(ValueError, match=words):
        distil(inputs, outputs, ["x"])
