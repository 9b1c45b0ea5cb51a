"""From a training file of kind "transport" to a weights file, scored on left-out snapshots; and `predict` of it."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from neural import transport, weights
from neural.checkpoints import Checkpoint, sorted_text
from neural.flow import FlowFit, LinearDrift, Matched, fine_tune, push
from neural.predict import bounds, read_conditions
from neural.progress import Progress
from neural.representations import PrincipalComponents
from neural.tables import read_measurements
from neural.transport_model import TransportModel, model_tensors, space_tensors
from neural.uncertainty import coverage
from neural.vector_fields import MLPField

if TYPE_CHECKING:
    import pandas

_MOST_CELLS = 1000
_EVERY = 25
_RELAXATION = 0.4
# how far beyond the snapshots a population may be asked for, in their whole length
_BEYOND = 10.0


def train_transport(
    spec: dict[str, Any], data: Path, output: Path, checkpoint: Path, resume: bool, progress: Progress | None
) -> dict[str, Any]:
    """Fit drift and network on full transport plans, score on left-out snapshots, write `output`; returns the card."""
    cells, space, labels, digest, conserved = _cells(spec, data)
    options = {"iterations": 300, "fine_tuning": 0, "rate": 3e-3, "seed": 0} | spec.get("fit", {})
    design = spec.get("architecture", {})
    hidden = [int(design.get("hidden", 64))] * int(design.get("layers", 2))
    times = np.array(sorted(cells))
    snapshots = [cells[t] for t in times]
    kept = Checkpoint(checkpoint, f"{digest} {sorted_text(spec)}", resume)
    asked = _Asked(snapshots, times, hidden, options, conserved)
    drift, fit = _flow(asked, kept, progress, "flow")
    field = fit.finish()
    if options["fine_tuning"]:
        losses = fine_tune(
            field, drift, fit.scale, snapshots, times.tolist(), int(options["fine_tuning"]), 0.1 * options["rate"],
            int(options["seed"]),
        )  # fmt: skip
        if progress is not None:
            progress(
                len(losses), len(losses), f"through the ODE: energy distance {np.mean(losses[-10:]):.3f}"
            )
    scores = _scores(asked, progress)
    tensors = {**space, **model_tensors(times, snapshots, drift, field, fit.scale)}
    card = {
        "kind": "transport",
        "name": spec["name"],
        "architecture": {
            "hidden": hidden,
            **({} if conserved is None else {"conserved": conserved.tolist()}),
        },
        "space": {
            "name": spec["space"]["name"],
            "dimension": len(labels),
            "labels": labels,
            "unit": "1",
            "reference_states": {"first snapshot": snapshots[0].mean(0).tolist()},
        },
        "data": {
            "sha256": digest,
            "times": times.tolist(),
            "cells": [len(x) for x in snapshots],
            "kept": f"at most {_MOST_CELLS} cells of a snapshot",
        },
        **({"time_unit": spec["time_unit"]} if "time_unit" in spec else {}),
        "split": {
            "test": "every inner snapshot left out in turn",
            "early stopping": "a tenth of the matched pairs",
        },
        "seeds": [options["seed"]],
        "scores": {"left-out snapshots": scores} if scores else {},
        "notes": list(spec.get("notes", [])),
    }
    weights.save(output, tensors, card)
    checkpoint.unlink(missing_ok=True)
    return card


def predict_populations(
    weights_file: str | os.PathLike, conditions: str | os.PathLike, every: float
) -> pandas.DataFrame:
    """Where the cells lie at the times of a table with a column `time`: a row per time."""
    import pandas as pd

    model = TransportModel.load(weights_file)
    first, last = float(model.times[0]), float(model.times[-1])
    furthest = last + _BEYOND * (last - first)
    rows = read_conditions(conditions, ["time"], {}, {}, low=first, high=furthest)
    times = [row["time"] for row in rows]
    # in the order of time: what is known of two snapshots is found once
    told = {t: model.interval(t) for t in sorted(set(times))}
    found = [told[t] for t in times]
    table: dict[str, Any] = {
        "condition": np.arange(len(times)),
        "time": times,
        "flag": model.flags(times),
        "gain": model.value(times),
    }
    for k, label in enumerate(model.labels):
        table |= bounds(label, *(np.array([f[part][k] for f in found]) for part in range(3)))
    return pd.DataFrame(table)


def _cells(
    spec: dict[str, Any], data: Path
) -> tuple[dict[float, np.ndarray], dict[str, np.ndarray], list[str], str, np.ndarray | None]:
    """Cells by time in the space, what leads into it, its labels, the data's sha256, conserved sums of components."""
    table = read_measurements(data)
    time = np.asarray(table.column(spec["time"]), float)
    space = spec["space"]
    x, names = table.matrix(
        space.get("embedding", spec["data"].get("values")), space.get("features"), leave=[spec["time"]]
    )
    if len(time) != len(x) or not np.isfinite(x).all() or not np.isfinite(time).all():
        raise ValueError("every cell needs a finite time and finite values")
    if len(np.unique(time)) < 2:
        raise ValueError(f"'{spec['time']}' has {len(np.unique(time))} time; two snapshots are needed")
    axes, labels, mean = np.eye(x.shape[1]), names, x.mean(0)
    if "components" in space:
        pca = PrincipalComponents.fit(x, names, int(space["components"]), space["name"])
        zero = np.zeros((1, pca.space.dimension))
        axes, labels = pca.decode(np.eye(zero.size)) - pca.decode(zero), list(pca.space.labels)
    inside = (x - mean) @ axes.T
    scale = inside.std(0)
    if not (scale > 0).all():
        raise ValueError(f"'{labels[int(np.argmin(scale))]}' is the same in all cells; leave it out")
    rng = np.random.default_rng(int(spec.get("fit", {}).get("seed", 0)))
    cells = {}
    for t in np.unique(time):
        rows = np.flatnonzero(time == t)
        rows = np.sort(rng.permutation(rows)[:_MOST_CELLS])
        if len(rows) < 2:
            raise ValueError(f"the snapshot at {t:g} has {len(rows)} cell; two are needed")
        cells[float(t)] = inside[rows] / scale
    conserved = None
    if "conserved" in space:
        missing = [f for total in space["conserved"] for f in total if f not in names]
        if missing:
            raise ValueError(
                f"space.conserved names '{missing[0]}', which no cell has; there are {', '.join(names[:8])}"
            )
        totals = np.array([[float(n in total) for n in names] for total in space["conserved"]])
        conserved = totals @ axes.T * scale
    return cells, space_tensors(mean, axes, scale), labels, table.sha256, conserved


