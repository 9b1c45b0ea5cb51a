"""Sections B and C of the catalogue: faults of keys, values, names and files, each with line, key and fix."""

# ruff: noqa: E501 (a case is a line)

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sim.errors import ScenarioError
from sim.scenario import Scenario, consistency
from sim.spelling import distance, nearest


def lines_of(file: Path, old: str, new: str) -> tuple[list[str], int]:
    """What is said of `file` with `old` replaced by `new`, and the line of the change."""
    text = file.read_text(encoding="utf-8")
    assert text.count(old) >= 1
    with pytest.raises(ScenarioError) as caught:
        Scenario.parse(text.replace(old, new, 1), file)
    return caught.value.lines(), text[: text.index(old)].count("\n") + 1


VALUES = [
    ("diffusion: 1e5", "diffuson: 1e5", "space.fields.oxygen.diffuson: unknown key 'diffuson'; did you mean 'diffusion'?"),
    ("    volume: 2494 um^3", "    volum: 2494 um^3", "cells.tumor.volum: unknown key 'volum'; did you mean 'volume'?"),
    ("growth: 0.02 /min", "growth: ~", "cells.tumor.growth: has no value; give one or remove the key"),
    ("count: 400", "count: abc", "cells.tumor.count: must be a whole number (got abc)"),
    ("count: 400", "count: 1.5", "cells.tumor.count: must be a whole number (got 1.5)"),
    ("count: 400", "count: yes", "cells.tumor.count: must be a whole number (got yes)"),
    ("count: 400", "count: 010", "cells.tumor.count: must be a whole number (got 010)"),
    ("count: 400", "count: -1", "cells.tumor.count: must be between 0 and 1000000000000 (got -1)"),
    ("count: 400", "count: [1, 2]", "cells.tumor.count: must be a whole number (got a list)"),
    ("count: 400", "count: true", "cells.tumor.count: must be a whole number (got true)"),
    ("volume: 2494 um^3", "volume: 0 um^3", "cells.tumor.volume: must be greater than 0 (got 0 um^3)"),
    ("growth: 0.02 /min", "growth: -0.02 /min", "cells.tumor.growth: must not be negative (got -0.02 /min)"),
    ("growth: 0.02 /min", "growth: -0 /min", "cells.tumor.growth: is a negative zero; write 0 (got -0 /min)"),
    ("growth: 0.02 /min", "growth: .nan", "cells.tumor.growth: has no unit; must be a rate such as 0.1 /min (got .nan)"),
    ("seed: 2026", "seed: -1", "seed: must be between 0 and 18446744073709551615 (got -1)"),
    ("seed: 2026", "seed: 1.0", "seed: must be a whole number (got 1.0)"),
    ("scenario: 1", "scenario: 2", "scenario: must be 1, the version of the form that this cellweave reads (got 2)"),
    ("name: Two cell types under a drug", 'name: ""', "name: must not be empty (got empty text)"),
    ("name: Two cell types under a drug", 'name: "a\\nb"', "name: has characters that cannot be printed (got a"),
    ("splitting: lie", "splitting: strangg", "time.splitting: must be 'strang' or 'lie' (got strangg); did you mean 'strang'?"),
    ("fixed: false", "fixed: no", "cells.tumor.mechanics.fixed: must be true or false (got no)"),
    ("G2M: {", "G2X: {", "cells.tumor.cycle.phases.G2X: unknown phase; use G0,"),
    ("cv=0.2", "cv=__import__('os')", "pathways.mapk.vary.EGFR_total: is not a distribution; write"),
    ("lognormal(cv", "lognormall(cv", "is not a distribution; write lognormal(cv=0.2)"),
    ("bias: 0.5", "bias: 1.5", "cells.scout.motility.chemotaxis.bias: must be between -1 and 1 (got 1.5)"),
    ("y_min: no_flux", "y_min: no_fluxx", "space.fields.oxygen.boundary.y_min: must be no_flux, periodic or a value such as"),
    ("y_min: no_flux", "y_mn: no_flux", "space.fields.oxygen.boundary.y_mn: unknown face; use"),
    ("y_min: no_flux", "y_min: periodic", "y_min and y_max must both be periodic, or neither"),
    ("boundary: 5 ng/mL", "boundary: 5 uM", "space.fields.egf.boundary: is a concentration; this field is in ng/mL (got 5 uM)"),
    ("half_max: 0.5,", "half_max: 1,5,", "couplings[1].hill.half_max: has a decimal comma; write 1.5 (got 1,5)"),
    ("half_max: 0.5,", "half_max: 0,", "couplings[1].hill.half_max: must be greater than 0 (got 0)"),
    ("x: [0, 6]", "x: [6, 0]", "couplings[3].table.x[1]: must rise from value to value (got 0)"),
    ("x: [0, 6]", "x: [0]", "couplings[3].table.x: must have at least 2 values"),
    ("where: everywhere", "where: here", "perturbations[0].where: must be everywhere or {disc:"),
    ("to: 1 uM", "by: 1 uM", "perturbations[0].to: is missing; set needs it"),
    ("- {at: 48 h, kill", "- {at: 48 h, cells: tumor, kill", "perturbations[3].cells: belongs inside kill"),
    ("stop: 96 h", "stop: 95.5 h", "time.stop: must be a multiple of save_every (1 h) (got 95.5 h)"),
    ("step: 6 min", "step: 7 min", "time.step: must divide save_every (1 h) into whole steps (got 7 min)"),
    ("save_every: 1 h", "save_every: 1e-6 h", "time.save_every: would save more than 1000000 times"),
    ("step: 6 min", "step: 1e-9 h", "time.step: would take more than 1000000000 steps until 96 h (got 1e-9 h)"),
    ("    step: 3 min", "    step: 1e-9 h", "pathways.mapk.step: would take more than 1000000000 steps until 96 h"),
    ("step: 30 min", "step: 1e-9 h", "manipulators.response.step: would take more than 1000000000 steps"),
    ("x: [0 um, 800 um]", "x: [800 um, 0 um]", "space.domain.x: the lower end (800 um) must lie below the upper end (0 um)"),
    ("voxel: 10 um", "voxel: 30 um", "space.voxel: 800 um along x is not a whole number of voxels of 30 um; 27 voxels of"),
    ("periodic: false", "periodic: true", "space.fields.oxygen.boundary: must be periodic, because space.periodic is true"),
    ("cycle: {division: 7e-4 /min}", "cycle: {}", "cells.scout.cycle: needs exactly one kind of cycle: division, phases"),
    ("saturation: 0.1 uM", "uptake: 1 /min", "secretion and saturation go together; 'saturation' is missing"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "message"), VALUES, ids=[new for _, new, _ in VALUES])
