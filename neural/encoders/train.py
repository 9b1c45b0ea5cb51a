"""From a training file of kind "representation" to a weights file with scores of held-out cells beside controls."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from neural.checkpoints import Checkpoint, sorted_text
from neural.encoders.modalities import Modality, checked
from neural.encoders.picture import draw_space
from neural.encoders.reading import read_below, read_modality
from neural.encoders.representation import Representation
from neural.encoders.scores import flag_scores, held_out_scores, state_scores
from neural.progress import Progress
from neural.tables import read_measurements

_HOLD_OUT = 0.2
_OPTIONS = ("hidden", "layers", "epochs", "rate")


@dataclass(frozen=True)
class Cells:
    """What a training file makes of its data.

    Attributes:
        tables: modality -> (cell, feature).
        states: a word for each cell, empty where it is not known, or None.
        groups: which cells are held out together, a word for each cell, or None.
        reads: how each modality is read from a table.
        below: what is known of the spaces that this one is built on, by modality.
        sha256: of the data.
    """

    modalities: tuple[Modality, ...]
    tables: dict[str, np.ndarray]
    states: np.ndarray | None
    groups: np.ndarray | None
    reads: dict[str, dict[str, Any]]
    below: dict[str, dict[str, Any]]
    sha256: str

    def part(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        return {name: t[rows] for name, t in self.tables.items()}


def train_representation(
    spec: dict[str, Any], data: Path, output: Path, checkpoint: Path, resume: bool, progress: Progress | None
) -> dict[str, Any]:
    """Fit on the training cells, score on held-out ones beside controls, write and draw `output`; returns the card.

    A variational fit keeps a checkpoint, from which `resume` goes on to the same bits. Weights of spaces below are
    looked for beside the data, then beside the output.
    """
    cells = cells_of(spec, data, output.parent)
    fit = spec.get("fit", {})
    seed, share = int(fit.get("seed", 0)), float(fit.get("hold_out", _HOLD_OUT))
    rows = len(next(iter(cells.tables.values())))
    test = held_out(cells.groups if cells.groups is not None else np.arange(rows), share, seed)
    train = np.flatnonzero(~np.isin(np.arange(rows), test))
    method = spec.get("method", "vae")
    options = {k: fit[k] for k in _OPTIONS if k in fit} if method == "vae" else {}
    if method == "vae":
        digest = hashlib.sha256(b"".join(t.tobytes() for t in cells.tables.values())).hexdigest()
        options["checkpoint"] = Checkpoint(checkpoint, f"{digest} {sorted_text(spec)}", resume)
    dimension = int(spec["space"]["components"])
    kept, unseen = cells.part(train), cells.part(test)
    words = None if cells.states is None else (cells.states[train], cells.states[test])
    states = words[0] if words else None
    made = Representation.fit(
        kept,
        cells.modalities,
        dimension,
        spec["space"]["name"],
        method,
        spec.get("scale", "cellular"),
        states,
        provenance=f"{method} of {len(train)} cells of {data.name} ({cells.sha256[:16]})",
        seed=seed,
        progress=progress,
        **options,
    )
    models = {f"this space ({method})": made}
    if method != "pca":
        models["PCA of the same dimension"] = Representation.fit(
            kept, cells.modalities, dimension, "control", "pca", states=states
        )
    scores = held_out_scores(models, cells.modalities, kept, unseen, seed)
    if words and made.states is not None:
        scores |= state_scores(models, cells.modalities, kept, unseen, words)
    scores |= flag_scores(made, unseen, seed)
    card = {
        "data": {"file": data.name, "sha256": cells.sha256, "cells": rows},
        "split": {
            "training": len(train),
            "held out": len(test),
            "how": f"whole groups of {fit['hold_out_by']}" if "hold_out_by" in fit else "cells at random",
        },
        "seeds": [seed],
        "scores": scores,
        "reads": cells.reads,
        "below": cells.below,
        "notes": list(spec.get("notes", [])),
    }
    made.save(output, **card)
    draw_space(made, unseen, words[1] if words else None, output.with_suffix(".png"))
    checkpoint.unlink(missing_ok=True)
    return card


def cells_of(spec: Mapping[str, Any], data: Path, beside: Path) -> Cells:
    """The modalities of a training file, read from its data.

    Raises:
        ValueError, KeyError: the data do not have what the file asks for.
    """
    table = read_measurements(data)
    states, groups = spec["space"].get("states"), spec.get("fit", {}).get("hold_out_by")
    # what says something else of the cells is no measurement of them
    leave = [c for c in (states, groups) if c is not None]
    modalities, tables, reads, below = [], {}, {}, {}
    for name, asked in spec["modalities"].items():
        how = {k: asked[k] for k in ("values", "weights") if k in asked}
        if "weights" in how:
            if "graph" in spec:
                how["graph"] = spec["graph"]
            modality, tables[name], below[name] = read_below(table, name, how, (data.parent, beside))
        else:
            modality, tables[name] = read_modality(
                table, name, asked["kind"], asked.get("features"), how, leave
            )
        modalities.append(modality)
        reads[name] = how
    words = [None if c is None else _words(table.column(c)) for c in (states, groups)]
    tables = checked(tables, tuple(modalities), all_of_them=True, names=table.names)
    return Cells(tuple(modalities), tables, words[0], words[1], reads, below, table.sha256)


def _words(column: np.ndarray) -> np.ndarray:
    """A word for each cell; empty where nothing is said."""
    unsaid = np.array([c is None or c != c for c in column.tolist()], bool)
    return np.where(unsaid, "", np.asarray(column).astype(str))


def held_out(groups: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Rows of whole groups, drawn by the seed until they make `share` of all rows; some are always left to train on.

    Raises:
        ValueError: there is but one group.
    """
    names, which = np.unique(groups, return_inverse=True)
    if len(names) < 2:
        raise ValueError(
            f"to hold some out there must be two groups of cells, not {len(names)} of {len(groups)} cells"
        )
    order = np.random.default_rng(seed).permutation(len(names))
    sizes = np.cumsum(np.bincount(which)[order])
    count = int(np.clip(np.searchsorted(sizes, share * len(groups)) + 1, 1, len(names) - 1))
    return np.flatnonzero(np.isin(which, order[:count]))
