"""`describe` tells processes, couplings, perturbations and every conversion."""

from scenes import CONVERSION, scene

from sim.build import plan
from sim.describe import described


def test_everything_that_acts_is_told(tmp_path):
    (tmp_path / "conversion.ant").write_text(CONVERSION)
    text = described(
        plan(
            scene(
                "pathways: {q: {model: conversion.ant, time_unit: h, step: 12 min}}",
                """couplings:
  - {from: field.drug, to: pathway.q.inhibitor}
  - {from: pathway.q.E, to: rate.division, hill: {half_max: 2}, mode: scale}""",
                "perturbations: [{at: 30 min, set: field.drug, to: 2 uM}]",
                fields="{drug: {diffusion: 1e3 um^2/min, unit: nM}}",
                cells="{a: {count: 3, place: {random: {}}, pathways: [q]}}",
                folder=tmp_path,
            )
        )
    )
    assert "a: 3 cells" in text and "until 2 h, saved every 1 h" in text and "strang" in text
    assert "pathway.q (dynamic, 12 min)" in text and "life (discrete, 6 min)" in text
    assert "field.drug → pathway.q.inhibitor" in text and "times 0.001" in text
    assert "pathway.q.E → rate.division  (scale, Hill rising, half-max 2" in text
    assert "at 30 min: set field.drug 2 uM" in text
    assert "nM to uM, times 0.001" in text
