"""From a training file of kind "manipulator" to a weights file: fit, conformal intervals, scores, card."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from neural import weights
from neural.checkpoints import Checkpoint, sorted_text
from neural.combinations import predict_combinations
from neural.decoders import MEANING, RATES, UNIT
from neural.errors import Misfit, shown
from neural.fit_drugs import DrugFit, Fitted, Plan, run, training_rows
from neural.manipulators import Manipulator
from neural.population import CHANNELS, EPSILON
from neural.progress import Progress
from neural.scores import by_experiment, combination_scores
from neural.uncertainty import conformal_quantile, coverage
from neural.wells import Wells, read_wells

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

    Beside it are made the same fit without the residual network and, where drugs' joining was taught, the network
    that was not: the card says what each adds.
    """
    wells = read_wells(data, spec["drugs"], int(spec["data"]["replicates"]))
    plan, here = plan_of(spec), spec["data"].get("in_use")
    unknown = sorted(set(here or ()) - set(wells.experiments))
    if unknown:
        said = f"no experiment {shown(unknown[0])} in the data; there are {', '.join(wells.experiments)}"
        raise Misfit("data.in_use", said)
    alone = int((wells.drugs_given[training_rows(wells)] == 1).sum())
    if alone < plan.folds:
        raise Misfit("fit.folds", f"{alone} wells of single drugs cannot be left out in {plan.folds} parts")
    fit, fitted = _fit(wells, plan, spec, checkpoint, resume, progress, "with network")
    controls = {"drive alone, no network": replace(plan, residual=0.0)}
    if plan.taught or plan.power != 1.0:
        controls["network, untaught"] = replace(plan, taught=0.0, power=1.0)
    predicted = {"network": predict_wells(fit, fitted, wells)}
    held = {"network": _held_out(fitted)}
    files = [checkpoint]
    for number, (name, other) in enumerate(controls.items()):
        files.append(checkpoint.with_name(f"{checkpoint.name}.control{number}"))
        its_fit, its = _fit(wells, other, spec, files[-1], resume, progress, name)
        predicted[name], held[name] = predict_wells(its_fit, its, wells), _held_out(its)
    predicted["rule that taught"] = rule(wells)
    tensors = tensors_of(fitted, wells, fit, here)
    card = card_of(spec, wells, fit, fitted)
    observed, logs = in_use(card, tensors, wells)
    tensors["interval.quantile"] = calibrated(fit, observed, logs, here)
    predicted["network in use, no plate known"] = logs.mean(1) - observed[:, :1]
    card["scores"] = {
        "combinations": combination_scores(wells, predicted),
        "combinations_by_experiment": by_experiment(wells, predicted),
        "combinations_inside_90_percent_interval": _inside(wells, tensors, observed, logs, here),
        "held_out_single_wells": held,
    }
    weights.save(output, tensors, card)
    for file in files:
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
    kept = Checkpoint(checkpoint, f"{wells.sha256} {sorted_text(spec)}", resume)
    if (state := kept.read()) is not None:
        fit.restore(state)

    def report(i: int, total: int, trained: float, held: float) -> None:
        kept.write(fit.state())
        if progress is not None:
            progress(i, total, f"{what}: training {trained:.3f}, held-out {held:.3f}")

    run(fit, report)
    return fit, fit.finish()


def _held_out(fitted: Fitted) -> dict[str, float]:
    """Root mean square of log2 residuals of left-out single-drug wells, by channel."""
    rms = np.sqrt(np.nanmean(fitted.residuals**2, (0, 1)))
    return dict(zip(CHANNELS, map(float, rms), strict=True))


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


