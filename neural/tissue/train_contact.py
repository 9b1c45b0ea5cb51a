"""From a training file of kind "tissue" to a weights file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from neural import weights
from neural.checkpoints import Checkpoint, sorted_text
from neural.progress import Progress
from neural.tissue.fit_contact import fit, graphs, scores


def train_tissue(
    spec: dict[str, Any],
    data: Path | None,
    output: Path,
    checkpoint: Path,
    resume: bool,
    progress: Progress | None,
) -> dict[str, Any]:
    """Fit the contact network, score it on monolayers of another seed, write `output`; returns the card.

    No `data` are needed: the monolayers are made.
    """
    radius, cell = float(spec["radius"]), float(spec["cell_radius"])
    layers, options = spec["layers"], spec["fit"]
    seed = int(options["seed"])
    train, check, test = (
        graphs(10 * seed + i, int(layers[part]), radius, cell)
        for i, part in enumerate(("train", "check", "test"))
    )

    def report(i: int, total: int, trained: float, held: float) -> None:
        if progress is not None:
            progress(i, total, f"training rmse {trained**0.5:.4f}, held-out rmse {held**0.5:.4f}")

    hidden = int(spec["architecture"]["hidden"])
    kept = Checkpoint(checkpoint, sorted_text(spec), resume)
    law = fit(train, check, radius, hidden, int(options["iterations"]), seed, report, kept)
    with torch.no_grad():
        tensors = {k: v.numpy() for k, v in law.state_dict().items()}
    card = {
        "kind": "tissue",
        "name": spec["name"],
        "architecture": {
            "hidden": hidden,
            "radius": radius,
            "nodes": [{"name": "cell.radius", "unit": "um"}, {"name": "cell.living", "unit": "1"}],
            "edges": [{"name": "distance", "unit": "um"}],
        },
        "messages": [
            {
                "name": "confluence",
                "unit": "1",
                "meaning": f"of the disc of {radius:g} um around the cell without itself, what live cells cover",
            }
        ],
        "data": {"made": "monolayers from seeds", "cells": len(train.x), "edges": int(train.edges.shape[1])},
        "split": {"training": layers["train"], "early stopping": layers["check"], "test": layers["test"]},
        "seeds": [seed],
        "scores": {"test": scores(law, train, test)},
    }
    weights.save(output, tensors, card)
    checkpoint.unlink(missing_ok=True)
    return card
