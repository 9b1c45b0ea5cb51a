"""Outcomes: what the grammar reads, what it computes, and how it refuses."""

import numpy as np
import pytest
from scenes import scene, started

from sim.build import plan
from sim.errors import ScenarioError
from sim.interpret.observe import observed
from sim.interpret.outcome import parse_outcome

SCENE = scene(
    "instruments: {incucyte: {every: 1 h, channels: [live_area, annexin_v]}}",
    "tissue: {neighbours: {radius: 30 um}}",
    stop="3 h",
    fields="{oxygen: {diffusion: 1e5 um^2/min, initial: 38 mmHg, boundary: {x_min: 38 mmHg}}}",
    cells="""{pc9: {count: 12, place: {random: {}}, exchange: {oxygen: {uptake: 5 /min}}, growth: 0.05 /min,
        cycle: {division: 2e-3 /min}},
      stroma: {count: 5, place: {random: {}}, volume: 1000 um^3}}""",
)


@pytest.fixture(scope="module")
def planned():
    return plan(SCENE)


@pytest.fixture(scope="module")
def simulation():
    simulation = started(SCENE)
    simulation.state["cell.phase"][3] = simulation.plan.life.settings.apoptotic
    simulation.state["cell.volume"][:12] = 1000.0 + 100 * np.arange(12)
    simulation.state.fields["oxygen"][0, 0, 0] = 2.0
    simulation.state.changed()
    return simulation


@pytest.mark.parametrize(
    ("text", "expected", "unit"),
    [
        ("count(pc9) @ 2 h", 11, "1"),
        ("count() @ 2 h", 16, "1"),
        ("mean(cell.volume, pc9) @ 2 h", (1000 * 11 + 100 * (66 - 3)) / 11, "um^3"),
        ("sum(cell.volume, stroma) @ 2 h", 5000, "um^3"),
        ("sd(cell.volume, stroma) @ 2 h", 0, "um^3"),
        ("max(cell.volume, pc9) @ 2 h", 2100, "um^3"),
        ("min(field.oxygen) @ 2 h", 2, "mmHg"),
        ("mean(field.oxygen) @ 2 h", (35 * 38 + 2) / 36, "mmHg"),
        ("sum(field.oxygen) @ 2 h", (35 * 38 + 2) * 8000, "mmHg*um^3"),
        ("mean(rate.division, pc9) @ 2 h", 2e-3, "1/min"),
    ],
)
def test_values(simulation, text, expected, unit):
    outcome = parse_outcome(text, simulation.plan)
    assert outcome.value(simulation) == pytest.approx(expected, rel=1e-12)
    assert outcome.unit == unit


def test_neighbours_and_fields_at_the_cells(simulation):
    counted = parse_outcome("mean(neighbours.count(pc9), stroma) @ 2 h", simulation.plan)
    assert counted.value(simulation) == simulation.signals["neighbours.count(pc9)"][12:].mean()
    at_cells = parse_outcome("mean(field.oxygen, stroma) @ 2 h", simulation.plan)
    assert at_cells.value(simulation) == simulation.signals["field.oxygen"][12:].mean()


def test_an_instrument_reads_what_it_would(simulation):
    outcome = parse_outcome("instrument.incucyte.live_area @ 2 h", simulation.plan)
    (instrument,) = simulation.plan.instruments
    assert outcome.value(simulation) == instrument.read(simulation.state, simulation.signals)["live_area"] > 0
    assert outcome.unit == "%"


def test_no_cell_no_value(simulation):
    outcome = parse_outcome("mean(cell.volume, stroma) @ 2 h", simulation.plan)
    phases = simulation.state["cell.phase"].copy()
    simulation.state["cell.phase"][12:] = simulation.plan.life.settings.lysed
    simulation.state.changed()
    assert np.isnan(outcome.value(simulation))
    simulation.state["cell.phase"][:] = phases
    simulation.state.changed()


