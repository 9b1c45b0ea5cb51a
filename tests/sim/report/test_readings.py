"""The report shows what every kind of instrument read."""

import re

import numpy as np
import pytest
from scenes import scene

from sim import run
from sim.report.images import smaller
from sim.report.page import render

EVERY = """
instruments:
  scope: {kind: fluorescence, every: 1 h, channels: {dna: {part: nucleus, emission: 461 nm, brightness: 5}}}
  tracks: {kind: reporter, every: 1 h, tracks: 4, channels: {size: {shows: cell.volume}}}
  mean: {kind: reporter, every: 1 h, channels: {size: {shows: cell.volume}}}
  facs: {kind: cytometer, every: 1 h, events: 30, channels: {size: {shows: cell.volume, brightness: 0.1}}}
  incucyte: {every: 1 h}
"""


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> str:
    path = tmp_path_factory.mktemp("run") / "run.zarr"
    run(scene(EVERY), path)
    return render(path)


def test_every_instrument_has_its_figure(page):
    section = page[page.index('id="instruments"') :]
    section = section[: section.index("</section>")]
    for name in ("scope", "tracks", "mean", "facs", "incucyte"):
        label = "images" if name == "scope" else "readings"
        assert f'aria-label="{label} of {name}"' in section
    assert "data:image/png;base64," in section
    assert "Each line is one cell, 4 of 4." in section and "log10(1 + photons)" in section
    assert re.search(r"Black to white, in counts: dna \d+ to \d+\.", section)


def test_a_picture_is_made_smaller_by_means():
    image = np.arange(48.0).reshape(6, 8)
    np.testing.assert_array_equal(smaller(image, 8), image)
    np.testing.assert_array_equal(smaller(image, 4), image.reshape(3, 2, 4, 2).mean((1, 3)))
    assert smaller(np.ones((1, 1000)), 100).shape == (1, 100)
    assert smaller(np.ones((7, 1000)), 100).shape == (1, 100)
