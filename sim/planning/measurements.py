"""Measured curves to lay over simulated ones, with the additive rules as controls.

A table of wells is an `.npz` with `Y` (well, frame, channel), `time_h` (frame,), `cond` (well,) and `channels`
(channel,), or a `.csv` with the columns `condition`, `time_h` and one for each channel. Wells of one condition are
replicates; frames whose time starts again at the first one are further replicates of the same well.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sim.spelling import did_you_mean

#: how the condition without drug is called, and how two drugs are joined
CONTROL = "Control"
JOINT = " + "
#: readings below this are taken as this [%], so that their logarithm exists
_FLOOR = 0.02


class MeasurementsError(ValueError):
    """A table that cannot be used. `key` is the key of the section `measurements` at fault."""

    def __init__(self, key: str, message: str):
        self.key = key
        super().__init__(message)


@dataclass(frozen=True)
class Table:
    """Wells by condition: curves (replicate, frame, channel) at `hours` (frame,)."""

    hours: np.ndarray
    channels: tuple[str, ...]
    curves: Mapping[str, np.ndarray]


def read_table(file: Path, replicates: int = 1) -> Table:
    """The wells in `file`.

    Args:
        replicates: how many replicates follow each other in the frames of one row.

    Raises:
        MeasurementsError: the file is no such table.
    """
    try:
        return _read_npz(file, replicates) if file.suffix == ".npz" else _read_csv(file)
    except (OSError, ValueError, KeyError) as error:
        raise MeasurementsError("file", f"is not a table of measurements ({error})") from None


def series(
    table: Table, condition: str, channels: Mapping[str, str], hours_per_unit: float
) -> list[dict[str, Any]]:
    """Curves for a report: the measured replicates of `condition`, and Bliss and HSA where it joins two others.

    Args:
        channels: channel of the instrument → column of the table.
        hours_per_unit: length of the report's unit of time [h].

    Returns:
        mappings with name, channel, time, value and kind (measured, bliss or hsa).

    Raises:
        MeasurementsError: no such condition or column.
    """
    if condition not in table.curves:
        raise MeasurementsError(
            "condition", f"the table has no wells of '{condition}'{did_you_mean(condition, table.curves)}"
        )
    found: list[dict[str, Any]] = []
    time = (table.hours / hours_per_unit).tolist()
    expected = _expected(table, condition)
    for channel, column in channels.items():
        if column not in table.channels:
            raise MeasurementsError(
                "channels", f"the table has no column '{column}'{did_you_mean(column, table.channels)}"
            )
        k = table.channels.index(column)
        measured = [
            ("measured", f"{condition}, replicate {i + 1}", curve)
            for i, curve in enumerate(table.curves[condition])
        ]
        for kind, name, curve in [*measured, *expected]:
            found.append(
                {"name": name, "channel": channel, "kind": kind, "time": time, "value": curve[:, k].tolist()}
            )
    return found


def _expected(table: Table, condition: str) -> list[tuple[str, str, np.ndarray]]:
    """What two rules make of the single drugs: log-additive (Bliss) and the stronger one (HSA).

    Both act on the logarithm of the reading relative to its start and are scaled to the measured start.
    """
    parts = condition.split(JOINT)
    if len(parts) != 2 or any(p not in table.curves for p in (*parts, CONTROL)):
        return []
    control, first, second = (_growth(table.curves[p]) for p in (CONTROL, *parts))
    start = np.maximum(table.curves[condition].mean(axis=0)[:1], _FLOOR)
    bliss = first + second - control
    hsa = np.where(np.abs(first - control) >= np.abs(second - control), first, second)
    return [("bliss", "Bliss", start * np.exp(bliss)), ("hsa", "HSA", start * np.exp(hsa))]


def _growth(curves: np.ndarray) -> np.ndarray:
    """Mean over replicates of the logarithm relative to the first frame (frame, channel)."""
    logs = np.log(np.maximum(curves, _FLOOR))
    return (logs - logs[:, :1]).mean(axis=0)


def _read_npz(file: Path, replicates: int) -> Table:
    with np.load(file, allow_pickle=False) as z:
        values, hours = z["Y"].astype(float), z["time_h"].astype(float)
        conditions, channels = z["cond"].astype(str), tuple(z["channels"].astype(str))
    if values.ndim != 3 or values.shape[1] % replicates:
        raise ValueError(f"{values.shape[1]} frames cannot be {replicates} replicates")
    frames = values.shape[1] // replicates
    values = values.reshape(len(values), replicates, frames, -1)
    curves = {c: np.concatenate(values[conditions == c]) for c in dict.fromkeys(conditions.tolist())}
    # a well that is listed twice (a control shared by two plates) counts once
    return Table(hours[:frames], channels, {c: np.unique(v, axis=0) for c, v in curves.items()})


def _read_csv(file: Path) -> Table:
    with file.open(newline="", encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    if not rows:
        raise ValueError("it is empty")
    channels = tuple(name for name in rows[0] if name not in ("condition", "time_h"))
    hours = np.unique([float(r["time_h"]) for r in rows])
    curves: dict[str, np.ndarray] = {}
    for condition in dict.fromkeys(r["condition"] for r in rows):
        mine = [r for r in rows if r["condition"] == condition]
        curves[condition] = _replicates(mine, hours, channels)
    return Table(hours, channels, curves)


def _replicates(rows: Sequence[Mapping[str, str]], hours: np.ndarray, channels: Sequence[str]) -> np.ndarray:
    """(replicate, frame, channel): the n-th row of a time belongs to the n-th replicate."""
    seen: dict[float, int] = {}
    placed: dict[tuple[int, int], list[float]] = {}
    for r in rows:
        time = float(r["time_h"])
        number = seen.get(time, 0)
        seen[time] = number + 1
        placed[number, int(np.searchsorted(hours, time))] = [float(r[c]) for c in channels]
    out = np.full((max(n for n, _ in placed) + 1, len(hours), len(channels)), np.nan)
    for (number, frame), values in placed.items():
        out[number, frame] = values
    return out
