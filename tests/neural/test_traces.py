"""Forecasts of tracks: better than persistence, honest about how sure, blind to the future."""

import numpy as np
import pytest

from neural.autocovariance import autocovariance, nonnegative, smooth_covariance, whole
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


def test_weights_of_zero_or_more_are_those_of_least_squares():
    from scipy.optimize import nnls

    rng = np.random.default_rng(0)
    one, other, wanted = rng.normal(size=(12, 4)), rng.normal(size=(15, 6)), rng.normal(size=(12, 15))
    found = nonnegative(one.T @ one, other.T @ other, one.T @ wanted @ other, np.zeros((4, 6)))
    reference, _ = nnls(np.kron(one, other), wanted.ravel())
    np.testing.assert_allclose(found.ravel(), reference, atol=1e-6)
    again = nonnegative(one.T @ one, other.T @ other, one.T @ wanted @ other, rng.random((4, 6)))
    np.testing.assert_allclose(again, found, atol=1e-6)


def test_a_sharp_rhythm_is_found_between_the_periods_tried():
    lag = np.arange(80)
    truth = (np.cos(2 * np.pi * lag / 12.7) + (lag == 0))[None, None]
    off = [np.abs(smooth_covariance(truth, sharp) - truth)[..., :40].max() for sharp in (True, False)]
    assert off[0] < 0.15 < 0.3 < off[1]


AT = np.arange(60)


def walks(rng, n):
    return rng.normal(size=(n, 60)).cumsum(1)


def slopes(rng, n):
    return rng.normal(size=(n, 1)) * AT / 20 + rng.normal(size=(n, 1)) + 0.2 * rng.normal(size=(n, 60))


def rhythms(rng, n):
    return np.sin(2 * np.pi * AT / 12.7 + rng.uniform(0, 6.3, (n, 1))) + 0.3 * rng.normal(size=(n, 60))


def saturating(rng, n):
    rate = np.exp(0.5 * rng.normal(size=(n, 1)) - 2.5)
    return 2 * np.exp(0.4 * rng.normal(size=(n, 1))) * (1 - np.exp(-rate * AT)) + 0.05 * rng.normal(
        size=(n, 60)
    )


def ridge(x, past, penalty):
    z, centre = x[:, :30], x.mean(0)
    w = np.linalg.solve(np.cov(z.T) + penalty * z.var(0).mean() * np.eye(30), np.cov(x.T)[:30, 30:])
    return centre[30:] + (past - centre[:30]) @ w


@pytest.mark.parametrize("kind", [walks, slopes, rhythms, saturating])
def test_no_worse_than_a_simple_rule_where_one_is_right(kind):
    rng = np.random.default_rng(3)
    train, new = kind(rng, 100), kind(rng, 300)
    label = np.zeros(100)
    mean, half = forecast(train[..., None], label, new[:, :30, None], np.zeros(300))
    past, ahead = new[:, :30], new[:, 30:]
    rules = [past[:, -1:], past.mean(1, keepdims=True), train[:, 30:].mean(0)]
    rules += [ridge(train, past, penalty) for penalty in (0.1, 1.0)]
    least = min(np.sqrt(((rule - ahead) ** 2).mean()) for rule in rules)
    assert np.sqrt(((mean[..., 0] - ahead) ** 2).mean()) < 1.04 * least
    assert 0.85 <= (np.abs(mean[..., 0] - ahead) <= half[:, 0]).mean() <= 0.96


def test_means_of_treatments_that_swing_are_not_smoothed_away():
    rng = np.random.default_rng(4)
    kind = np.arange(400) % 4
    x = 1.5 * np.sin(2 * np.pi * AT / (8 + 2 * kind[:, None])) + 0.5 * rng.normal(size=(400, 60))
    mean, _ = forecast(x[:120, :, None], kind[:120], x[120:, :30, None], kind[120:])
    own = np.stack([x[:120][kind[:120] == k, 30:].mean(0) for k in range(4)])[kind[120:]]
    errors = [((guess - x[120:, 30:]) ** 2).mean() for guess in (mean[..., 0], own)]
    assert errors[0] < 1.03 * errors[1]


def test_channels_have_units_of_their_own():
    train, label = tracks(60, 9)
    past, asked = train[:5, :SEEN], label[:5]
    mean, half = forecast(train, label, past, asked)
    unit, zero = np.array([1e-9, 1e6]), np.array([0.0, 1e7])
    scaled, wide = forecast(zero + unit * train, label, zero + unit * past, asked)
    np.testing.assert_allclose((scaled - zero) / unit, mean, atol=1e-5)
    np.testing.assert_allclose(wide / unit, half, atol=1e-5)


def test_treatments_have_names_of_any_kind():
    train, label = tracks(12, 10)
    train, seen = train[:, 10:22, :1], 6
    mean, _ = forecast(train, label, train[:6, :seen], label[:6])
    for names in (
        {"a": 1, "b": None},
        {"a": "x", "b": 2},
        {"a": float("nan"), "b": 0.5},
        {"a": True, "b": False},
    ):
        named = np.array([names[one] for one in label], object)
        other, _ = forecast(train, named, train[:6, :seen], named[:6])
        np.testing.assert_array_equal(other, mean)


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
