"""From a training file of kind "law" to a weights file: how tracked cells act on each other, and how to read it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch

from neural import weights
from neural.errors import WeightsError
from neural.progress import Progress
from neural.tissue.factored import FactoredLaw, Hearing, rk4
from neural.tissue.fit_law import FittedLaw, Tracks, fit_law
from neural.tissue.graph import Rows
from neural.tissue.reading import effect, ranking
from neural.tissue.tracks import tracks_of, truths_of


def train_law(
    spec: dict[str, Any], data: Path, output: Path, checkpoint: Path, resume: bool, progress: Progress | None
) -> dict[str, Any]:
    """Score on tissues or frames that were left out, fit on all the others, write `output`; returns the card.

    The fit takes a minute at most and keeps no checkpoint: `resume` starts it again, to the same bits.
    """
    tracks, signals, digest = tracks_of(spec, data)
    options = spec.get("fit", {})
    seed, held = int(options.get("seed", 0)), float(options.get("hold_out", 0.25))
    radius = float(spec["radius"]) if spec.get("by_distance", 0) else None
    other = Path(spec["held_out"]["path"]) if "held_out" in spec else None
    if progress is not None:
        progress(0, 2, "scores on what is left out")
    if other is not None:
        early, late, split = tracks, tracks_of(spec, other)[0], "the tissues that were left out"
    else:
        seen = max(4, round(min(len(t.times) for t in tracks) * (1 - held)))
        if any(seen > len(t.times) - 2 for t in tracks):
            raise ValueError(f"{len(tracks[0].times)} frames are too few to leave {held:g} of them out")
        early = [Tracks(t.times[:seen], t.states[:seen], t.hearing) for t in tracks]
        late = [Tracks(t.times[seen - 1 :], t.states[seen - 1 :], t.hearing) for t in tracks]
        split = f"frames after the first {seen}"
    guess = fit_law(early, signals, radius=radius, seed=seed)
    scores: dict[str, Any] = {
        "law": {"r2": _told(guess, late)},
        "each cell alone": {"r2": _told(fit_law(_deafened(early), signals, seed=seed), _deafened(late))},
        "no change": {"r2": 0.0},
    }
    table = {"change from frame to frame, left out": scores}
    if "truth" in spec:
        known, wanted = truths_of(spec["truth"], data), truths_of(spec["truth"], other or data)
        seen_truth = [t[: len(r.times)] for t, r in zip(known, early)]
        late_truth = [t[-len(r.times) :] for t, r in zip(wanted, late)]
        for k, signal in enumerate(spec["truth"]):
            mine = [t[..., k] for t in seen_truth], [t[..., k] for t in late_truth]
            table[f"what neighbours add to the rate of {signal}, beside the truth, left out"] = _beside_truth(
                guess, signals.index(signal), (early, late), mine
            )
    if progress is not None:
        progress(1, 2, "all frames")
    fitted = guess if other is not None else fit_law(tracks, signals, radius=radius, seed=seed)
    law = fitted.law
    tensors = {k: v.detach().numpy() for k, v in law.state_dict().items()}
    tensors |= {
        "strength": fitted.strength,
        "noise": fitted.noise,
        "unexplained": fitted.unexplained,
        "covariance": fitted.covariance.numpy(),
    }
    quantities, unit = spec.get("quantities", {}), spec.get("unit", "1")
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
            {"name": f"d{s}", "unit": f"{unit}/min", "meaning": f"what neighbours add to the rate of {s}"}
            for s in signals
        ],
        "data": {
            **spec.get("made", {}), "sha256": digest, "tissues": len(tracks),
            "cells": sum(t.states.shape[1] for t in tracks), "frames": len(tracks[0].times),
        },
        "split": {"test": split},
        "seeds": [seed],
        "scores": table,
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


def _deafened(tracks: list[Tracks]) -> list[Tracks]:
    """The same cells, none of which hears another."""
    nothing = torch.zeros(0, dtype=torch.float64)
    return [
        Tracks(t.times, t.states, Hearing(Rows(np.zeros(len(t.hearing.rows) + 1, int), []), nothing, nothing))
        for t in tracks
    ]


def _told(fitted: FittedLaw, late: list[Tracks]) -> float:
    """R² of the changes between frames, mean over states, beside no change at all."""
    miss = torch.zeros(1, dtype=torch.float64)
    all_change = torch.full_like(miss, 1e-300)
    with torch.no_grad():
        for t in late:
            s, dt = torch.as_tensor(t.states), float(t.times[1] - t.times[0])
            after = rk4(lambda q, t=t: fitted.law(q, t.hearing), s[:-1], dt, 4)
            miss = miss + (after - s[1:]).square().sum((0, 1))
            all_change = all_change + (s[1:] - s[:-1]).square().sum((0, 1))
    return float(1 - (miss / all_change).mean())


def _beside_truth(
    fitted: FittedLaw,
    target: int,
    tracks: tuple[list[Tracks], list[Tracks]],
    truth: tuple[list[np.ndarray], list[np.ndarray]],
) -> dict[str, Any]:
    """R² of what the law says neighbours add to the rate of state `target`, and of the best line in what is heard:
    fitted to the truth itself of the tissues seen, which the law never saw, both judged on those left out."""

    def heard(t: Tracks) -> torch.Tensor:
        return fitted.law.heard(torch.as_tensor(t.states), t.hearing)

    with torch.no_grad():
        seen, late = ([heard(t) for t in part] for part in tracks)
        told = [fitted.law.effects(h).sum(-2)[..., target].numpy().ravel() for h in late]

    def features(parts: list[torch.Tensor]) -> np.ndarray:
        flat = np.concatenate([p.flatten(0, 1).numpy() for p in parts])
        return np.column_stack([flat, np.ones(len(flat))])

    known, wanted = (np.concatenate([v.ravel() for v in part]) for part in truth)
    line = np.linalg.lstsq(features(seen), known, rcond=None)[0]
    return {
        "law": {"r2": _r2(np.concatenate(told), wanted)},
        "a line in what is heard, fitted to the truth": {"r2": _r2(features(late) @ line, wanted)},
        "the mean of the truth": {"r2": _r2(np.full_like(wanted, known.mean()), wanted)},
    }


def _r2(guess: np.ndarray, truth: np.ndarray) -> float:
    return float(1 - ((guess - truth) ** 2).sum() / ((truth - truth.mean()) ** 2).sum())


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
