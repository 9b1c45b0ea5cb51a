"""Tissues whose laws are known, run by the simulator from fixed seeds, with an ODE pathway inside every cell.

Each maker returns a `Truth`: what a microscope would see (tracked cells, their signals), and beside it what only the
maker knows: the interaction that acted on each cell at each time.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mechanistic import load_model
from sim.agents.neighbours import Neighbours, neighbour_graph
from sim.build import plan
from sim.scenario import Scenario
from sim.simulation import Simulation

Array = np.ndarray

_UNITS = """
  unit uM = 1e-6 mole / litre; unit substance = 1e-21 mole; unit extent = 1e-21 mole; unit volume = 1e-15 litre
  unit time_unit = 60 second; compartment cell = 1000; cell has volume
"""


@dataclass(frozen=True)
class Truth:
    """Tracked cells of one tissue.

    Attributes:
        times: (T,) [min]; positions: (T, n, 3) [um]; states: (T, n, s), columns `names`; types: (n,) codes.
        graphs: the neighbours at each time; one for all where nobody moves.
        interaction: what the neighbours did, (T, n, c): a rate of the state, or a velocity [um/min].
    """

    times: Array
    positions: Array
    names: tuple[str, ...]
    states: Array
    types: Array
    graphs: list[Neighbours]
    interaction: Array


def _simulated(text: str, models: dict[str, str], names: tuple[str, ...], every: float, frames: int):
    """Runs a scenario in memory; (times, positions (n, 3), columns (T, n, s)) of cells that stay where they are."""
    with tempfile.TemporaryDirectory() as folder:
        for name, model in models.items():
            (Path(folder) / name).write_text(model, encoding="utf-8")
        ready = Simulation(plan(Scenario.parse(text, str(Path(folder) / "truth.yaml"))))
    ready.populate()
    seen = [ready.signals.stack(names)]
    for k in range(frames):
        for _, length in ready.blocks(k * every, (k + 1) * every):
            ready.step(length)
        seen.append(ready.signals.stack(names))
    return every * np.arange(frames + 1), ready.state["cell.position"].copy(), np.array(seen)


def _means(graph: Neighbours, values: Array) -> Array:
    """Mean of (T, n) over the neighbours of each cell, 0 where there are none."""
    sums = np.stack([np.bincount(graph.rows, v[graph.indices], len(graph)) for v in values])
    return sums / np.maximum(graph.counts, 1)


def _patch(seed: int, cells: int, vary: str, couplings: str, stop: float, step: float, more: str = "") -> str:
    """A scenario of fixed cells that touch on a hexagonal patch, 10 um apart."""
    return f"""scenario: 1
name: truth
seed: {seed}
time: {{stop: {stop:g} min, save_every: {stop:g} min, step: {step:g} min}}
space: {{domain: {{x: [0 um, 300 um], y: [0 um, 300 um]}}, voxel: 5 um{more}}}
cells:
  a: {{count: {cells}, place: {{hexagonal: {{spacing: 10 um, shape: disc}}}}, volume: 524 um^3,
      mechanics: {{fixed: true}}, pathways: [p]}}
pathways: {{p: {{model: p.ant, time_unit: min, growth: keeps_concentration, vary: {vary}}}}}
tissue: {{neighbours: {{radius: 12 um}}}}
couplings: {couplings}
"""


def delta_notch(seed: int, cells: int = 169, frames: int = 40, held_out: bool = False) -> Truth:
    """Lateral inhibition (Collier et al. 1996) by Delta, with two decoys that neighbours do not hear.

    Decoy E follows the cell's own Delta, so that it goes along with it; decoy F swings by itself. `held_out` starts
    from any levels, where training starts near the uniform state.
    """
    low, high = (0.0, 1.0) if held_out else (0.3, 1.0)
    model = f"""model p
  {_UNITS}
  species D in cell, N in cell, E in cell, F in cell, H in cell
  heard = 0; heard has uM; var heard
  D0 = 1; N0 = 1; E0 = 0.5; F0 = 1; H0 = 1
  makeN: => N; cell*0.02*heard^2/(0.01 + heard^2)
  loseN: N => ; cell*0.02*N
  makeD: => D; cell*0.02/(1 + 100*N^2)
  loseD: D => ; cell*0.02*D
  makeE: => E; cell*0.01*D
  loseE: E => ; cell*0.01*E
  makeF: => F; cell*0.04*(H - 1)
  loseF: => H; cell*0.04*(1 - F)
  D = D0; N = N0; E = E0; F = F0; H = H0
