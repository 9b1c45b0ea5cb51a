"""Rules of cell behaviour: the published combination of signals, PhysiCell's tables, faults with their line."""

from __future__ import annotations

import numpy as np
import pytest

from sim import Scenario
from sim.build import plan
from sim.describe import described
from sim.errors import ScenarioError
from tests.scenes import advance, scene, started

FIELDS = "{oxygen: {diffusion: 0 um^2/min, initial: 10 mmHg}, drug: {diffusion: 0 um^2/min, unit: uM, initial: 3 uM}}"
CELLS = (
    "{a: {count: 5, place: {random: {}}, cycle: {division: 1e-3 /min}}, b: {count: 3, place: {random: {}}}}"
)
RULES = """
rules:
  - {cells: a, signal: field.oxygen, increases: rate.division, to: 4e-3 /min, half_max: 20 mmHg, power: 2}
  - {cells: a, signal: field.drug, increases: rate.division, to: 0.24 /h, half_max: 6000 nM, power: 1}
  - {cells: a, signal: cell.volume, decreases: rate.division, to: 5e-4 /min, half_max: 2494 um^3, power: 3}
"""


def expected(up: float, down: float, base=1e-3, high=4e-3, low=5e-4) -> float:
    raised = base + (high - base) * up / (1 + up)
    return raised + (low - raised) * down / (1 + down)


def test_signals_of_one_direction_add_up_and_the_down_regulation_acts_on_the_result():
    simulation = started(scene(RULES, fields=FIELDS, cells=CELLS))
    rate = simulation.signals["rate.division"]
    np.testing.assert_allclose(rate[:5], expected((10 / 20) ** 2 + 3 / 6, 1.0), rtol=1e-12)
    assert (rate[5:] == 0).all()


def test_a_rule_is_a_coupling_that_can_be_cut_and_is_described():
    planned = plan(scene(RULES, fields=FIELDS, cells=CELLS))
    assert "field.oxygen → rate.division  (increase, towards 0.004, half-max 20, power 2)" in described(
        planned
    )
    simulation = started(scene(RULES, fields=FIELDS, cells=CELLS), cut=[2])
    np.testing.assert_allclose(simulation.signals["rate.division"][:5], expected(0.75, 0.0), rtol=1e-12)


def test_a_signal_that_overflows_saturates():
    rules = (
        "rules: [{signal: field.drug, increases: rate.death, to: 0.5 /min, half_max: 1e-9 uM, power: 100}]"
    )
    assert (started(scene(rules, fields=FIELDS)).signals["rate.death"] == 0.5).all()


@pytest.mark.parametrize("dead", [True, False])
def test_the_dead_follow_only_where_it_is_said(dead):
    rule = "{signal: field.oxygen, increases: secretion.drug, to: 2 /min, half_max: 10 mmHg"
    simulation = started(scene(f"rules: [{rule}, dead: {str(dead).lower()}}}]", fields=FIELDS))
    simulation.state["cell.phase"][:4] = simulation.plan.life.settings.apoptotic
    simulation.state.changed()
    rate = simulation.signals["secretion.drug"]
    np.testing.assert_allclose(rate[4:], 1.0)
    np.testing.assert_allclose(rate[:4], 1.0 if dead else 0.0)


def test_words_of_physicell_that_look_inside_a_cell(tmp_path):
    table = """a,intracellular drug,increases,migration speed,3,0.5,1,0
a,apoptotic,increases,oxygen secretion,2,1,1,1
a,necrotic,increases,oxygen uptake,4,1,1,1
a,current time,increases,oxygen export,6,1,1,0
"""
    (tmp_path / "cell_rules.csv").write_text(table)
    cells = CELLS.replace("a: {", "a: {composition: {}, ", 1)
    simulation = started(scene("rules: {file: cell_rules.csv}", fields=FIELDS, cells=cells, folder=tmp_path))
    state, phases = simulation.state, simulation.plan.life.settings
    mine = np.flatnonzero(state["cell.type"] == 0)
    state["internal.drug"][mine] = 0.5 * state["cell.volume"][mine]
    state["cell.phase"][mine[0]], state["cell.phase"][mine[1]] = phases.apoptotic, phases.necrotic
    state.time = 3.0
    state.changed()
    signals = simulation.signals
    np.testing.assert_allclose(signals["inside.drug"][mine], 0.5, rtol=1e-12)
    np.testing.assert_allclose(signals["motility.speed"][mine[2:]], 1.5, rtol=1e-12)
    for name, half, row in (("secretion.oxygen", 1.0, 0), ("uptake.oxygen", 2.0, 1)):
        expected_there = np.zeros(len(mine))
        expected_there[row] = half
        np.testing.assert_allclose(signals[name][mine], expected_there, atol=1e-12)
    np.testing.assert_allclose(signals["export.oxygen"][mine[2:]], 4.5, rtol=1e-12)


