"""Intervals from fits to other data hold what they say they hold."""

import numpy as np
import pytest

from sim.interpret.refits import refit_interval

GROUPS, ROWS = 12, 10


def slope(x, y):
    return float(np.sum(x * y) / np.sum(x * x))


def measured(rng, noise_in_x):
    """A line of slope 2 through groups of points, each with an error of its own."""
    true = rng.normal(size=(GROUPS, ROWS))
    own = 0.3 * rng.normal(size=(GROUPS, 1)) * true
    x = true + noise_in_x * rng.normal(size=true.shape)
    return x, 2 * true + own + 0.5 * rng.normal(size=true.shape)


def fits(x, y, groups=range(GROUPS)):
    rest = [[g for g in groups if g != k] for k in groups]
    return slope(x, y), np.array([slope(x[r], y[r]) for r in rest])


def test_nine_in_ten_intervals_hold_the_truth():
    rng = np.random.default_rng(5)
    held = []
    for _ in range(600):
        whole, without = fits(*measured(rng, 0.0))
        _, lower, upper = refit_interval(whole, without)
        held.append(lower <= 2 <= upper)
    assert 0.87 <= np.mean(held) <= 0.93


def test_what_noise_in_the_inputs_takes_away_widens_the_interval():
    rng = np.random.default_rng(6)
    noise = 0.35
    plain, wide = [], []
    for _ in range(200):
        x, y = measured(rng, noise)
        whole, without = fits(x, y)
        # the inputs measured once more, with new noise of the same size
        again = np.array([slope(x + noise * rng.normal(size=x.shape), y) for _ in range(12)])
        plain.append([*refit_interval(whole, without)])
        wide.append([*refit_interval(whole, without, again=again)])

    def held(found):
        _, lower, upper = np.array(found).T
        return np.mean((lower <= 2) & (upper >= 2))

    assert held(plain) < 0.6
    assert held(wide) >= 0.85


def test_what_the_data_leave_open_widens_the_interval():
    rng = np.random.default_rng(7)
    whole, without = fits(*measured(rng, 0.0))
    _, lower, upper = refit_interval(whole, without)
    starts = whole + np.array([0.0, 0.5, -0.5, 0.2, -0.2])
    centre, low, high = refit_interval(whole, without, starts)
    assert centre == pytest.approx(whole)
    assert high - low > upper - lower + 1.0


def test_shapes_go_through():
    rng = np.random.default_rng(8)
    whole, without = rng.normal(size=(3, 4)), rng.normal(size=(5, 3, 4))
    ends = refit_interval(whole, without, rng.normal(size=(6, 3, 4)), rng.normal(size=(7, 3, 4)))
    assert all(e.shape == (3, 4) for e in ends)
    one = refit_interval(whole[1, 2], without[:, 1, 2])
    assert one[1] == pytest.approx(refit_interval(whole, without)[1][1, 2])


def test_one_group_makes_no_interval():
    with pytest.raises(ValueError, match="2 groups at least, got 1"):
        refit_interval(np.zeros(2), np.zeros((1, 2)))
