"""Forecasts of tracks: better than persistence, honest about how sure, blind to the future."""

import numpy as np
import pytest

from neural.autocovariance import autocovariance, smooth_covariance, whole
from neural.traces import forecast, treatment_means

FRAMES, SEEN = 40, 20


def tracks(n, seed):
    """Tracks (n, T, 2): own level, decaying memory, an echo of one channel in the other, treatment steps."""
    rng = np.random.default_rng(seed)
    label = np.array(["a", "b"])[np.arange(n) % 2]
    x = np.zeros((n, FRAMES, 2))
    state = rng.normal(size=n)
    for t in range(FRAMES):
        state = 0.9 * state + 0.45 * rng.normal(size=n)
        x[:, t, 0] = state
        x[:, t, 1] = 0.5 * x[:, max(t - 3, 0), 0]
    level = 0.7 * rng.normal(size=(n, 1, 2))
    step = np.where(label == "b", 1.0, 0.0)[:, None, None] * (np.arange(FRAMES)[:, None] > 25)
    return x + level + step + 0.1 * rng.normal(size=x.shape), label


@pytest.fixture(scope="module")
def told():
    train, label = tracks(120, 0)
    new, kind = tracks(80, 1)
    return new, *forecast(train, label, new[:, :SEEN], kind)


def test_better_than_the_last_frame_and_than_the_mean(told):
    new, mean, _ = told
    error = ((mean - new[:, SEEN:]) ** 2).mean()
    last = ((new[:, SEEN - 1 : SEEN] - new[:, SEEN:]) ** 2).mean()
    average = ((new[:, :SEEN].mean(1, keepdims=True) - new[:, SEEN:]) ** 2).mean()
    assert error < 0.7 * min(last, average)


def test_intervals_hold(told):
    new, mean, width = told
    assert 0.85 <= (np.abs(mean - new[:, SEEN:]) <= width).mean() <= 0.96


def test_an_autocovariance_is_the_mean_product_at_a_lag():
    x, _ = tracks(50, 2)
    centred = x - x.mean(0)
    got = autocovariance(centred)
    lag = 4
    ahead = (centred[:, :-lag, 0] * centred[:, lag:, 1]).mean()
    behind = (centred[:, lag:, 0] * centred[:, :-lag, 1]).mean()
    assert got[0, 1, lag] == pytest.approx((ahead + behind) / 2)
    assert got[1, 0, lag] == pytest.approx(got[0, 1, lag])
    assert got[0, 0, 0] == pytest.approx((centred[..., 0] ** 2).mean())


def test_a_smooth_covariance_finds_what_it_is_made_of_and_is_always_one():
    lag = np.arange(80)
    level, memory, swing = np.ones(80), np.exp(-lag / 10), np.exp(-lag / 30) * np.cos(2 * np.pi * lag / 25)
    truth = np.array([[0.5 * level + memory, 0.4 * memory], [0.4 * memory, 0.6 * memory + 0.5 * swing]])
    found = smooth_covariance(truth)
    np.testing.assert_allclose(found, truth, atol=0.08)
    few = np.random.default_rng(0).normal(size=(5, 80, 2)).cumsum(1)
    for measured in (truth, autocovariance(few)):
        values = np.linalg.eigvalsh(whole(smooth_covariance(measured)).reshape(160, 160))
        assert values.min() > -1e-9 * values.max()


def test_treatments_are_drawn_to_the_common_mean():
    x, label = tracks(40, 3)
    free, drawn = treatment_means(x, label, 0.0), treatment_means(x, label, 1e9)
    np.testing.assert_allclose(free["a"][0], x[label == "a"].mean(0)[0])
    np.testing.assert_allclose(free["a"][20], x[label == "a"].mean(0)[14:27].mean(0))
    np.testing.assert_allclose(drawn["a"], drawn[None], atol=1e-6)
    np.testing.assert_allclose(drawn[None][-1], x.mean(0)[-1])


def test_a_treatment_never_seen_is_allowed():
    train, label = tracks(40, 4)
    mean, _ = forecast(train, label, train[:3, :SEEN], np.array(["c"] * 3))
    assert np.isfinite(mean).all()


def test_what_is_refused():
    train, label = tracks(20, 5)
    with pytest.raises(ValueError, match="nothing to foretell"):
        forecast(train, label, train, label)
    with pytest.raises(ValueError, match="too few"):
        forecast(train[:6], label[:6], train[:, :SEEN], label)
