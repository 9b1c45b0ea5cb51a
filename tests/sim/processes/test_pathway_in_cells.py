"""Pathways in cells: alone as in a dish, diluted by growth, halved by division, driven by couplings and networks."""

import numpy as np
import pytest
from scenes import CONVERSION, advance, scene, started

from sim.core.state import CAUSES

PATHWAY = "pathways: {q: {model: conversion.ant, time_unit: min}}"
KEPT = "pathways: {q: {model: conversion.ant, time_unit: min, growth: keeps_concentration}}"
QUIET = "{a: {count: 3, place: {random: {}}, pathways: [q]}}"
DIVIDING = (
    "{a: {count: 8, place: {random: {}}, growth: 0.02 /min, cycle: {division: 4e-3 /min}, pathways: [q]}}"
)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "conversion.ant").write_text(CONVERSION)
    return tmp_path


def test_a_cell_alone_follows_the_model(folder):
    from mechanistic import load_model

    simulation = started(scene(PATHWAY, cells=QUIET, folder=folder))
    advance(simulation, 60)
    alone = load_model(CONVERSION).simulate([0, 60])
    for species in "EF":
        assert np.allclose(
            simulation.signals[f"pathway.q.{species}"], alone[species].values[0, -1], rtol=1e-5
        )


@pytest.mark.parametrize(("unit", "per_minute"), [("h", 1 / 60), ("s", 60.0), ("min", 1.0)])
def test_the_unit_of_time_of_a_model_counts(folder, unit, per_minute):
    from mechanistic import load_model

    simulation = started(
        scene(f"pathways: {{q: {{model: conversion.ant, time_unit: {unit}}}}}", cells=QUIET, folder=folder)
    )
    advance(simulation, 12)
    alone = load_model(CONVERSION).simulate([0, 12 * per_minute])
    assert np.allclose(simulation.signals["pathway.q.E"], alone["E"].values[0, -1], rtol=1e-5)


def test_set_and_vary_reach_every_cell(folder):
    varied = PATHWAY.replace(
        "time_unit: min", "time_unit: min, set: {back: 0.5}, vary: {k: lognormal(cv=0.5)}"
    )
    many = QUIET.replace("count: 3", "count: 400").replace(
        "random: {}", "hexagonal: {spacing: 6 um, shape: lattice}"
    )
    signals = started(scene(varied, cells=many, folder=folder)).signals
    k = signals["pathway.q.k"]
    assert np.unique(k).size > 300
    assert k.mean() == pytest.approx(0.02, rel=0.1) and k.std() / k.mean() == pytest.approx(0.5, rel=0.2)
    assert signals["pathway.q.forward"] == pytest.approx(k * 2, rel=1e-12)


def test_division_halves_amounts_and_keeps_concentrations(folder):
    simulation = started(scene(PATHWAY, cells=DIVIDING, folder=folder))
    state = simulation.state
    before = state["pathway.q.state"][0].copy()
    (daughter,) = state.divide(np.array([0]))
    for row in (0, daughter):
        assert np.array_equal(state["pathway.q.state"][row], before / 2)
        assert simulation.signals["pathway.q.E"][row] == pytest.approx(before[0], rel=1e-14)
        assert state["cell.volume"][row] == 2494 / 2


def test_division_leaves_what_is_no_amount_as_it_is(folder):
    clock = "model clock\n compartment c = 1\n species E in c\n E = 4\n age = 0; age' = 1\n k = 0\n"
    clock += " J: E -> ; c*k*E\nend\n"
    (folder / "clock.ant").write_text(clock)
    simulation = started(
        scene("pathways: {q: {model: clock.ant, time_unit: min}}", cells=DIVIDING, folder=folder)
    )
    advance(simulation, 6)
    state, signals = simulation.state, simulation.signals
    (daughter,) = state.divide(np.array([0]))
    for row in (0, daughter):
        assert signals["pathway.q.age"][row] == pytest.approx(6, rel=1e-6)
        assert state["pathway.q.state"][row, 0] == pytest.approx(2, rel=1e-6)


