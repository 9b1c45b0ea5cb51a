"""Combinations from single-drug wells: the rules between which they lie, noise, courses, intervals."""

import numpy as np
import pytest

from neural.combinations import DoseWalk, courses, joined, predict_combinations
from neural.population import EPSILON

A, B = (0.1, 0.3, 1.0), (0.5, 2.0)
SINGLES = np.array([(0, 0), *((a, 0) for a in A), *((0, b) for b in B)], float)
PAIRS = np.array([(a, b) for a in A for b in B], float)
FRAMES = 13


def effect(dose, power):
    """log2 effects (n, T, 3) of two drugs on wells, joined by a power mean; a lowers live area, b more so."""
    t = np.linspace(0, 1, FRAMES)[:, None] * np.array([-2.0, 1.0, 1.5])
    a = np.array([0.0, 0.3, 0.6, 1.0])[np.searchsorted([0, *A], dose[:, 0])]
    b = np.array([0.0, 0.5, 1.2])[np.searchsorted([0, *B], dose[:, 1])]
    return joined([x[:, None, None] * t for x in (a, b)], power)


def signals(dose, power=2.0, noise=0.0, seed=0, repeats=1):
    """Signals [%] (n, T * repeats, 3) of wells: growth from 8 % with drug effects, and noise on every frame."""
    rng = np.random.default_rng(seed)
    growth = np.linspace(0, 2, FRAMES)[:, None] * np.array([1.0, 0.3, 0.5])
    logs = np.log2([8.0, 0.4, 0.2]) + growth + effect(dose, power)
    runs = [2.0 ** (logs + noise * rng.normal(size=logs.shape)) for _ in range(repeats)]
    return np.concatenate(runs, 1)


def relative(curves):
    logs = np.log2(curves + np.array(EPSILON))
    return logs - logs[:, :1]


def test_power_means_lie_between_bliss_and_the_strongest_alone():
    a, b = np.array([1.0, -2.0, 1.0, 0.0]), np.array([2.0, -1.0, -3.0, 0.5])
    np.testing.assert_allclose(joined([a, b], 1.0), a + b)
    np.testing.assert_allclose(joined([a, b], np.inf), [2.0, -2.0, -2.0, 0.5])
    np.testing.assert_allclose(joined([a, b], 2.0), [5**0.5, -(5**0.5), -2.0, 0.5])


def test_clean_wells_give_their_combinations_back():
    guess, width = predict_combinations(SINGLES, signals(SINGLES), PAIRS)
    truth = relative(signals(PAIRS))
    assert np.sqrt(((guess - truth) ** 2).mean()) < 0.1
    assert (np.abs(guess - truth) <= width).mean() > 0.9


def test_doses_lend_each_other_strength():
    """A noisy control well alone misleads Bliss in every combination; the walk over doses does not let it."""
    noisy, truth = signals(SINGLES, noise=0.3, seed=3), relative(signals(PAIRS))
    noisy[0, :, 0] *= 1.5  # the only control well grows better than its like
    noisy[0, 0, 0] /= 1.5
    guess, _ = predict_combinations(SINGLES, noisy, PAIRS)
    logs = relative(noisy)
    by_dose = {tuple(d): x for d, x in zip(SINGLES.tolist(), logs, strict=True)}
    bliss = np.array([by_dose[a, 0.0] + by_dose[0.0, b] - logs[0] for a, b in PAIRS.tolist()])
    assert ((guess - truth) ** 2).mean() < 0.5 * ((bliss - truth) ** 2).mean()


def test_courses_that_begin_again_are_seen_and_lend_strength():
    once, thrice = signals(SINGLES, noise=0.2), signals(SINGLES, noise=0.2, repeats=3)
    assert courses(once[..., 0]) == 1
    assert courses(thrice[..., 0]) == 3
    guess, _ = predict_combinations(SINGLES, thrice, PAIRS)
    alone, _ = predict_combinations(SINGLES, once, PAIRS)
    truth = relative(signals(PAIRS, repeats=3))
    assert guess.shape == truth.shape
    assert ((guess - truth) ** 2).mean() < ((alone - truth[:, :FRAMES]) ** 2).mean()


