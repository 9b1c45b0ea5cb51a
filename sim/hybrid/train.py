"""`train` for a term that nobody knows: networks in a pathway fitted to a table, scored on the time that was held out.

Weights are found by evidence from several starts, and simpler networks tried beside (`sim.hybrid.selection`); told as
a formula where asked for (`sim.hybrid.structure`), and written with a card whose scores stand beside their controls:
the pathway without the networks, and the mean of what was measured.
"""

from __future__ import annotations

import csv
import hashlib
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mechanistic import PathwayModel, load_model
from mechanistic.errors import IntegrationError, ModelError
from neural import weights as files
from neural.cards import as_markdown
from neural.errors import TrainingError, WeightsError
from neural.progress import Progress
from sim.errors import ScenarioError
from sim.fitting.objective import Objective, Study
from sim.fitting.parts import Experiment, Measurement, Observable, Parameter, Period
from sim.fitting.spans import Settings
from sim.hybrid.inline import CannotInline
from sim.hybrid.joint import Joint
from sim.hybrid.selection import Selected, fits, select
from sim.hybrid.structure import find_structure
from sim.hybrid.system import Hybrid
from sim.hybrid.train_file import HybridTraining, load_hybrid_training

_SETTINGS = Settings(rtol=1e-6, atol=1e-10)


def train_hybrid(
    path: str | os.PathLike, output: str | os.PathLike | None = None, progress: Progress | None = None
) -> Path:
    """Fits what the training file asks for; the path of the weights, with a model card (.md) beside it.

    Raises:
        TrainingError: the file or its data are wrong; nothing was written.
    """
    job = load_hybrid_training(path)
    target = Path(output) if output is not None else job.output
    try:
        tensors, card = _fitted(job, progress)
    except (ModelError, CannotInline, ScenarioError, IntegrationError) as error:
        raise TrainingError(path, [(None, "networks", str(error))]) from None
    files.save(target, tensors, card)
    target.with_suffix(".md").write_text(as_markdown(target), encoding="utf-8")
    return target


def load_hybrid(path: str | os.PathLike, model: PathwayModel | str | os.PathLike) -> Hybrid:
    """The hybrid of a weights file of kind "hybrid", in its pathway with the parameters that were learned.

    Raises:
        WeightsError: the file is no such; ModelError: the pathway has not what the networks read.
    """
    card, tensors = files.load(path, "hybrid")
    joints = [Joint(**_as_joint(given)) for given in card.architecture["networks"]]
    weights: dict[str, dict[str, dict[str, np.ndarray]]] = {}
    values: dict[str, float] = {}
    for name, value in tensors.items():
        kind, *rest = name.split("/")
        if kind == "parameter":
            values[rest[0]] = float(value)
        elif len(rest) == 3:
            weights.setdefault(rest[0], {}).setdefault(rest[1], {})[rest[2]] = value
        else:
            raise WeightsError(path, f"tensor '{name}' belongs to no network")
    pathway = (model if isinstance(model, PathwayModel) else load_model(model)).network
    known = [replace(p, value=values[p.id]) if p.id in values else p for p in pathway.parameters]
    return Hybrid(replace(pathway, parameters=tuple(known)), joints, weights=weights)


