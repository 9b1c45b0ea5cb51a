"""A scenario made ready to step: spaces, placements, life, guards and what the coupling step costs."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from scenes import BOX, CUBE, advance, scene, started

from sim.errors import SimulationError
from sim.simulation import _relative

MOVING = """{a: {count: 20, place: {random: {}}, motility: {speed: 2 um/min, persistence: 10 min},
  cycle: {division: 3e-3 /min}}}"""


def test_flat_tissues_stay_flat_and_full_ones_use_all_three_axes():
    flat, full = started(scene(cells=MOVING)), started(scene(cells=MOVING, domain=CUBE))
    for simulation in (flat, full):
        advance(simulation, 60)
        position = simulation.state["cell.position"]
        lower, upper = np.array(simulation.plan.box.lower), np.array(simulation.plan.box.upper)
        assert len(position) > 20 and (position >= lower).all() and (position <= upper).all()
    assert np.ptp(flat.state["cell.position"][:, 2]) == 0
    assert np.ptp(full.state["cell.position"][:, 2]) > 50


def test_cells_leave_a_periodic_box_on_one_side_and_enter_on_the_other():
    one = (
        "{a: {count: 1, place: {points: [[59 um, 0 um]]}, motility: {speed: 1 um/min, persistence: 1000 h}}}"
    )
    ends = {}
    for periodic in ("true", "false"):
        simulation = started(scene(cells=one, space=f", periodic: {periodic}"))
        simulation.state["cell.direction"][:] = [1, 0, 0]
        simulation.state.changed()
        advance(simulation, 6)
        ends[periodic] = simulation.state["cell.position"][0, 0]
    assert ends["true"] == pytest.approx(-55, abs=0.5)
    assert ends["false"] <= 60


def test_neighbours_across_a_periodic_border_count():
    two = "{a: {count: 2, place: {points: [[-58 um, 0 um], [58 um, 0 um]]}, mechanics: {fixed: true}}}"
    tissue = "tissue: {neighbours: {radius: 10 um}}"
    for periodic, count in (("true", 1), ("false", 0)):
        simulation = started(scene(tissue, cells=two, space=f", periodic: {periodic}"))
        assert (simulation.signals["neighbours.count(a)"] == count).all()


@pytest.mark.parametrize("domain", [BOX, CUBE])
@pytest.mark.parametrize(
    ("place", "count"),
    [
        ("{random: {}}", 15),
        ("{disc: {radius: 30 um}}", 15),
        ("{hexagonal: {spacing: 15 um, shape: disc}}", 15),
        ("{hexagonal: {spacing: 15 um, shape: lattice}}", 15),
    ],
)
def test_every_placement_gives_the_number_asked_for_inside_the_box(domain, place, count):
    simulation = started(scene(domain=domain, cells=f"{{a: {{count: {count}, place: {place}}}}}"))
    position = simulation.state["cell.position"]
    assert len(position) == count and (np.abs(position[:, :2]) <= 60).all()
    if "disc:" in place:
        assert (np.linalg.norm(position - position.mean(axis=0) * 0, axis=1) < 30 + 10).all()
    if "hexagonal" in place:
        apart = np.linalg.norm(position[:, None] - position[None], axis=2)
        assert np.min(apart[~np.eye(count, dtype=bool)]) == pytest.approx(15, rel=1e-6)


def test_points_are_where_the_scenario_says():
    simulation = started(scene(cells="{a: {count: 2, place: {points: [[1 um, -2 um], [30 um, 4 um]]}}}"))
    assert np.array_equal(simulation.state["cell.position"][:, :2], [[1, -2], [30, 4]])


def test_types_are_placed_with_streams_of_their_own():
    """A type that is added changes nothing of where the others start."""
    alone = started(scene(cells="{a: {count: 9, place: {random: {}}}}"))
    both = started(scene(cells="{a: {count: 9, place: {random: {}}}, b: {count: 4, place: {random: {}}}}"))
    assert np.array_equal(alone.state["cell.position"], both.state["cell.position"][:9])
    assert np.array_equal(both.state["cell.type"], [0] * 9 + [1] * 4)


def test_a_cycle_of_fixed_phases_divides_on_time():
    cycle = "{phases: {G0G1: {fixed: 60 min}, S: {fixed: 30 min}, M: {fixed: 30 min}}}"
    simulation = started(scene(cells=f"{{a: {{count: 16, place: {{random: {{}}}}, cycle: {cycle}}}}}"))
    state, settings = simulation.state, simulation.plan.life.settings
    assert settings.phase_names[:3] != ("live",) or "G0G1" in settings.phase_names
    age = state["cell.phase_time"].copy()
    assert np.unique(age).size == 16 and (age < 60).all()
    advance(simulation, 120)
    # every founder was somewhere in its first phase: all divided once within one cycle, none twice
    assert len(state) == 32
    assert np.array_equal(np.sort(state.lineage["parent"][16:]), np.arange(16))
    birth = np.empty(16)
    birth[state.lineage["parent"][16:]] = state.lineage["birth_time"][16:]
    assert np.all(np.abs(birth - (120 - age)) <= 6)


def test_exponential_phases_have_the_mean_that_is_given():
    cells = "{a: {count: 300, place: {random: {}}, cycle: {phases: {G0G1: {mean: 40 min}}}, mechanics: {fixed: true}}}"
    simulation = started(scene(cells=cells))
    advance(simulation, 12)
    expected = 300 * np.exp(12 / 40)
    assert abs(len(simulation.state) - expected) < 4 * np.sqrt(expected)


def test_hazards_are_rates():
    """Death at 1 %/min for 30 min leaves exp(-0.3); lysis and clearance follow in the lineage's order."""
    cells = """{a: {count: 600, place: {random: {}}, mechanics: {fixed: true},
      death: {apoptosis: 0.01 /min, lysis: 0.1 /min, clearance: 0.2 /min}}}"""
    simulation = started(scene(cells=cells))
    advance(simulation, 30)
    living = simulation.signals["cell.living"].sum()
    share = np.exp(-0.3)
    assert abs(living - 600 * share) < 4 * np.sqrt(600 * share * (1 - share))
    state = simulation.state
    dead = ~np.isnan(state.lineage["death_time"])
    assert dead.sum() == 600 - living
    # debris goes, in the order of ids
    assert living < len(state) < 600 and (np.diff(state.ids) > 0).all()