def test_a_drug_that_kills_at_once_and_one_that_does_nothing_are_both_seen():
    """One walk is rough and the other flat; one roughness for both would smooth the first or follow noise."""
    values = np.array([0.0, -5.0, -5.1, -4.9, 0.2, -0.2, 0.1])[:, None] + np.zeros(5)
    walk = DoseWalk.fit(np.array([(0, 0), (1, 0), (2, 0), (4, 0), (0, 1), (0, 2), (0, 4)], float), values)
    assert walk.roughness[0] > 20 * walk.roughness[1]
    np.testing.assert_allclose(walk.effect(0, np.array([1.0, 2.0, 4.0])), -5.0, atol=0.3)
    assert np.abs(walk.effect(1, np.array([1.0, 2.0, 4.0]))).max() < 0.2


def test_one_dose_of_each_drug_keeps_its_effect():
    once = SINGLES[[0, 3, 5]]
    guess, _ = predict_combinations(once, signals(once), PAIRS[-1:])
    truth, nothing = relative(signals(PAIRS[-1:])), relative(signals(SINGLES[:1]))
    assert ((guess - truth) ** 2).mean() < 0.05 * ((nothing - truth) ** 2).mean()


def test_gaps_and_plates_without_an_untreated_well():
    clean, truth = signals(SINGLES), relative(signals(PAIRS))
    best = ((predict_combinations(SINGLES, clean, PAIRS)[0] - truth) ** 2).mean()
    gaps = clean.copy()
    gaps[2, 4:6], gaps[4, :, 1] = np.nan, np.nan
    guess, width = predict_combinations(SINGLES, gaps, PAIRS)
    assert np.isfinite(width).all()
    assert ((guess - truth) ** 2).mean() < 0.05 + 2 * best
    guess, width = predict_combinations(SINGLES[1:], clean[1:], PAIRS)
    assert np.isfinite(width).all()
    nothing = relative(signals(SINGLES[:1]))
    assert ((guess - truth) ** 2).mean() < 0.2 * ((nothing - truth) ** 2).mean()
    gaps[..., 2] = np.nan
    guess, width = predict_combinations(SINGLES, gaps, PAIRS)
    assert np.isnan(guess[..., 2]).all() and np.isfinite(guess[..., :2]).all()


def test_doses_between_and_beyond_those_measured():
    values = np.array([0.0, 1.0, 2.0, 3.0])[:, None]
    walk = DoseWalk.fit(np.array([[0.0], [1.0], [10.0], [100.0]]), values)
    at = walk.effect(0, np.array([0.0, 0.5, 1.0, 10**0.5, 10.0, 1000.0]))[:, 0]
    assert at[0] == 0.0
    assert np.all(np.diff(at) > 0)
    assert at[-1] == pytest.approx(walk.effect(0, np.array([100.0]))[0, 0])
    assert at[3] == pytest.approx(0.5 * (at[2] + at[4]))


def test_intervals_narrow_as_wells_are_added():
    few, many = (
        predict_combinations(np.repeat(SINGLES, n, 0), signals(np.repeat(SINGLES, n, 0), noise=0.3), PAIRS)[1]
        for n in (1, 6)
    )
    assert many.mean() < few.mean()


def test_what_is_refused():
    with pytest.raises(ValueError, match="do not fit"):
        predict_combinations(SINGLES[:0], signals(SINGLES)[:0], PAIRS)
    with pytest.raises(ValueError, match="do not fit"):
        predict_combinations(SINGLES, signals(SINGLES)[1:], PAIRS)
    with pytest.raises(ValueError, match="finite"):
        predict_combinations(SINGLES, signals(SINGLES), PAIRS * np.nan)
