"""Forecasts of tracks: better than persistence, honest about how sure, blind to the future."""

import numpy as np
import pytest

from neural.autocovariance import autocovariance, smooth_covariance, whole
from neural.traces import filled, forecast
from neural.traces_means import treatment_means

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
    free, drawn = treatment_means(x, label, (1 / 8, 0.0)), treatment_means(x, label, (1 / 8, 1e9))
    np.testing.assert_allclose(free["a"][0], x[label == "a"].mean(0)[0])
    np.testing.assert_allclose(free["a"][20], x[label == "a"].mean(0)[15:26].mean(0))
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
        forecast(train[:1], label[:1], train[:, :SEEN], label)


@pytest.mark.parametrize(
    "shape",
    [
        "one channel",
        "two tracks",
        "each its own treatment",
        "constant",
        "one frame ahead",
        "one frame known",
        "none asked",
    ],
)
def test_other_shapes_of_data(shape):
    train, label = tracks(24, 6)
    past, asked = train[:4, :SEEN] + 0.1, label[:4]
    if shape == "one channel":
        train, past = train[..., :1], past[..., :1]
    elif shape == "two tracks":
        train, label = train[:2], label[:2]
    elif shape == "each its own treatment":
        label, asked = np.arange(24), np.arange(20, 24)
    elif shape == "constant":
        train, past = np.ones_like(train), np.ones_like(past)
    elif shape == "one frame ahead":
        train = train[:, : SEEN + 1]
    elif shape == "one frame known":
        past = past[:, :1]
    else:
        past, asked = past[:0], asked[:0]
    mean, width = forecast(train, label, past, asked)
    assert mean.shape == (len(past), train.shape[1] - past.shape[1], train.shape[2])
    assert np.isfinite(mean).all()
    assert np.isfinite(width).all()
    assert (np.abs(mean) < 5).all()
    if shape == "constant":
        np.testing.assert_allclose(mean, 1.0)


def test_gaps_are_filled_and_cost_little():
    train, label = tracks(60, 7)
    past, asked = train[:10, :SEEN].copy(), label[:10]
    whole, _ = forecast(train, label, past, asked)
    rng = np.random.default_rng(8)
    train[rng.random(train.shape) < 0.03] = np.nan
    train[0, :, 1] = np.nan
    past[rng.random(past.shape) < 0.03] = np.nan
    past[9] = np.nan
    mean, _ = forecast(train, label, past, asked)
    assert np.isfinite(mean).all()
    assert np.abs(mean - whole)[:9].mean() < 0.1
    line = filled(np.array([[[0.0], [np.nan], [2.0], [np.nan]]]))
    np.testing.assert_allclose(line[0, :, 0], [0, 1, 2, 2])
