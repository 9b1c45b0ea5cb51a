"""What a cell's niche and the whole tissue have of a quantity or a representation, by name."""

from pathlib import Path

import numpy as np
import pytest

from sim import Scenario
from sim.build import plan
from sim.errors import ScenarioError
from sim.simulation import Simulation

FLAGSHIP = Path(__file__).parents[3] / "scenarios" / "pc9_combination.yaml"


def flagship(cells, **more):
    values = {"cells.pc9.count": "30", "space.domain": "{x: [0 um, 120 um], y: [0 um, 120 um]}"}
    return Scenario.load(FLAGSHIP, overrides={**values, "outputs": f"{{cells: [{cells}]}}", **more})


@pytest.fixture(scope="module")
def tissue():
    """The flagship with representations and volumes that differ, and some cells dead."""
    simulation = Simulation(plan(flagship("type")))
    simulation.populate()
    rng, state = np.random.default_rng(1), simulation.state
    state["ur.pc9_drug"][:] = rng.normal(size=state["ur.pc9_drug"].shape)
    state["cell.volume"][:] = rng.uniform(1000, 3000, 30)
    life = simulation.plan.life.settings.phase_names
    state["cell.phase"][:5] = life.index("lysed")
    state.changed()
    return simulation


def test_the_tissue_is_pooled_over_its_living_cells(tissue):
    signals, living = tissue.signals, tissue.signals["cell.living"] > 0
    assert living.sum() == 25
    for name, values in (
        ("cell.volume", signals["cell.volume"]), ("ur.pc9_drug[2]", tissue.state["ur.pc9_drug"][:, 2])
    ):  # fmt: skip
        seen = values[living]
        np.testing.assert_allclose(signals[f"tissue.mean({name})"], np.full(30, seen.mean()), rtol=1e-12)
        np.testing.assert_allclose(signals[f"tissue.sd({name})"], np.full(30, seen.std()), rtol=1e-9)
        np.testing.assert_allclose(signals[f"tissue.sum({name})"], np.full(30, seen.sum()), rtol=1e-12)
    assert (signals["tissue.count(pc9)"] == 25).all()


def test_the_niche_is_pooled_over_the_neighbours(tissue):
    indptr, indices = tissue.signals.graph()
    values = tissue.state["ur.pc9_drug"][:, 0]
    for i in range(30):
        near = values[indices[indptr[i] : indptr[i + 1]]]
        wanted = (near.mean(), near.std()) if near.size else (0.0, 0.0)
        for how, value in zip(("mean", "sd"), wanted):
            got = tissue.signals[f"neighbours.{how}(ur.pc9_drug[0])"][i]
            assert got == pytest.approx(value, rel=1e-7, abs=1e-7)


def test_outputs_take_the_representation_as_a_whole():
    planned = plan(
        flagship("tissue.mean(ur.pc9_drug), 'neighbours.sd(ur.pc9_drug[1])', tissue.mean(cell.volume)")
    )
    names = [q.name for q in planned.outputs.scalars]
    width = next(q.width for p in planned.processes for q in p.quantities if q.name == "ur.pc9_drug")
    assert names[:width] == [f"tissue.mean(ur.pc9_drug[{k}])" for k in range(width)]
    assert names[width:] == ["neighbours.sd(ur.pc9_drug[1])", "tissue.mean(cell.volume)"]
    assert planned.outputs.scalars[-1].unit == "um^3"


def test_the_tissue_needs_no_section_to_be_pooled_and_its_names_are_checked(tmp_path):
    text = """scenario: 1
name: quorum
time: {stop: 1 h, save_every: 1 h}
space: {domain: {x: [0 um, 100 um], y: [0 um, 100 um]}}
cells: {a: {count: 9, place: {random: {}}, cycle: {division: 1e-3 /min}}}
couplings: [{from: QUANTITY, to: rate.division, hill: {half_max: 20, falling: true}, mode: scale}]
"""
    file = str(tmp_path / "quorum.yaml")
    simulation = Simulation(plan(Scenario.parse(text.replace("QUANTITY", "tissue.count(a)"), file)))
    simulation.populate()
    np.testing.assert_allclose(simulation.signals["rate.division"], 1e-3 * 20 / 29)
    for wrong, said in (
        ("tissue.count(b)", "no cell type 'b'"),
        ("tissue.mean(cell.hue)", "no such quantity"),
    ):
        with pytest.raises(ScenarioError, match=said):
            plan(Scenario.parse(text.replace("QUANTITY", wrong), file))