end
"""
    vary = (
        f"{{D0: 'uniform(low={low}, high={high})', N0: 'uniform(low={low}, high={high})', "
        "E0: 'uniform(low=0, high=1)', F0: 'uniform(low=0.3, high=1.7)', H0: 'uniform(low=0.3, high=1.7)'}"
    )
    names = tuple(f"pathway.p.{s}" for s in "DNEFH")
    every = 6.0
    text = _patch(
        seed, cells, vary, "[{from: neighbours.mean(pathway.p.D), to: pathway.p.heard}]", every * frames, 1.0
    )
    times, positions, states = _simulated(text, {"p.ant": model}, names, every, frames)
    graph = neighbour_graph(positions, 12.0, dims=2)
    heard = _means(graph, states[:, :, 0])
    interaction = np.zeros_like(states)
    interaction[:, :, 1] = 0.02 * heard**2 / (0.01 + heard**2)
    return _still(times, positions, "DNEFH", states, graph, interaction)


def excitable(seed: int, cells: int = 217, frames: int = 80, held_out: bool = False) -> Truth:
    """Waves of ERK activity: an excitable pathway (FitzHugh and Nagumo) that neighbours set off by the ligand L which
    an active cell sheds. Training: an eighth of the cells begin active; held out: a twentieth."""
    active = 0.95 if held_out else 0.875
    model = f"""model p
  {_UNITS}
  species U in cell, V in cell, L in cell
  heard = 0; heard has uM; var heard
  U0 = 0; V0 = 0.2; L0 = 0
  makeU: => U; cell*0.2*(8*U*(1 - U)*(U - 0.15) - V + 0.8*heard^2/(0.04 + heard^2))
  makeV: => V; cell*0.02*(U - V)
  makeL: => L; cell*0.1*(U^4/(0.0625 + U^4) - L)
  U = 1/(1 + exp(200*({active} - U0))); V = V0; L = L0
end
"""
    vary = "{V0: 'uniform(low=0, high=0.3)', U0: 'uniform(low=0, high=1)', L0: 'uniform(low=0, high=0.05)'}"
    every = 1.5
    text = _patch(
        seed, cells, vary, "[{from: neighbours.mean(pathway.p.L), to: pathway.p.heard}]", every * frames, 0.5
    )
    names = tuple(f"pathway.p.{s}" for s in "ULV")
    times, positions, states = _simulated(text, {"p.ant": model}, names, every, frames)
    graph = neighbour_graph(positions, 12.0, dims=2)
    heard = _means(graph, states[:, :, 1])
    interaction = np.zeros_like(states)
    interaction[:, :, 0] = 0.2 * 0.8 * heard**2 / (0.04 + heard**2)
    return _still(times[1:], positions, "ULV", states[1:], graph, interaction[1:])


def relay(seed: int, frames: int = 60, held_out: bool = False) -> Truth:
    """A morphogen that cells pass on: what reaches a cell through the field makes it respond (R), and then secrete
    (S). It is heard at a length of 15 um. Training: one cell in twelve begins; held out: one in thirty."""
    begin = 0.967 if held_out else 0.917
    model = f"""model p
  {_UNITS}
  species R in cell, S in cell
  heard = 0; heard has uM; var heard
  Z0 = 0; S0 = 0
  makeR: => R; cell*0.05*heard^2/(0.04 + heard^2)
  loseR: R => ; cell*0.05*R
  makeS: => S; cell*0.05*R
  loseS: S => ; cell*0.05*S
  R = 1/(1 + exp(200*({begin} - Z0))); S = S0
