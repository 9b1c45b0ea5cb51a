"""The optimiser and its starts, on problems whose optimum is known."""

import numpy as np
from decays import TIMES, decay

from sim.fitting.computed import Computed
from sim.fitting.explore import fit_widely
from sim.fitting.multistart import fit_many, starting_points
from sim.fitting.objective import Evaluation
from sim.fitting.optimize import Stop, fit
from sim.fitting.parts import Parameter, Prior


class Function:
    """Residuals by formula, as an objective; sum of squares of `residuals(x)` over 2 is minimised."""

    def __init__(self, residuals, slopes, low, high):
        self.residuals, self.slopes_of = residuals, slopes
        self.lower, self.upper = np.array(low, float), np.array(high, float)
        self.nominal = 0.5 * (self.lower + self.upper)
        self.names = tuple(f"p{i}" for i in range(len(low)))
        self.scales = ("lin",) * len(low)

    def __call__(self, x=None, *, slopes=False, back=None):
        x = self.nominal if x is None else x
        r = np.array(self.residuals(x))
        found = Evaluation(-0.5 * float(r @ r), 0.0, float(r @ r), r, np.ones(len(r)), r)
        if slopes:
            found.root = np.array(self.slopes_of(x))
            found.gradient, found.prior_gradient = -r @ found.root, np.zeros(len(x))
        return found


ROSENBROCK = Function(
    lambda x: [10 * (x[1] - x[0] ** 2), 1 - x[0]], lambda x: [[-20 * x[0], 10], [-1, 0]], [-5, -5], [5, 5]
)


def test_a_curved_valley_is_followed_to_its_end():
    found = fit(ROSENBROCK, np.array([-1.2, 1.0]))
    assert found.converged
    np.testing.assert_allclose(found.x, [1, 1], atol=1e-6)


def test_the_optimum_may_lie_on_a_bound():
    bounded = Function(ROSENBROCK.residuals, ROSENBROCK.slopes_of, [-5, -5], [0.5, 5])
    found = fit(bounded, np.array([-1.2, 1.0]))
    assert found.converged
    np.testing.assert_allclose(found.x, [0.5, 0.25], atol=1e-6)


def test_what_is_fixed_stays():
    found = fit(ROSENBROCK, np.array([-1.0, 0.0]), fixed=np.array([True, False]))
    np.testing.assert_allclose(found.x, [-1.0, 1.0], atol=1e-6)


def test_exploring_leaves_a_local_optimum():
    # two wells in the first, the deeper one at 4; a local fit from the left stays there
    wells = Function(
        lambda x: [(x[0] + 3) * (x[0] - 4) / 5, 0.1 * (x[0] - 4), x[1] - 1],
        lambda x: [[(2 * x[0] - 1) / 5, 0], [0.1, 0], [0, 1]],
        [-5, -5],
        [5, 5],
    )
    local = fit(wells, np.array([-4.0, 0.0]))
    assert local.converged
    assert local.x[0] < 0
    widely = fit_widely(wells, np.array([-4.0, 0.0]))
    np.testing.assert_allclose(widely.x, [4, 1], atol=1e-6)


def test_a_decay_is_found_from_everywhere():
    objective = decay("A", s=None, values=2 * np.exp(-TIMES))
    fits = fit_many(objective, 4, 1, steps=200)
    assert fits.at_best == 4
    np.testing.assert_allclose(fits.best.x, objective.nominal, atol=1e-5)


def test_by_the_gradient_alone_it_comes_to_the_same():
    objective = decay("A", s=None, values=2 * np.exp(-TIMES))

    class ByGradient:
        names, scales, nominal = objective.names, objective.scales, objective.nominal
        lower, upper = objective.lower, objective.upper

        def __call__(self, x=None, *, slopes=False, back=None):
            return objective(x, slopes=slopes, back=True)

    found = fit(ByGradient(), np.array([0.5, 0.0]), Stop(gain=1e-14))
    np.testing.assert_allclose(found.x, objective.nominal, atol=1e-4)


def test_starts_are_within_bounds_and_the_same_for_any_number():
    few, many = starting_points(ROSENBROCK, 4, 7), starting_points(ROSENBROCK, 100, 7)
    np.testing.assert_array_equal(few, many[:4])
    assert np.all((many >= -5) & (many <= 5))
    assert not np.array_equal(few, starting_points(ROSENBROCK, 4, 8))


def test_a_prior_pulls_and_bends():
    prior = Prior("normal", (0.5, 0.02), scaled=True)
    objective = decay(
        "A", s=None, values=2 * np.exp(-TIMES), k=Parameter("k", 1.0, 1e-3, 1e3, "log10", prior=prior)
    )
    found = fit(objective, objective.nominal)
    assert found.converged
    at = objective(found.x, slopes=True)
    np.testing.assert_allclose(at.gradient + at.prior_gradient, 0.0, atol=1e-2)
    assert 0.0 < found.x[0] < 0.5
    np.testing.assert_allclose(objective.prior_curvature(found.x), [1 / 0.02**2, 0.0], rtol=1e-4)


def test_computed_parameters_pass_their_slopes_on():
    lin = {name: Parameter(name, value, 0.0, 10.0) for name, value in (("k", 1.0), ("a0", 2.0), ("s", 3.0))}
    objective = decay(values=5 * np.exp(-0.8 * TIMES), **lin)
    prior = Prior("normal", (0.0, 0.5))
    weights = [Parameter("w", 0.7, -5, 5, prior=prior), Parameter("v", -0.4, -5, 5)]

    def network(values):
        w, v, s = values
        slopes = np.array([[np.exp(w), 0.0, 0.0], [v * 0, 2 * v, 0.1 * s]])
        return np.array([np.exp(w), v**2 + 0.05 * s**2]), lambda asked: asked @ slopes

    whole = Computed(objective, ("a0", "k"), weights, ("w", "v", "s"), network)
    assert whole.names == ("s", "w", "v")
    x = whole.nominal
    found, h = whole(x, slopes=True), 1e-5
    rows = [(whole(x + h * u), whole(x - h * u)) for u in np.eye(3)]
    np.testing.assert_allclose(found.gradient, [(a.llh - b.llh) / (2 * h) for a, b in rows], rtol=1e-5)
    np.testing.assert_allclose(whole.prior_curvature(x), [0.0, 4.0, 0.0], rtol=1e-5)
    np.testing.assert_allclose(found.prior_gradient, [0.0, -0.7 * 4.0, 0.0], rtol=1e-9)
    back = whole(x, slopes=True, back=True)
    np.testing.assert_allclose(back.gradient, found.gradient, rtol=1e-5)
    by_row = np.stack([(a.residual - b.residual) / (2 * h) for a, b in rows], 1)
    np.testing.assert_allclose(found.residual_slopes, by_row, rtol=1e-5, atol=1e-6)