def test_value_at_fault(monolayer: Path, old: str, new: str, message: str):
    lines, line = lines_of(monolayer, old, new)
    assert message in lines[0]
    if "periodic: true" not in new and "belongs" not in message:
        assert lines[0].startswith(f"cellweave: error: {monolayer}:{line}: ")


NAMES = [
    ("oxygen:\n", "oxygenn:\n", "no field 'oxygen' is declared; did you mean 'oxygenn' (line 11)?"),
    ("field: egf", "field: egff", "motility.chemotaxis.field: no field 'egff' is declared; did you mean 'egf' (line 18)?"),
    ("oxygen: {uptake", "oxigen: {uptake", "exchange.oxigen: no field 'oxigen' is declared; did you mean 'oxygen'"),
    ("[mapk]", "[mapkk]", "cells.tumor.pathways[0]: no pathway 'mapkk' is declared; did you mean 'mapk' (line 47)?"),
    ("pathways: [mapk]", "pathways: [mapk, mapk]", "cells.tumor.pathways[1]: is listed twice"),
    ("  response: {", "  respons: {", "no manipulator 'response' is declared; did you mean 'respons' (line 55)?"),
    ("cells: tumor\n", "cells: tumour\n", "couplings[1].cells"),
    ("from: field.drug", "from: feld.drug", "did you mean 'field.drug'?"),
    ("from: field.drug", "from: field", "couplings[0].from: is not complete; write field.NAME"),
    ("to: pathway.mapk.inhibitor", "to: pathway.mapk", "is not complete; write pathway.mapk.SPECIES"),
    ("to: rate.division", "to: rate.divsion", "couplings[1].to: no such quantity; rate has"),
    ("count(tumor)", "count(tumr)", "no cell type 'tumr' is declared (got neighbours.count(tumr)); did you mean 'tumor' (line 20)?"),
    ("mean(cell.volume)", "mean(cell.volum)", "did you mean 'cell.volume'?"),
    ("mean(cell.volume)", "median(cell.volume)", "write neighbours.count(TYPE) or neighbours.mean(QUANTITY)"),
    ("cells: tumor, fraction", "cells: scout, fraction", "cell type 'scout' has no pathway 'mapk'; add it to"),
    ("with: pathway.mapk.EGF_in", "with: field.drug", "exchange.egf.with: must name a species of a pathway"),
    ("to: rate.division", "to: pathway.mapk.ppERK", "a quantity cannot be coupled to itself"),
    ("dose: field.drug", "dose: field.drag", "manipulators.response.conditions.dose: no field 'drag' is declared"),
    ("  incucyte: {", "  incucite: {", "instruments.incucite: unknown instrument 'incucite'; use 'incucyte'"),
    ("annexin_v", "annexin", "instruments.incucyte.channels[1]: no such channel; incucyte has 'live_area',"),
    ("instrument: incucyte", "instrument: incu", "measurements.instrument: no instrument 'incu' is declared"),
    ("{live_area: phase", "{live_aera: phase", "measurements.channels.live_aera: no such channel"),
    ("pathway.mapk.*", "pathway.mapp.*", "outputs.cells[4]: no pathway 'mapp' is declared (got pathway.mapp.*); did you mean 'mapk' (line 47)?"),
    ("phase, pathway", "phasse, pathway", "outputs.cells[3]: unknown quantity of a cell"),
    ("ur.latent", "ur.latemt", "outputs.cells[5]: no space 'latemt' is declared (got ur.latemt); did you mean 'latent' (line 36)?"),
    ("fields: [oxygen", "fields: [oxygem", "outputs.fields[0]: no field 'oxygem' is declared"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "message"), NAMES, ids=[new for _, new, _ in NAMES])