@dataclass(frozen=True)
class _Asked:
    """Snapshots [(cell, d)] at their times (K,), and how the flow between them is to be fitted."""

    snapshots: list[np.ndarray]
    times: np.ndarray
    hidden: list[int]
    options: dict[str, Any]
    conserved: np.ndarray | None

    def without(self, k: int) -> _Asked:
        """The same with one snapshot less."""
        return replace(
            self, snapshots=self.snapshots[:k] + self.snapshots[k + 1 :], times=np.delete(self.times, k)
        )


def _flow(
    asked: _Asked, checkpoint: Checkpoint | None, progress: Progress | None, what: str
) -> tuple[LinearDrift, FlowFit]:
    """Drift and network between the snapshots; kept in `checkpoint` every few iterations."""
    snapshots, times, options = asked.snapshots, asked.times.tolist(), asked.options
    matched = Matched.of(snapshots, times, _RELAXATION, int(options["seed"]), asked.conserved)
    drift = LinearDrift.fit(snapshots, times, matched)
    total = int(options["iterations"])
    fit = FlowFit(matched, drift, asked.hidden, float(options["rate"]), total, int(options["seed"]))
    if checkpoint is not None and (state := checkpoint.read()) is not None:
        fit.restore(state)
    while fit.iteration < total:
        trained, held = fit.advance()
        if fit.iteration % _EVERY == 0 or fit.iteration == total:
            if checkpoint is not None:
                checkpoint.write(fit.state())
            if progress is not None:
                progress(fit.iteration, total, f"{what}: training {trained:.4f}, held-out {held:.4f}")
    return drift, fit


def _scores(asked: _Asked, progress: Progress | None) -> dict[str, dict[str, float]]:
    """Left-out inner snapshots by transport, by the flow from the one before, and by rules."""
    snapshots, times = asked.snapshots, asked.times
    rows: dict[str, list[dict[str, float]]] = {}
    for k in range(1, len(times) - 1):
        rest = asked.without(k)
        known = dict(zip(rest.times.tolist(), rest.snapshots, strict=True))
        at = float((times[k] - times[k - 1]) / (times[k + 1] - times[k - 1]))
        shares, told = transport.rehearse(known)
        drift, fit = _flow(rest, None, progress, f"without {times[k]:g}")
        before, after, truth = snapshots[k - 1], snapshots[k + 1], snapshots[k]

        def pushed(field: MLPField | None, k=k, drift=drift, fit=fit) -> np.ndarray:
            with torch.no_grad():
                return push(
                    snapshots[k - 1], float(times[k - 1]), float(times[k]), drift, field, fit.scale
                ).numpy()

        rng = np.random.default_rng(0)
        model = transport.mixture(before, after, at, shares, rng)
        guesses = {
            "model": model,
            "flow, network": pushed(fit.finish()),
            "flow, linear drift": pushed(None),
            "midpoint of a full plan": transport.between(before, after, at, np.inf, rng)[0],
            "snapshot before": before,
            "snapshot after": after,
        }
        for name, cells in guesses.items():
            rows.setdefault(name, []).append(_distances(cells, truth))
        wide = transport.stretch(known, shares, told)
        low, mid, high = np.quantile(model, [0.05, 0.5, 0.95], axis=0)
        inside = coverage(truth, mid + wide * (low - mid), mid + wide * (high - mid))
        rows["model"][-1]["inside 90 %"] = inside
    return {
        name: {key: float(np.mean([row[key] for row in found])) for key in found[0]}
        for name, found in rows.items()
    }


def _distances(cells: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    return {
        "energy distance": transport.energy_distance(cells, truth),
        "mean off": float(np.linalg.norm(cells.mean(0) - truth.mean(0))),
        "variance ratio": float(cells.var(0).sum() / truth.var(0).sum()),
    }
