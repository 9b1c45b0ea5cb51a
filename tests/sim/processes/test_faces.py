"""Faces of the domain that let a substance through, as a scenario says them."""

from __future__ import annotations

import numpy as np
import pytest

from sim.errors import ScenarioError
from tests.scenes import advance, scene, started

_SLAB = "{x: [0 um, 400 um], y: [0 um, 40 um]}"


def _field(boundary: str, decay: str = "0.02 /min", solve: str = "steady") -> str:
    return f"{{drug: {{diffusion: 500 um^2/min, decay: {decay}, unit: uM, solve: {solve}, boundary: {boundary}}}}}"


def test_a_permeable_face_gives_the_steady_field_of_the_slab():
    boundary = "{x_min: {permeability: 8 um/min, outside: 3000 nM}}"
    simulation = started(scene(domain=_SLAB, fields=_field(boundary)))
    advance(simulation, 60)
    k, h, d, length = np.sqrt(0.02 / 500), 8.0, 500.0, 400.0
    x = np.arange(10.0, 400.0, 20.0)
    c = 3.0 * h / (h * np.cosh(k * length) + d * k * np.sinh(k * length))
    got = simulation.state.fields["drug"][0, 0]
    np.testing.assert_allclose(got, c * np.cosh(k * (length - x)), rtol=0.01)


def test_an_inflow_brings_its_value_times_its_speed():
    boundary = "{x_max: {inflow: 2 uM, speed: 0.5 um/min}}"
    simulation = started(scene(domain=_SLAB, fields=_field(boundary, "0 /min", "transient")))
    advance(simulation, 60)
    amount = simulation.state.fields["drug"].sum() * 20.0**3
    assert amount == pytest.approx(2 * 0.5 * 60 * 40 * 20, rel=1e-12)  # value, speed, time, face


@pytest.mark.parametrize(
    ("boundary", "message"),
    [
        ("{x_min: {permeability: 8 um/min}}", "permeability, outside"),
        ("{permeability: 8 um, outside: 3 uM}", "um/min"),
        ("{inflow: 3 min, speed: 8 um/min}", "min"),
        ("{inflow: -3 uM, speed: 8 um/min}", "negative"),
        ("{inflow: 3 uM, speed: 8 um/min}", "steady"),
    ],
)
def test_faces_that_make_no_sense_are_refused(boundary, message):
    with pytest.raises(ScenarioError, match=message):
        scene(domain=_SLAB, fields=_field(boundary, "0 /min"))
