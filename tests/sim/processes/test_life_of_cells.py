"""Parts of volume through growth, division and death; what touching cells do to each other; what a resume remembers."""

from __future__ import annotations

import numpy as np
import pytest

from sim.build import plan
from sim.errors import ScenarioError
from tests.scenes import CUBE, advance, scene, started

FIXED = "mechanics: {fixed: true}"


def cells(text: str, count: int = 4, place: str = "{random: {}}") -> str:
    return f"{{a: {{count: {count}, place: {place}, {FIXED}, {text}}}}}"


def test_a_cell_doubles_its_parts_and_shares_them():
    cycle = "cycle: {phases: {G1: {fixed: 1 h}, S: {fixed: 40 h}}}, composition: {}"
    simulation = started(scene(cells=cells(cycle)))
    state = simulation.state
    state["cell.phase_time"][:] = 0
    advance(simulation, 60 + 39 * 60)
    np.testing.assert_allclose(state["cell.volume"], 2 * 2494, rtol=2e-4)
    np.testing.assert_allclose(state["volume.nuclear"], 270 - 135 * np.exp(-0.0055 * 39 * 60), rtol=1e-9)
    before = state["cell.volume"].sum()
    advance(simulation, 60)
    assert len(state) == 8
    np.testing.assert_allclose(state["cell.volume"].sum(), before, rtol=3e-4)
    parts = sum(state[f"volume.{k}"] for k in ("fluid", "nuclear", "cytoplasm"))
    np.testing.assert_allclose(parts, state["cell.volume"], rtol=1e-12)


def test_apoptosis_dries_a_cell_up_and_ends_on_time():
    simulation = started(scene(cells=cells("composition: {}, death: {remains: 8.6 h}")))
    state = simulation.state
    simulation.plan.life.kill(state, np.arange(2))
    advance(simulation, 300)
    t = 300.0
    expected = (
        135 * np.exp(-0.35 / 60 * t) + 488.5 * np.exp(-t / 60) + 1870.5 * np.exp(-3 / 60 * t),
        2494.0,
    )
    np.testing.assert_allclose(state["cell.volume"], np.repeat(expected, 2), rtol=1e-9)
    advance(simulation, 210)
    assert len(state) == 4
    advance(simulation, 12)
    assert len(state) == 2


def test_necrosis_swells_until_the_cell_bursts():
    simulation = started(
        scene(cells=cells("composition: {}, death: {necrosis: 1e6 /min, clearance: 0 /min}"))
    )
    state, settings = simulation.state, simulation.plan.life.settings
    advance(simulation, 6)
    assert (state["cell.phase"] == settings.necrotic).all()
    np.testing.assert_allclose(state["cell.rupture"], 2 * 2494.0)
    volumes = [state["cell.volume"][0]]
    while (state["cell.phase"] == settings.necrotic).all():
        advance(simulation, 6)
        volumes.append(state["cell.volume"][0])
        assert len(volumes) < 400
    assert np.all(np.diff(volumes) > 0)
    # r_F (N + C) of fluid a minute, with solids that hardly decay: 2494 um^3 in about 2494/(r_F 600) = 6.2 h or more
    minutes = 6 * (len(volumes) - 1)
    n, c, f = 0.013 / 60, 0.0032 / 60, 0.67 / 60
    drawn = f * (135 * -np.expm1(-n * minutes) / n + 488.5 * -np.expm1(-c * minutes) / c)
    whole = 1870.5 + drawn + 135 * np.exp(-n * minutes) + 488.5 * np.exp(-c * minutes)
    assert volumes[-1] == pytest.approx(whole, rel=1e-9)
    assert volumes[-2] < 2 * 2494 <= volumes[-1]
    assert (state["cell.phase"] == settings.lysed).all()
    calcified = -np.expm1(-0.0042 / 60 * minutes)
    np.testing.assert_allclose(state["cell.calcified"], calcified, rtol=1e-9)
    advance(simulation, 600)
    assert (state["cell.volume"] < volumes[-1]).all()


