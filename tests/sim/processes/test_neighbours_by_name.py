"""Every way to be a neighbour that a scenario can name, in its signals and in what a network is told of edges."""

import numpy as np
import pytest
import torch

from neural import weights
from neural.tissue.pairlaw import PairLaw
from sim import Scenario
from sim.agents.graphs import contact_area
from sim.build import plan
from sim.errors import ScenarioError
from sim.simulation import Simulation

WAYS = [
    "radius: 20 um", "nearest: 4", "nearest_either_way: 4", "delaunay: {longest: 40 um}", "delaunay: {}",
    "contact: {reach: 1.25}",
]  # fmt: skip


def scene(folder, way, more="", periodic="true", seed=3):
    text = f"""scenario: 1
name: neighbours
seed: {seed}
time: {{stop: 1 h, save_every: 1 h}}
space: {{domain: {{x: [0 um, 120 um], y: [0 um, 120 um]}}, voxel: 10 um, periodic: {periodic}}}
cells:
  a: {{count: 40, place: {{random: {{}}}}, volume: 2494 um^3}}
  b: {{count: 20, place: {{random: {{}}}}, volume: 1000 um^3}}
tissue: {{{more}neighbours: {{{way}}}}}
outputs: {{cells: [neighbours.count(a)]}}
"""
    return Scenario.parse(text, str(folder / "scene.yaml"))


def started(scenario):
    simulation = Simulation(plan(scenario))
    simulation.populate()
    return simulation


def apart(simulation, periodic=True):
    """Distances (cell, cell) by nearest images, from all pairs."""
    where = simulation.state["cell.position"]
    away = where[:, None] - where[None]
    if periodic:
        away[..., :2] -= 120 * np.rint(away[..., :2] / 120)
    return np.sqrt((away**2).sum(-1))


def expected(way, simulation):
    """(cell, cell) who hears whom, from all pairs."""
    d = apart(simulation) + np.diag(np.full(60, np.inf))
    if way.startswith("radius"):
        return d <= 20
    if way.startswith("contact"):
        r = simulation.signals["cell.radius"]
        return d <= 1.25 * (r[:, None] + r[None])
    among = np.zeros(d.shape, bool)
    np.put_along_axis(among, np.argsort(d, axis=1, kind="stable")[:, :4], True, axis=1)
    return among | among.T if "either" in way else among


@pytest.mark.parametrize("way", WAYS)
def test_each_way_hears_whom_it_should(tmp_path, way):
    simulation = started(scene(tmp_path, way))
    indptr, indices = simulation.signals.graph()
    heard = np.zeros((60, 60), bool)
    heard[np.repeat(np.arange(60), np.diff(indptr)), indices] = True
    if way.startswith("delaunay"):
        assert (heard == heard.T).all() and not heard.diagonal().any()
        assert np.diff(indptr).mean() == (pytest.approx(6, abs=0.5) if "longest" in way else 6)
        assert "longest" not in way or apart(simulation)[heard].max() <= 40
        nearest = np.argmin(apart(simulation) + np.diag(np.full(60, np.inf)), axis=1)
        assert heard[np.arange(60), nearest].all()  # the nearest cell is always a Delaunay neighbour
    else:
        np.testing.assert_array_equal(heard, expected(way, simulation))
    kinds = simulation.state["cell.type"]
    np.testing.assert_array_equal(simulation.signals["neighbours.count(a)"], (heard & (kinds == 0)).sum(1))


@pytest.mark.parametrize("way", WAYS)
def test_the_graph_is_the_same_twice_and_follows_the_cells(tmp_path, way):
    one, two = (started(scene(tmp_path, way)) for _ in range(2))
    before = one.signals.graph()
    for a, b in zip(before, two.signals.graph()):
        np.testing.assert_array_equal(a, b)
    for _, length in one.blocks(0.0, 60.0):
        one.step(length)
    fresh = started(scene(tmp_path, way))
    fresh.state["cell.position"][:] = one.state["cell.position"]
    fresh.state["cell.volume"][:] = one.state["cell.volume"]
    fresh.state.changed()
    for a, b in zip(one.signals.graph(), fresh.signals.graph()):
        np.testing.assert_array_equal(a, b)


def network(folder, edges):
    """Weights of a pair law that is told of `edges`; and the law itself."""
    torch.manual_seed(1)
    law = PairLaw(1, len(edges), 1, 4).double()
    card = {
        "kind": "tissue", "name": "pairs",
        "architecture": {"hidden": 4, "radius": 20.0, "nodes": [{"name": "cell.radius", "unit": "um"}],
                         "edges": [{"name": e, "unit": "um"} for e in edges]},
        "messages": [{"name": "touched", "unit": "1", "meaning": "made up"}],
    }  # fmt: skip
    weights.save(folder / "pairs.safetensors", {k: v.numpy() for k, v in law.state_dict().items()}, card)
    return law


def test_a_network_is_told_of_the_contact_of_two_cells(tmp_path):
    law = network(tmp_path, ["distance", "contact"])
    scenario = scene(tmp_path, "contact: {reach: 1.5}", "weights: pairs.safetensors, ")
    planned = plan(scenario)
    assert any("hears others here" in note for note in planned.notes)
    simulation = Simulation(planned)
    simulation.populate()
    indptr, indices = simulation.signals.graph()
    receiver = np.repeat(np.arange(60), np.diff(indptr))
    d, r = apart(simulation)[receiver, indices], simulation.signals["cell.radius"]
    area = contact_area(d, r[receiver], r[indices], 2)
    assert (area > 0).any() and (area == 0).any()
    edges = torch.as_tensor(np.stack([d, area], 1))
    with torch.no_grad():
        wanted = law(
            torch.as_tensor(r)[:, None], torch.as_tensor(np.stack([indices, receiver])).long(), edges
        )
    np.testing.assert_allclose(simulation.signals["tissue.touched"], wanted[:, 0].numpy(), rtol=1e-9)


def test_a_network_that_asks_what_edges_do_not_know_is_refused(tmp_path):
    network(tmp_path, ["distance", "colour"])
    with pytest.raises(ScenarioError, match="asks for 'colour' of each edge; there is distance or contact"):
        plan(scene(tmp_path, "radius: 20 um", "weights: pairs.safetensors, "))


@pytest.mark.parametrize(
    ("way", "message"),
    [
        ("", "needs exactly one way to be neighbours"),
        ("radius: 20 um, nearest: 6", "it has radius, nearest"),
        ("nearest: 0", "must be between 1 and 100"),
        ("delaunay: {longest: 0 um}", "must be greater than 0"),
        ("contact: {reach: -1}", "must be greater than 0"),
        ("closest: 6", "unknown key"),
    ],
)
def test_what_is_wrong_with_a_way_is_told_with_its_line(tmp_path, way, message):
    with pytest.raises(ScenarioError, match=message) as error:
        scene(tmp_path, way)
    assert error.value.problems[0].line == 9


def test_the_dead_come_and_go_and_leave_the_neighbours_of_the_living(tmp_path):
    simulation = started(scene(tmp_path, "radius: 30 um"))
    neighbourhood, state = simulation.plan.neighbourhood, simulation.state
    where, volume, living = state["cell.position"], state["cell.volume"], np.arange(50)
    for count in (60, 55, 60):
        indptr, indices = neighbourhood.at(where[:count], volume[:count], living, count)
        assert len(indptr) == count + 1 and indptr[50] == indptr[-1] == len(indices) > 50
