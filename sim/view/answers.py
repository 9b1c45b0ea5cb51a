"""What the page asks for, as plain data: the run, the cells of a time, a field, the course of a quantity or a cell."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sim.report.rundata import RunData

#: cells and voxels that are sent for one picture; more are thinned evenly
MOST_CELLS, MOST_VOXELS = 20_000, 250_000
#: ways to colour that every run has
_ALWAYS = ("type", "phase", "volume")


class NotThere(LookupError):
    """The run has no such thing; the message is for the user."""


class Answers:
    """Reads one run, again whenever it has grown."""

    def __init__(self, path: Path):
        self.path = path
        self._seen = -1
        self._run = self._opened()

    @property
    def run(self) -> RunData:
        """The run as it is on disk now."""
        if (self.path / "zarr.json").stat().st_mtime_ns != self._seen:
            self._run = self._opened()
        return self._run

    def _opened(self) -> RunData:
        found = RunData(self.path)
        self._seen = (self.path / "zarr.json").stat().st_mtime_ns
        return found

    # ---- what can be asked

    def about(self, _asked: Mapping[str, str]) -> dict[str, Any]:
        """Names, times, units, and the course of the counts."""
        run = self.run
        counts = run.summary["count"]
        return {
            "title": str(run.attribute("title", self.path.name)),
            "status": str(run.attribute("status", "")),
            "file": self.path.name,
            "times": _plain(run.time),
            "unit": run.unit,
            "types": run.types,
            "colours": run.type_colours,
            "phases": run.phases,
            "phase_colours": run.phase_colours,
            "quantities": [*_ALWAYS, *run.quantities, *self._components()],
            "units": {n: run.units(n) for n in ("volume", *run.quantities)},
            "fields": {n: run.units(n, "fields") for n in self._fields()},
            "solid": run.solid,
            "counts": {t: _plain(counts.isel(type=k).values) for k, t in enumerate(run.types)},
            "events": [{"time": e.time, "text": e.text} for e in run.events],
        }

    def cells(self, asked: Mapping[str, str]) -> dict[str, Any]:
        """Cells of `frame`: number, place [um], radius [um], and the values of `quantity`.

        What goes on in a cell is no number where the cell is dead.
        """
        run, frame = self.run, self._frame(asked)
        rows = _thinned(len(run.at("cell", frame)), MOST_CELLS)
        name = self._quantity(asked)
        values = self._values(name, frame)
        if name not in _ALWAYS:
            values = np.where(run.living(frame), values, np.nan)
        volume = run.at("volume", frame)[rows]
        return {
            "total": len(run.at("cell", frame)),
            "cell": _plain(run.at("cell", frame)[rows]),
            **{axis: _plain(run.at(axis, frame)[rows], 6) for axis in "xyz"},
            "radius": _plain(np.cbrt(0.75 * np.abs(volume) / np.pi), 4),
            "type": _plain(run.at("type", frame)[rows]),
            "phase": _plain(run.at("phase", frame)[rows]),
            "value": _plain(values[rows], 6),
        }

    def field(self, asked: Mapping[str, str]) -> dict[str, Any]:
        """Values of the field `name` at `frame`, in its middle plane where there are several."""
        run, frame, name = self.run, self._frame(asked), asked.get("name", "")
        if name not in self._fields():
            raise NotThere(f"there is no field '{name}'")
        data = run.tree["fields"].to_dataset()[name]
        plane = data.isel(time=frame)
        if "z" in plane.dims:
            plane = plane.isel(z=plane.sizes["z"] // 2)
        step = max(1, math.ceil(math.sqrt(plane.size / MOST_VOXELS)))
        plane = plane.isel(x=slice(None, None, step), y=slice(None, None, step))
        return {
            "x": _plain(plane["x"].values),
            "y": _plain(plane["y"].values),
            "value": _plain(plane.values, 6),
        }

    def course(self, asked: Mapping[str, str]) -> dict[str, Any]:
        """Median and 10-90 % range of `quantity` over the living cells of each type, at the times that are read.

        `limits` hold all but 1 % at either end over the whole run: for colours that mean the same at every time.
        """
        run, name = self.run, self._quantity(asked)
        found: dict[str, Any] = {"time": _plain(run.time[run.read]), "of": {}}
        if name in ("type", "phase"):
            return found
        frames = [self._values(name, f)[run.living(f)] for f in run.read]
        kinds = [run.at("type", f)[run.living(f)] for f in run.read]
        known = np.concatenate([v[np.isfinite(v)] for v in frames]) if frames else np.empty(0)
        found["limits"] = _plain(np.quantile(known, (0.01, 0.99)), 6) if known.size else None
        for code, label in enumerate(run.types):
            bands = np.full((3, len(frames)), np.nan)
            for k, (values, types) in enumerate(zip(frames, kinds)):
                mine = values[(types == code) & np.isfinite(values)]
                if mine.size:
                    bands[:, k] = np.quantile(mine, (0.1, 0.5, 0.9))
            found["of"][label] = dict(zip(("low", "middle", "high"), (_plain(b, 6) for b in bands)))
        return found

    def cell(self, asked: Mapping[str, str]) -> dict[str, Any]:
        """The course of `quantity` in one cell, by its number."""
        run, name = self.run, self._quantity(asked)
        try:
            number = int(asked.get("id", ""))
        except ValueError:
            raise NotThere("which cell? give its number as id") from None
        times, values = [], []
        for f in run.read:
            place = np.flatnonzero(run.at("cell", f) == number)
            if place.size:
                times.append(float(run.time[f]))
                values.append(float(self._values(name, f)[place[0]]))
        if not times:
            raise NotThere(f"there is no cell {number}")
        return {"time": times, "value": _plain(np.array(values), 6)}

    # ---- parts

    def _frame(self, asked: Mapping[str, str]) -> int:
        try:
            frame = int(asked.get("frame", "0"))
        except ValueError:
            raise NotThere("the frame is a whole number") from None
        if not 0 <= frame < len(self.run.time):
            raise NotThere(f"there are frames 0 to {len(self.run.time) - 1}")
        return frame

    def _quantity(self, asked: Mapping[str, str]) -> str:
        name = asked.get("quantity", "type")
        if name not in (*_ALWAYS, *self.run.quantities, *self._components()):
            raise NotThere(f"there is no quantity '{name}'")
        return name

    def _values(self, name: str, frame: int) -> np.ndarray:
        if "[" in name:
            block, _, part = name.partition("[")
            return self.run.at(block, frame)[:, int(part.rstrip("]"))].astype(float)
        return self.run.at(name, frame).astype(float)

    def _components(self) -> list[str]:
        run = self.run
        return [f"{n}[{k}]" for n in run.representations for k in range(run.cells[n].shape[1])]

    def _fields(self) -> list[str]:
        return [str(n) for n in self.run.tree["fields"].data_vars]


def _thinned(count: int, most: int) -> np.ndarray:
    return np.arange(count) if count <= most else np.linspace(0, count - 1, most).round().astype(int)


def _plain(values: np.ndarray, digits: int | None = None) -> list:
    """As JSON takes it: what is no number is null."""
    values = np.asarray(values)
    if values.dtype.kind in "iub":
        return values.tolist()
    values = values.astype(float)
    if digits is not None and values.size:
        with np.errstate(divide="ignore", invalid="ignore"):
            size = 10.0 ** (digits - np.floor(np.log10(np.abs(values))) - 1)
            rounded = np.round(values * size) / size
        values = np.where(np.isfinite(rounded), rounded, values)
    return _without_nan(values.tolist())


def _without_nan(values: list) -> list:
    return [_without_nan(v) if isinstance(v, list) else v if math.isfinite(v) else None for v in values]