def _fitted(job: HybridTraining, progress: Progress | None) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    spec, rows = job.spec, _rows(job)
    last = max(time for _, time, _, _ in rows)
    held = float(spec.get("held_out", 0.2))
    early = [r for r in rows if r[1] <= (1.0 - held) * last] if held else rows
    model = load_model(job.model)
    seed, starts = int(spec.get("seed", 0)), int(spec.get("starts", 3))
    learned = _learned(job, model)

    def objective_of(hybrid: Hybrid) -> Objective:
        return Objective([*learned, *hybrid.fit_parameters()], [_study(job, hybrid, early)], _SETTINGS)

    count = fits(job.joints, starts, bool(spec.get("simpler", True)))
    done: list[str] = []

    def say(what: str, evidence: float) -> None:
        done.append(what)
        if progress is not None:
            progress(len(done), count, f"{what}: evidence {evidence:.4g}")

    found = select(
        model, job.joints, objective_of, starts=starts, seed=seed, simpler=bool(spec.get("simpler", True)),
        most=int(spec.get("steps", 80)), say=say,
    )  # fmt: skip
    hybrid, objective, values = found.hybrid, found.objective, found.values
    chosen = {name: values[name] for name in job.learn}
    scores = _scores(job, model, hybrid, chosen, rows, (1.0 - held) * last if held else -np.inf)
    notes = [*spec.get("notes", []), _kept(found)]
    if "structure" in spec:
        notes += _structures(job, hybrid, objective, chosen, early)
    tensors = {
        f"network/{name}/{layer}/{array}": np.asarray(v, dtype=float)
        for name, group in hybrid.weights.items()
        for layer, arrays in group.items()
        for array, v in arrays.items()
    }
    tensors |= {f"parameter/{name}": np.array(v) for name, v in chosen.items()}
    card = {
        "kind": "hybrid",
        "name": spec["name"],
        "architecture": {"networks": [_as_plain(j) for j in hybrid.joints.values()], "model": job.model.name},
        "data": {"file": job.data.name, "sha256": hashlib.sha256(job.data.read_bytes()).hexdigest()},
        "split": {"held out": f"times after {(1.0 - held) * last:g}" if held else "nothing"},
        "seeds": [seed + k for k in range(starts)],
        "scores": scores,
        "notes": notes,
    }
    return tensors, card


def _rows(job: HybridTraining) -> list[tuple[str, float, str, float]]:
    """(experiment, time, observable, value) of the table."""
    found = []
    with open(job.data, newline="", encoding="utf-8-sig") as file:
        table = csv.DictReader(file)
        missing = [c for c in ("time", *job.noise) if c not in (table.fieldnames or ())]
        if missing:
            raise TrainingError(job.file, [(None, "data.path", f"the table has no column '{missing[0]}'")])
        for number, row in enumerate(table, 2):
            experiment = row.get("experiment") or next(iter(job.experiments), "all")
            try:
                time = float(row["time"])
                found += [(experiment, time, o, float(row[o])) for o in job.noise if row[o].strip()]
            except ValueError as error:
                raise TrainingError(job.file, [(None, "data.path", f"line {number}: {error}")]) from None
            if job.experiments and experiment not in job.experiments:
                message = f"line {number}: no such experiment (got '{experiment}')"
                raise TrainingError(job.file, [(None, "data.path", message)])
    if len(found) < 2:
        raise TrainingError(job.file, [(None, "data.path", "the table has no measurements")])
    return found


def _study(job: HybridTraining, hybrid: Hybrid, rows: list[tuple[str, float, str, float]]) -> Study:
    experiments = tuple(
        Experiment(name, (Period(0.0),), job.experiments.get(name, {}))
        for name in dict.fromkeys(e for e, *_ in rows)
    )
    observables = tuple(Observable(name, name, noise) for name, noise in job.noise.items())
    measurements = tuple(Measurement(o, e, t, v) for e, t, o, v in rows)
    return Study(hybrid.network, experiments, observables, measurements)


def _learned(job: HybridTraining, model: PathwayModel) -> list[Parameter]:
    values = {p.id: p.value for p in model.network.parameters if p.value is not None}
    found = []
    for name, (low, high) in job.learn.items():
        if name not in values:
            raise TrainingError(
                job.file, [(None, f"learn.{name}", "is no parameter with a value in the model")]
            )
        found.append(Parameter(name, min(max(values[name], low), high), low, high, "log10"))
    return found


