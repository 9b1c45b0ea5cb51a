"""A growing monolayer with volume in parts, held to the five seeds of PhysiCell 1.14.2."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.scenes import advance, scene, started

CURVES = Path(__file__).resolve().parents[2].parent / "shared/data/agents/physicell"

pytestmark = [
    pytest.mark.validation,
    pytest.mark.skipif(not CURVES.is_dir(), reason="../shared is not here"),
]

CELLS = (
    "{a: {count: 50, place: {hexagonal: {spacing: 15.12 um}}, "
    "composition: {nuclear_rate: 0.0055 /min, cytoplasm_rate: 0.0045 /min}, "
    "cycle: {phases: {G0G1: {mean: 5 h}, S: {fixed: 8 h}, G2: {fixed: 4 h}, M: {fixed: 1 h}}}}}"
)
HOURS = range(24, 73, 4)


def _ours(seed: int) -> tuple[float, float]:
    """Mean volume over the hours, and cells at the end."""
    domain = "{x: [-500 um, 500 um], y: [-500 um, 500 um]}"
    simulation = started(scene(cells=CELLS, domain=domain, stop="72 h", seed=seed))
    volumes = []
    for hour in HOURS:
        advance(simulation, hour * 60 - simulation.state.time)
        volumes.append(simulation.state["cell.volume"].mean())
    return float(np.mean(volumes)), float(len(simulation.state))


def test_volume_and_number_of_a_monolayer_are_those_of_physicell():
    theirs = []
    for seed in range(1, 6):
        t, n, _, _, _, volume, *_ = np.loadtxt(
            CURVES / f"monolayer72h_seed{seed}.csv", delimiter=",", skiprows=1, unpack=True
        )
        theirs.append((volume[np.isin(t, [60 * h for h in HOURS])].mean(), n[-1]))
    ours = np.array([_ours(seed) for seed in range(1, 6)])
    theirs = np.array(theirs)
    # two samples of five runs: their means differ by less than four standard errors of the difference
    error = np.sqrt((ours.var(axis=0, ddof=1) + theirs.var(axis=0, ddof=1)) / 5)
    print(f"volume {ours[:, 0].mean():.1f} against {theirs[:, 0].mean():.1f} um^3 ± {error[0]:.1f}")
    print(f"cells {ours[:, 1].mean():.1f} against {theirs[:, 1].mean():.1f} ± {error[1]:.1f}")
    assert np.all(np.abs(ours.mean(axis=0) - theirs.mean(axis=0)) < 4 * error)
    assert error[0] < 0.02 * theirs[:, 0].mean()
