"""Responses to drugs given together: what is common, what is shared between read-outs, and intervals."""

import numpy as np
import pytest

from neural.perturbation import company, predict_responses, strengths
from neural.profiles import joined

DRUGS, NODES = 8, 30


def experiment(seed=0, noise=0.15):
    """Singles (twice) and all pairs of drugs whose profiles lie along three directions."""
    rng = np.random.default_rng(seed)
    profiles = (rng.normal(size=(DRUGS, 3)) + 0.7) @ rng.normal(size=(3, NODES))
    dose = rng.uniform(0.5, 2.0, DRUGS)
    singles = np.repeat(np.eye(DRUGS), 2, 0)
    pairs = np.array([np.eye(DRUGS)[i] + np.eye(DRUGS)[j] for i in range(DRUGS) for j in range(i)])

    def measure(on):
        return on @ profiles + noise * np.abs(profiles).mean() * 4 * rng.normal(size=(len(on), NODES))

    return singles * dose, measure(singles), pairs * dose, measure(pairs)


def test_singles_foretell_pairs_better_than_their_sum_does():
    u, y, pairs, truth = experiment(noise=0.3)
    guess, width = predict_responses(u, y, pairs)
    sums = (pairs != 0) @ np.array([y[2 * k : 2 * k + 2].mean(0) for k in range(DRUGS)])
    assert ((guess - truth) ** 2).mean() < ((sums - truth) ** 2).mean()
    assert 0.8 < (np.abs(guess - truth) <= width).mean() <= 1.0


def test_a_drug_never_seen_gets_what_drugs_have_in_common():
    errors, nothing = [], []
    for k in range(DRUGS):
        u, y, pairs, truth = experiment()
        seen = (pairs[:, k] == 0) & (np.arange(len(pairs)) % 2 == 0)
        asked = pairs[:, k] != 0
        rows = u[:, k] == 0
        train, known = np.concatenate([u[rows], pairs[seen]]), np.concatenate([y[rows], truth[seen]])
        guess, _ = predict_responses(train, known, pairs[asked])
        known_only = pairs[asked].copy()
        known_only[:, k] = 0
        errors.append(((guess - truth[asked]) ** 2).mean())
        nothing.append(((predict_responses(train, known, known_only)[0] - truth[asked]) ** 2).mean())
    assert np.mean(errors) < np.mean(nothing)


def test_saturation_lowers_only_what_points_the_same_way():
    profiles = np.array([[1.0, -1.0, 2.0], [1.0, -1.0, -1.0]])
    both = np.ones((1, 2))
    np.testing.assert_allclose(joined(both, profiles, 1.0), [[2.0, -2.0, 1.0]])
    np.testing.assert_allclose(joined(both, profiles, 2.0), [[2**0.5, -(2**0.5), 1.0]])


def test_strength_is_relative_to_the_other_drugs():
    np.testing.assert_allclose(strengths(np.array([[1.0, 0, 0], [3.0, -4.0, 0]])), [2 / 3, 4 / 3, 1.0])


def test_units_of_doses_decades_apart_are_not_taken_for_strengths():
    apart = strengths(np.diag(10.0 ** np.arange(-6, 6)))
    assert np.log(apart).std() == pytest.approx(1.0)
    assert (np.diff(apart) > 0).all()
    u, y, pairs, truth = experiment(seed=5)
    units = 10.0 ** np.arange(-4, DRUGS - 4)
    mixed = predict_responses(u * units, y, pairs * units)[0]
    plain = predict_responses(u, y, pairs)[0]
    assert ((mixed - truth) ** 2).mean() < 1.3 * ((plain - truth) ** 2).mean()


def grid(seed=0, inhibitors=6, ligands=5):
    """Every inhibitor alone and with every ligand, each ligand alone; inhibitors silence most."""
    rng = np.random.default_rng(seed)
    on = np.array([(i, j) for i in range(inhibitors + 1) for j in range(ligands + 1)][1:])
    given = np.c_[np.eye(inhibitors + 1)[on[:, 0], 1:], np.eye(ligands + 1)[on[:, 1], 1:]]
    profiles = np.r_[rng.normal(-1.5, 0.5, (inhibitors, NODES)), rng.normal(0.5, 0.5, (ligands, NODES))]
    return given, given @ profiles + 0.2 * rng.normal(size=(len(given), NODES))


def test_drugs_are_like_those_that_are_given_with_the_same_others():
    given, response = grid()
    alike = company(given)
    assert alike is not None
    assert alike[:6, :6].min() == pytest.approx(1.0)
    assert alike[:6, 6:].max() == 0.0
    pairs = np.array([np.eye(5)[i] + np.eye(5)[j] for i in range(5) for j in range(i)])
    assert company(np.r_[np.eye(5), pairs]) is None
    errors = {"company": 0.0, "none": 0.0}
    for drug in (0, 3):
        out = given[:, drug] != 0
        for name, likeness in (("company", None), ("none", np.eye(11))):
            guess, _ = predict_responses(given[~out], response[~out], given[out], likeness=likeness)
            errors[name] += ((guess - response[out]) ** 2).mean()
    assert errors["company"] < 0.6 * errors["none"]


def test_what_a_pair_does_beyond_its_drugs_is_seen_where_it_was_given_again():
    rng = np.random.default_rng(6)
    sets = [[i] for i in range(5)] + [[i, j] for i in range(5) for j in range(i)]
    sets += [[0, 1, k] for k in (2, 3, 4)]
    given = np.array([np.eye(5)[s].sum(0) for s in sets])
    profiles, together = rng.normal(size=(2, 5, NODES))
    truth = given @ profiles + (given[:, :1] * given[:, 1:2]) * together[:1] * 2.0
    y = truth + 0.1 * rng.normal(size=truth.shape)
    guess, _ = predict_responses(given[:-1], y[:-1], given[-1:])
    beyond = (truth - given @ profiles)[-1]
    assert ((guess - truth[-1:]) ** 2).mean() < 0.2 * (beyond**2).mean()