def test_name_at_fault(monolayer: Path, old: str, new: str, message: str):
    lines, line = lines_of(monolayer, old, new)
    assert message in lines[0]
    assert f":{line}: " in lines[0] or f"(line {line})" in lines[0]


LATER = [
    ("saturation: 0.1 uM", "saturation: 1 mmHg", "exchange.drug.saturation: is a pressure; the field is in nM (got 1 mmHg)"),
    ("half_max: 5 mmHg", "half_max: 5", "couplings[4].hill.half_max: has no unit; the field is in mmHg, so write 5 mmHg (got 5)"),
    ("half_max: 0.5,", "half_max: 1 uM,", "is a concentration; pathway.mapk.ppERK is a number in its own unit, so write none"),
    ("to: 1 uM", "to: 1 mmHg", "perturbations[0].to: is a pressure; the field is in nM (got 1 mmHg)"),
    ("to: 1 uM", "to: -1 uM", "perturbations[0].to: must not be negative (got -1 uM)"),
    ("by: 100 nM", "by: -100 nM", "perturbations[1].by: must not be negative; lower it with scale (got -100 nM)"),
    ("by: 0.1, cells", "by: 1 uM, cells", "perturbations[2].by: is a factor and must be a number without unit (got 1 uM)"),
    ("by: 0.1, cells", "by: -1, cells", "perturbations[2].by: is a factor and must not be negative (got -1)"),
    ("at: 48 h", "at: 97 h", "perturbations[3].at: is after the end of the run (96 h) (got 97 h)"),
    ("until: 84 h", "until: 97 h", "perturbations[1].until: is after the end of the run (96 h)"),
    ("every: 24 h", "every: 1e-4 min", "perturbations[1].every: would repeat more than 100000 times"),
    ("set: field.drug, to: 1 uM", "set: field.drug, to: 1 uM, cells: tumor", "perturbations[0].cells: a field has no cells"),
    ("[700 um, 300 um]", "[900 um, 300 um]", "cells.scout.place.points[1][0]: lies outside the domain along x (0 um to 800 um)"),
    ("[700 um, 300 um]", "[700 um, 300 um, 0 um]", "cells.scout.place.points[1]: has 3 coordinates; the domain has 2 axes"),
    ("center: [400 um, 200 um]", "center: [400 um, 500 um]", "where.disc.center[1]: lies outside the domain along y"),
    ("radius: 150 um", "radius: 250 um", "cells.tumor.place.disc.radius: does not fit into the domain, 400 um wide"),
    ("y_min: no_flux", "z_min: 38 mmHg", "space.fields.oxygen.boundary: names a face along z, but the domain has no z"),
    ("weights/response.safetensors", "weights/respons.safetensors", "no such file (got weights/respons.safetensors); did you mean"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "message"), LATER, ids=[new for _, new, _ in LATER])
