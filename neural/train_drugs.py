"""From a training file of kind "manipulator" to a weights file: fit, conformal intervals, scores, card."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from neural import weights
from neural.decoders import MEANING, RATES, UNIT
from neural.fit_drugs import DrugFit, Fitted, Plan, run
from neural.manipulators import Manipulator
from neural.population import CHANNELS, EPSILON
from neural.scores import by_experiment, combination_scores
from neural.uncertainty import conformal_quantile, coverage
from neural.wells import Wells, read_wells

Progress = Callable[[int, int, str], None]
_FLOOR = (0.1, 0.3, 0.3)
# longest rk4 step of the weights in use [min]; the fit may step longer
_STEP_IN_USE = 60.0


def plan_of(spec: dict[str, Any]) -> Plan:
    """The fit's choices as the training file has them."""
    components = spec["space"]["components"]
    pattern = [[float(c.get("reads", {}).get(rate, 0.0)) for c in components] for rate in RATES]
    options = {**spec.get("architecture", {}), **spec.get("fit", {})}
    return Plan(pattern=pattern, tau=[60.0 * float(c["hours"]) for c in components], **options)


def train_manipulator(
    spec: dict[str, Any], data: Path, output: Path, checkpoint: Path, resume: bool, progress: Progress | None
) -> dict[str, Any]:
    """Fit, score on the combination wells, write `output`; returns the card.

    The same fit without the residual network is made beside it: the card says what the network adds.
    """
    wells = read_wells(data, spec["drugs"], int(spec["data"]["replicates"]))
    plan = plan_of(spec)
    fit, fitted = _fit(wells, plan, spec, checkpoint, resume, progress, "with network")
    bare = checkpoint.with_name(checkpoint.name + ".additive")
    additive, plain = _fit(wells, replace(plan, residual=0.0), spec, bare, resume, progress, "additive alone")
    predicted = {
        "network": predict_wells(fit, fitted, wells),
        "additive drive, no network": predict_wells(additive, plain, wells),
    }
    tensors = tensors_of(fitted, fit.plate)
    card = card_of(spec, wells, fit, fitted)
    observed, logs = in_use(card, tensors, wells)
    tensors["interval.quantile"] = calibrated(fit, observed, logs)
    predicted["network in use, no plate known"] = logs.mean(1) - observed[:, :1]
    card["scores"] = {
        "combinations": combination_scores(wells, predicted),
        "combinations_by_experiment": by_experiment(wells, predicted),
        "combinations_inside_90_percent_interval": _inside(wells, tensors, observed, logs),
        "held_out_single_wells": {"network": _held_out(fitted)},
    }
    card["scores"]["held_out_single_wells"] |= {"additive drive, no network": _held_out(plain)}
    weights.save(output, tensors, card)
    for file in (checkpoint, bare):
        file.unlink(missing_ok=True)
    return card


def _fit(
    wells: Wells,
    plan: Plan,
    spec: dict[str, Any],
    checkpoint: Path,
    resume: bool,
    progress: Progress | None,
    what: str,
) -> tuple[DrugFit, Fitted]:
    fit = DrugFit(wells, plan)
    mark = f"{wells.sha256} {sorted_text(spec)}"
    if resume and checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        if state.pop("mark") == mark:
            fit.restore(state)

    def report(i: int, total: int, trained: float, held: float) -> None:
        part = checkpoint.with_name(checkpoint.name + ".part")
        torch.save({"mark": mark, **fit.state()}, part)
        part.replace(checkpoint)
        if progress is not None:
            progress(i, total, f"{what}: training {trained:.3f}, held-out {held:.3f}")

    run(fit, report)
    return fit, fit.finish()


def _held_out(fitted: Fitted) -> dict[str, float]:
    """Root mean square of log2 residuals of left-out single-drug wells, by channel."""
    rms = np.sqrt(np.nanmean(fitted.residuals**2, (0, 1)))
    return dict(zip(CHANNELS, map(float, rms), strict=True))


def sorted_text(spec: dict[str, Any]) -> str:
    """The training file's content in one order."""
    import json

    return json.dumps(spec, sort_keys=True, default=str)


def predict_wells(fit: DrugFit, fitted: Fitted, wells: Wells) -> np.ndarray:
    """Ensemble mean (well, T, 3) of log2 signals relative to each well's own frame 0."""
    epsilon = np.array(EPSILON)
    first = np.log2(np.maximum(wells.curves[:, :, 0], 0.0) + epsilon).mean(1)
    fit.dynamics, fit.decoders, fit.laboratory = fitted.dynamics, fitted.decoders, fitted.laboratory
    with torch.no_grad():
        logs = fit.predict(
            torch.tensor(wells.dose),
            torch.tensor(2.0**first - epsilon),
            torch.tensor(wells.plate),
            torch.tensor(wells.experiment),
        ).numpy()
    return logs.mean(1).transpose(1, 0, 2) - first[:, None]


