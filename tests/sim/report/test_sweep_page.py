"""The page of a sweep draws what came out, and says what failed and why."""

import re

import numpy as np
import pytest
import xarray as xr

from sim.report.sweep import rendered, write_sweep_page
from sim.sweeping.parts import write_dataset

DOSES, CELLS, SEEDS = [0.0, 0.1, 10.0], ["few", "many"], 3


@pytest.fixture(scope="module")
def data():
    random = np.random.default_rng(1)
    alive = random.normal(100, 5, (3, 2, SEEDS))
    status = np.full(alive.shape, "done", object)
    log = np.full(alive.shape, "", object)
    status[2, 1, 0], log[2, 1, 0], alive[2, 1, 0] = "failed", "the step became <too small>\nmore", np.nan
    dims = ("dose", "layout", "seed")
    course = np.ones((*alive.shape, 4, 1)) * np.arange(4)[:, None]
    return xr.Dataset(
        {
            "alive": (dims, alive, {"units": "1", "long_name": "count(a) @ 3 h"}),
            "count": ((*dims, "time", "type"), course, {"units": "1"}),
            "status": (dims, status),
            "log": (dims, log),
        },
        {
            "dose": ("dose", DOSES, {"units": "uM"}),
            "layout": ("layout", np.array(CELLS, object)),
            "seed": ("seed", np.arange(SEEDS)),
            "time": ("time", np.arange(4.0), {"units": "h"}),
            "type": ("type", np.array(["a"], object)),
        },
        {"title": "Cells under a drug"},
    )


def test_outcomes_courses_and_failures_are_there(data):
    html = rendered(data, "doses.zarr")
    assert html.count("<svg role=") == 2 and "17 of 18" in html
    assert "alive: number of living a cells at 3 h" in html and "dose [uM]" in html
    assert "dose 10 uM, layout many, seed 0" in html and "the step became &lt;too small&gt;" in html
    assert "6 combinations" in html and f"{data['alive'].mean('seed').values[1, 0]:.4g}" in html
    assert not re.findall(r'(?:src|href)="(?!#|data:)', html)


def test_values_without_outcomes_or_seeds_are_drawn(data, tmp_path):
    one = data.isel(seed=[0], layout=[0]).drop_vars("alive")
    write_dataset(one, tmp_path / "one.zarr")
    page = write_sweep_page(tmp_path / "one.zarr", tmp_path / "one.zarr.report")
    html = page.read_text()
    assert page.name == "sweep.html" and html.count("<svg role=") == 1 and "What came out" not in html
