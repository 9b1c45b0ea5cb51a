"""A good scenario as those see it who build from it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from sim.errors import ScenarioError
from sim.scenario import Scenario
from sim.scenario.cycle import PHASES
from sim.scenario.files import SHIPPED
from sim.scenario.json_schema import schema_text
from sim.scenario.problems import keys_of, part_at
from sim.scenario.schema import ScenarioSpec


def test_every_key_is_used_by_the_good_scenarios(folder: Path):
    """The corpus of bad files is made from these, so that no key escapes it."""
    given: set[tuple[str, str]] = set()

    def walk(value: object, path: tuple[str | int, ...], whole: object) -> None:
        part = part_at(ScenarioSpec, path, whole)
        for key, below in (
            value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        ):
            if part is not None:
                given.add((part.__name__, str(key)))
            walk(below, (*path, key), whole)

    for name in ("monolayer", "spheroid", "behaviours", "instruments", "triangulated"):
        text = (Path(__file__).parent / "data" / f"{name}.yaml").read_text(encoding="utf-8")
        plain = Scenario.parse(text, folder / f"{name}.yaml").to_plain()
        walk(plain, (), plain)
    definitions = json.loads(schema_text())["$defs"]
    declared = {(part, key) for part, d in definitions.items() for key in d.get("properties", ())}
    assert declared - given == {("Incucyte", "kind")}, "it goes by the instrument's name"
    assert {key for part, key in given if part == "ScenarioSpec"} == set(keys_of(ScenarioSpec))


def test_values_are_in_the_units_used_inside(monolayer: Path):
    s = Scenario.load(monolayer)
    assert (s.time.stop, s.time.save_every, s.time.step, s.time.splitting) == (5760, 60, 6, "lie")
    assert (s.space.dimensions, s.space.shape, s.space.voxel) == (2, (80, 40), 10)
    oxygen, drug, egf = s.space.fields.values()
    assert (oxygen.unit, oxygen.initial, oxygen.boundary["x_max"], oxygen.boundary["y_max"]) == (
        "mmHg",
        38,
        38,
        "no_flux",
    )
    assert (drug.unit, drug.initial, drug.boundary["x_min"]) == ("nM", 0, "no_flux")
    assert (egf.unit, egf.initial, egf.diffusion) == ("ng/mL", 5, 6000)
    tumor, scout = s.cells.values()
    assert (tumor.number, scout.number, tumor.place.kind, scout.place.kind) == (400, 2, "disc", "points")
    assert scout.place.points == ((100, 100), (700, 300))
    assert tumor.cycle is not None and list(tumor.cycle.phases or ()) == ["G0G1", "S", "G2M"]
    assert tumor.exchange["egf"].partner == "pathway.mapk.EGF_in"
    assert scout.death.lysis == 2e-3
    assert scout.exchange["drug"].saturation == 100, "0.1 uM in the field's nM"
    vary = s.pathways["mapk"].vary
    assert (str(vary["EGFR_total"]), vary["k2"].low, vary["k2"].high) == ("lognormal(cv=0.2)", 0.5, 2)
    assert [c.response for c in s.couplings] == ["identity", "hill", "linear", "table", "hill", "network"]
    assert s.couplings[1].cells == ("tumor",)
    first, second, third, last = s.perturbations
    assert (first.verb, first.quantity, first.value) == ("set", "field.drug", 1000)
    assert (second.verb, second.value, second.times(s.time.stop)) == ("add", 100, [720, 2160, 3600, 5040])
    assert second.where.disc is not None and second.where.disc.center == (400, 200)
    assert (third.verb, third.value, third.cells, third.fraction) == ("scale", 0.1, ("tumor",), 0.3)
    assert last.kill is not None and (last.verb, last.kill.cells, last.value) == ("kill", ("scout",), None)
    assert s.outputs.fields == ("oxygen", "drug")


def test_periodic_space_makes_periodic_fields(folder: Path):
    s = Scenario.parse(
        (Path(__file__).parent / "data" / "spheroid.yaml").read_text("utf-8"), folder / "s.yaml"
    )
    assert set(s.space.fields["signal"].boundary.values()) == {"periodic"}
    assert (s.space.dimensions, s.space.shape, s.seed) == (3, (15, 15, 15), 2**64 - 1)


def test_scenarios_cannot_be_changed(monolayer: Path):
    s = Scenario.load(monolayer)
    with pytest.raises(ValueError, match="frozen"):
        s.time.stop = 3  # type: ignore[misc]


def test_seed_is_drawn_once_and_kept_in_the_text(monolayer: Path):
    text = monolayer.read_text().replace("seed: 2026\n", "")
    drawn = Scenario.parse(text, monolayer)
    assert drawn.seed_was_drawn and drawn.seed is not None and 0 <= drawn.seed < 2**63
    again = Scenario.parse(drawn.text, monolayer)
    assert (again.seed, again.seed_was_drawn) == (drawn.seed, False)
    assert again.text == drawn.text and again.sha256 == drawn.sha256
    assert Scenario.parse(text, monolayer).seed != drawn.seed


def test_text_and_hash_are_those_of_the_file_when_nothing_is_replaced(monolayer: Path):
    s = Scenario.load(monolayer)
    assert s.text == monolayer.read_text()
    assert Scenario.load(monolayer, seed=2026).sha256 == s.sha256
    assert Scenario.load(monolayer, seed=7).sha256 != s.sha256


def test_overrides(monolayer: Path):
    s = Scenario.load(
        monolayer,
        overrides={
            "time.stop": "90 h",
            "couplings[1].hill.power": "2",
            "perturbations.0.at": "12 h",
            "tissue.neighbours": "{radius: 30 um}",
            "space.fields.oxygen.solve": "transient",
        },
    )
    assert (s.time.stop, s.couplings[1].hill.power, s.perturbations[0].at) == (5400, 2, 720)  # type: ignore[union-attr]
    assert s.tissue is not None and s.tissue.neighbours.radius == 30
    assert Scenario.parse(s.text, monolayer).sha256 == s.sha256


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("time.stop", "6 kelvin", "time.stop: is a temperature; must be a time such as 6 h (got 6 kelvin)"),
        ("time.stopp", "6 h", "unknown key 'stopp'; did you mean 'stop'?"),
        ("couplings[9].mode", "add", "there is no entry 9; the list has 6, counted from 0"),
        ("name.first", "x", "'name' holds a value, not keys"),
        ("a..b", "1", "is not a key"),
        ("", "1", "the key is empty"),
        ("name", "*x", "aliases are not accepted"),
        ("name", "!!python/object:x 1", "tags are not accepted"),
        ("couplings[0].from", "field.druk", "did you mean 'drug' (line"),
    ],
)
def test_override_at_fault_is_named(monolayer: Path, key: str, value: str, message: str):
    with pytest.raises(ScenarioError) as caught:
        Scenario.load(monolayer, overrides={key: value})
    (line,) = caught.value.lines()
    assert line.startswith(f"cellweave: error: {monolayer}: --set {key}={value}: ")
    assert message in line


def test_a_list_may_be_replaced_by_a_shorter_one(monolayer: Path):
    assert len(Scenario.load(monolayer).outputs.cells) > 1
    assert list(Scenario.load(monolayer, overrides={"outputs.cells": "[type]"}).outputs.cells) == ["type"]


def test_problems_of_others_have_file_line_and_value(monolayer: Path):
    s = Scenario.load(monolayer)
    lines = monolayer.read_text().splitlines()
    for key in ("couplings[1].from", ("couplings", 1, "from")):
        problem = s.problem(key, "no such species; did you mean 'ERK'?")
        assert lines[problem.line - 1].strip() == "- from: pathway.mapk.ppERK"  # type: ignore[operator]
        assert problem.key == "couplings[1].from"
        assert problem.message == "no such species (got pathway.mapk.ppERK); did you mean 'ERK'?"
    assert s.problem("pathways.mapk.set.k1", "no such id", at_key=True).message == "no such id"
    assert lines[s.where("cells.scout") - 1] == "  scout:"


def test_phases_are_words_that_runs_share():
    assert len(set(PHASES)) == len(PHASES)


def test_shipped_json_schema_is_up_to_date():
    """Otherwise: cellweave schema > scenarios/schema.json"""
    assert (SHIPPED / "schema.json").read_text(encoding="utf-8") == schema_text()


def test_json_schema_describes_every_key_and_exemplifies_every_unit():
    schema = json.loads(schema_text())
    parts = {"": schema, **schema["$defs"]}
    for part, definition in parts.items():
        for key, value in definition.get("properties", {}).items():
            assert value.get("description", "").endswith("."), (part, key)
            if "pattern" in value and "um" in value["pattern"]:
                assert value["examples"], (part, key)


def test_reading_needs_no_heavy_package():
    code = "import sim.scenario, sys; print(*sys.modules)"
    loaded = set(
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.split()
    )
    assert not loaded & {"numpy", "torch", "numba", "pint", "scipy", "pandas", "xarray", "zarr", "matplotlib"}
