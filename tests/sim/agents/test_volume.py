"""Volume in parts: the closed form against small steps of the equations it solves."""

from __future__ import annotations

import numpy as np
import pytest

from sim.agents.volume import relax_parts

CASES = {
    "growing": ((0.75, 270.0, 977.0), (0.05, 0.0055, 0.0045)),
    "apoptotic": ((0.0, 0.0, 0.0), (3 / 60, 0.35 / 60, 1 / 60)),
    "necrotic": ((1.0, 0.0, 0.0), (0.67 / 60, 0.013 / 60, 0.0032 / 60)),
    "rates that meet": ((0.75, 270.0, 977.0), (0.04, 0.01, 0.01)),
    "nothing moves": ((0.75, 135.0, 488.5), (0.0, 0.0, 0.0)),
}


def by_small_steps(parts, targets, rates, dt, count):
    """Classical Runge–Kutta of the three equations."""

    def slope(y):
        return np.array(
            [
                rates[0] * (targets[0] * y.sum() - y[0]),
                rates[1] * (targets[1] - y[1]),
                rates[2] * (targets[2] - y[2]),
            ]
        )

    y, h = np.array(parts), dt / count
    for _ in range(count):
        a = slope(y)
        b = slope(y + h / 2 * a)
        c = slope(y + h / 2 * b)
        y = y + h / 6 * (a + 2 * b + 2 * c + slope(y + h * c))
    return y


@pytest.mark.parametrize("case", CASES)
def test_parts_follow_their_equations(case):
    targets, rates = CASES[case]
    start = (1870.5, 135.0, 488.5)
    got = np.array(relax_parts(*(np.array([x]) for x in start), targets, rates, 90.0))[:, 0]
    np.testing.assert_allclose(got, by_small_steps(start, targets, rates, 90.0, 400), rtol=1e-9)


@pytest.mark.parametrize("case", CASES)
def test_one_step_is_as_good_as_many(case):
    targets, rates = CASES[case]
    start = tuple(np.array([x]) for x in (1870.5, 135.0, 488.5))
    often = start
    for _ in range(60):
        often = relax_parts(*often, targets, rates, 5.0)
    np.testing.assert_allclose(relax_parts(*start, targets, rates, 300.0), often, rtol=1e-10)
