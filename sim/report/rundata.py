"""A run as the report needs it: small arrays, names instead of codes, thinned where it is large."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sim.report.style import DYING, phase_colours, type_colours

if TYPE_CHECKING:
    import xarray as xr

_MOST_FRAMES = 200
_MOST_ROWS = 4_000_000  # of a quantity; beyond it fewer times are read, one by one
_MOST_HELD = 24  # quantities in memory


@dataclass(frozen=True)
class Event:
    """Something done to the cells: time, words, number of cells."""

    time: float
    text: str
    cells: int


class RunData:
    """What the pages of the report draw from.

    Attributes:
        tree: the opened run.
        time: saved times, in `unit`.
        read: indices of the times whose cells are read.
    """

    def __init__(self, path: Path):
        from sim.store.reader import open_run

        self.path = path
        self.tree: xr.DataTree = open_run(path)
        self.cells = self.tree["cells"].to_dataset()
        self.summary = self.tree["summary"].to_dataset().load()
        self.time = self.cells["time"].values
        self.unit = str(self.cells["time"].attrs["units"])
        sizes = self.cells["row_size"].values
        self._ends = np.cumsum(sizes)
        self._starts = self._ends - sizes
        self._whole: dict[str, np.ndarray] = {}
        self.read = _thinned(len(self.time), int(sizes.sum()))

    # ---- names

    @cached_property
    def types(self) -> list[str]:
        return [str(t) for t in self.summary["type"].values]

    @cached_property
    def phases(self) -> list[str]:
        return str(self.cells["phase"].attrs.get("flag_meanings", "")).split()

    @cached_property
    def type_colours(self) -> dict[str, str]:
        return type_colours(self.types)

    @cached_property
    def phase_colours(self) -> dict[str, str]:
        return phase_colours(self.phases)

    def attribute(self, name: str, otherwise: Any = None) -> Any:
        """A root attribute; those that hold JSON are read."""
        value = self.tree.attrs.get(name, otherwise)
        if isinstance(value, str) and value[:1] in "{[":
            try:
                return json.loads(value)
            except ValueError:
                return value
        return value

    def units(self, name: str, group: str = "cells") -> str:
        """The unit of a variable, empty for pure numbers."""
        unit = str(self.tree[f"{group}/{name}"].attrs.get("units", ""))
        return "" if unit in ("1", "dimensionless") else unit

    def meaning(self, name: str) -> str:
        return str(self.tree[f"cells/{name}"].attrs.get("long_name", name))

    def in_words(self, name: str) -> str:
        """The name, and what it means where that says more: not "pathway.egfr.ppERK: ppERK of egfr"."""
        meaning = self.meaning(name)
        known = set(re.split(r"\W+", name)) | {"of"}
        return name if set(re.split(r"\W+", meaning)) <= known else f"{name} ({meaning})"

    # ---- cells

    @cached_property
    def solid(self) -> bool:
        """Whether the run is three-dimensional."""
        if self.tree["fields"].sizes.get("z", 1) > 1:
            return True
        heights = self.at("z", len(self.time) - 1) if len(self.time) else np.empty(0)
        return len(heights) > 0 and bool(np.ptp(heights) > 0)

    def at(self, name: str, frame: int) -> np.ndarray:
        """A per-cell quantity at one saved time."""
        rows = slice(int(self._starts[frame]), int(self._ends[frame]))
        if self.cells.sizes["obs"] > _MOST_ROWS:
            return self.cells[name].isel(obs=rows).values
        if name not in self._whole:
            while len(self._whole) >= _MOST_HELD:
                del self._whole[next(iter(self._whole))]
            self._whole[name] = self.cells[name].values
        return self._whole[name][rows]

    def living(self, frame: int) -> np.ndarray:
        """Which cells at one saved time are alive."""
        dead = [k for k, name in enumerate(self.phases) if name in DYING]
        return ~np.isin(self.at("phase", frame), dead)

    @cached_property
    def quantities(self) -> list[str]:
        """Per-cell quantities that the scenario asked for, one value each."""
        return [str(n) for n, v in self.cells.data_vars.items() if "." in str(n) and v.dims == ("obs",)]

    @cached_property
    def representations(self) -> list[str]:
        """Per-cell quantities with several components."""
        return [str(n) for n, v in self.cells.data_vars.items() if v.ndim == 2]

    @cached_property
    def _of_living(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """For each read time: rows of the living cells, their types."""
        found = []
        for frame in self.read:
            rows = np.flatnonzero(self.living(frame))
            found.append((rows, self.at("type", frame)[rows]))
        return found

    def values(self, name: str) -> list[np.ndarray]:
        """A quantity of the living cells, for each read time."""
        return [
            self.at(name, frame)[rows] for frame, (rows, _) in zip(self.read, self._of_living, strict=True)
        ]

    @cached_property
    def types_of_living(self) -> list[np.ndarray]:
        """Their type codes."""
        return [types for _, types in self._of_living]

    @cached_property
    def names_of_living(self) -> list[np.ndarray]:
        """Their numbers."""
        return self.values("cell")

    # ---- the rest

    @cached_property
    def events(self) -> list[Event]:
        events = self.tree["events"].to_dataset().load()
        rows = zip(events["time"].values, events["text"].values, events["row_size"].values, strict=True)
        return [Event(float(t), str(text), int(n)) for t, text, n in rows]

    @cached_property
    def event_times(self) -> list[float]:
        """Times to mark, at most eight."""
        times = sorted({e.time for e in self.events})
        return times if len(times) <= 8 else []

    @cached_property
    def phase_counts(self) -> np.ndarray:
        """Cells in each phase at each read time, (time, phase)."""
        size = len(self.phases)
        return np.array([np.bincount(self.at("phase", f), minlength=size) for f in self.read]).reshape(
            -1, size
        )


def quantiles(values: list[np.ndarray], probabilities: tuple[float, ...]) -> np.ndarray:
    """(probability, time); NaN where no cell has a value."""
    out = np.full((len(probabilities), len(values)), np.nan)
    for k, now in enumerate(values):
        now = now[np.isfinite(now)]
        if len(now):
            out[:, k] = np.quantile(now, probabilities)
    return out


def _thinned(frames: int, rows: int) -> np.ndarray:
    most = min(_MOST_FRAMES, max(8, int(frames * min(1.0, _MOST_ROWS / max(rows, 1)))))
    if frames <= most:
        return np.arange(frames)
    return np.unique(np.linspace(0, frames - 1, most).round().astype(int))