def test_a_dose_of_the_other_sign_does_the_opposite():
    rng = np.random.default_rng(7)
    profiles = rng.normal(size=(4, NODES))
    given = np.repeat(np.eye(4), 4, 0) * np.tile([1.0, -1.0, 0.5, -0.5], 4)[:, None]
    asked = rng.choice([-1.0, 1.0], (6, 4)) * (rng.random((6, 4)) < 0.6)
    guess, _ = predict_responses(given, given @ profiles + 0.1 * rng.normal(size=(16, NODES)), asked)
    assert ((guess - asked @ profiles) ** 2).mean() < 0.05 * ((asked @ profiles) ** 2).mean()


def test_drugs_measured_once_each_do_not_give_intervals_of_no_width():
    u, y, pairs, truth = experiment(seed=8)
    once = np.r_[np.zeros((1, DRUGS)), u[::2]]
    guess, width = predict_responses(once, np.r_[np.zeros((1, NODES)), y[::2]], pairs)
    assert (np.abs(guess - truth) <= width).mean() > 0.8
    guess, width = predict_responses(u[:1], y[:1], pairs[:2])
    assert np.isfinite(guess).all() and (width > 0).all()


def test_an_infinite_response_is_one_that_was_not_measured():
    u, y, pairs, _ = experiment(seed=9)
    gaps, endless = y.copy(), y.copy()
    gaps[3, 5], endless[3, 5] = np.nan, np.inf
    one, other = (predict_responses(u, v, pairs)[0] for v in (gaps, endless))
    np.testing.assert_array_equal(one, other)


def test_intervals_narrow_as_data_grow():
    u, y, pairs, truth = experiment(seed=1)
    few = predict_responses(u, y, pairs[::2])[1]
    many = predict_responses(np.concatenate([u, pairs[1::2]]), np.concatenate([y, truth[1::2]]), pairs[::2])[
        1
    ]
    assert many.mean() < few.mean()


def test_what_is_refused():
    u, y, pairs, _ = experiment()
    with pytest.raises(ValueError, match="do not fit"):
        predict_responses(u, y[1:], pairs)
    with pytest.raises(ValueError, match="its dose is 0"):
        predict_responses(np.where(u == 0, np.nan, u), y, pairs)


def test_values_that_were_not_measured_are_left_out():
    u, y, pairs, truth = experiment(seed=2)
    gaps = np.where(np.random.default_rng(3).random(y.shape) < 0.1, np.nan, y)
    gaps[:, 4] = np.nan
    guess, width = predict_responses(u, gaps, pairs)
    assert np.isnan(guess[:, 4]).all() and np.isnan(width[:, 4]).all()
    rest = np.arange(NODES) != 4
    full = predict_responses(u, y, pairs)[0]
    error, best = ((p[:, rest] - truth[:, rest]) ** 2 for p in (guess, full))
    assert error.mean() < 1.5 * best.mean()
    assert (np.abs(guess - truth)[:, rest] <= width[:, rest]).mean() > 0.8


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("given", "asked", "nodes"),
    [
        (np.repeat(np.eye(4), 2, 0), np.ones((2, 4)), 1),
        (np.array([[1.0], [2.0], [1.0]]), np.array([[1.5]]), 5),
        (np.array([[1.0, 0], [2.0, 0], [1.0, 0]]), np.array([[1.5, 1.0]]), 5),
        (np.array([[1.0, 1, 0], [0, 1, 1], [1, 0, 1]]), np.eye(3), 5),
        (np.zeros((4, 3)), np.eye(3), 5),
        (np.repeat(np.eye(4), 2, 0), np.zeros((0, 4)), 5),
        (np.repeat(np.eye(4), 2, 0), np.ones((1, 4)), 700),
    ],
    ids=[
        "one read-out",
        "one drug",
        "one drug, then another",
        "pairs alone",
        "controls alone",
        "none",
        "many",
    ],
)
def test_small_tables_and_odd_ones_give_numbers(given, asked, nodes):
    response = np.random.default_rng(0).normal(size=(len(given), nodes))
    for y in (response, np.zeros_like(response), given @ np.ones((given.shape[1], nodes))):
        guess, width = predict_responses(given, y, asked)
        assert guess.shape == width.shape == (len(asked), nodes)
        assert np.isfinite(guess).all() and np.isfinite(width).all()


def test_units_of_responses_do_not_matter():
    u, y, pairs, _ = experiment(seed=3)
    guess, width = predict_responses(u, y, pairs)
    others = predict_responses(u, 1000 * y, pairs)
    np.testing.assert_allclose(others[0], 1000 * guess, rtol=1e-4, atol=1e-2 * np.abs(guess).mean())
    np.testing.assert_allclose(others[1], 1000 * width, rtol=1e-3)


def test_a_drug_given_once_does_not_widen_what_is_said_of_known_drugs():
    """Without its one row it is a drug never seen; no drug asked for is."""
    u, y, pairs, _ = experiment(seed=4)
    once = np.delete(np.arange(len(u)), [0, 2])
    loud = y.copy()
    loud[[1, 3]] *= 10.0
    others = (pairs[:, :2] == 0).all(1)
    plain, with_loud = (predict_responses(u[once], v[once], pairs[others])[1] for v in (y, loud))
    assert with_loud.mean() < 1.3 * plain.mean()
