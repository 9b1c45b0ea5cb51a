"""A training file of kind "hybrid": a pathway with a term that nobody knows, and measurements to find it from.

training: 1
kind: hybrid
name: lotka
model: lotka.ant
networks:
  prey_loss: {inputs: [x, y], rate: {x: 1}}
  gain: {inputs: [x, y], rate: {y: 1}, times: [y], positive: true, widths: [5]}
data: {path: counts.csv}          # time, one column for each observable, `experiment` where there are several
noise: {x: 0.05, y: 0.05}         # standard deviation of each observable
experiments: {low: {x: 0.4, y: 4.6}, high: {x: 3, y: 2}}       # initial values; optional
learn: {k_1: [0.1, 10]}           # parameters of the pathway that are fitted too, with bounds; optional
simpler: true                     # whether each input alone is tried too, and kept where it has more evidence
structure: {degree: 2}            # the formula of each term, judged by the measurements; optional
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from neural.errors import shown
from neural.training_file import TrainingFile
from neural.training_keys import (
    COMMON,
    COUNT,
    MAPPING,
    NAMES,
    NOT_NEGATIVE,
    NUMBER,
    POSITIVE,
    TEXT,
    WHOLE,
    Key,
    check,
    may,
    part,
)
from sim.hybrid.joint import Changes, Gives, Joint, Rate, Sets, Target

_FLAG = Key((bool,))
SCHEMA = {
    **COMMON,
    "model": TEXT,
    "networks": replace(MAPPING, of=MAPPING),
    "data": part(path=TEXT, sha256=may(TEXT)),
    "noise": replace(MAPPING, of=POSITIVE),
    "experiments": may(replace(MAPPING, of=replace(MAPPING, of=NUMBER))),
    "learn": may(MAPPING),
    "held_out": may(NOT_NEGATIVE),
    "starts": may(COUNT),
    "steps": may(COUNT),
    "simpler": may(_FLAG),
    "seed": may(WHOLE),
    "structure": may(part(degree=COUNT)),
}
_NETWORK = {
    "inputs": NAMES,
    "rate": may(replace(MAPPING, of=NUMBER)),
    "instead_of": may(TEXT),
    "times": may(NAMES),
    "parameter": may(TEXT),
    "quantity": may(TEXT),
    "changes": may(TEXT),
    "start": may(NUMBER),
    "widths": may(Key((list,), of=COUNT)),
    "activation": may(TEXT),
    "positive": may(_FLAG),
    "input_scales": may(Key((list,), of=NUMBER)),
    "output_scale": may(NUMBER),
}
_TARGETS = ("rate", "instead_of", "parameter", "quantity", "changes")


@dataclass(frozen=True)
class HybridTraining:
    """A checked training file.

    Attributes:
        joints: the networks and where they join.
        learn: parameter -> bounds.
        noise: observable -> standard deviation.
        experiments: experiment -> initial values.
    """

    file: Path
    spec: dict[str, Any]
    model: Path
    data: Path
    output: Path
    joints: tuple[Joint, ...]
    learn: dict[str, tuple[float, float]]
    noise: dict[str, float]
    experiments: dict[str, dict[str, float]]


def load_hybrid_training(path: str | os.PathLike, need_data: bool = True) -> HybridTraining:
    """Read and check a training file; light (no torch).

    Raises:
        TrainingError: every problem of the file at once, each with line and key.
    """
    told = TrainingFile(path, {"hybrid": SCHEMA})
    file, spec = told.path, told.spec
    joints = [_joint(name, given, told) for name, given in spec["networks"].items()]
    learn = {name: told.bounds(f"learn.{name}", said) for name, said in spec.get("learn", {}).items()}
    noise = {name: float(value) for name, value in spec["noise"].items()}
    experiments = {
        name: {k: float(v) for k, v in values.items()} for name, values in spec.get("experiments", {}).items()
    }
    if not 0 <= float(spec.get("held_out", 0.2)) < 1:
        told.fault("held_out", "must be a share below 1 of the measured time")
    model, data = file.parent / spec["model"], file.parent / spec["data"]["path"]
    if need_data:
        told.needs("model", model)
        told.needs("data.path", data)
    told.refuse()
    found = tuple(joint for joint in joints if joint is not None)
    return HybridTraining(file, spec, model, data, told.output, found, learn, noise, experiments)


def _joint(name: str, given: dict[str, Any], told: TrainingFile) -> Joint | None:
    at, before = f"networks.{name}", len(told.problems)
    check(given, _NETWORK, at, told.lines, told.problems)
    chosen = [t for t in _TARGETS if t in given]
    if len(chosen) != 1:
        message = f"needs exactly one of {', '.join(_TARGETS)}: what its output is (got {len(chosen)})"
        told.fault(at, message)
    if len(told.problems) > before:
        return None
    inputs, scales = given["inputs"], given.get("input_scales", [])
    if not inputs:
        told.fault(f"{at}.inputs", "must be ids of the model, or time")
    if scales and len(scales) != len(inputs):
        told.fault(
            f"{at}.input_scales", f"must be {len(inputs)} numbers, one for each input (got {shown(scales)})"
        )
    if len(told.problems) > before:
        return None
    target: Target
    if chosen[0] == "rate":
        target = Rate({k: float(v) for k, v in given["rate"].items()}, tuple(given.get("times", ())))
    elif chosen[0] == "instead_of":
        target = Rate({}, tuple(given.get("times", ())), given["instead_of"])
    elif chosen[0] == "parameter":
        target = Sets(given["parameter"])
    elif chosen[0] == "changes":
        target = Changes(given["changes"], float(given.get("start", 0.0)))
    else:
        target = Gives(given["quantity"])
    return Joint(
        name, tuple(given["inputs"]), target,
        widths=tuple(int(w) for w in given.get("widths", (5,))), activation=given.get("activation", "tanh"),
        positive=given.get("positive", False), input_scales=tuple(map(float, scales)),
        output_scales=(float(given.get("output_scale", 1.0)),),
    )  # fmt: skip