def tensors_of(
    fitted: Fitted, wells: Wells, fit: DrugFit, in_use: list[str] | None = None
) -> dict[str, np.ndarray]:
    """The networks in the laboratory and with the instrument of the experiments `in_use`: means over these.

    None is the mean of all laboratories: no potency or rate differs from it.
    """
    lab = fitted.laboratory
    chosen = range(len(wells.experiments)) if in_use is None else [wells.experiments.index(e) for e in in_use]
    measured = wells.experiment[fit.rows]
    plates = sorted(set(wells.plate[fit.rows[np.isin(measured, list(chosen))]].tolist()))
    out = {f"dynamics.{k}": v.clone().numpy() for k, v in fitted.dynamics.state_dict().items()}
    out |= {f"decoders.{k}": v.clone().numpy() for k, v in fitted.decoders.state_dict().items()}
    with torch.no_grad():
        if in_use is not None:
            at = list(chosen)
            out["dynamics.log_half"] = out["dynamics.log_half"] + lab.potency[:, at].mean(1).numpy()
            out["decoders.factor"] = torch.exp(lab.rates[:, at].mean(1)).numpy()
        out["instrument.gain"] = torch.exp(lab.common_gain + lab.log_gain[:, plates].mean(1)).mean(0).numpy()
        later = lab.background[:, plates, 1:].mean((0, 2))
        out["instrument.background"] = later.mean(0).clamp_min(0.0).numpy()
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


def rule(wells: Wells) -> np.ndarray:
    """Combination wells (well, T, 3) by `predict_combinations` of each plate, relative to 0 h; 0 for other wells."""
    count, frames = wells.curves.shape[1:3]
    out = np.zeros((len(wells.dose), frames, wells.curves.shape[3]))
    for p in range(len(wells.plates)):
        mine = wells.pair == p
        alone, pairs = (
            np.flatnonzero(mine & (wells.drugs_given < 2)),
            np.flatnonzero(mine & (wells.drugs_given == 2)),
        )
        if len(pairs):
            signal = wells.curves[alone].reshape(len(alone), count * frames, -1)
            told = predict_combinations(wells.dose[alone], signal, wells.dose[pairs], count=count)[0]
            out[pairs] = told.reshape(len(pairs), count, frames, -1).mean(1)
    return out


def _of(wells: Wells, experiments: list[str] | None) -> np.ndarray:
    """(well,) whether it is of these experiments; all for None."""
    names = np.array(wells.experiments)[wells.experiment]
    return np.ones(len(names), bool) if experiments is None else np.isin(names, experiments)


def calibrated(
    fit: DrugFit, observed: np.ndarray, logs: np.ndarray, experiments: list[str] | None = None
) -> np.ndarray:
    """Conformal 90 % quantile by channel: what each fold's member misses the wells by that it had left out,
    relative to the ensemble's spread there. Wells of `experiments`, whose laboratory is in use.
    """
    width = np.sqrt(logs.std(1) ** 2 + np.array(_FLOOR) ** 2)[fit.rows]
    score = np.full(width.shape, np.nan)
    for k in range(fit.plan.folds):
        out = (fit.fold == k) & _of(fit.wells, experiments)[fit.rows]
        score[out] = np.abs(observed[fit.rows] - logs[fit.rows, 1 + k])[out] / width[out]
    score[np.broadcast_to(fit.valid.numpy()[: len(fit.rows), None] == 0, score.shape)] = np.nan
    return np.array([conformal_quantile(score[..., c], 0.9) for c in range(len(CHANNELS))])


def _inside(
    wells: Wells,
    tensors: dict[str, np.ndarray],
    observed: np.ndarray,
    logs: np.ndarray,
    experiments: list[str] | None,
) -> dict[str, float]:
    """Share of the combination wells' frames (mean of replicates) inside their intervals, by channel."""
    pairs = (wells.drugs_given == 2) & _of(wells, experiments)
    if not pairs.any():
        return {}
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
            "power": fit.plan.power,
            "monolayer": dict(fit.plan.monolayer),
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
            "in_use": list(spec["data"].get("in_use", wells.experiments)),
            # measured alone; pairs are learned of where a rule taught them
            "drugs_together": 2 if fit.plan.taught else 1,
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