def test_values_that_do_not_fit_together(monolayer: Path, old: str, new: str, message: str):
    lines, line = lines_of(monolayer, old, new)
    assert message in lines[0]
    assert f":{line}: " in lines[0] or "z_min" in new


def test_a_misspelt_key_is_not_also_reported_as_missing(monolayer: Path):
    lines, _ = lines_of(monolayer, "save_every: 1 h", "save_evry: 1 h")
    assert len(lines) == 1 and "did you mean 'save_every'" in lines[0]
    lines, _ = lines_of(monolayer, ", save_every: 1 h", "")
    assert len(lines) == 1 and "time.save_every: 'save_every' is missing" in lines[0]


def test_all_problems_are_told_in_file_order_and_the_rest_counted(monolayer: Path):
    text = monolayer.read_text().replace("um", "xm")
    with pytest.raises(ScenarioError) as caught:
        Scenario.parse(text, monolayer)
    lines = caught.value.lines()
    numbers = [int(t.split(".yaml:")[1].split(":")[0]) for t in lines[:-1]]
    assert numbers == sorted(numbers) and len(lines) == 20
    assert "more" in lines[-1]


def test_unused_pathways_and_manipulators(folder: Path, monolayer: Path):
    lines, _ = lines_of(monolayer, "pathways: [mapk]\n", "pathways: []\n")
    assert any("pathways.mapk: no cell type runs this pathway" in t for t in lines)
    lines, _ = lines_of(monolayer, "\ntissue:", "\n  other: {weights: weights/contact.safetensors}\ntissue:")
    assert "manipulators.other: no cell type lists it in representation.manipulators" in lines[0]


