"""The search for the smallest change finds what a general optimiser finds, and says where there is nothing."""

import numpy as np
import pytest
from scipy.optimize import minimize

from sim.interpret.search import reach


def searched(function, start, wanted, tolerance, slope=None):
    wanted = np.atleast_1d(np.asarray(wanted, float))
    return reach(
        lambda u: np.atleast_1d(np.asarray(function(u), float)),
        np.array(start),
        wanted,
        np.full(len(wanted), tolerance),
        slope,
    )


def test_on_a_plane_the_step_is_along_the_slope():
    found = searched(lambda u: 3 * u[0] + u[1], [0.2, 0.2], 1.5, 1e-6)
    assert found.hit and np.allclose(found.at, [0.41, 0.27], atol=1e-6)
    assert found.size == pytest.approx(0.7 / np.sqrt(10), abs=1e-6)


@pytest.mark.parametrize(
    ("function", "start", "wanted"),
    [
        (lambda u: np.exp(2 * u[0]) * (1 + u[1] ** 2) + np.sin(3 * u[2]), [0.1, 0.5, 0.3], [4.0]),
        (lambda u: np.array([u[0] * u[1], u[0] + u[2]]), [0.5, 0.5, 0.5], [0.5, 0.8]),
    ],
)
def test_several_parameters_and_outcomes_as_an_optimiser_has_it(function, start, wanted):
    found = searched(function, start, wanted, 0.01)
    start, wanted = np.array(start), np.array(wanted)
    best = minimize(
        lambda u: ((u - start) ** 2).sum(),
        start,
        constraints={"type": "eq", "fun": lambda u: np.atleast_1d(function(u)) - wanted},
        bounds=[(0, 1)] * 3,
    )
    assert found.hit and found.size == pytest.approx(np.sqrt(best.fun), rel=0.03)


def test_bounds_hold_and_a_value_out_of_reach_is_said_to_be():
    found = searched(lambda u: 2 * u[0], [0.5], 5.0, 0.01)
    assert not found.hit and found.at == [1.0] and found.value == [2.0]
    # what the first may not give, the second does
    both = searched(lambda u: 2 * u[0] + u[1], [0.9, 0.1], 2.7, 1e-6)
    assert both.hit and both.at[0] == 1.0 and both.at[1] == pytest.approx(0.7)


def test_counts_which_have_no_slope_everywhere_are_reached():
    found = searched(lambda u: np.round(100 * u[0] ** 3), [0.9], 20.0, 1.0)
    assert found.hit


def test_a_known_slope_saves_the_runs_that_measure_it():
    def plain(u):
        return u[0] + 0.5 * u[1]

    given = searched(plain, [0.2, 0.2], 0.6, 1e-6, np.array([[1.0, 0.5]]))
    measured = searched(plain, [0.2, 0.2], 0.6, 1e-6)
    assert np.allclose(given.at, measured.at) and given.runs == measured.runs - 2
