"""What a linear forecast misses: learned where there is something, left alone where there is nothing."""

from itertools import pairwise

import numpy as np
import pytest

from neural.traces import choose, forecast
from neural.traces_dynamics import USUAL, Dynamics
from neural.traces_means import expected
from neural.traces_windows import described

FRAMES, SEEN = 60, 30


def excitable(n, seed):
    """Tracks (n, T, 1) that jump up at random, fall back by themselves, and cannot jump again at once."""
    rng = np.random.default_rng(seed)
    x, wait = np.zeros((n, FRAMES, 1)), rng.integers(0, 12, n)
    for t in range(FRAMES):
        fires = (wait <= 0) & (rng.random(n) < 0.5)
        wait = np.where(fires, 12, wait - 1)
        x[:, t, 0] = np.where(wait > 9, 1.0, 0.0)
    return x + 0.05 * rng.normal(size=x.shape), np.repeat("a", n)


def linear(n, seed):
    """Tracks (n, T, 1) of one fading memory."""
    rng = np.random.default_rng(seed)
    x = np.zeros((n, FRAMES, 1))
    x[:, 0, 0] = rng.normal(size=n)
    for t in range(1, FRAMES):
        x[:, t, 0] = 0.9 * x[:, t - 1, 0] + np.sqrt(1 - 0.81) * rng.normal(size=n)
    return x, np.repeat("a", n)


@pytest.mark.parametrize(
    ("kind", "n", "least", "most"), [(excitable, 120, 0.1, 1.0), (linear, 300, -0.01, 0.01)]
)
def test_pulses_are_foretold_better_than_by_a_line_and_a_line_is_not_spoilt(kind, n, least, most):
    train, label = kind(n, 0)
    new, name = kind(400, 1)
    line = Dynamics(train, label).forecast(new[:, :SEEN], name, USUAL)
    both, _ = forecast(train, label, new[:, :SEEN], name)
    errors = [((guess - new[:, SEEN:]) ** 2).mean() for guess in (line, both)]
    assert least < 1 - errors[1] / errors[0] < most


def test_the_share_is_large_where_corrections_hold_and_small_where_they_do_not():
    pulses, line = (choose(*kind(300, 2), SEEN).share for kind in (excitable, linear))
    assert pulses.max(0).mean() > 0.55 > 0.3 > line.max(0).mean()
    for share in (pulses, line):
        assert ((share > 0).any((1, 2)).sum(0) <= 1).all()  # one penalty serves a channel
        assert ((share >= 0) & (share <= 1)).all()


def test_errors_at_an_origin_are_those_of_the_gaussian_forecast():
    tracks, label = linear(40, 3)
    tracks = np.concatenate([tracks, 0.5 * tracks**2], 2)
    dynamics = Dynamics(tracks, label)
    windows = dynamics.windows(SEEN, USUAL)
    told = tracks[:, SEEN:] - dynamics.forecast(tracks[:, :SEEN], label, USUAL)
    centred = tracks - expected(dynamics.means, label)
    covariance = {"a": dynamics.covariance("a", USUAL)}
    (found,) = windows._errors(centred, label, covariance, np.array([SEEN]))
    edges = windows._edges
    by_block = np.stack([told[:, a:b].mean(1) for a, b in pairwise(edges)], 1)
    np.testing.assert_allclose(found, by_block, atol=1e-4)


def test_corrections_do_not_hang_on_the_unit():
    tracks, label = excitable(40, 4)
    past = tracks[:5, :SEEN]
    one, other = (
        Dynamics(c * tracks, label).windows(SEEN, USUAL).corrections(c * past, label[:5]) for c in (1.0, 1e-6)
    )
    np.testing.assert_allclose(other, 1e-6 * one, atol=1e-6 * 1e-8)


def test_a_description_tells_levels_floor_and_asperity():
    smooth = np.zeros((1, SEEN, 1))
    rough = smooth + np.where(np.arange(SEEN) % 2, 1.0, -1.0)[:, None]
    step = smooth + (np.arange(SEEN) >= SEEN - 2)[:, None]
    still, loud, late = (described(x, smooth, SEEN, np.ones(1))[0] for x in (smooth, rough, step))
    assert (loud > still + 2).sum() >= 1  # the logarithm of changes
    np.testing.assert_allclose(late[:2], 1.0)
    np.testing.assert_allclose(late[6:13], 0.0)
    short = described(rough[:, -10:] + 3.0, smooth[:, -10:], SEEN, np.ones(1))[0]
    assert len(short) == len(loud)
    assert short[12] == pytest.approx(3.0)  # what lies before a short window is its mean
