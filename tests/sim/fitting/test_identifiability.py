"""What measurements determine, on a decay of which only the product of two parameters is seen."""

from dataclasses import replace

import numpy as np
import pytest
from decays import CHAIN, TIMES, decay

from sim.fitting.candidates import species_to_measure, what_to_measure
from sim.fitting.identifiability import identifiability, what_would_help
from sim.fitting.objective import Objective, Study
from sim.fitting.parts import Experiment, Measurement, Observable, Parameter, Period
from sim.fitting.profiles import profile


def test_what_is_seen_as_a_product_is_told():
    objective = decay()
    found = objective(slopes=True)
    seen = identifiability(objective, objective.nominal, found)
    (worst,) = seen.poor
    assert worst.eigenvalue == 0.0
    assert set(worst.parts) == {"a0", "s"}
    assert sum(worst.parts.values()) == pytest.approx(0.0, abs=1e-6)
    assert np.isfinite(seen.sd).tolist() == [True, False, False]
    (line,) = seen.warnings()
    assert "a0" in line and "s" in line and "can change together unseen (without bound)" in line


def test_standard_deviations_are_those_of_linear_regression():
    objective = decay("A", s=None, values=2 * np.exp(-TIMES))
    found = objective(slopes=True)
    # d A / d ln k and d A / d ln a0
    design = np.stack([-TIMES * 2 * np.exp(-TIMES), 2 * np.exp(-TIMES)], 1) / 0.05
    covariance = np.linalg.inv(design.T @ design)
    seen = identifiability(objective, objective.nominal, found)
    np.testing.assert_allclose(seen.sd, np.sqrt(np.diag(covariance)), rtol=1e-6)
    expected = covariance[0, 1] / np.sqrt(covariance[0, 0] * covariance[1, 1])
    assert seen.correlation[0, 1] == pytest.approx(expected, rel=1e-6)
    assert seen.warnings() == []
    low, high = seen.interval(objective.nominal)
    np.testing.assert_allclose(high - low, 2 * 1.959964 * seen.sd / np.log(10), rtol=1e-6)


def test_the_measurement_that_breaks_a_collinearity_comes_first():
    objective = decay()
    found = objective(slopes=True)
    seen = identifiability(objective, objective.nominal, found)
    ln10 = np.log(10)
    # one more point of the same curve, or the initial amount itself
    slopes = np.array([[-6 * ln10 * 0.3, 6 * ln10, 6 * ln10], [0.0, 2 * ln10, 0.0]])
    first, second = what_would_help(seen, found, ["later", "A at 0"], slopes, np.array([0.05, 0.05]))
    assert (first.candidate, second.candidate) == ("A at 0", "later")
    assert first.sd < 0.05
    assert second.gain == pytest.approx(0.0, abs=1e-6)


def test_profiles_know_what_has_an_end():
    objective = decay(s=Parameter("s", 3.0, 1e-6, 1e6, "log10"))
    k = profile(objective, objective.nominal, "k")
    assert k.kind == "bounded"
    seen = identifiability(objective, objective.nominal, objective(slopes=True))
    half = 1.96 * seen.sd[0] / np.log(10)
    assert [k.lower, k.upper] == pytest.approx([-half, half], rel=0.1)
    flat = profile(objective, objective.nominal, "a0")
    assert flat.kind == "flat"
    assert flat.reached == (-3.0, 3.0)
    assert np.ptp(flat.log_posterior) < 1e-3


def test_a_rate_of_which_only_the_end_is_seen_has_one_bound():
    gone = decay("A", s=None, a0=None, values=np.array([0.0, 0.0]), times=np.array([3.0, 4.0]))
    x = np.array([1.0])
    found = profile(gone, x, "k")
    assert found.kind == "one-sided"
    assert np.isinf(found.upper)
    # 2 exp(-3 k) and 2 exp(-4 k) at the threshold of 1.92 log-likelihoods
    k = 10**found.lower
    misfit = 0.5 * ((2 * np.exp(-3 * k)) ** 2 + (2 * np.exp(-4 * k)) ** 2) / 0.05**2
    assert misfit == pytest.approx(1.92, rel=0.1)


def test_the_species_to_measure_is_named():
    parameters = [Parameter(n, v, 1e-3, 1e3, "log10") for n, v in (("k", 1.0), ("a0", 2.0), ("s", 3.0))]
    points = tuple(Measurement("y", "e", float(t), 6 * np.exp(-t)) for t in TIMES)
    study = Study(
        CHAIN, (Experiment("e", (Period(0.0),)),), (Observable("y", ["*", "s", "A"], 0.05),), points
    )
    objective = Objective(parameters, [study])
    found = objective(slopes=True)
    seen = identifiability(objective, objective.nominal, found)
    best, *_ = what_to_measure(objective, objective.nominal, seen, found, [species_to_measure(study)])
    # any species without the unknown scale would do; one error of a tenth remains
    assert best.candidate.split()[0] in ("A", "B", "C")
    assert 0.05 < best.sd < 0.2
    late, *_ = what_to_measure(
        objective, objective.nominal, seen, found,
        [replace(study, measurements=(Measurement("y", "e", 3.0, 0.0),))],
    )  # fmt: skip
    assert late.gain == pytest.approx(0.0, abs=1e-3)