@pytest.mark.parametrize(("pathway", "dilutes"), [(PATHWAY, True), (KEPT, False)])
def test_growth_dilutes_where_the_scenario_says_so(folder, pathway, dilutes):
    """E + F is made and lost by nothing: its concentration falls as a daughter grows, or stays."""
    growing = DIVIDING.replace("4e-3 /min", "0 /min")
    simulation = started(scene(pathway, cells=growing, folder=folder))
    state, signals = simulation.state, simulation.signals
    state.divide(np.array([0]))
    advance(simulation, 30)
    total = signals["pathway.q.E"] + signals["pathway.q.F"]
    volume = state["cell.volume"]
    assert volume[0] > 1.2 * 2494 / 2
    if dilutes:
        assert total[0] == pytest.approx(3 * (2494 / 2) / volume[0], rel=1e-6)
    else:
        assert np.allclose(total, 3.0, rtol=1e-6)


def test_a_field_drives_a_parameter_in_its_own_unit(folder):
    simulation = started(
        scene(
            PATHWAY,
            "couplings: [{from: field.drug, to: pathway.q.inhibitor}]",
            fields="{drug: {diffusion: 0 um^2/min, initial: 500 nM}}",
            cells=QUIET,
            folder=folder,
        )
    )
    assert np.allclose(simulation.signals["pathway.q.inhibitor"], 0.5, rtol=1e-15)
    assert np.allclose(simulation.signals["pathway.q.forward"], 0.02 * 2 / 1.5, rtol=1e-12)


def test_a_parameter_without_a_unit_is_driven_as_it_is_and_that_is_said(folder):
    couplings = "couplings: [{{from: field.drug, to: pathway.q.k{}}}]"
    field = "{drug: {diffusion: 0 um^2/min, initial: 500 nM}}"
    plain = started(scene(PATHWAY, couplings.format(""), fields=field, cells=QUIET, folder=folder))
    assert any("pathway.q.k has no unit in its model; taken as it is" in note for note in plain.plan.notes)
    assert np.array_equal(plain.signals["pathway.q.k"], plain.signals["field.drug"])
    signals = started(
        scene(PATHWAY, couplings.format(", linear: {slope: 2}"), fields=field, cells=QUIET, folder=folder)
    ).signals
    assert np.allclose(signals["pathway.q.k"], 2 * signals["field.drug"])


def test_a_network_of_zero_weights_leaves_the_pure_pathway_bit_for_bit(folder):
    from neural.response import ResponseNetwork

    zero = ResponseNetwork(np.zeros((1, 4)), np.zeros(4), np.zeros(4), 0.0)
    zero.save(folder / "zero.safetensors")
    ones = ResponseNetwork(np.ones((1, 4)), np.zeros(4), np.ones(4), 0.0)
    ones.save(folder / "ones.safetensors")

    def end(*couplings):
        field = "{drug: {diffusion: 1e3 um^2/min, initial: 1 uM}}"
        simulation = started(scene(PATHWAY, *couplings, fields=field, cells=DIVIDING, folder=folder))
        advance(simulation, 120)
        return simulation.state.snapshot()

    def network(file):
        return f"couplings: [{{from: field.drug, to: pathway.q.k, network: {{weights: {file}}}, mode: add}}]"

    pure, still, moved = end(), end(network("zero.safetensors")), end(network("ones.safetensors"))
    shared = [n for n in pure if n in still]
    assert "cells/pathway.q.state" in shared
    for name in shared:
        assert np.array_equal(pure[name], still[name], equal_nan=True), name
    assert not np.array_equal(pure["cells/pathway.q.state"], moved["cells/pathway.q.state"])


def test_dying_cells_keep_their_last_values(folder):
    simulation = started(
        scene(
            PATHWAY,
            "perturbations: [{at: 0 h, kill: {cells: a, fraction: 0.5}}]",
            cells=DIVIDING,
            folder=folder,
        )
    )
    (kill,) = simulation.plan.perturbations
    hit = kill.apply(simulation.state, simulation.actors, simulation.streams)
    assert 0 < len(hit) < 8
    before = simulation.state["pathway.q.state"].copy()
    simulation.step(6)
    moved = (simulation.state["pathway.q.state"][:8] != before).any(axis=1)
    assert np.array_equal(np.flatnonzero(~moved), hit)


def test_a_cell_that_cannot_be_integrated_is_named(folder):
    from sim.errors import SimulationError

    blow_up = "model b\n compartment c = 1\n species X in c\n X = 1\n k = 1\n J: -> X; c*k*X*X\nend\n"
    (folder / "blow_up.ant").write_text(blow_up)
    simulation = started(
        scene("pathways: {q: {model: blow_up.ant, time_unit: min}}", cells=QUIET, folder=folder)
    )
    with pytest.raises(SimulationError, match=r"pathway\.q: 'X' of cell 0 at t = 0 min"):
        advance(simulation, 6)


