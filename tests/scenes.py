"""Small scenarios for tests, and a run in memory without a store."""

from sim import Scenario
from sim.build import plan
from sim.simulation import Simulation

BOX = "{x: [-60 um, 60 um], y: [-60 um, 60 um]}"
CUBE = "{x: [-60 um, 60 um], y: [-60 um, 60 um], z: [-60 um, 60 um]}"

#: E is turned into F and back; nothing else makes or takes them
CONVERSION = """
model conversion
  unit uM = 1e-6 mole / litre
  compartment c = 1
  species E in c, F in c
  E = 2; F = 1
  k = 0.02; back = 0.01; inhibitor = 0; inhibitor has uM
  forward: E -> F; c * k * E / (1 + inhibitor)
  backward: F -> E; c * back * F
end
"""


def scene(
    *parts: str,
    stop: str = "2 h",
    every: str = "1 h",
    step: str = "6 min",
    domain: str = BOX,
    fields: str = "{}",
    cells: str = "{a: {count: 12, place: {random: {}}}}",
    space: str = "",
    splitting: str = "strang",
    seed: int = 11,
    folder=None,
) -> Scenario:
    """A scenario from a few pieces of YAML; further top-level parts as text."""
    text = "\n".join(
        [
            "scenario: 1",
            "name: a test",
            f"seed: {seed}",
            f"time: {{stop: {stop}, save_every: {every}, step: {step}, splitting: {splitting}}}",
            f"space: {{domain: {domain}, voxel: 20 um, fields: {fields}{space}}}",
            f"cells: {cells}",
            *parts,
        ]
    )
    return Scenario.parse(text, folder / "scene.yaml" if folder else "<text>")


def started(scenario: Scenario, cut=()) -> Simulation:
    """The scenario at time 0."""
    simulation = Simulation(plan(scenario), cut)
    simulation.populate()
    return simulation


def advance(simulation: Simulation, minutes: float) -> None:
    """Step on by `minutes`."""
    start = simulation.state.time
    for _, length in simulation.blocks(start, start + minutes):
        simulation.step(length)
