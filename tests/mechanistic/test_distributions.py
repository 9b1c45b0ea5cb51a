"""Variation as text, and its samples."""

from __future__ import annotations

import numpy as np
import pytest

from mechanistic.distributions import parse, sample

U = (np.arange(20_000) + 0.5) / 20_000


@pytest.mark.parametrize("text", ["lognormal(cv=0.2)", "normal(cv=0.1)", "uniform(low=1, high=2)"])
def test_text_comes_back(text):
    assert str(parse(text)) == text


def test_moments():
    log = sample(parse("lognormal(cv=0.3)"), 5.0, U)
    assert log.mean() == pytest.approx(5.0, rel=1e-3)
    assert log.std() == pytest.approx(1.5, rel=5e-3)
    normal = sample(parse(" normal( cv = 1e-1 ) "), -4.0, U)
    assert normal.mean() == pytest.approx(-4.0, rel=1e-3)
    assert normal.std() == pytest.approx(0.4, rel=1e-2)
    uniform = sample(parse("uniform(low=1, high=3)"), 99.0, U)
    assert (uniform.min(), uniform.max()) == pytest.approx((1.0, 3.0), abs=1e-3)


def test_the_ends_of_the_interval_are_finite_and_signs_stay():
    ends = np.array([0.0, np.nextafter(1.0, 0.0)])
    assert np.all(np.isfinite(sample(parse("lognormal(cv=2)"), 1.0, ends)))
    assert np.all(sample(parse("normal(cv=5)"), 1.0, ends) >= 0)


@pytest.mark.parametrize(
    "text",
    ["lognormal", "lognormal()", "lognormal(sd=1)", "lognormal(cv=-1)", "gamma(cv=1)", "uniform(low=2, high=1)",
     "uniform(low=1)", "normal(cv=__import__('os'))", "normal(cv=1e999)", "normal(cv=1, cv=2)", ""],
)  # fmt: skip
def test_wrong_text_is_refused(text):
    with pytest.raises(ValueError, match=r"."):
        parse(text)
