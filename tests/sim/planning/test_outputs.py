"""What is stored: patterns made into names, and the nearest name where none fits."""

import pytest
from scenes import CONVERSION, scene

from sim.build import plan
from sim.errors import ScenarioError

CELLS = "{a: {count: 2, place: {random: {}}, pathways: [q]}}"
PATHWAY = "pathways: {q: {model: conversion.ant, time_unit: min}}"
FIELDS = "{drug: {diffusion: 1 um^2/min}, food: {diffusion: 1 um^2/min}}"


TISSUE = "tissue: {neighbours: {radius: 20 um}}"


def chosen(folder, outputs):
    (folder / "conversion.ant").write_text(CONVERSION)
    return plan(
        scene(PATHWAY, TISSUE, f"outputs: {outputs}", cells=CELLS, fields=FIELDS, folder=folder)
    ).outputs


@pytest.mark.parametrize(
    ("patterns", "names"),
    [
        ("[type, position]", []),
        ("[pathway.q.E]", ["pathway.q.E"]),
        ("[pathway.q.*]", ["pathway.q.E", "pathway.q.F"]),
        ("[pathway.q.forward]", ["pathway.q.forward"]),
        ("[rate.*]", ["rate.growth", "rate.division", "rate.death", "rate.lysis", "rate.clearance"]),
        ("[field.drug, 'field.*']", ["field.drug", "field.food"]),
        ("[neighbours.count(a)]", ["neighbours.count(a)"]),
    ],
)
def test_patterns_name_quantities(tmp_path, patterns, names):
    assert [q.name for q in chosen(tmp_path, f"{{cells: {patterns}}}").scalars] == names


def test_fields_are_all_or_those_named(tmp_path):
    assert chosen(tmp_path, "{cells: [type]}").fields == ("drug", "food")
    assert chosen(tmp_path, "{cells: [type], fields: [food]}").fields == ("food",)


def test_a_name_that_fits_nothing_is_told_with_its_place(tmp_path):
    with pytest.raises(ScenarioError) as refused:
        chosen(tmp_path, "{cells: [type, pathway.q.EE, pathway.q.*x]}")
    text = str(refused.value)
    assert (
        "outputs.cells[1]: no quantity fits 'pathway.q.EE'" in text and "did you mean 'pathway.q.E'" in text
    )
    assert "outputs.cells[2]: no quantity fits 'pathway.q.*x'" in text