def test_dying_cells_shrink_and_do_not_crawl():
    simulation = started(
        scene("perturbations: [{at: 0 h, kill: {cells: a}}]", cells=MOVING.replace("count: 20", "count: 1"))
    )
    (kill,) = simulation.plan.perturbations
    kill.apply(simulation.state, simulation.actors, simulation.streams)
    start = simulation.state["cell.position"].copy()
    advance(simulation, 60)
    assert np.allclose(simulation.state["cell.position"], start)
    assert 2494 / 3 < simulation.state["cell.volume"][0] < 0.65 * 2494


def test_daughters_lie_within_the_mother_and_share_her_volume():
    simulation = started(
        scene(
            cells="{a: {count: 5, place: {random: {}}, cycle: {division: 1 /min}, mechanics: {fixed: true}}}"
        )
    )
    before = simulation.state["cell.position"].copy()
    simulation.step(6)
    state = simulation.state
    mothers = state.lineage["parent"][state.ids[5:]]
    assert len(state) > 7
    assert np.allclose(state["cell.volume"][5:], 2494 / 2)
    middle = (state["cell.position"][mothers] + state["cell.position"][5:]) / 2
    inside = (np.abs(middle[:, :2]) < 50).all(axis=1)
    assert np.allclose(middle[inside], before[mothers][inside], atol=1e-9)


LEARNED = """{a: {count: 8, place: {random: {}}, cycle: {division: 3e-3 /min}, representation: {space: pc9_drug}}}"""
WEIGHTS = Path(__file__).resolve().parents[2] / "scenarios" / "weights" / "pc9_drugs.safetensors"
DRUGS = "manipulators: {drugs: {weights: drugs.safetensors, conditions: {erlotinib: field.erlotinib}}}"
ERLOTINIB = "{erlotinib: {diffusion: 1e4 um^2/min, initial: 0.3 uM}}"


def test_a_representation_is_moved_by_its_manipulator_and_inherited_by_daughters(tmp_path):
    shutil.copy(WEIGHTS, tmp_path / "drugs.safetensors")
    simulation = started(scene(DRUGS, fields=ERLOTINIB, cells=LEARNED, folder=tmp_path))
    state = simulation.state
    start = state["ur.pc9_drug"].copy()
    assert (start == start[0]).all()
    advance(simulation, 30)
    moved = state["ur.pc9_drug"].copy()
    assert (moved[:8] != start).any(axis=1).all()
    (daughter,) = state.divide(np.array([2]))
    assert np.array_equal(state["ur.pc9_drug"][daughter], moved[2])
    assert np.array_equal(state["ur.pc9_drug"][: len(moved)], moved)