TABLE = """// rules of a test
a,oxygen,increases,cycle entry,0.004,20,2,0

a,drug,increases,cycle_entry,0.004,6,1,0
a,volume,decreases,cycle entry,5e-4,2494,3,0
b,contact with a,increases,migration speed,2,1,4,1
"""


def test_a_table_of_physicell_says_the_same(tmp_path):
    (tmp_path / "cell_rules.csv").write_text(TABLE)
    simulation = started(scene("rules: {file: cell_rules.csv}", fields=FIELDS, cells=CELLS, folder=tmp_path))
    np.testing.assert_allclose(simulation.signals["rate.division"][:5], expected(0.75, 1.0), rtol=1e-12)
    touching = simulation.signals["contact.a"]
    np.testing.assert_allclose(
        simulation.signals["motility.speed"][5:], 2 * touching[5:] ** 4 / (1 + touching[5:] ** 4)
    )
    assert "cell_rules.csv" in simulation.plan.hashes


def test_older_tables_are_read_and_a_base_that_is_not_the_cells_own_is_told(tmp_path):
    (tmp_path / "rules.csv").write_text(
        "a,oxygen,increases,cycle entry,0.002,0.004,20,2,0\na,apoptosis,0,1e-5,0.5,drug,increases,6,1,0\n"
    )
    scenario = scene("rules: [{file: rules.csv}]", fields=FIELDS, cells=CELLS, folder=tmp_path)
    simulation = started(scenario)
    np.testing.assert_allclose(simulation.signals["rate.division"][:5], expected(0.25, 0.0), rtol=1e-12)
    np.testing.assert_allclose(simulation.signals["rate.death"][:5], 0.5 / 3, rtol=1e-12)
    assert any("rules.csv:1: rate.division of a is 0.001" in note for note in simulation.plan.notes)


BAD = {
    "a,oxgen,increases,cycle entry,1,1,1,0": "cell_rules.csv:2: signal: no signal 'oxgen'; did you mean 'oxygen'?",
    "c,oxygen,increases,cycle entry,1,1,1,0": "cell_rules.csv:2: cell type: no cell type 'c'",
    "a,oxygen,raises,cycle entry,1,1,1,0": "cell_rules.csv:2: direction: must be increases or decreases (got raises)",
    "a,oxygen,increases,migration sped,1,1,1,0": "'migration sped'; did you mean 'migration speed'?",
    "a,oxygen,increases,cycle entry,nan,1,1,0": "cell_rules.csv:2: saturation: must be a finite number (got nan)",
    "a,oxygen,increases,cycle entry,1,0,1,0": "cell_rules.csv:2: half-max: must be greater than 0 (got 0)",
    "a,oxygen,increases,cycle entry,1,1,1,2": "cell_rules.csv:2: applies to dead: must be 0 or 1 (got 2)",
    "a," + "x" * 200_000: "cell_rules.csv:2: is not a row of a table",
    "a,oxygen,increases": "cell_rules.csv:2: has 3 columns; a rule has 8",
}


@pytest.mark.parametrize("row", BAD, ids=lambda row: row[:40])
def test_a_fault_of_a_table_has_its_line_and_column(tmp_path, row):
    (tmp_path / "cell_rules.csv").write_text(f"// head\n{row}\n")
    with pytest.raises(ScenarioError) as caught:
        plan(scene("rules: {file: cell_rules.csv}", fields=FIELDS, cells=CELLS, folder=tmp_path))
    assert BAD[row] in caught.value.lines()[0]