def test_memory_is_checked_before_anything_is_made(monolayer: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(consistency, "free_memory", lambda: float(1 << 30))
    lines, line = lines_of(monolayer, "count: 400", "count: 1000000000")
    assert (
        f":{line}: cells.tumor.count: so many cells: needs 953.7 GiB, 1.0 GiB free (got 1000000000)"
        in lines[0]
    )
    lines, _ = lines_of(monolayer, "voxel: 10 um", "voxel: 1 nm")
    assert "space.voxel: a grid of 800000 x 400000 voxels needs" in lines[0]


def refused_model(file: Path, value: str, **options: bool) -> str:
    text = file.read_text(encoding="utf-8").replace("models/mapk.xml", value)
    with pytest.raises(ScenarioError) as caught:
        Scenario.parse(text, file, **options)
    (line,) = caught.value.lines()
    assert line.startswith(f"cellweave: error: {file}:48: pathways.mapk.model: ")
    return line


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("models/mapkk.xml", "no such file (got models/mapkk.xml); did you mean 'mapk.xml'?"),
        ("../../../etc/passwd", "is outside the scenario folder"),
        ("/etc/passwd", "is outside the scenario folder"),
        ("/dev/zero", "is outside the scenario folder"),
        ("models/../../up.xml", "is outside the scenario folder"),
        ("http://127.0.0.1:9/x.xml", "is a web address"),
        ("file:///etc/x.xml", "is a web address"),
        ('"a\\0b.xml"', "has characters that the path of a file may not have"),
        ('"a\\nb.xml"', "has characters that the path of a file may not have"),
        ("a" * 5000 + ".xml", "is too long for the path of a file"),
        ('" "', "must not be empty"),
        (".", "must be a .xml or .sbml or .ant or .omex file"),
        ("models.xml", "is a folder; name a file"),
        ("pipe.xml", "is not a regular file"),
        ("evil.pkl", "may hold a pickle, which could run code and is never loaded"),
        ("model.txt", "must be a .xml or"),
        ("models/mapk.xml/more.xml", "no such file"),
        ("loop.xml", "cannot be read"),
        ("secret.xml", "is a link that leads outside the scenario folder"),
    ],
)
def test_file_that_may_not_be_used(
    monolayer: Path, tmp_path_factory: pytest.TempPathFactory, value: str, message: str
):
    folder = monolayer.parent
    (folder / "models.xml").mkdir()
    os.mkfifo(folder / "pipe.xml")
    (folder / "loop.xml").symlink_to("loop.xml")
    outside = tmp_path_factory.mktemp("outside") / "secret.xml"
    outside.write_text("a secret")
    (folder / "secret.xml").symlink_to(outside)
    line = refused_model(monolayer, value)
    assert message in line
    assert "a secret" not in line


def test_files_outside_on_request(monolayer: Path, tmp_path_factory: pytest.TempPathFactory):
    outside = tmp_path_factory.mktemp("outside") / "mapk.xml"
    outside.touch()
    text = monolayer.read_text(encoding="utf-8").replace("models/mapk.xml", str(outside))
    scenario = Scenario.parse(text, monolayer, allow_outside=True)
    assert scenario.resolve("pathways.mapk.model", str(outside), ".xml") == outside
    assert "is outside" in refused_model(monolayer, str(outside))
    assert "no such file" in refused_model(monolayer, str(outside) + ".xml", allow_outside=True)


def test_files_are_found_in_the_folder_then_among_those_shipped(monolayer: Path):
    scenario = Scenario.load(monolayer)
    assert scenario.resolve("pathways.mapk.model", "models/mapk.xml") == monolayer.parent / "models/mapk.xml"
    shipped = scenario.resolve("pathways.mapk.model", "schema.json")
    assert shipped.name == "schema.json" and not shipped.is_relative_to(monolayer.parent)
    with pytest.raises(ScenarioError, match=r":48: pathways\.mapk\.model: no such file"):
        scenario.resolve("pathways.mapk.model", "models/none.xml")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("monolaye.yaml", "no such file; did you mean 'monolayer.yaml'?"),
        (".", "is a folder"),
        ("pipe", "is not a regular file"),
    ],
)
def test_scenario_file_itself(monolayer: Path, name: str, message: str):
    os.mkfifo(monolayer.parent / "pipe")
    with pytest.raises(ScenarioError, match=message.replace("?", r"\?")):
        Scenario.load(monolayer.parent / name)


def test_distance_and_nearest():
    assert [distance("kitten", w, 5) for w in ("kitten", "sitten", "ktiten", "sitting", "kit")] == [
        0,
        1,
        1,
        3,
        3,
    ]
    assert distance("a" * 50, "b" * 50) == 3
    allowed = ["diffusion", "decay", "initial", "x", "y"]
    assert [nearest(w, allowed) for w in ("diffuson", "DECAY", "inital", "yx", "speed")] == [
        "diffusion",
        "decay",
        "initial",
        "x",
        None,
    ]
    assert nearest("ab", ["xy"]) is None, "nothing in common"
    assert nearest("a" * 10_000, allowed) is None
