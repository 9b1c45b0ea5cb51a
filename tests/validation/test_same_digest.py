"""A run is its scenario and seed: threads, the order in which cells are listed and stops at any step change no bit.

Held by the digest of all results (ids, positions, quantities, lineage, fields), in the shipped scenarios and in that of
the guide. Listed cells are numbered by place, so that the digests of two orders are those of the same cells.
"""

from __future__ import annotations

import contextlib
import re
import sys
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest

import sim.controller
from mechanistic.threads import set_threads, threads_for
from sim import Scenario
from sim.build import plan
from sim.controller import simulate
from sim.scenario.yaml_write import write_yaml
from sim.simulation import Simulation
from sim.store.verify import digest

pytestmark = pytest.mark.validation

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "guides" / "what-cells-do.md"
#: name -> (stop, interval of saves); eight steps or more of each
COURSES = {
    "quickstart": ("2 h", "1 h"),
    "delta_notch": ("2 h", "2 h"),
    "p53_pulses": ("2 h", "30 min"),
    "pc9_combination": ("2 h", "1 h"),
    "tumour": ("1 h", "30 min"),
}

#: a scenario as plain values, where it lies, and the places of its cells by type, to be listed
Written = tuple[dict[str, Any], Path, dict[str, list[list[str]]]]


@pytest.fixture(scope="module", params=COURSES)
def written(request, tmp_path_factory) -> Written:
    name, folder = request.param, tmp_path_factory.mktemp(request.param)
    if name == "tumour":
        for file, text in re.findall(r"```\w+ file=(\S+)\n(.*?)```", GUIDE.read_text(), re.DOTALL):
            (folder / file).write_text(text)
        home = folder / "tumour.yaml"
    else:
        home = ROOT / "scenarios" / f"{name}.yaml"
    plain = Scenario.load(home).to_plain()
    stop, every = COURSES[name]
    plain["time"] |= {"stop": stop, "save_every": every}
    for perturbation in plain.get("perturbations", ()):
        perturbation["at"] = "30 min"
    start = Simulation(plan(Scenario.parse(write_yaml(plain), home)))
    start.populate()
    places: dict[str, list[list[str]]] = {}
    kinds = list(start.plan.scenario.cells)
    for at, code in zip(start.state["cell.position"].tolist(), start.state["cell.type"]):
        places.setdefault(kinds[code], []).append([f"{at[0]!r} um", f"{at[1]!r} um"])
    assert sum(map(len, places.values())) == len(start.state) > 10
    return plain, home, places


def _scenario(written: Written, seed: int | None = None) -> Scenario:
    """The scenario with its cells listed, shuffled where there is a seed."""
    plain, home, places = written
    cells = dict(plain["cells"])
    for kind, points in places.items():
        order = (
            np.arange(len(points)) if seed is None else np.random.default_rng(seed).permutation(len(points))
        )
        cells[kind] = {**cells[kind], "place": {"points": [points[i] for i in order]}}
    return Scenario.parse(write_yaml({**plain, "cells": cells}), home)


@pytest.fixture(scope="module")
def reference(written, tmp_path_factory) -> str:
    output = tmp_path_factory.mktemp("reference") / "run.zarr"
    simulate(plan(_scenario(written)), output)
    return digest(output)


def test_one_thread_or_two(written, reference, tmp_path, monkeypatch):
    """Two threads in every kernel, little work or much."""
    if numba.config.NUMBA_NUM_THREADS < 2:
        pytest.skip("this process may use one thread only")
    simulate(plan(_scenario(written)), tmp_path / "1.zarr")
    assert digest(tmp_path / "1.zarr") == reference
    ours = [m for m in list(sys.modules.values()) if getattr(m, "threads_for", None) is threads_for]
    assert len(ours) > 3
    for module in ours:
        monkeypatch.setattr(module, "threads_for", lambda items, each=1: contextlib.nullcontext())
    before = numba.get_num_threads()
    try:
        set_threads(2)
        simulate(plan(_scenario(written)), tmp_path / "2.zarr")
    finally:
        set_threads(before)
    assert digest(tmp_path / "2.zarr") == reference


@pytest.mark.parametrize("seed", [1, 2])
def test_cells_listed_in_another_order(written, reference, tmp_path, seed):
    simulate(plan(_scenario(written, seed)), tmp_path / "run.zarr")
    assert digest(tmp_path / "run.zarr") == reference


class _Stopped(BaseException):
    """As abrupt as a kill: nothing is told."""


def test_stopped_before_every_step(written, reference, tmp_path, monkeypatch):
    """One step a life: every life goes on from what the last left."""
    step, taken = Simulation.step, []

    def one(self, *args, **kwargs):
        if taken:
            raise _Stopped
        taken.append(1)
        return step(self, *args, **kwargs)

    monkeypatch.setattr(Simulation, "step", one)
    monkeypatch.setattr(sim.controller, "_COMMIT_EVERY", 0.0)
    scenario, lives = _scenario(written), 0
    while True:
        taken.clear()
        lives += 1
        try:
            simulate(plan(scenario), tmp_path / "run.zarr", resume=lives > 1)
            break
        except _Stopped:
            assert lives < 100
    assert lives >= 4
    assert digest(tmp_path / "run.zarr") == reference
