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
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from neural.errors import shown
from neural.training_file import TrainingFile
from neural.training_keys import COMMON, COUNT, MAPPING, POSITIVE, SEEDS, TEXT, WHOLE, may, part

SCHEMA = {
    **COMMON,
    "scenario": TEXT,
    "set": may(MAPPING),
    "data": may(part(path=TEXT)),
    "simulated": may(part(set=may(MAPPING), seeds=SEEDS)),
    "quantities": replace(MAPPING, of=TEXT),
    "learn": MAPPING,
    "horizon": may(COUNT),
    "step": may(POSITIVE),
    "parts": may(COUNT),
    "fit": may(
        part(
            seed=may(WHOLE),
            iterations=may(COUNT),
            starts=may(COUNT),
            rate=may(POSITIVE),
            hold_out=may(POSITIVE),
            check=may(POSITIVE),
        )
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


def load_scenario_training(path: str | os.PathLike, need_data: bool = True) -> ScenarioTraining:
    """Read and check a training file; light (no torch).

    Raises:
        TrainingError: every problem of the file at once, each with line and key.
    """
    told = TrainingFile(path, {"scenario": SCHEMA})
    file, spec, fault = told.path, told.spec, told.fault
    if ("data" in spec) == ("simulated" in spec):
        fault("data", "give either data (tracks that were measured) or simulated (the same scenario)")
    numbers: dict[str, tuple[float, float]] = {}
    networks: list[str] = []
    for name, said in spec["learn"].items():
        if name == "tissue" or name.startswith("manipulator."):
            networks.append(name)
            if said != "weights":
                fault(
                    f"learn.{name}", f"must be weights: a network is learned as a whole (got {shown(said)})"
                )
        else:
            numbers[name] = told.bounds(f"learn.{name}", said)
    if len(networks) > 1:
        fault("learn", f"names {len(networks)} networks; weights are of one")
    if not spec["learn"] or not spec["quantities"]:
        key = "learn" if not spec["learn"] else "quantities"
        fault(key, "is empty")
    options = spec.get("fit", {})
    if float(options.get("hold_out", 0.25)) + float(options.get("check", 0.15)) >= 1:
        fault("fit", "hold_out and check leave nothing to learn from")
    seeds = spec.get("simulated", {}).get("seeds", [0])
    if len(seeds) != 1:
        fault("simulated.seeds", f"must be one number, as [1] (got {shown(seeds)})")
    scenario = file.parent / spec["scenario"]
    data = file.parent / spec["data"]["path"] if "data" in spec else None
    told.needs("scenario", scenario)
    if need_data and data is not None:
        told.needs("data.path", data)
    told.refuse()
    return ScenarioTraining(
        file, spec, scenario, data, told.output, numbers, networks[0] if networks else None
    )