def test_a_cell_that_fails_can_be_removed_and_the_others_do_not_feel_it(folder):
    """dX/dt = c k X^2 leaves every bound at t = 1/(k X): the one with the large k fails, the others never do."""
    text = "model b\n compartment c = 1\n species X in c\n X = 1\n k = 0\n J: -> X; c*k*X*X\nend\n"
    (folder / "blow_up.ant").write_text(text)

    def end(change):
        more = f"""pathways: {{q: {{model: blow_up.ant, time_unit: min}}}}
on_failure: remove-cell
perturbations: [{{at: 0 min, set: pathway.q.k, to: 1e-3}}, {change}]"""
        cells = QUIET.replace("count: 3", "count: 12")
        simulation = started(scene(more, cells=cells, folder=folder))
        for p in simulation.plan.perturbations:
            p.apply(simulation.state, simulation.actors, simulation.streams)
        advance(simulation, 12)
        return simulation.state

    hit = "{at: 0 min, set: pathway.q.k, to: 1, fraction: 0.3}"
    failed, whole = end(hit), end(hit.replace("to: 1,", "to: 1e-3,"))
    gone = np.setdiff1d(whole.ids, failed.ids)
    assert 0 < len(gone) < len(whole)
    assert (failed.lineage["cause"][gone] == CAUSES.index("failure")).all()
    kept = np.isin(whole.ids, failed.ids)
    assert np.array_equal(whole["pathway.q.state"][kept], failed["pathway.q.state"])


TIMER = """model timer
  compartment c = 1; species E in c; E = 4; n = 0; k = 0;
  J: E -> ; 0.1 * c * E;
  late: at 30 after E < 2: E = 4, n = n + 1;
  told: at k > 1: n = n + 100;
end
"""
TIMED = "pathways: {q: {model: timer.ant, time_unit: min, growth: keeps_concentration}}"


def test_delayed_events_wait_in_every_cell(folder):
    """E falls below 2 at 10 ln 2 = 6.93 min; 30 min later it is set back, in a daughter born in between too."""
    (folder / "timer.ant").write_text(TIMER)
    simulation = started(scene(TIMED, cells=DIVIDING.replace("4e-3 /min", "0 /min"), folder=folder))
    advance(simulation, 18)
    (daughter,) = simulation.state.divide(np.array([0]))
    advance(simulation, 36)
    from mechanistic import load_model

    alone = load_model(TIMER).simulate([54.0])
    for row in (0, 1, daughter):
        assert simulation.signals["pathway.q.n"][row] == 1
        assert simulation.signals["pathway.q.E"][row] == pytest.approx(alone["E"].values[0, 0], rel=1e-4)


def test_a_coupling_sets_off_an_event(folder):
    (folder / "timer.ant").write_text(TIMER)
    driven = scene(
        TIMED, "couplings: [{from: pathway.q.E, to: pathway.q.k, linear: {slope: -1, intercept: 4}}]",
        cells=QUIET, folder=folder,
    )  # fmt: skip
    simulation = started(driven)
    advance(simulation, 18)
    # k = 4 - E passes 1 once, and stays above
    assert np.all(simulation.signals["pathway.q.n"] == 100)


def test_cells_may_hear_of_each_other_what_a_rule_says_at_once(tmp_path):
    (tmp_path / "inhibition.ant").write_text("D = 1; heard = 0; shown := 2*D; D' = -heard*D")
    signals = started(
        scene(
            "pathways: {q: {model: inhibition.ant, time_unit: min}}",
            "tissue: {neighbours: {radius: 25 um}}",
            "couplings: [{from: neighbours.mean(pathway.q.shown), to: pathway.q.heard}]",
            cells=QUIET.replace("random: {}", "hexagonal: {spacing: 12 um}"),
            folder=tmp_path,
        )
    ).signals
    assert np.array_equal(signals["pathway.q.shown"], [2, 2, 2])
    assert np.array_equal(signals["pathway.q.heard"], [2, 2, 2])


