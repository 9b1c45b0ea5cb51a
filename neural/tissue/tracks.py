"""Tables of tracked cells as a law is learned from them: tissues, frames, and who hears whom."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from neural.tables import Table, read_measurements
from neural.tissue.factored import Hearing
from neural.tissue.fit_law import Tracks
from neural.tissue.graph import Rows

#: share of the radius by which a cell may stray and still count as one that stays
_STAYS = 0.1


def tracks_of(spec: dict[str, Any], data: Path) -> tuple[list[Tracks], tuple[str, ...], str]:
    """Tracks by tissue, names of the signals and the table's sha256.

    The table has columns `cell`, `time` [min], `x`, `y` (and `z`) [um] and the signals, every cell at every time, and
    `tissue` where there are several, which are as far apart as can be.

    Raises:
        ValueError: cells that are missing at a time, frames that are not evenly spaced, or cells that change places.
    """
    table = read_measurements(data)
    signals = tuple(str(s) for s in spec["signals"])
    axes = ["x", "y", *(["z"] if spec.get("dims", 2) == 3 else [])]
    found = []
    for times, grid in frames_of(table, (*axes, *signals)):
        if len(times) < 6 or not np.allclose(np.diff(times), times[1] - times[0], rtol=1e-6):
            raise ValueError("needs at least six evenly spaced times")
        where = grid[:, :, : len(axes)]
        found.append(Tracks(times, grid[:, :, len(axes) :], _hearing(spec, where)))
    steps = [t.times[1] - t.times[0] for t in found]
    if not np.allclose(steps, steps[0], rtol=1e-6):
        raise ValueError("the frames of all tissues must be equally far apart")
    return found, signals, table.sha256


def truths_of(columns: Mapping[str, str], data: Path) -> list[np.ndarray]:
    """What neighbours truly added to the rate of each signal in `columns`, by tissue, (frame, cell, signal) [1/min]."""
    return [grid for _, grid in frames_of(read_measurements(data), tuple(columns.values()))]


def frames_of(table: Table, columns: tuple[str, ...]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Times (T,) and values (T, cell, column) of each tissue, in the order of their names.

    Raises:
        ValueError: a cell is missing at a time, or is there twice.
    """
    cell, time = (np.asarray(table.column(k)) for k in ("cell", "time"))
    values = np.stack([np.asarray(table.column(k), float) for k in columns], 1)
    try:
        tissue = np.asarray(table.column("tissue")).astype(str)
    except KeyError:
        tissue = np.zeros(len(cell), "U1")
    found = []
    for name in np.unique(tissue):
        mine = tissue == name
        cells, row = np.unique(cell[mine], return_inverse=True)
        times, frame = np.unique(time[mine].astype(float), return_inverse=True)
        once = np.unique(frame * len(cells) + row).size
        if mine.sum() != len(cells) * len(times) or once != mine.sum():
            raise ValueError(
                f"every one of {len(cells)} cells must be there once at each of {len(times)} times"
            )
        grid = np.empty((len(times), len(cells), len(columns)))
        grid[frame, row] = values[mine]
        found.append((times, grid))
    return found


def _hearing(spec: dict[str, Any], where: np.ndarray) -> Hearing:
    radius = float(spec["radius"])
    if np.abs(where - where[:1]).max() > _STAYS * radius:
        raise ValueError(
            "cells move by more than a tenth of the radius; a law of who hears whom needs them to stay"
        )
    rows, distance = _near(where.mean(0), radius)
    return Hearing.of(rows, torch.as_tensor(distance), bool(spec.get("mean", 1)), bool(spec.get("itself", 0)))


def _near(positions: np.ndarray, radius: float) -> tuple[Rows, np.ndarray]:
    from scipy.spatial import KDTree

    pairs = KDTree(positions).query_pairs(radius, output_type="ndarray")
    rows, _ = Rows.of_edges(np.concatenate([pairs, pairs[:, ::-1]]).T, len(positions))
    return rows, np.sqrt(((positions[rows.indices] - positions[rows.receivers]) ** 2).sum(1))
