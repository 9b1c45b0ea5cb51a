"""Forecasts of tracks: better than persistence, honest about how sure, blind to the future."""

import numpy as np
import pytest

from neural.traces import forecast, stationary_covariance, treatment_means

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


def test_a_stationary_covariance_counts_lags_alone():
    x, _ = tracks(50, 2)
    centred = x - x.mean(0)
    got = stationary_covariance(centred)
    lag = 4
    pairs = centred[:, :-lag, 0] * centred[:, lag:, 1]
    assert got[0, 0, 1, lag] == pytest.approx(pairs.mean())
    assert got[0, 7, 1, 7 + lag] == pytest.approx(got[0, 0, 1, lag])
    assert got[1, lag, 0, 0] == pytest.approx(got[0, 0, 1, lag])


def test_treatments_are_drawn_to_the_common_mean():
    x, label = tracks(40, 3)
    free, drawn = treatment_means(x, label, 0.0), treatment_means(x, label, 1e9)
    np.testing.assert_allclose(free["a"], x[label == "a"].mean(0))
    np.testing.assert_allclose(drawn["a"], x.mean(0), atol=1e-6)


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
