"""The page of a fit: measured beside simulated, profiles, starts; no raw mark-up on logarithmic axes."""

from __future__ import annotations

import re

import numpy as np
import pytest

from sim.report.fit import fit_page
from sim.report.style import drawing, log_axis, to_svg

RESULT = {
    "chi2": 2.0,
    "log_posterior": -3.25,
    "starts": 3,
    "at_best": 2,
    "parameters": {"k": 0.5, "v": 2.0},
    "hardly_determined": ["k and v can change together"],
    "intervals": {"k": [0.4, 0.6], "v": [None, None]},
}


def page(points, **more):
    return fit_page("problem.yaml", points, {**RESULT, **more}, [-3.25, -3.25, -90.0], {})


def test_courses_are_drawn_where_there_are_times():
    html = page([("level", "low", t, 1.0 / (1 + t), 1.1 / (1 + t)) for t in (0.0, 1.0, 2.0)])
    assert "Dots were measured; lines join what the fitted model says" in html
    assert "Simulated over measured" not in html
    assert "2 of 3" in html and "k and v can change together" in html
    assert "0.4 to 0.6" in html and "cannot be told" in html


@pytest.mark.parametrize("times", [[np.inf, np.inf], [5.0, 5.0]])
def test_one_time_alone_is_no_course(times):
    html = page([("level", f"dose{k}", t, 1.0 + k, 1.1 + k) for k, t in enumerate(times)])
    assert "Simulated over measured" in html and "Dots were measured" not in html


def test_profiles_show_each_parameter():
    values = np.array([0.01, 0.5, 5.0])
    drawn = {"k": (values, np.array([-8.0, -3.25, -3.9]))}
    found = {"k": {"lower": 0.1, "upper": None, "kind": "one-sided"}}
    html = fit_page("p.yaml", [("level", "", 0.0, 1.0, 1.0)], {**RESULT, "profiles": found}, [-3.25], drawn)
    assert "one-sided" in html and "0.1 to no end" in html
    assert "The starts" not in html  # one start has nothing to be compared with
    assert "mathdefault" not in html


@pytest.mark.parametrize("linear", [None, 0.01])
def test_logarithmic_axes_have_plain_numbers(linear):
    with drawing() as figure_class:
        figure = figure_class()
        axes = figure.add_subplot()
        axes.plot([0.01, 1000.0], [0.0, 1.0])
        log_axis(axes, "x", linear)
        svg = to_svg(figure, "doses")
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", svg)
    assert {"0.01", "1", "1,000"} <= set(texts)
    assert "mathdefault" not in svg