def test_a_table_stays_in_the_scenarios_folder(tmp_path):
    folder = tmp_path / "here"
    folder.mkdir()
    (tmp_path / "cell_rules.csv").write_text(TABLE)
    with pytest.raises(ScenarioError, match="outside the scenario folder"):
        scene("rules: {file: ../cell_rules.csv}", fields=FIELDS, cells=CELLS, folder=folder)


FAULTS = {
    "{signal: field.oxygn, increases: rate.death, to: 1 /min, half_max: 1 mmHg}": "no field 'oxygn' is declared",
    "{signal: field.oxygen, to: 1 /min, half_max: 1 mmHg}": "needs exactly one of increases, decreases",
    "{signal: field.oxygen, increases: rate.death, to: 1 um, half_max: 1 mmHg}": "rules[0].to: is a length",
    "{signal: field.oxygen, increases: rate.death, to: 1 /min, half_max: 1 uM}": "half_max: is a concentration",
    "{signal: field.oxygen, increases: rate.death, half_max: 1 mmHg}": "'to' is missing; add it",
    "{signal: field.oxygen, increases: cell.volume, to: 1 um^3, half_max: 1 mmHg}": "cannot be driven",
}


@pytest.mark.parametrize("rule", FAULTS)
def test_a_fault_of_a_rule_is_told(rule):
    with pytest.raises(ScenarioError) as caught:
        plan(scene(f"rules: [{rule}]", fields=FIELDS))
    assert FAULTS[rule] in str(caught.value)


def test_rules_of_one_direction_share_their_saturation():
    one = "{signal: field.oxygen, increases: rate.death, to: 1 /min, half_max: 1 mmHg}"
    other = "{signal: field.drug, increases: rate.death, to: 2 /min, half_max: 1 uM}"
    with pytest.raises(ScenarioError, match="share their saturation value"):
        plan(scene(f"rules: [{one}, {other}]", fields=FIELDS))


def test_cells_start_where_a_table_says(tmp_path):
    (tmp_path / "cells.csv").write_text("x,y,z,type,volume\n1,2,0,b,2494\n-3,4.5,0,a,\n5,6,0,a,\n")
    cells = "{a: {place: {file: cells.csv}}, b: {place: {file: cells.csv}}}"
    simulation = started(scene(cells=cells, folder=tmp_path))
    np.testing.assert_array_equal(simulation.state["cell.type"], [0, 0, 1])
    np.testing.assert_array_equal(simulation.state["cell.position"][:, :2], [[-3, 4.5], [5, 6], [1, 2]])
    assert "a: 2 cells" in described(simulation.plan)
    (tmp_path / "cells.csv").write_text("1,2,0,1\n3,4,0,0\n")
    assert started(scene(cells=cells, folder=tmp_path)).state["cell.type"].tolist() == [0, 1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x,y,z,type\n1,2,0,c\n", "cells.csv:2: type: no cell type 'c'"),
        ("x,y,z,type\n1,oops,0,a\n", "cells.csv:2: y: must be a finite number (got oops)"),
        ("x,z,type\n1,0,a\n", "cells.csv:1: has no column y"),
        ("x,y,z,type\n1000,0,0,a\n", "lies outside the domain"),
    ],
)
def test_a_fault_of_a_table_of_cells_is_told(tmp_path, text, message):
    (tmp_path / "cells.csv").write_text(text)
    with pytest.raises(ScenarioError) as caught:
        plan(scene(cells="{a: {place: {file: cells.csv}}}", folder=tmp_path))
    assert message in str(caught.value)