def test_a_manipulator_of_zero_weights_changes_nothing(tmp_path):
    from neural import Manipulator

    Manipulator.load(WEIGHTS).zeroed().save(tmp_path / "drugs.safetensors")
    added = "couplings: [{from: decoder.division, to: rate.division, mode: add}]"
    learned, cut = (
        started(scene(DRUGS, added, fields=ERLOTINIB, cells=LEARNED, folder=tmp_path), cut)
        for cut in ((), (0,))
    )
    for simulation in (learned, cut):
        start = simulation.state["ur.pc9_drug"][0].copy()
        advance(simulation, 60)
        assert (simulation.state["ur.pc9_drug"] == start).all()
    with_it, without = learned.state.snapshot(), cut.state.snapshot()
    assert with_it.keys() == without.keys()
    assert all(np.array_equal(with_it[n], without[n], equal_nan=True) for n in with_it)


@pytest.mark.parametrize("fields", ["{}", "{o: {diffusion: 100 um^2/min}}"])
@pytest.mark.parametrize("quantity", ["cell.volume", "cell.direction"])
def test_a_value_that_is_not_finite_names_process_quantity_cell_and_time(quantity, fields):
    simulation = started(scene(cells=MOVING, fields=fields))
    simulation.step(6)
    simulation.state[quantity][7] = np.nan
    simulation.state.changed()
    with pytest.raises(SimulationError) as failed:
        simulation.step(6)
    assert re.search(r"(mechanics|field\.o): 'cell\.\w+' of cell 7 .*t = 6 min", str(failed.value))
    assert failed.value.exit_code == 3


def test_what_a_step_leaves_behind_is_checked_whoever_owns_it():
    simulation = started(scene(cells="{a: {count: 3, place: {random: {}}, mechanics: {fixed: true}}}"))
    simulation.state["cell.phase_time"][2] = np.inf
    with pytest.raises(
        SimulationError,
        match=r"life: 'cell\.phase_time' of cell 2 is not finite after the step from t = 0 min",
    ):
        simulation.step(6)


def test_a_field_that_is_not_finite_is_named():
    simulation = started(
        scene(cells="{a: {count: 1, place: {random: {}}}}", fields="{o: {diffusion: 1 um^2/min}}")
    )
    simulation.state.fields["o"][0, 1, 1] = np.inf
    with pytest.raises(SimulationError, match=r"field\.o.*not finite after the step from t = 0 min"):
        simulation.step(6)


@pytest.mark.parametrize("large", [2**25, 0])
def test_the_splitting_error_leaves_the_state_alone_and_falls_with_the_step(monkeypatch, large):
    monkeypatch.setattr("sim.machine.aside.LARGE", large)
    fields = "{drug: {diffusion: 10 um^2/min, initial: 1 uM}}"
    cells = """{a: {count: 15, place: {random: {}}, growth: 0.02 /min, cycle: {division: 1e-2 /min},
      exchange: {drug: {uptake: 0.02 /min}}}}"""
    for splitting in ("strang", "lie"):
        simulation = started(scene(fields=fields, cells=cells, splitting=splitting))
        simulation.state.divide(np.arange(15))
        before = simulation.state.snapshot()
        errors = {length: simulation.splitting_error(length) for length in (6.0, 3.0)}
        after = simulation.state.snapshot()
        assert all(np.array_equal(before[n], after[n], equal_nan=True) for n in before)
        # one step errs by its length to the power of the order + 1; what is taken up starts at 0
        least = {"strang": 3.0, "lie": 1.7}[splitting]
        assert errors[6.0]["field.drug"] > least * errors[3.0]["field.drug"] > 0


def test_the_error_of_a_step_is_relative_at_every_size_and_of_what_is_known():
    coarse, fine = np.array([1.0, 2.0, np.nan, np.inf]), np.array([1.0, 2.2, 3.0, 4.0])
    expected = 0.2 / np.sqrt(1.0 + 2.2**2)
    for size in (1e-200, 1.0, 1e200):
        assert _relative(coarse * size, fine * size) == pytest.approx(expected)
    assert _relative(coarse[2:], fine[2:]) == _relative(np.zeros(3), np.zeros(3)) == 0.0


def test_the_same_seed_gives_the_same_bits_and_another_gives_others():
    ends = []
    for seed in (1, 1, 2):
        simulation = started(scene(cells=MOVING, seed=seed))
        advance(simulation, 30)
        ends.append(simulation.state["cell.position"].copy())
    assert np.array_equal(ends[0], ends[1]) and not np.array_equal(ends[0][:20], ends[2][:20])


def test_a_tissue_without_cells_runs():
    simulation = started(
        scene(
            fields="{drug: {diffusion: 1e3 um^2/min, initial: 1 uM}}",
            cells="{a: {count: 0, place: {random: {}}}}",
        )
    )
    simulation.step(6.0)
    assert len(simulation.state) == 0 and simulation.state.time == 6.0