end
"""
    vary = "{Z0: 'uniform(low=0, high=1)', S0: 'uniform(low=0, high=0.1)'}"
    every = 3.0
    couplings = """
  - {from: field.m, to: pathway.p.heard}
  - {from: pathway.p.S, to: export.m, linear: {slope: 6000}}"""
    field = ", fields: {m: {diffusion: 2250 um^2/min, decay: 10 /min, unit: uM, solve: steady}}"
    # in the middle of every third voxel, so that all pairs of one distance are alike
    side = 12.0 * np.arange(14) + 66.0
    places = ", ".join(f"[{x:g} um, {y:g} um]" for x in side for y in side)
    text = _patch(seed, len(side) ** 2, vary, couplings, every * frames, 1.0, field)
    text = text.replace("voxel: 5", "voxel: 4").replace(
        "hexagonal: {spacing: 10 um, shape: disc}", f"points: [{places}]"
    )
    names = ("pathway.p.R", "pathway.p.S", "field.m")
    times, positions, seen = _simulated(text, {"p.ant": model}, names, every, frames)
    graph, m = neighbour_graph(positions, 60.0, dims=2), seen[:, :, 2]
    interaction = np.zeros_like(seen[:, :, :2])
    interaction[:, :, 0] = 0.05 * m**2 / (0.04 + m**2)
    return _still(times[1:], positions, "RS", seen[1:, :, :2], graph, interaction[1:])


def _still(times, positions, letters, states, graph, interaction) -> Truth:
    where = np.broadcast_to(positions, (len(times), *positions.shape))
    return Truth(times, where, tuple(letters), states, np.zeros(len(positions), int), [graph], interaction)


def pursuit(
    seed: int, cells: int = 120, frames: int = 40, held_out: bool = False, every: float = 2.0
) -> Truth:
    """Two types with forces that are not mutual: type 1 follows type 0, which flees it; all push who comes too near.

    How strongly a cell is felt goes by its pathway's P, a clock of its own in every cell. Neighbour graphs and
    pathways are the simulator's; cells move by Heun's method in steps of 0.1 min. Held out: another mixture and
    density.
    """
    rng = np.random.default_rng(seed)
    side = 170.0 if held_out else 150.0
    types = (rng.random(cells) < (0.35 if held_out else 0.5)).astype(int)
    model = load_model(f"""model p
  {_UNITS}
  species P in cell, Q in cell
  up: => P; cell*0.1*(1.5 - Q)
  down: => Q; cell*0.1*(P - 0.5)
  P = 1; Q = 1
end
""")
    start = {"P": rng.uniform(0.6, 1.4, cells), "Q": rng.uniform(0.6, 1.4, cells)}
    course = model.simulate(every * np.arange(frames + 1), cells=cells, initial=start, rtol=1e-9)
    felt = np.stack([course[k].values.T for k in "PQ"], -1)
    fine = model.simulate(
        0.1 * np.arange(round(10 * every * frames) + 1), cells=cells, initial=start, rtol=1e-9
    )
    loud = fine["P"].values.T
    positions = np.zeros((cells, 3))
    positions[:, :2] = rng.uniform(0, side, (cells, 2))
    periods = (side, side, 0.0)

    def velocity(where: Array, p: Array) -> tuple[Array, Neighbours]:
        graph = neighbour_graph(where, REACH, periodic=periods, dims=2)
        away = graph.offsets(where)
        d = np.maximum(np.sqrt((away**2).sum(1)), 1e-9)
        force = pair_force(d, types[graph.rows], types[graph.indices]) * p[graph.indices]
        pull = (force / d)[:, None] * away
        return np.stack([np.bincount(graph.rows, pull[:, a], cells) for a in range(3)], 1), graph

    seen, graphs, speeds = [positions.copy()], [], []
    for k in range(round(10 * every * frames) + 1):
        v, graph = velocity(positions, loud[k])
        if k % round(10 * every) == 0:
            graphs.append(graph)
            speeds.append(v)
            if k:
                seen.append(positions.copy())
        if k < len(loud) - 1:
            ahead, _ = velocity(positions + 0.1 * v, loud[k + 1])
            positions = positions + 0.05 * (v + ahead)
    times = every * np.arange(frames + 1)
    return Truth(times, np.array(seen), ("P", "Q"), felt, types, graphs, np.array(speeds))


REACH = 30.0


def pair_force(distance: Array, mine: Array, theirs: Array) -> Array:
    """Velocity [um/min] towards a neighbour of full strength, by types: what `pursuit` hides."""
    push = -1.2 * np.maximum(1 - distance / 10.0, 0) ** 2
    bump = np.maximum(distance / REACH * (1 - distance / REACH), 0) ** 2 * 16
    strength = np.array([[0.05, -0.25], [0.35, -0.08]])
    return push + strength[mine, theirs] * bump
