"""A training file of kind "scenario": numbers and networks of a scenario fitted inside it, to cells that were followed.

training: 1
kind: scenario
name: relay
scenario: ../relay.yaml
set: {pathways.p.set.k: 0.1}      # as --set, before anything is learned; optional
data: {path: tracks.csv}          # cell, time [min], x, y (, z) [um], a column for each of `quantities`, type
simulated: {set: {...}, seeds: [1]}    # instead of data: the same scenario with other values
quantities: {R: pathway.p.R}      # column -> species or component of a representation
learn:
  pathway.p.k: [0.01, 1]          # a number and its bounds; also mechanics.adhesion, .repulsion, uptake.<field>
  tissue: weights                 # a network's numbers: tissue, or manipulator.<name>
horizon: 4                        # frames that gradients go back through
step: 2                           # min; the scenario's coupling step by default
fit: {seed: 1, iterations: 200, starts: 1, rate: 0.05, hold_out: 0.25, check: 0.15}
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neural.errors import TrainingError
from neural.files import read_text
from neural.strict_yaml import read
from neural.training_keys import Key, Problems, check

_NUMBER = (int, float)
SCHEMA = {
    "training": Key((int,), low=1),
    "kind": Key((str,)),
    "name": Key((str,)),
    "output": Key((str,), required=False),
    "notes": Key((list,), required=False),
    "scenario": Key((str,)),
    "set": Key((dict,), required=False),
    "data": Key((dict,), required=False, keys={"path": Key((str,))}),
    "simulated": Key(
        (dict,), required=False, keys={"set": Key((dict,), required=False), "seeds": Key((list,))}
    ),
    "quantities": Key((dict,)),
    "learn": Key((dict,)),
    "horizon": Key((int,), required=False, low=1),
    "step": Key(_NUMBER, required=False, above=0),
    "parts": Key((int,), required=False, low=1),
    "fit": Key(
        (dict,),
        required=False,
        keys={
            "seed": Key((int,), required=False, low=0),
            "iterations": Key((int,), required=False, low=1),
            "starts": Key((int,), required=False, low=1),
            "rate": Key(_NUMBER, required=False, above=0),
            "hold_out": Key(_NUMBER, required=False, above=0),
            "check": Key(_NUMBER, required=False, above=0),
        },
    ),
}


@dataclass(frozen=True)
class ScenarioTraining:
    """A checked training file.

    Attributes:
        spec: as it was written.
        data: the table, None where the tracks are simulated.
        numbers: learned name -> bounds; networks: `tissue` or `manipulator.<name>`, at most one.
    """

    file: Path
    spec: dict[str, Any]
    scenario: Path
    data: Path | None
    output: Path
    numbers: dict[str, tuple[float, float]]
    network: str | None


def is_in_scenario(path: str | os.PathLike) -> bool:
    """Whether a training file is of this kind; False too where it cannot be read: its reader says why."""
    try:
        return read(read_text(path), path)[0].get("kind") == "scenario"
    except TrainingError:
        return False


def load_scenario_training(path: str | os.PathLike, need_data: bool = True) -> ScenarioTraining:
    """Read and check a training file; light (no torch).

    Raises:
        TrainingError: every problem of the file at once, each with line and key.
    """
    file = Path(path)
    spec, lines = read(read_text(path), path)
    problems: Problems = []
    check(spec, SCHEMA, "", lines, problems)
    if problems:
        raise TrainingError(path, sorted(problems, key=lambda p: p[0] or 0))

    def fault(key: str, message: str) -> None:
        problems.append((lines.get(key, 1), key, message))

    if ("data" in spec) == ("simulated" in spec):
        fault("data", "give either data (tracks that were measured) or simulated (the same scenario)")
    numbers: dict[str, tuple[float, float]] = {}
    networks: list[str] = []
    for name, said in spec["learn"].items():
        if name == "tissue" or name.startswith("manipulator."):
            networks.append(name)
            if said != "weights":
                fault(f"learn.{name}", f"must be weights: a network is learned as a whole (got {said!r})")
        elif not _bounds(said):
            fault(f"learn.{name}", f"must be a lower and an upper bound above 0, as [0.1, 10] (got {said!r})")
        else:
            numbers[name] = (float(said[0]), float(said[1]))
    if len(networks) > 1:
        fault("learn", f"names {len(networks)} networks; weights are of one")
    if not spec["learn"] or not spec["quantities"]:
        key = "learn" if not spec["learn"] else "quantities"
        fault(key, "is empty")
    for column, quantity in spec["quantities"].items():
        if not isinstance(quantity, str):
            fault(f"quantities.{column}", f"must be the name of a quantity (got {quantity!r})")
    options = spec.get("fit", {})
    if float(options.get("hold_out", 0.25)) + float(options.get("check", 0.15)) >= 1:
        fault("fit", "hold_out and check leave nothing to learn from")
    simulated = spec.get("simulated", {})
    seeds = simulated.get("seeds", [0])
    if len(seeds) != 1 or type(seeds[0]) is not int or seeds[0] < 0:
        fault("simulated.seeds", f"must be one whole number from 0 on, as [1] (got {seeds!r})")
    scenario = file.parent / spec["scenario"]
    data = file.parent / spec["data"]["path"] if "data" in spec else None
    if not scenario.is_file():
        fault("scenario", f"no such file (got {spec['scenario']!r})")
    if need_data and data is not None and not data.is_file():
        fault("data.path", f"no such file (got {spec['data']['path']!r})")
    if problems:
        raise TrainingError(path, sorted(problems, key=lambda p: p[0] or 0))
    output = Path(os.path.normpath(file.parent / spec.get("output", f"{spec['name']}.safetensors")))
    return ScenarioTraining(file, spec, scenario, data, output, numbers, networks[0] if networks else None)


def _bounds(said: Any) -> bool:
    if not (isinstance(said, list) and len(said) == 2):
        return False
    plain = all(isinstance(v, int | float) and not isinstance(v, bool) for v in said)
    return plain and 0 < said[0] < said[1] < float("inf")
