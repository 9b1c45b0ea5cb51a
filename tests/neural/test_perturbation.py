"""Responses to drugs given together: what is common, what is shared between read-outs, and intervals."""

import numpy as np
import pytest

from neural.perturbation import predict_responses, strengths
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
