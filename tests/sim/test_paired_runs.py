"""Runs that differ in one part share every number of the others: the part that couples to nothing changes no bit."""

import numpy as np
import pytest
from scenes import CONVERSION, advance, scene, started

from sim.build import plan
from sim.core.process import Process
from sim.core.quantity import Quantity
from sim.simulation import Simulation

CELLS = """{a: {count: 60, place: {random: {}}, pathways: [PATHWAYS],
    cycle: {phases: {G1: {mean: 3 h}, S: {mean: 2 h}}},
    death: {apoptosis: 2e-3 /min, lysis: 2e-2 /min, clearance: 2e-2 /min}, exchange: {drug: {uptake: 1 /min}},
    motility: {speed: 0.5 um/min, persistence: 20 min, chemotaxis: {field: drug, bias: 0.3}},
    mechanics: {springs: {attach: 0.01 /min, detach: 0.01 /min, most: 2}},
    interactions: {attack: {b: 0.01 /min}, attack_duration: 1 h, damage: 1 /min, transform: {b: 1e-3 /min}}},
  b: {count: 20, place: {random: {}}, pathways: [PATHWAYS],
    cycle: {division: 2e-3 /min}, motility: {speed: 0.2 um/min, persistence: 5 min}}}"""
FIELDS = "drug: {diffusion: 1e3 um^2/min, initial: 1 uM}"

#: two events at a time, of equal priority: lots decide which comes last, and each cell draws its own
LOTTERY = """
model lottery
  x = 0; x' = 1; n = 0; k = 0
  one: at x >= 7, priority = 1: n = 3*n + 1, x = 0;
  two: at x >= 7, priority = 1: n = 3*n + 2, x = 0;
end
"""


class Idle(Process):
    """Counts its steps and tells nobody."""

    def __init__(self, kind, step):
        super().__init__("idle", step)
        self.kind = kind
        self.states = (Quantity("idle.steps", "1", "steps"),)

    def advance(self, state, signals, dt):
        state["idle.steps"][:] += 1


def with_models(folder):
    (folder / "lottery.ant").write_text(LOTTERY)
    (folder / "conversion.ant").write_text(CONVERSION)
    return folder


def ended(folder, idle="", fields=FIELDS, pathways="", named="q", hours=4):
    """Snapshot of the tissue after some hours, each with a kill by chance at its end; `idle`: one more process."""
    lottery = "q: {model: lottery.ant, time_unit: min, growth: keeps_concentration}"
    planned = plan(
        scene(
            f"pathways: {{{lottery}{pathways}}}",
            "perturbations: [{at: 1 h, kill: {cells: b, fraction: 0.1}, every: 1 h}]",
            cells=CELLS.replace("PATHWAYS", named),
            fields=f"{{{fields}}}",
            domain="{x: [-100 um, 100 um], y: [-100 um, 100 um]}",
            stop=f"{hours} h",
            folder=folder,
        )
    )
    if idle:
        planned.processes.append(Idle(idle, planned.step))
    simulation = Simulation(planned)
    simulation.populate()
    (act,) = planned.perturbations
    for time in act.times:
        advance(simulation, time - simulation.state.time)
        act.apply(simulation.state, simulation.actors, simulation.streams)
    return simulation.state.snapshot()


def differing(one, other):
    """Names of the arrays that are not the same to the bit."""
    return [name for name in one if not np.array_equal(one[name], other[name], equal_nan=True)]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return ended(with_models(tmp_path_factory.mktemp("alone")))


def test_everything_that_draws_has_drawn(alone):
    columns = {name.partition("/")[2]: values for name, values in alone.items() if name.startswith("cells/")}
    assert set(alone["lineage/cause"]) >= {0, 2, 3}  # living; died by themselves; killed
    assert (alone["lineage/parent"] >= 0).sum() > 10
    assert (columns["spring.partners"] >= 0).any() and (columns["cell.attacked"] >= 0).any()
    assert len(set(columns["cell.type"][:60])) == 2
    told = columns["pathway.q.state"]
    assert any(len(np.unique(told[np.isfinite(told[:, k]), k])) > 10 for k in range(told.shape[1]))


@pytest.mark.parametrize(
    "more",
    [
        {"idle": "discrete"},
        {"idle": "quasi-steady"},
        {"idle": "dynamic"},
        {"fields": f"{FIELDS}, idle: {{diffusion: 1e3 um^2/min, initial: 2 uM}}"},
        {"fields": f"idle: {{diffusion: 1e5 um^2/min, boundary: 2 uM, solve: steady}}, {FIELDS}"},
        {"pathways": ", idle: {model: conversion.ant, time_unit: min}", "named": "q, idle"},
        {"pathways": ", idle: {model: lottery.ant, time_unit: min, growth: dilutes}", "named": "idle, q"},
    ],
)
def test_a_part_that_tells_nobody_anything_changes_no_bit(alone, tmp_path, more):
    found = ended(with_models(tmp_path), **more)
    added = found.keys() - alone.keys()
    assert added and all("idle" in name for name in added)
    assert alone.keys() <= found.keys()
    assert differing(alone, found) == []


@pytest.mark.parametrize("step", ["2 min", "30 min"])
def test_a_part_of_another_pace_moves_nothing_but_what_is_halved_otherwise(alone, tmp_path, step):
    more = f", idle: {{model: conversion.ant, time_unit: min, step: {step}}}"
    found = ended(with_models(tmp_path), pathways=more, named="q, idle")
    # the clock cut the dearest in two elsewhere: its counts of steps and its roundings differ
    assert all(".q" in name for name in differing(alone, found))


def test_each_act_of_a_perturbation_chooses_anew_and_its_choice_hangs_on_no_clock():
    text = "perturbations: [{at: 1 h, set: cell.volume, to: 9 um^3, fraction: 0.5, every: 1 h}]"
    chosen = {}
    for step in ("6 min", "20 min"):
        simulation = started(
            scene(text, cells="{a: {count: 40, place: {random: {}}}}", step=step, stop="3 h")
        )
        (act,) = simulation.plan.perturbations
        for time in act.times:
            advance(simulation, time - simulation.state.time)
            hit = act.apply(simulation.state, simulation.actors, simulation.streams)
            chosen.setdefault(time, []).append(hit.tolist())
    first, second, third = chosen.values()
    assert all(a == b for a, b in (first, second, third))
    assert first[0] != second[0] != third[0] != first[0]
