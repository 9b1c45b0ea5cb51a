"""Nothing is made or lost between fields and cells, whatever the cells do meanwhile."""

import numpy as np
import pytest
from scenes import BOX, CONVERSION, CUBE, advance, scene, started

VOXEL = 20.0**3
EXCHANGE = """{a: {count: 30, place: {random: {}}, cycle: {division: 4e-3 /min},
  motility: {speed: 1 um/min, persistence: 10 min},
  exchange: {drug: {uptake: 5 /min}, egf: {secretion: 1 /min, saturation: 3 uM, uptake: 0.1 /min}}}}"""


@pytest.mark.parametrize(("domain", "periodic"), [(BOX, "no_flux"), (BOX, "periodic"), (CUBE, "no_flux")])
def test_uptake_and_secretion_book_what_they_move(domain, periodic):
    fields = f"""{{drug: {{diffusion: 1e4 um^2/min, initial: 1 uM, boundary: {periodic}}},
      egf: {{diffusion: 100 um^2/min, initial: 0.5 uM, boundary: {periodic}}}}}"""
    space = ", periodic: true" if periodic == "periodic" else ""
    simulation = started(scene(domain=domain, fields=fields, cells=EXCHANGE, space=space))
    state = simulation.state

    def total(name):
        return state.fields[name].sum() * VOXEL + state[f"internal.{name}"].sum()

    before = {name: total(name) for name in state.fields}
    advance(simulation, 180)
    assert len(state) > 40
    for name, amount in before.items():
        assert abs(state[f"internal.{name}"]).sum() > 0.01 * amount
        assert total(name) == pytest.approx(amount, rel=1e-12, abs=0)


def test_what_cleared_cells_held_is_booked():
    cells = """{a: {count: 30, place: {random: {}},
      death: {apoptosis: 0.02 /min, lysis: 0.05 /min, clearance: 0.05 /min},
      exchange: {drug: {uptake: 5 /min}}}}"""
    simulation = started(scene(fields="{drug: {diffusion: 1e4 um^2/min, initial: 1 uM}}", cells=cells))
    state = simulation.state
    before = state.fields["drug"].sum() * VOXEL
    advance(simulation, 180)
    held, cleared = state["internal.drug"].sum(), float(state.cleared["internal.drug"])
    assert len(state) < 25 and cleared > 0
    assert state.fields["drug"].sum() * VOXEL + held + cleared == pytest.approx(before, rel=1e-12, abs=0)
    assert state.fields["drug"].sum() * VOXEL + held < before * (1 - 1e-6)

    kept = state.snapshot()
    advance(simulation, 30)
    state.restore(kept)
    assert float(state.cleared["internal.drug"]) == cleared


def test_a_membrane_moves_amounts_between_field_and_pathway_through_growth_and_division(tmp_path):
    (tmp_path / "conversion.ant").write_text(CONVERSION)
    simulation = started(
        scene(
            "pathways: {q: {model: conversion.ant, time_unit: min}}",
            fields="{egf: {diffusion: 1e3 um^2/min, initial: 3 uM}}",
            cells="""{a: {count: 15, place: {random: {}}, cycle: {division: 4e-3 /min}, pathways: [q],
              exchange: {egf: {permeability: 0.3 /min, with: pathway.q.E}}}}""",
            folder=tmp_path,
        )
    )
    state = simulation.state
    volume = float(simulation.plan.scenario.cells["a"].volume)

    def inside():
        # E and F turn into each other: their sum is what crossed the membrane
        return state["pathway.q.state"].sum() * volume

    total, field = inside() + state.fields["egf"].sum() * VOXEL, state.fields["egf"].sum()
    advance(simulation, 180)
    assert len(state) > 20
    assert state.fields["egf"].sum() < 0.9 * field
    assert inside() + state.fields["egf"].sum() * VOXEL == pytest.approx(total, rel=1e-12, abs=0)


def test_a_membrane_ends_at_equal_concentrations(tmp_path):
    (tmp_path / "still.ant").write_text(
        "model still\n compartment c = 1\n species E in c\n E = 0\n k = 0\n J: E -> ; c*k*E\nend\n"
    )
    simulation = started(
        scene(
            "pathways: {q: {model: still.ant, time_unit: min}}",
            fields="{egf: {diffusion: 1e5 um^2/min, initial: 3 uM}}",
            cells="""{a: {count: 6, place: {random: {}}, pathways: [q],
              exchange: {egf: {permeability: 1 /min, with: pathway.q.E}}}}""",
            folder=tmp_path,
        )
    )
    advance(simulation, 120)
    field = simulation.state.fields["egf"]
    share = 6 * 2494 / (field.size * VOXEL)
    assert np.allclose(simulation.signals["pathway.q.E"], 3 / (1 + share), rtol=1e-6)
    assert np.allclose(field, 3 / (1 + share), rtol=1e-6)


def test_a_boundary_held_at_a_value_feeds_the_tissue():
    simulation = started(
        scene(
            fields="{oxygen: {diffusion: 1e4 um^2/min, initial: 38 mmHg, boundary: {x_min: 38 mmHg, x_max: no_flux}}}",
            cells="{a: {count: 30, place: {random: {}}, exchange: {oxygen: {uptake: 10 /min}}}}",
        )
    )
    advance(simulation, 60)
    across = simulation.state.fields["oxygen"].mean(axis=(0, 1))
    assert 30 < across[0] < 38 and (np.diff(across) < 0).all()


def test_a_steady_field_is_where_a_long_transient_ends():
    """One cell takes up what diffuses in; both ways book the same uptake, the transient up to its splitting error."""
    cells = """{a: {count: 1, place: {points: [[0 um, 0 um]]}, exchange: {oxygen: {uptake: 1 /min}},
      mechanics: {fixed: true}}}"""
    fields, booked = [], []
    for solve in ("steady", "transient"):
        field = f"{{diffusion: 1e3 um^2/min, decay: 0.1 /min, initial: 38 mmHg, boundary: 38 mmHg, solve: {solve}}}"
        simulation = started(scene(fields=f"{{oxygen: {field}}}", cells=cells, step="15 s"))
        advance(simulation, 60)
        before = simulation.state["internal.oxygen"].copy()
        advance(simulation, 5)
        fields.append(simulation.state.fields["oxygen"])
        booked.append(simulation.state["internal.oxygen"] - before)
    assert fields[0].min() < 33
    assert np.allclose(*fields, rtol=0.01)
    assert np.allclose(*booked, rtol=0.01)


def test_dead_cells_exchange_nothing():
    simulation = started(
        scene(
            "perturbations: [{at: 0 h, kill: {cells: a}}]",
            fields="{drug: {diffusion: 1e4 um^2/min, initial: 1 uM}}",
            cells="{a: {count: 10, place: {random: {}}, exchange: {drug: {uptake: 5 /min}}, death: {lysis: 0 /min}}}",
        )
    )
    (kill,) = simulation.plan.perturbations
    kill.apply(simulation.state, simulation.actors, simulation.streams)
    advance(simulation, 60)
    assert np.allclose(simulation.state.fields["drug"], 1.0, rtol=1e-13)