def tensors_of(fitted: Fitted, plate: torch.Tensor) -> dict[str, np.ndarray]:
    """The networks, and the typical instrument: means over the plates of training wells."""
    out = {f"dynamics.{k}": v.numpy() for k, v in fitted.dynamics.state_dict().items()}
    out |= {f"decoders.{k}": v.numpy() for k, v in fitted.decoders.state_dict().items()}
    lab, plates = fitted.laboratory, sorted(set(plate.tolist()))
    with torch.no_grad():
        out["instrument.gain"] = torch.exp(lab.common_gain + lab.log_gain[:, plates].mean(1)).mean(0).numpy()
        middle = lab.background[:, plates].mean(0).mean(1)
        out["instrument.background"] = middle.median(0).values.clamp_min(0.0).numpy()
        out["instrument.start"] = torch.exp(lab.start[:, plates].mean(1)).numpy()
    return out


def in_use(
    card: dict[str, Any], tensors: dict[str, np.ndarray], wells: Wells
) -> tuple[np.ndarray, np.ndarray]:
    """Observed (well, T, 3) and each member's (well, member, T, 3) log2 signals, as the weights are used: no
    plate is known, and only the live area at the start is given. Adds the interval's floor to `tensors`.
    """
    tensors["interval.floor"], tensors["interval.quantile"] = np.array(_FLOOR), np.ones(len(_FLOOR))
    model = Manipulator(weights.Card(card["kind"], card["name"], card["architecture"], {}, "", card), tensors)
    observed = np.log2(np.maximum(wells.curves, 0.0) + np.array(EPSILON)).mean(1)
    live = 2.0 ** observed[:, 0, 0] - EPSILON[0]
    logs = model.member_signals(np.zeros(model.dimension), wells.time, wells.dose, live)
    return observed, logs.transpose(2, 1, 0, 3)


def calibrated(fit: DrugFit, observed: np.ndarray, logs: np.ndarray) -> np.ndarray:
    """Conformal 90 % quantile by channel: what each fold's member misses the wells by that it had left out,
    relative to the ensemble's spread there.
    """
    width = np.sqrt(logs.std(1) ** 2 + np.array(_FLOOR) ** 2)[fit.rows]
    score = np.full(width.shape, np.nan)
    for k in range(fit.plan.folds):
        out = fit.fold == k
        score[out] = np.abs(observed[fit.rows] - logs[fit.rows, 1 + k])[out] / width[out]
    score[np.broadcast_to(fit.valid.numpy()[:, None] == 0, score.shape)] = np.nan
    return np.array([conformal_quantile(score[..., c], 0.9) for c in range(len(CHANNELS))])


def _inside(
    wells: Wells, tensors: dict[str, np.ndarray], observed: np.ndarray, logs: np.ndarray
) -> dict[str, float]:
    """Share of the combination wells' frames (mean of replicates) inside their intervals, by channel."""
    pairs = wells.drugs_given == 2
    middle = logs.mean(1)
    half = tensors["interval.quantile"] * np.sqrt(logs.std(1) ** 2 + tensors["interval.floor"] ** 2)
    seen, low, high = observed[pairs], (middle - half)[pairs], (middle + half)[pairs]
    return {name: coverage(seen[..., c], low[..., c], high[..., c]) for c, name in enumerate(CHANNELS)}


def card_of(
    spec: dict[str, Any],
    wells: Wells,
    fit: DrugFit,
    fitted: Fitted,
) -> dict[str, Any]:
    """The card, but for scores: what the weights are and where they come from."""
    components = spec["space"]["components"]
    return {
        "kind": "manipulator",
        "name": spec["name"],
        "architecture": {
            "members": fit.members,
            "hidden": fit.plan.hidden,
            "residual": fit.plan.residual,
            "step": _STEP_IN_USE,
            "pattern": fit.plan.pattern,
        },
        "space": {
            "name": spec["space"]["name"],
            "dimension": len(components),
            "labels": [c["name"] for c in components],
            "unit": "1",
            "reference_states": {"untreated": [0.0] * len(components)},
        },
        "conditions": [
            {"name": name, "unit": "uM", "range": [0.0, float(wells.dose[:, k].max())]}
            for k, name in enumerate(wells.drugs)
        ],
        "messages": [{"name": "confluence", "unit": "1", "range": [0.0, 1.0]}],
        "decoders": [{"name": d, "unit": UNIT, "meaning": MEANING[d]} for d in RATES],
        "data": {
            "sha256": wells.sha256,
            "wells": len(fit.rows),
            "experiments": wells.experiments,
            "replicates": wells.curves.shape[1],
            "hours": float(wells.time[-1] / 60.0),
        },
        "split": {
            "training": "control and single-drug wells, each measured curve once",
            "test": f"{int((wells.drugs_given == 2).sum())} combination wells, never read in training",
            "folds": fit.plan.folds,
        },
        "seeds": [fit.plan.seed],
        "iterations": {"run": fit.iteration, "taken_from": fitted.best.tolist()},
        "notes": list(spec.get("notes", [])),
    }