def _kept(found: Selected) -> str:
    (best, evidence), *rest = found.tried
    beside = f"; next {rest[0][0]}, less by {evidence - rest[0][1]:.3g}" if rest else ""
    return f"kept by evidence (natural logarithm {evidence:.4g}): {best}{beside}"


def _scores(job, model, hybrid, chosen, rows, split: float) -> dict[str, Any]:
    """Normalised mean absolute error before and after `split`, of the hybrid and of its controls."""

    def courses(what: PathwayModel, parameters: dict[str, float]):
        found = {}
        for name in dict.fromkeys(e for e, *_ in rows):
            times = sorted({t for e, t, *_ in rows if e == name})
            initial = job.experiments.get(name, {})
            try:
                course = what.simulate(times, parameters=parameters, initial=initial)
            except IntegrationError:
                continue
            for o in job.noise:
                if o in course:
                    found |= {(name, t, o): float(v) for t, v in zip(times, course[o].values[0])}
        return found

    mean = {
        o: float(np.mean([v for _, t, q, v in rows if q == o and (t <= split or split < 0)]))
        for o in job.noise
    }
    said = {
        "hybrid": courses(hybrid.model, chosen),
        "pathway alone": courses(model, {}),
        "mean": {(e, t, o): mean[o] for e, t, o, _ in rows},
    }
    table: dict[str, Any] = {}
    for part, keep in (("fitted", lambda t: t <= split or split < 0), ("held out", lambda t: t > split >= 0)):
        own = [r for r in rows if keep(r[1])]
        if own:
            table[part] = {
                who: _error([(found.get((e, t, o)), v) for e, t, o, v in own]) for who, found in said.items()
            }
    return {"normalised mean absolute error": table}


def _error(pairs: list[tuple[float | None, float]]) -> float | str:
    if any(said is None or not np.isfinite(said) for said, _ in pairs):
        return "no course"
    size = float(np.mean([abs(v) for _, v in pairs])) or 1.0
    return float(np.mean([abs(said - v) for said, v in pairs if said is not None])) / size


def _structures(job, hybrid: Hybrid, objective: Objective, chosen: dict[str, float], rows) -> list[str]:
    notes = []
    for name in hybrid.joints:
        samples = np.concatenate(
            [
                hybrid.samples(
                    name,
                    hybrid.simulate(
                        sorted({t for e, t, *_ in rows if e == experiment}),
                        parameters=chosen,
                        initial=job.experiments.get(experiment, {}),
                    ),
                )
                for experiment in dict.fromkeys(e for e, *_ in rows)
            ]
        )
        also = [replace(p, nominal=chosen[p.id]) for p in objective.parameters if p.id in chosen]
        found = find_structure(
            hybrid, name, objective.studies[0], samples, degree=int(job.spec["structure"]["degree"]),
            also=also, settings=_SETTINGS,
        )  # fmt: skip
        notes.append(f"{name}: {found.text[0]}")
        if found.warning:
            notes.append(f"{name}: {found.warning}")
    return notes


def _as_plain(joint: Joint) -> dict[str, Any]:
    target = joint.targets[0]
    return {
        "name": joint.name, "inputs": list(joint.inputs), "widths": list(joint.widths),
        "activation": joint.activation, "positive": joint.positive, "input_scales": list(joint.input_scales),
        "output_scales": list(joint.output_scales),
        "to": {"kind": type(target).__name__, **{k: _plain(v) for k, v in vars(target).items()}},
    }  # fmt: skip


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, dict) else list(value) if isinstance(value, tuple) else value


def _as_joint(given: dict[str, Any]) -> dict[str, Any]:
    from sim.hybrid import joint as kinds

    to = dict(given["to"])
    made = getattr(kinds, to.pop("kind"))(
        **{k: tuple(v) if isinstance(v, list) else v for k, v in to.items()}
    )
    lists = ("inputs", "widths", "input_scales", "output_scales")
    return {**given, **{k: tuple(given[k]) for k in lists}, "to": made}