def test_unequal_daughters_share_contents_and_change_type():
    text = (
        "{stem: {count: 500, place: {random: {}}, growth: 0 /min, cycle: {phases: {M: {fixed: 1 h}}}, "
        "division: {share: 0.25, types: {leaf: 0.4}}, mechanics: {fixed: true}}, "
        "leaf: {count: 0, place: {random: {}}, mechanics: {fixed: true}}}"
    )
    simulation = started(scene(cells=text))
    state = simulation.state
    state["cell.phase_time"][:] = 0
    advance(simulation, 60)
    assert len(state) == 1000
    np.testing.assert_allclose(state["cell.volume"][:500], 0.75 * 2494)
    np.testing.assert_allclose(state["cell.volume"][500:], 0.25 * 2494)
    assert (state["cell.type"][:500] == 0).all()
    leaves = state["cell.type"][500:] == 1
    assert abs(leaves.mean() - 0.4) < 4 * np.sqrt(0.24 / 500)
    np.testing.assert_array_equal(state.lineage["type"][500:], state["cell.type"][500:])
    assert (state["cell.phase"][500:][leaves] == 0).all()


PAIR = "{points: [[0 um, 0 um], [15 um, 0 um], [50 um, 0 um]]}"


@pytest.mark.parametrize("polarity", [0.0, 1.0])
def test_cells_of_a_layer_divide_within_it(polarity):
    cells = f"""{{a: {{place: {{points: [[-30 um, 0 um, 0 um], [30 um, 0 um, 0 um]]}}, cycle: {{division: 0.02 /min}},
      mechanics: {{fixed: true}}, division: {{polarity: {polarity}, axis: [0, 3, 0]}}}}}}"""
    simulation = started(scene(cells=cells, domain=CUBE))
    advance(simulation, 90)
    positions = simulation.state["cell.position"]
    assert len(positions) > 4
    off = np.abs(positions[:, 1]).max()
    assert off < 1e-9 if polarity else off > 1.0


def test_the_dead_are_engulfed_with_what_they_hold():
    text = cells(
        "interactions: {phagocytosis: {dead: 1e6 /min}}, growth: 0 /min, death: {lysis: 0 /min}", 3, PAIR
    )
    fields = "{drug: {diffusion: 0 um^2/min, unit: uM}}"
    simulation = started(scene(cells=text, fields=fields))
    state = simulation.state
    state["internal.drug"][:] = [1.0, 2.0, 4.0]
    simulation.plan.life.kill(state, np.array([1]))
    state["cell.volume"][1] = 1000
    state.changed()
    advance(simulation, 6)
    np.testing.assert_array_equal(state.ids, [0, 2])
    np.testing.assert_allclose(state["internal.drug"], [3.0, 4.0])
    assert 3494 - 200 < state["cell.volume"][0] <= 3494
    assert state.cleared["internal.drug"] == 0


def test_cells_fuse_about_their_common_centre():
    simulation = started(scene(cells=cells("interactions: {fusion: {a: 1e6 /min}}, growth: 0 /min", 3, PAIR)))
    advance(simulation, 6)
    state = simulation.state
    assert len(state) == 2
    np.testing.assert_allclose(np.sort(state["cell.volume"]), [2494, 2 * 2494])
    np.testing.assert_allclose(state["cell.position"][np.argmax(state["cell.volume"]), :2], [7.5, 0])
    assert state.lineage["cause"].tolist().count(7) == 1


def test_an_attack_does_damage_while_the_cells_touch_and_damage_kills_by_rule():
    text = (
        "{t: {place: {points: [[0 um, 0 um], [60 um, 0 um]]}, mechanics: {fixed: true}}, "
        "k: {place: {points: [[15 um, 0 um]]}, mechanics: {fixed: true}, "
        "interactions: {attack: {t: 1e6 /min}, damage: 2 /min, attack_duration: 1e9 min}}}"
    )
    simulation = started(scene(cells=text))
    advance(simulation, 60)
    np.testing.assert_allclose(simulation.state["cell.damage"], [120, 0, 0])
    rule = "rules: [{cells: t, signal: cell.damage, increases: rate.death, to: 100 /min, half_max: 50}]"
    simulation = started(scene(rule, cells=text))
    advance(simulation, 60)
    np.testing.assert_array_equal(simulation.signals["cell.dead"], [1, 0, 0])


