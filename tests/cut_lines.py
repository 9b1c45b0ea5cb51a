"""The truth about a coupling: the scenario without its line, run as `cellweave run` does it, nothing of explain."""

import copy
import re
from typing import Any

import numpy as np

from sim import Scenario, run
from sim.scenario.yaml_write import write_yaml


def without(scenario: Scenario, key: str) -> Scenario:
    """The scenario with what stands at `key` deleted: `couplings[2]`, `manipulators.drugs.conditions.x`, `tissue`."""
    plain = copy.deepcopy(scenario.to_plain())
    steps = [int(s) if s.isdigit() else s for s in re.findall(r"\w+", key)]
    place: Any = plain
    for step in steps[:-1]:
        place = place[step]
    del place[steps[-1]]
    return Scenario.parse(write_yaml(plain), scenario.file, allow_outside=True)


def count_at_the_end(scenario: Scenario, cells: str, seed: int) -> float:
    """Living cells of a type in the last frame of a run."""
    seeded = Scenario.parse(scenario.text, scenario.file, seed=seed, allow_outside=True)
    summary = run(seeded)["summary"].to_dataset()
    types = [str(t) for t in summary["type"].values]
    return float(summary["count"].isel(time=-1).values[types.index(cells)])


def true_effects(scenario: Scenario, keys: list[str], cells: str, seeds: list[int]) -> np.ndarray:
    """(key,) intact minus cut, the mean over the seeds."""
    intact = [count_at_the_end(scenario, cells, s) for s in seeds]
    cut = np.array([[count_at_the_end(without(scenario, k), cells, s) for s in seeds] for k in keys])
    return np.mean(np.array(intact) - cut, axis=1)
