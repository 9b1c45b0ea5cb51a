"""From a training file of kind "niche" to a weights file: expression by type, region and niche, with its controls."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from neural import weights
from neural.progress import Progress
from neural.tables import read_measurements
from neural.tissue.niche import Sample, cross_validated, fit_niche


def train_niche(
    spec: dict[str, Any], data: Path, output: Path, checkpoint: Path, resume: bool, progress: Progress | None
) -> dict[str, Any]:
    """Score on left-out blocks of the tissue, fit on all of it, write `output`; returns the card.

    The fit takes a minute at most and keeps no checkpoint: `resume` starts it again, to the same bits.
    """
    sample, genes, digest = sample_of(spec, data)
    options, radius, near = spec.get("fit", {}), float(spec["radius"]), float(spec.get("near", 20.0))
    split = {"size": float(options.get("block", 500.0)), "folds": int(options.get("folds", 5))}
    seed = int(options.get("seed", 0))
    scores = cross_validated(sample, radius, seed=seed, near=near, progress=progress, **split)  # type: ignore[arg-type]
    model = fit_niche(sample, np.ones(len(sample.types), bool), radius, near=near)
    card = {
        "kind": "niche",
        "name": spec["name"],
        "architecture": {
            "radius": radius, "near": near, "messages": list(model.messages), "genes": genes,
            "types": list(model.types), "regions": list(model.regions),
        },
        "data": {"sha256": digest, "cells": len(sample.types), "genes": len(genes)},
        "split": {"test": f"squares of {split['size']:g} um left out, {split['folds']} folds; no edge between squares"},
        "seeds": [seed],
        "scores": {"R² over left-out squares, mean over genes": scores},
        "notes": [
            "near neighbours may share transcripts of a wrongly drawn cell; plain means do not favour them",
            *spec.get("notes", []),
        ],
    }  # fmt: skip
    tensors = {k: getattr(model, k) for k in ("base", "constant", "weights", "middle", "more", "level")}
    weights.save(output, tensors, card)
    return card


def sample_of(spec: dict[str, Any], data: Path) -> tuple[Sample, list[str], str]:
    """Cells, their genes and the file's sha256; columns `type`, `region`, `x`, `y` and the genes (log1p of counts)."""
    table = read_measurements(data)
    columns = {k: spec.get("columns", {}).get(k, k) for k in ("type", "region", "x", "y")}
    values, genes = table.matrix(spec["data"].get("values"), leave=(*columns.values(), "cell"))
    scale = float(spec.get("scale", 1.0))
    places = np.stack([np.asarray(table.column(columns[a]), float) * scale for a in "xy"], 1)
    words = [np.asarray(table.column(columns[k])).astype(str) for k in ("type", "region")]
    kept = ~np.isin(words[0], list(spec.get("leave_out", [])))
    if not np.isfinite(values).all() or values.min() < 0 or not np.isfinite(places).all():
        raise ValueError("counts must be finite and not negative, and places finite")
    sample = Sample(np.log1p(values[kept]), words[0][kept], words[1][kept], places[kept])
    return sample, genes, table.sha256