def test_cells_draw_towards_several_fields_by_their_weights():
    from sim.agents.motility import ahead

    gradient = np.array([[3.0, 4.0, 0.0], [0.0, 0.0, 0.0]])
    np.testing.assert_allclose(ahead(gradient, np.array([False, False])), [[0.6, 0.8, 0], [0, 0, 0]])
    np.testing.assert_array_equal(ahead(gradient, np.array([True, True])), gradient)
    motility = (
        "{speed: 1 um/min, persistence: 1e-6 min, chemotaxis: {fields: {oxygen: 1, drug: -2}, bias: 1}}"
    )
    cells = f"{{a: {{count: 1, place: {{points: [[0 um, 0 um]]}}, motility: {motility}}}}}"
    simulation = started(scene(cells=cells, fields=FIELDS))
    x = simulation.plan.fields[0].grid.centres(0)
    simulation.state.fields["oxygen"][:] = 100 + x
    simulation.state.fields["drug"][:] = 100 + 0.1 * simulation.plan.fields[0].grid.centres(1)[:, None]
    advance(simulation, 6)
    direction = simulation.state["cell.direction"][0]
    np.testing.assert_allclose(direction, np.array([1, -2, 0]) / np.sqrt(5), atol=1e-9)


@pytest.mark.parametrize(
    ("model", "phases", "rate"),
    [
        ("ki67_advanced", 3, 1 / (60 * 19.12)),
        ("flow_cytometry_separated", 4, 1 / (60 * 17.98)),
        ("live", 0, 7.2e-4),
    ],
)
def test_a_cycle_model_by_name(model, phases, rate):
    scenario = scene(cells=f"{{a: {{count: 3, place: {{random: {{}}}}, cycle: {{model: {model}}}}}}}")
    cycle = scenario.cells["a"].cycle
    assert len(cycle.programme) == phases
    assert cycle.division_rate == pytest.approx(rate)
    started(scenario)


def test_a_phase_of_a_model_is_changed_and_driven_by_its_own_exit():
    cycle = "{model: ki67_basic, phases: {Ki67_positive: {fixed: 2 h}, Ki67_negative: {fixed: 1 h}}}"
    cells = f"{{a: {{count: 4, place: {{random: {{}}}}, cycle: {cycle}}}}}"
    stop = "couplings: [{from: field.oxygen, to: exit.Ki67_positive, linear: {slope: 0}}]"
    free, held = started(scene(cells=cells)), started(scene(stop, cells=cells, fields=FIELDS))
    for simulation in (free, held):
        advance(simulation, 180)
    assert len(free.state) == 8
    assert len(held.state) == 4
    names = held.plan.life.settings.phase_names
    assert {names[k] for k in held.state["cell.phase"]} == {"Ki67_positive"}


def test_rest_and_return_reach_their_balance():
    rest = "{division: 0 /min, quiescence: {enter: 0.02 /min, leave: 0.01 /min}}"
    cells = f"{{a: {{count: 3000, place: {{random: {{}}}}, cycle: {rest}, mechanics: {{fixed: true}}}}}}"
    simulation = started(scene(cells=cells, step="1 min"))
    advance(simulation, 240)
    resting = np.mean(simulation.state["cell.phase"] == simulation.plan.life.settings.resting)
    expected = 2 / 3
    assert abs(resting - expected) < 4 * np.sqrt(expected * (1 - expected) / 3000) + 0.005


def test_scenario_text_of_rules_reads_back():
    scenario = scene(RULES, fields=FIELDS, cells=CELLS)
    assert Scenario.parse(scenario.text).rules == scenario.rules


CLASHES = {
    "a,oxygen,decreases,necrosis,0,5,8,0\n": "cell_rules.csv:1: no process takes 'rate.necrosis'",
    "a,oxygen,increases,apoptosis,1,5,8,0\na,drug,increases,apoptosis,2,5,8,0\n": "cell_rules.csv:2: rate.death is to",
    "a,oxygen,increases,apoptosis,1,5,8,0\na,oxygen,increases,apoptosis,1,6,8,0\n": "cell_rules.csv:2: field.oxygen is",
}


@pytest.mark.parametrize("table", CLASHES)
def test_a_rule_of_a_table_that_does_not_fit_has_its_line(tmp_path, table):
    (tmp_path / "cell_rules.csv").write_text(table)
    with pytest.raises(ScenarioError) as caught:
        plan(scene("rules: {file: cell_rules.csv}", fields=FIELDS, cells=CELLS, folder=tmp_path))
    assert CLASHES[table] in str(caught.value)