@pytest.mark.parametrize("splitting", ["strang", "lie"])
@pytest.mark.parametrize("step", ["6 min", "24 min"])
def test_pathways_that_tell_the_time_know_their_own(tmp_path, splitting, step):
    """Of two, one is stepped in halves; one that is slower steps around the other."""
    text = "model w\n x = 1; x' = 0.075 * cos(0.15 * time); y = 0; y' = 1; at time >= 27: y = 0;\nend"
    (tmp_path / "w.ant").write_text(text)
    pathways = f"pathways: {{a: {{model: w.ant, time_unit: min, step: {step}}}, b: {{model: w.ant, time_unit: min}}}}"
    cells = QUIET.replace("[q]", "[a, b]")
    simulation = started(scene(pathways, cells=cells, folder=tmp_path, splitting=splitting))
    advance(simulation, 48)
    for name in "ab":
        x, y = (simulation.signals[f"pathway.{name}.{i}"][0] for i in "xy")
        assert x == pytest.approx(1 + 0.5 * np.sin(0.15 * 48), rel=1e-5)
        assert y == pytest.approx(48 - 27, rel=1e-6)


HES = """
model hes
  compartment c = 1
  species m in c, p in c
  substanceOnly species n in c
  m = 3; p = 100; n = 5
  lag = 18.5; k = 33
  make: -> m; c / (1 + (delay(p, lag) / 100)^5)
  lose: m -> ; 0.03 * c * m
  translate: -> p; c * m
  clear: p -> ; 0.03 * c * p
  count: -> n; 0.01 * delay(n, 5)
  twice := 2 * delay(p, lag)
end
"""
LAGGING = "pathways: {q: {model: hes.ant, time_unit: min%s}}"


def test_a_cell_with_delays_follows_the_model(tmp_path):
    from mechanistic import load_model

    (tmp_path / "hes.ant").write_text(HES)
    simulation = started(scene(LAGGING % "", cells=QUIET, folder=tmp_path))
    advance(simulation, 60)
    alone = load_model(HES).simulate([0, 60])
    for name in ("m", "p", "n", "twice", "make"):
        assert np.allclose(simulation.signals[f"pathway.q.{name}"], alone[name].values[0, -1], rtol=1e-5)


def test_a_daughter_inherits_the_past_and_shares_amounts_in_it(tmp_path):
    """Concentrations go on in both as if nothing had happened, and both together hold the amounts of one cell."""
    (tmp_path / "hes.ant").write_text(HES)
    cells = DIVIDING.replace("0.02 /min, cycle: {division: 4e-3 /min}", "0 /min").replace("8", "1")

    def ran(*times):
        simulation = started(scene(LAGGING % "", cells=cells, folder=tmp_path))
        for minutes in times:
            advance(simulation, minutes)
            if minutes != times[-1]:
                simulation.state.divide(np.array([0]))
        return [simulation.signals[f"pathway.q.{name}"] for name in ("m", "p", "n", "twice")]

    for late, early in zip(ran(30, 24), ran(0, 54)):
        assert late[0] == late[1] and early[0] == early[1]
        assert late[0] == pytest.approx(early[0], rel=1e-5)


@pytest.mark.parametrize("splitting", ["strang", "lie"])
def test_delays_go_on_from_a_snapshot_to_the_bit(tmp_path, splitting):
    (tmp_path / "hes.ant").write_text(HES)
    varied = LAGGING % ", vary: {lag: normal(cv=0.2)}"

    def made():
        return started(scene(varied, cells=DIVIDING, folder=tmp_path, splitting=splitting))

    one = made()
    advance(one, 60)
    other = made()
    other.state.restore(one.state.snapshot())
    for simulation in (one, other):
        advance(simulation, 30)
    assert len(one.state) > 8
    for name in ("pathway.q.state", "integrator.q.past"):
        assert np.array_equal(one.state[name], other.state[name])


def test_a_past_without_room_is_an_error(tmp_path):
    from sim.errors import SimulationError

    (tmp_path / "hes.ant").write_text(HES)
    simulation = started(
        scene(
            LAGGING % "",
            "couplings: [{from: field.x, to: pathway.q.lag}]",
            fields="{x: {diffusion: 0 um^2/min, initial: 1 uM}}",
            cells=QUIET,
            folder=tmp_path,
        )
    )
    simulation.state.fields["x"][:] = 900.0
    with pytest.raises(SimulationError, match=r"has no room at t = .* for a past as long as its delays"):
        advance(simulation, 600)
