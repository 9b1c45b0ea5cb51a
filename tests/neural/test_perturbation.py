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
