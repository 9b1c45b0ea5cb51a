"""From a training file of kind "law" to a weights file: how tracked cells act on each other, and how to read it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from neural import weights
from neural.errors import WeightsError
from neural.tables import read_measurements
from neural.tissue.factored import FactoredLaw, Hearing, rk4
from neural.tissue.fit_law import FittedLaw, Tracks, fit_law
from neural.tissue.graph import Rows
from neural.tissue.reading import effect, ranking

Progress = Callable[[int, int, str], None]


def train_law(
    spec: dict[str, Any], data: Path, output: Path, checkpoint: Path, resume: bool, progress: Progress | None
) -> dict[str, Any]:
    """Score on the last part of the tracks, fit on all of them, write `output`; returns the card.

    The fit takes a minute at most and keeps no checkpoint: `resume` starts it again, to the same bits.
    """
    tracks, signals, digest = tracks_of(spec, data)
    options = spec.get("fit", {})
    seed, held = int(options.get("seed", 0)), float(options.get("hold_out", 0.25))
    radius = float(spec["radius"]) if spec.get("by_distance", 0) else None
    frames = len(tracks.times)
    seen = max(4, round(frames * (1 - held)))
    if seen > frames - 2:
        raise ValueError(f"{frames} frames are too few to leave {held:g} of them out")
    if progress is not None:
        progress(0, 2, "scores on frames left out")
    early = Tracks(tracks.times[:seen], tracks.states[:seen], tracks.hearing)
    late = Tracks(tracks.times[seen - 1 :], tracks.states[seen - 1 :], tracks.hearing)
    alone = Tracks(early.times, early.states, _deaf(tracks.hearing))
    scores = {
        "law": {"r2": _told(fit_law([early], signals, radius=radius, seed=seed), late)},
        "each cell alone": {
            "r2": _told(fit_law([alone], signals, seed=seed), Tracks(late.times, late.states, alone.hearing))
        },
        "no change": {"r2": 0.0},
    }
    if progress is not None:
        progress(1, 2, "all frames")
    fitted = fit_law([tracks], signals, radius=radius, seed=seed)
    law = fitted.law
    tensors = {k: v.detach().numpy() for k, v in law.state_dict().items()}
    tensors |= {
        "strength": fitted.strength,
        "noise": fitted.noise,
        "unexplained": fitted.unexplained,
        "covariance": fitted.covariance.numpy(),
    }
    quantities = spec.get("quantities", {})
    nodes = [{"name": quantities.get(s, s)} for s in signals]
    card = {
        "kind": "tissue" if "quantities" in spec else "law",
        "name": spec["name"],
        "architecture": {
            "form": "factored", "signals": list(signals), "nodes": nodes,
            "edges": [{"name": "distance", "unit": "um"}], "radius": float(spec["radius"]),
            "by_distance": radius is not None, "mean": bool(spec.get("mean", 1)),
            "itself": bool(spec.get("itself", 0)), "pieces": law.pieces, "features": law.mix.shape[1],
            "pull": law.pull,
        },
        "messages": [
            {"name": f"d{s}", "unit": "1/min", "meaning": f"what neighbours add to the rate of {s}"} for s in signals
        ],
        "data": {"sha256": digest, "cells": tracks.states.shape[1], "frames": frames},
        "split": {"test": f"the last {frames - seen} frames"},
        "seeds": [seed],
        "scores": {"change from frame to frame, frames left out": scores},
        "notes": [*_read(fitted), *spec.get("notes", [])],
    }  # fmt: skip
    weights.save(output, tensors, card)
    return card


def load_law(path: str | os.PathLike) -> FittedLaw:
    """Read weights of kind "law", or of a tissue network that was made of one.

    Raises:
        WeightsError: the file fails a check of `neural.weights.read_card` or holds no law.
    """
    card, tensors = weights.load(path)
    if card.architecture.get("form") != "factored":
        raise WeightsError(path, f"these are weights of kind '{card.kind}' that hold no law of neighbours")
    return law_of(card, tensors)


def law_of(card: weights.Card, tensors: dict[str, np.ndarray]) -> FittedLaw:
    """The law in checked tensors."""
    a, tensors = card.architecture, dict(tensors)
    radius = float(a["radius"]) if a["by_distance"] else None
    law = FactoredLaw(
        a["signals"], torch.as_tensor(tensors["low"]), torch.as_tensor(tensors["high"]), radius,
        int(a["pieces"]), int(a["features"]), pull=float(a["pull"]),
    )  # fmt: skip
    strength, noise, rest, covariance = (
        tensors.pop(k) for k in ("strength", "noise", "unexplained", "covariance")
    )
    law.load_state_dict({k: torch.as_tensor(v) for k, v in tensors.items()}, strict=True)
    return FittedLaw(law.requires_grad_(False), strength, torch.as_tensor(covariance), noise, rest)


def tracks_of(spec: dict[str, Any], data: Path) -> tuple[Tracks, tuple[str, ...], str]:
    """Tracks of a table with columns `cell`, `time`, `x`, `y` (and `z`) and the signals, every cell at every time.

    Raises:
        ValueError: cells that are missing at a time, frames that are not evenly spaced, or cells that change places.
    """
    table = read_measurements(data)
    cell, time = (np.asarray(table.column(k)) for k in ("cell", "time"))
    signals = tuple(str(s) for s in spec["signals"])
    axes = ["x", "y", *(["z"] if spec.get("dims", 2) == 3 else [])]
    values = np.stack([np.asarray(table.column(k), float) for k in (*axes, *signals)], 1)
    cells, row = np.unique(cell, return_inverse=True)
    times, frame = np.unique(time.astype(float), return_inverse=True)
    if len(values) != len(cells) * len(times) or np.unique(frame * len(cells) + row).size != len(values):
        raise ValueError(f"every one of {len(cells)} cells must be there once at each of {len(times)} times")
    if len(times) < 6 or not np.allclose(np.diff(times), times[1] - times[0], rtol=1e-6):
        raise ValueError("needs at least six evenly spaced times")
    grid = np.empty((len(times), len(cells), values.shape[1]))
    grid[frame, row] = values
    where = grid[:, :, : len(axes)]
    radius = float(spec["radius"])
    if np.abs(where - where[:1]).max() > 0.1 * radius:
        raise ValueError(
            "cells move by more than a tenth of the radius; a law of who hears whom needs them to stay"
        )
    rows, distance = _near(where.mean(0), radius)
    hearing = Hearing.of(
        rows, torch.as_tensor(distance), bool(spec.get("mean", 1)), bool(spec.get("itself", 0))
    )
    return Tracks(times, grid[:, :, len(axes) :], hearing), signals, table.sha256


def _near(positions: np.ndarray, radius: float) -> tuple[Rows, np.ndarray]:
    from scipy.spatial import KDTree

    pairs = KDTree(positions).query_pairs(radius, output_type="ndarray")
    rows, _ = Rows.of_edges(np.concatenate([pairs, pairs[:, ::-1]]).T, len(positions))
    return rows, np.sqrt(((positions[rows.indices] - positions[rows.receivers]) ** 2).sum(1))


def _deaf(hearing: Hearing) -> Hearing:
    n = len(hearing.rows)
    return Hearing(
        Rows(np.zeros(n + 1, int), []), torch.zeros(0, dtype=torch.float64), torch.zeros(0).double()
    )


def _told(fitted: FittedLaw, late: Tracks) -> float:
    """R² of the changes between frames, mean over states, beside no change at all."""
    s, dt = torch.as_tensor(late.states), float(late.times[1] - late.times[0])
    with torch.no_grad():
        after = rk4(lambda q: fitted.law(q, late.hearing), s[:-1], dt, 4)
    miss = (after - s[1:]).square().sum((0, 1)) / (s[1:] - s[:-1]).square().sum((0, 1)).clamp_min(1e-300)
    return float(1 - miss.mean())


def _read(fitted: FittedLaw) -> list[str]:
    """What the law says, for the card: signals by strength, and the formula of what the strongest does most."""
    said = [f"signals by strength: {', '.join(f'{n} {v:.3g}' for n, v in ranking(fitted))}"]
    strongest = ranking(fitted)[0][0]
    curves = {t: effect(fitted, strongest, t) for t in fitted.law.signals}
    size = {t: np.ptp(e.rate) / (fitted.noise[k] + 1e-300) for k, (t, e) in enumerate(curves.items())}
    state = max(size, key=size.__getitem__)
    e = curves[state]
    said.append(f"hearing h of {strongest} adds to d{state}/dt: {e.formula} (R² {e.r2:.4f} of the curve)")
    return said
