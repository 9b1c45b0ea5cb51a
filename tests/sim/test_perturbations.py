"""Perturbations: at their exact times, on the cells and places they name, each verb."""

import numpy as np
import pytest
from scenes import CONVERSION, scene, started

from sim import run

FIELD = "{drug: {diffusion: 0 um^2/min, initial: 1 uM}}"
CELLS = "{a: {count: 40, place: {random: {}}}, b: {count: 10, place: {random: {}}}}"


def applied(*lines, cells=CELLS, folder=None, parts=()):
    """The scenario at time 0 with its perturbations applied in order; the simulation and the ids each reached."""
    couplings = "\n".join(f"  - {line}" for line in lines)
    simulation = started(
        scene(*parts, f"perturbations:\n{couplings}", fields=FIELD, cells=cells, folder=folder)
    )
    reached = [
        p.apply(simulation.state, simulation.actors, simulation.streams)
        for p in simulation.plan.perturbations
    ]
    return simulation, reached


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("{at: 0 h, set: field.drug, to: 250 nM}", 0.25),
        ("{at: 0 h, add: field.drug, by: 0.5 uM}", 1.5),
        ("{at: 0 h, scale: field.drug, by: 3}", 3.0),
    ],
)
def test_verbs_on_a_field(line, value):
    simulation, _ = applied(line)
    assert np.allclose(simulation.state.fields["drug"], value, rtol=1e-15)
    assert np.allclose(simulation.signals["field.drug"], value, rtol=1e-15)


def test_a_disc_of_a_field():
    simulation, _ = applied(
        "{at: 0 h, set: field.drug, to: 5 uM, where: {disc: {center: [30 um, -30 um], radius: 25 um}}}"
    )
    u = simulation.state.fields["drug"][0]
    centres = np.arange(-50, 60, 20)
    inside = (centres[None, :] - 30) ** 2 + (centres[:, None] + 30) ** 2 <= 25**2
    assert np.array_equal(u, np.where(inside, 5.0, 1.0)) and 0 < inside.sum() < 36


def test_a_perturbation_of_cells_hits_types_and_discs():
    simulation, (only_b, in_disc) = applied(
        "{at: 0 h, set: cell.volume, to: 1000 um^3, cells: b}",
        "{at: 0 h, scale: cell.volume, by: 2, where: {disc: {center: [0 um, 0 um], radius: 30 um}}}",
    )
    state = simulation.state
    assert np.array_equal(only_b, np.arange(40, 50))
    near = np.linalg.norm(state["cell.position"][:, :2], axis=1) <= 30
    assert np.array_equal(in_disc, np.flatnonzero(near)) and 0 < near.sum() < 50
    base = np.where(state["cell.type"] == 1, 1000.0, 2494.0)
    assert np.array_equal(state["cell.volume"], np.where(near, 2 * base, base))


def test_a_fraction_is_drawn_by_chance_and_kept_by_the_seed():
    many = CELLS.replace("count: 40", "count: 400")
    line = "{at: 0 h, set: rate.division, to: 1 /min, cells: a, fraction: 0.3}"
    (first, (hit,)), (_, (again,)) = applied(line, cells=many), applied(line, cells=many)
    assert abs(len(hit) - 120) < 4 * np.sqrt(400 * 0.3 * 0.7) and np.array_equal(hit, again)
    # an input that is perturbed is remembered by each cell, through division too
    state = first.state
    assert np.array_equal(np.flatnonzero(first.signals["rate.division"] == 1), hit)
    (daughter,) = state.divide(hit[:1])
    assert first.signals["rate.division"][daughter] == 1


def test_which_cells_a_perturbation_reaches_hangs_on_no_place_in_the_list():
    many = CELLS.replace("count: 40", "count: 400")
    first = "{at: 0 h, set: rate.division, to: 1 /min, cells: a, fraction: 0.3}"
    others = [
        "{at: 0 h, kill: {cells: b, fraction: 0.5}}",
        "{at: 1 h, set: rate.division, to: 2 /min, cells: a, fraction: 0.3}",
    ]
    alone, _, _ = applied(first, *others, cells=many)[1]
    last = applied(*others, first, cells=many)[1]
    assert len(alone) and np.array_equal(last[2], alone)
    # those about the same are told apart, and a dose that is twice as high reaches the same cells
    assert not np.array_equal(last[1], alone)
    doubled = applied(first.replace("1 /min", "1.5 /min"), *others, cells=many)[1]
    assert np.array_equal(doubled[0], alone)


def test_a_coupling_acts_on_the_perturbed_value():
    simulation, _ = applied(
        "{at: 0 h, set: rate.death, to: 2 /min, cells: b}",
        parts=("couplings: [{from: field.drug, to: rate.death, linear: {slope: 3}, mode: scale}]",),
    )
    assert set(simulation.signals["rate.death"][40:]) == {6.0}


def test_kill_is_told_in_the_lineage():
    simulation, (hit,) = applied("{at: 0 h, kill: {cells: b, fraction: 0.5}}")
    living = simulation.signals["cell.living"]
    assert 0 < len(hit) < 10 and np.array_equal(np.flatnonzero(living == 0), hit)
    assert (simulation.state.lineage["death_time"][hit] == 0).all()


def test_pathway_species_and_parameters(tmp_path):
    (tmp_path / "conversion.ant").write_text(CONVERSION)
    simulation, _ = applied(
        "{at: 0 h, set: pathway.q.E, to: 7, cells: a, where: {disc: {center: [0 um, 0 um], radius: 40 um}}}",
        "{at: 0 h, scale: pathway.q.k, by: 10, cells: a}",
        cells="{a: {count: 12, place: {random: {}}, pathways: [q]}}",
        parts=("pathways: {q: {model: conversion.ant, time_unit: min}}",),
        folder=tmp_path,
    )
    near = np.linalg.norm(simulation.state["cell.position"][:, :2], axis=1) <= 40
    assert np.allclose(simulation.signals["pathway.q.E"], np.where(near, 7.0, 2.0))
    assert np.allclose(simulation.signals["pathway.q.k"], 0.2)
    assert np.allclose(simulation.signals["pathway.q.forward"], 0.2 * np.where(near, 7.0, 2.0))


def test_times_off_every_grid_are_exact_and_repeated_ones_all_happen():
    tree = run(
        scene(
            """perturbations:
  - {at: 37 min, set: field.drug, to: 4 uM}
  - {at: 13 min, add: field.drug, by: 1 uM, every: 17 min, until: 50 min}""",
            """instruments: {incucyte: {every: 1 h}}""",
            fields="{drug: {diffusion: 1e4 um^2/min, initial: 1 uM, decay: 0.01 /min}}",
            cells="{a: {count: 2, place: {random: {}}}}",
            stop="1 h",
            every="30 min",
        )
    )
    events = tree["events"].ds
    minutes = np.sort(
        np.asarray(events["time"].values, float)
        * {"h": 60, "min": 1}[str(events["time"].attrs["units"])[:3].strip()]
    )
    assert np.allclose(minutes, [13, 30, 37, 47])
    # the exact solution: decay between the additions, and the value that is set at 37 min
    value = 4 * np.exp(-0.1) + 1
    assert np.allclose(
        tree["fields"]["field.drug"].values[-1], value * np.exp(-0.13), rtol=1e-6
    )  # stored in single precision
    at_30 = np.exp(-0.3) + np.exp(-0.17) + 1
    assert np.allclose(tree["fields"]["field.drug"].values[1], at_30, rtol=1e-6)  # stored in single precision