@pytest.mark.parametrize(
    ("text", "start", "stop", "when"),
    [
        ("count() @ 90 min", 90, 90, "90 min"),
        ("count()@1.5h", 90, 90, "1.5h"),
        ("count() over 1-3 h", 60, 180, "1-3 h"),
        ("count() over 1–3 h", 60, 180, "1–3 h"),
        ("count() over 30 min - 2 h", 30, 120, "30 min - 2 h"),
        ("  count( pc9 )   @   0 h ", 0, 0, "0 h"),
    ],
)
def test_times(planned, text, start, stop, when):
    outcome = parse_outcome(text, planned)
    assert (outcome.start, outcome.stop, outcome.when) == (start, stop, when)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["write it like"]),
        ("count(pc9)", ["no time", "count(pc9) @ 72 h"]),
        ("count(pc8) @ 1 h", ["no cell type 'pc8'", "did you mean 'pc9'"]),
        ("count(pc9, stroma) @ 1 h", ["one cell type"]),
        ("meen(cell.volume, pc9) @ 1 h", ["unknown statistic 'meen'", "did you mean 'mean'"]),
        ("mean(cell.volum, pc9) @ 1 h", ["no quantity 'cell.volum'", "did you mean 'cell.volume'"]),
        ("mean(rate.zzzzzz, pc9) @ 1 h", ["no quantity", "there is 'rate.growth', 'rate.division'"]),
        ("mean(cell.position, pc9) @ 1 h", ["3 parts", "cell.position[0]"]),
        ("mean(cell.position[3], pc9) @ 1 h", ["last index of cell.position is 2"]),
        ("mean(neighbours.count(pc8), pc9) @ 1 h", ["no cell type 'pc8'"]),
        ("mean(neighbours.mean(cell.volum), pc9) @ 1 h", ["cell.volum"]),
        ("field.oxygen @ 1 h", ["write mean(field.oxygen)"]),
        ("instrument.incucite.live_area @ 1 h", ["no instrument 'incucite'", "did you mean 'incucyte'"]),
        ("instrument.incucyte.dead_dna @ 1 h", ["no channel 'dead_dna'", "'live_area' or 'annexin_v'"]),
        ("instrument.incucyte @ 1 h", ["instrument.<name>.<channel>"]),
        ("count() @ 1", ["no unit", "6 h"]),
        ("count() @ 1 um", ["length"]),
        ("count() @ -1 h", ["negative"]),
        ("count() @ 4 h", ["stops at 3 h"]),
        ("count() over 2-1 h", ["ends before it begins"]),
        ("__import__('os').system('true') @ 1 h", ["unknown statistic '__import__'"]),
        ("count() @ 1 h" * 100, ["write it like"]),
        ("count(\x1b[31m) @ 1 h", ["no cell type"]),
    ],
)
def test_refusals_are_one_line_that_name_the_option_and_the_fix(planned, text, words):
    with pytest.raises(ScenarioError) as refused:
        parse_outcome(text, planned)
    (line,) = refused.value.lines()
    assert line.startswith("cellweave: error: --outcome '") and "\n" not in line and "\x1b" not in line
    for word in words:
        assert word in line


def test_the_run_goes_only_as_far_as_the_outcome_and_gives_the_numbers_of_the_run():
    from sim import run

    simulation = started(SCENE).again(SCENE.seed)
    found = observed(simulation, parse_outcome("count(pc9) @ 2 h", simulation.plan))
    assert simulation.state.time == 120
    summary = run(SCENE)["summary"]
    assert found == summary["count"].values[2, 0] > 12


def test_an_average_over_time_is_taken_over_the_stops():
    simulation = started(SCENE)
    plan = simulation.plan
    at = [
        observed(simulation.again(SCENE.seed), parse_outcome(f"mean(cell.volume, pc9) @ {t} h", plan))
        for t in (1, 2, 3)
    ]
    over = observed(simulation.again(SCENE.seed), parse_outcome("mean(cell.volume, pc9) over 1-3 h", plan))
    assert over == pytest.approx((at[0] / 2 + at[1] + at[2] / 2) / 2, rel=1e-12)
    assert len(set(at)) == 3
