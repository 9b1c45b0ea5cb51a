"""Planning: every fault of names, units and wiring with its line, before anything heavy is loaded or written."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from scenes import CONVERSION, scene

from sim.build import plan
from sim.errors import ScenarioError

SCENARIOS = Path(__file__).resolve().parents[2] / "scenarios"
PATHWAY = "pathways: {q: {model: conversion.ant, time_unit: min}}"
CELLS = "{a: {count: 2, place: {random: {}}, pathways: [q]}}"
LEARNED = "{a: {count: 2, place: {random: {}}, representation: {space: pc9_drug}}}"
DRUGS = "manipulators: {drugs: {weights: drugs.safetensors, conditions: {erlotinib: field.drug}}}"
FIELDS = "{drug: {diffusion: 1e3 um^2/min}}"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "conversion.ant").write_text(CONVERSION)
    shutil.copy(SCENARIOS / "weights" / "pc9_drugs.safetensors", tmp_path / "drugs.safetensors")
    shutil.copy(SCENARIOS / "weights" / "contact.safetensors", tmp_path / "contact.safetensors")
    return tmp_path


def refused(folder, *parts, **more):
    with pytest.raises(ScenarioError) as error:
        plan(scene(*parts, folder=folder, **{"fields": FIELDS, "cells": CELLS, **more}))
    assert all(p.line and p.file.endswith("scene.yaml") for p in error.value.problems)
    return str(error.value)


@pytest.mark.parametrize(
    ("parts", "more", "words"),
    [
        (
            [PATHWAY.replace("time_unit: min", "time_unit: min, set: {kk: 1}")],
            {},
            ["pathways.q.set.kk", "'kk'"],
        ),
        (
            [PATHWAY.replace("time_unit: min", "time_unit: min, vary: {bakc: normal(cv=0.1)}")],
            {},
            ["bakc", "did you mean 'back'"],
        ),
        (
            [PATHWAY, "couplings: [{from: field.drug, to: pathway.q.inhibitr}]"],
            {},
            ["couplings[0].to", "inhibitor"],
        ),
        (
            [PATHWAY, "couplings: [{from: pathway.q.E, to: pathway.q.F}]"],
            {},
            ["couplings[0].to", "pathway.q.F"],
        ),
        (
            [PATHWAY, "perturbations: [{at: 0 h, set: pathway.q.forward, to: 1}]"],
            {},
            ["perturbations[0]", "pathway.q.forward"],
        ),
        (
            [PATHWAY, "perturbations: [{at: 0 h, set: pathway.q.G, to: 1}]"],
            {},
            ["perturbations[0]", "pathway.q.G"],
        ),
        (
            [DRUGS.replace("{erlotinib:", "{erlotinb:")],
            {"cells": LEARNED},
            ["erlotinb", "did you mean 'erlotinib'"],
        ),
        (
            [DRUGS.replace("drugs.safetensors", "contact.safetensors")],
            {"cells": LEARNED},
            ["manipulators.drugs.weights", "manipulator"],
        ),
        ([DRUGS], {"cells": LEARNED.replace("pc9_drug}", "pc9_drag}")}, ["pc9_drag", "pc9_drug"]),
        ([DRUGS], {"cells": LEARNED.replace("pc9_drug}", "pc9_drug, initial: treated}")}, ["treated"]),
        (
            [PATHWAY],
            {
                "cells": CELLS.replace(
                    "pathways:", "exchange: {drug: {permeability: 1 /min, with: pathway.q.EE}}, pathways:"
                )
            },
            ["exchange.drug.with", "pathway.q.EE"],
        ),
        (
            [PATHWAY.replace("time_unit: min", "time_unit: min, growth: keeps_concentration")],
            {
                "cells": CELLS.replace(
                    "pathways:", "exchange: {drug: {permeability: 1 /min, with: pathway.q.E}}, pathways:"
                )
            },
            ["growth: dilutes"],
        ),
    ],
)
def test_a_wrong_name_is_told_with_key_and_fix(folder, parts, more, words):
    text = refused(folder, *parts, **more)
    for word in words:
        assert word in text, text


def test_a_model_that_is_wrong_is_told_with_its_own_line(folder):
    (folder / "conversion.ant").write_text(
        "model m\n compartment c = 1\n species E in c\n J: E -> ; k_missing*\nend\n"
    )
    text = refused(folder, PATHWAY)
    assert "pathways.q.model" in text and "conversion.ant" in text


def test_all_faults_of_a_stage_are_told_at_once(folder):
    couplings = "couplings: [{from: field.drug, to: cell.volume}, {from: pathway.q.EE, to: rate.death}]"
    text = refused(folder, PATHWAY, couplings)
    assert "couplings[0]" in text and "couplings[1]" in text


def test_a_cycle_within_a_step_is_refused(folder):
    rule = "model r\n compartment c = 1\n species E in c\n E = 1\n k = 1\n x = 1\n y := 2*x\n J: E -> ; c*k*E\nend\n"
    (folder / "conversion.ant").write_text(rule)
    text = refused(folder, PATHWAY, "couplings: [{from: pathway.q.y, to: pathway.q.x, linear: {slope: 1}}]")
    assert "cycle" in text and "pathway.q.y" in text and "cut one" in text


def test_implied_couplings_follow_those_of_the_scenario_and_know_their_place(folder):
    planned = plan(
        scene(
            DRUGS,
            "tissue: {weights: contact.safetensors, neighbours: {radius: 25 um}}",
            "couplings: [{from: decoder.division, to: rate.division}]",
            fields=FIELDS,
            cells=LEARNED,
            folder=folder,
        )
    )
    names = [c.name for c in planned.couplings]
    assert names[:2] == ["decoder.division → rate.division", "field.drug → condition.erlotinib"]
    assert any(n.endswith("→ message.confluence") for n in names)
    assert [c.index for c in planned.couplings] == list(range(len(names)))
    assert planned.keys[:2] == [("couplings", 0), ("manipulators", "drugs", "conditions", "erlotinib")]


def test_the_content_of_models_and_weights_is_hashed(folder):
    from hashlib import sha256

    planned = plan(scene(PATHWAY, fields=FIELDS, cells=CELLS, folder=folder))
    assert planned.hashes == {"conversion.ant": sha256((folder / "conversion.ant").read_bytes()).hexdigest()}


@pytest.mark.parametrize(("every", "step", "chosen"), [("1 h", "12 min", 12.0), ("10 min", "10 min", 10.0)])
def test_the_coupling_step_is_the_one_given(every, step, chosen):
    assert plan(scene(every=every, step=step)).step == chosen


def test_planning_imports_nothing_heavy(folder):
    file = folder / "light.yaml"
    file.write_text(scene(PATHWAY, fields=FIELDS, cells=CELLS, folder=folder).text)
    script = f"""
import sys
from sim import Scenario
from sim.build import plan
plan(Scenario.load({str(file)!r}))
print(*[m for m in ("torch", "numba", "roadrunner", "tellurium", "xarray", "matplotlib") if m in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert done.stdout.split() == []
