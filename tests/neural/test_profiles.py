"""Profiles of drugs: spreads that the data choose, doses that count, values that went wrong."""

import numpy as np
import pytest

from neural.perturbation import calibrate, strengths
from neural.profiles import Axes, Choice, Drugs, Fit, _Evidence, _Rows, joined, middle

DRUGS, NODES = 6, 40
RNG = np.random.default_rng(0)
PROFILES = RNG.normal(size=(DRUGS, NODES)) * np.array([2.0, 1.0, 1.0, 0.5, 0.05, 0.0])[:, None]
SINGLES = np.repeat(np.eye(DRUGS), 2, 0)
NOISE = 0.3
PLAIN = Choice(dose=0.0, power=1.0)


def measured(given, seed=1):
    return given @ PROFILES + NOISE * np.random.default_rng(seed).normal(size=(len(given), NODES))


def drugs(likeness=None):
    return Drugs(np.ones(DRUGS), likeness)


@pytest.mark.parametrize("likeness", [None, 0.5 * np.eye(DRUGS) + 0.5])
def test_the_slope_of_the_evidence_is_its_slope(likeness):
    response = measured(SINGLES)
    axes = Axes.of(SINGLES, response)
    known = Drugs(np.linspace(0.5, 2.0, DRUGS), likeness)
    evidence = _Evidence(_Rows(SINGLES), axes.of_nodes(response), axes, known, Choice(alike=0.6))
    x = evidence.centre + 0.2 * np.random.default_rng(2).normal(size=len(evidence.centre))
    _, slope = evidence(x)
    for i in range(len(x)):
        step = 1e-5 * np.eye(len(x))[i]
        assert slope[i] == pytest.approx(
            (evidence(x + step)[0] - evidence(x - step)[0]) / 2e-5, rel=1e-4, abs=1e-4
        )


def test_profiles_that_are_noise_are_drawn_to_nothing_and_strong_ones_kept():
    response = measured(SINGLES)
    fit = Fit.to(SINGLES, response, drugs(), PLAIN)
    mean = response.reshape(DRUGS, 2, NODES).mean(1)
    kept = (fit.profiles * mean).sum(1) / (mean**2).sum(1)
    assert kept[0] > 0.9
    assert kept[4:].max() < 0.4
    assert ((fit.profiles - PROFILES) ** 2).mean() < 0.8 * ((mean - PROFILES) ** 2).mean()


def test_a_value_that_went_wrong_counts_less():
    thrice = np.repeat(np.eye(DRUGS), 3, 0)
    response = measured(thrice)
    wrong = response.copy()
    wrong[0, 3] += 8.0
    clean, soiled = (Fit.to(thrice, r, drugs(), PLAIN).profiles[0, 3] for r in (response, wrong))
    assert abs(soiled - clean) < 0.5 * 8 / 3  # a mean of the three goes 8 / 3


def test_what_all_conditions_share_is_not_counted_twice():
    """An offset of the control is in every row: in a pair once, not as the sum of two drugs' share of it."""
    offset = np.random.default_rng(3).normal(size=NODES)
    pairs = np.array([np.eye(DRUGS)[i] + np.eye(DRUGS)[j] for i in range(DRUGS) for j in range(i)])
    given, asked = np.concatenate([SINGLES, pairs[::2]]), pairs[1::2]
    fit = Fit.to(given, measured(given) + offset, drugs(), PLAIN)
    off = fit.predict(asked) - (asked @ PROFILES + offset)
    assert abs((off @ offset).mean() / (offset @ offset)) < 0.1
    assert np.corrcoef(fit.control, offset)[0, 1] > 0.95


@pytest.mark.parametrize("power", [0.0, 1.0])
def test_whether_doses_count_is_found(power):
    dose = np.repeat(np.array([0.5, 1.0, 2.0])[None], DRUGS, 0)
    given = np.concatenate([np.eye(DRUGS)[[k]] * d for k in range(DRUGS) for d in dose[k]])
    found = calibrate(given, measured(given**power * (given > 0)), Drugs(strengths(given)), False)
    assert found.choice.dose == power


def test_the_weighted_median_is_where_half_of_the_weight_lies():
    values = np.array([[3.0, 0.0], [1.0, 10.0], [2.0, 20.0]])
    np.testing.assert_allclose(middle(values, np.ones(3)), [2.0, 10.0])
    np.testing.assert_allclose(middle(values, np.array([1.0, 1.0, 2.0])), [2.0, 10 + 10 / 3])
    np.testing.assert_allclose(middle(values[:1], np.ones(1)), values[0])


def test_what_single_drugs_hit_hard_is_not_expected_of_a_drug_never_given():
    rng = np.random.default_rng(4)
    common = rng.normal(size=NODES)
    hit = 8.0 * np.kron(np.eye(DRUGS), np.ones(7))[:, :NODES]
    given = np.repeat(np.eye(DRUGS)[:-1], 2, 0)
    response = given @ (common + hit) + 0.1 * rng.normal(size=(len(given), NODES))
    new, off = np.eye(DRUGS)[-1:], {}
    for share in (0.0, 0.5, 1.0):
        choice = Choice(dose=0.0, power=1.0, middle=share)
        off[share] = Fit.to(given, response, drugs(), choice).predict(new)[0] - common
    struck = hit[:-1].any(0)
    assert np.abs(off[1.0][struck]).mean() < 0.5 * np.abs(off[0.0][struck]).mean()
    np.testing.assert_allclose(off[0.5], (off[0.0] + off[1.0]) / 2)


@pytest.mark.parametrize("seed", [0, 3, 8])
def test_a_steep_slope_does_not_keep_the_spreads_from_being_found(seed):
    """Inhibitors that silence most, ligands, and both; some of all."""
    rng = np.random.default_rng(seed)
    given = np.array(
        [np.eye(7)[i].tolist()[1:] + np.eye(6)[j].tolist()[1:] for i in range(7) for j in range(6)]
    )
    profiles = np.r_[rng.normal(-3, 1, (6, 14)), rng.normal(0, 1, (5, 14))]
    response = given @ profiles + 3.0 + 0.5 * rng.normal(size=(len(given), 14))
    some = rng.permutation(len(given))[:29]
    given, response = given[some], response[some]
    found, axes = Fit.to(given, response, Drugs(np.ones(11)), PLAIN).sizes, Axes.of(given, response)
    evidence = _Evidence(_Rows(given), axes.of_nodes(response), axes, Drugs(np.ones(11)), PLAIN)
    assert evidence(found)[0] < evidence(evidence.centre)[0] - 10.0


def test_opposite_amounts_do_opposite_things():
    profiles = np.array([[1.0, -2.0], [0.5, 1.0]])
    given = np.array([[1.0, 1.0], [-1.0, 0.5], [0.0, -2.0]])
    for power in (1.0, 1.3):
        np.testing.assert_allclose(joined(-given, profiles, power), -joined(given, profiles, power))
    np.testing.assert_allclose(joined(given[2:], profiles, 1.3), [[-1.0, -2.0]])