def test_types_turn_into_each_other_until_they_balance():
    text = (
        "{x: {count: 2000, place: {random: {}}, mechanics: {fixed: true}, "
        "interactions: {transform: {y: 0.03 /min}}}, y: {count: 0, place: {random: {}}, mechanics: {fixed: true}, "
        "interactions: {transform: {x: 0.01 /min}}}}"
    )
    simulation = started(
        scene(cells=text, step="1 min", domain="{x: [-600 um, 600 um], y: [-600 um, 600 um]}")
    )
    # towards 0.75, as fast as both rates together
    for minutes, expected in ((25, 0.75 * (1 - np.exp(-1.0))), (125, 0.75)):
        advance(simulation, minutes)
        share = np.mean(simulation.state["cell.type"] == 1)
        assert abs(share - expected) < 4 * np.sqrt(expected * (1 - expected) / 2000) + 0.01


def test_a_run_goes_on_from_a_snapshot_to_the_same_bits():
    text = (
        "{x: {count: 60, place: {random: {}}, composition: {}, cycle: {model: flow_cytometry, "
        "quiescence: {enter: 1e-3 /min, leave: 1e-3 /min}}, death: {apoptosis: 1e-3 /min, necrosis: 1e-3 /min}, "
        "division: {share: 0.4, types: {y: 0.2}}, interactions: {attack: {y: 0.1 /min}, fusion: {x: 1e-3 /min}, "
        "transform: {y: 1e-3 /min}}}, "
        "y: {count: 30, place: {random: {}}, composition: {}, interactions: {phagocytosis: {dead: 0.01 /min}}}}"
    )
    rule = "rules: [{signal: cell.damage, increases: rate.death, to: 0.01 /min, half_max: 20}]"
    whole, half = started(scene(rule, cells=text)), started(scene(rule, cells=text))
    advance(whole, 120)
    kept = whole.state.snapshot()
    advance(whole, 120)
    half.state.restore(kept)
    advance(half, 120)
    left, right = whole.state.snapshot(), half.state.snapshot()
    assert left.keys() == right.keys()
    for name, values in left.items():
        np.testing.assert_array_equal(values, right[name], err_msg=name)
    assert {"fusion", "phagocytosis"} & {
        ("", "division", "apoptosis", "kill", "failure", "necrosis", "phagocytosis", "fusion")[c]
        for c in whole.state.lineage["cause"]
    }


FAULTS = {
    "death: {necrosis: 1 /h}": "death.necrosis: needs composition",
    "composition: {}, growth: 1 /h": "growth: does not go with composition",
    "composition: {nuclear: 3000 um^3}": "must be smaller than the volume",
    "division: {types: {a: 0.6, b: 0.6}}": "must not sum to more than 1",
    "division: {types: {c: 0.6}}": "no cell type 'c'",
    "interactions: {attack: {dead: 1 /h}}": "no cell type 'dead'",
    "interactions: {transform: {b: 1 /h}}, composition: {}": "'b' has other composition",
}


@pytest.mark.parametrize("text", FAULTS)
def test_a_fault_is_told(text):
    with pytest.raises(ScenarioError) as caught:
        plan(
            scene(
                cells=f"{{a: {{count: 1, place: {{random: {{}}}}, {text}}}, b: {{count: 1, place: {{random: {{}}}}}}}}"
            )
        )
    assert FAULTS[text] in str(caught.value)


def _joined(state) -> set[tuple[int, int]]:
    return {(int(i), int(j)) for i, row in zip(state.ids, state["spring.partners"]) for j in row if j >= 0}


def test_springs_join_both_ways_up_to_their_number_and_let_the_dead_go():
    springs = "springs: {attach: 1 /min, detach: 0.05 /min, most: 3, elasticity: 0.01 /min}, walls: 10 um/min"
    text = f"{{a: {{count: 60, place: {{disc: {{radius: 50 um}}}}, mechanics: {{affinity: {{a: 2}}, {springs}}}}}}}"
    simulation = started(scene(cells=text))
    state = simulation.state
    advance(simulation, 60)
    joined = _joined(state)
    assert len(joined) > 60
    assert joined == {(j, i) for i, j in joined}
    count = simulation.signals["spring.count"]
    assert count.max() == 3
    assert sum(count) == len(joined)
    dead = int(next(iter(joined))[0])
    simulation.plan.life.kill(state, np.array([dead]))
    state.changed()
    advance(simulation, 6)
    assert all(dead not in pair for pair in _joined(state))
    kept = state.snapshot()
    advance(simulation, 30)
    once = state["cell.position"].copy()
    state.restore(kept)
    advance(simulation, 30)
    np.testing.assert_array_equal(state["cell.position"], once)
