"""What looks at a run from outside at its stops: the recorder."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sim.build import Plan
from sim.core.quantity import Quantity
from sim.core.state import CAUSES
from sim.instruments import Channel
from sim.scenario.units import unit
from sim.simulation import Simulation
from sim.store.layout import STRING, Layout, Variable
from sim.store.writer import RunWriter


def layout_of(plan: Plan) -> Layout:
    """The store's layout for a plan."""
    shape = plan.box.shape
    axes = {
        axis: plan.box.lower[k] + plan.box.voxel * (np.arange(shape[2 - k]) + 0.5)
        for k, axis in enumerate("xyz")
    }
    chosen = plan.outputs
    field_units = {f.settings.name: f.settings.unit for f in plan.fields}
    return Layout(
        time_unit=time_unit(plan),
        types=plan.type_names,
        phases=plan.life.settings.phase_names,
        causes=CAUSES[1:],
        cells=[_scalar(q) for q in chosen.scalars] + [_block(q) for q in chosen.blocks],
        fields=[Variable(f"field.{n}", field_units[n], f"{n}") for n in chosen.fields],
        grid=axes,
        summary=[v for q in chosen.scalars for v in _summary(q)],
        instruments={i.name: [_reading(c) for c in i.described()] for i in plan.instruments},
        coordinates={i.name: _coordinates(i.described()) for i in plan.instruments},
    )


def time_unit(plan: Plan) -> str:
    """The scenario's unit of time, that of `time.stop`."""
    return plan.scenario.time.stop.unit


def minutes_per_time_unit(plan: Plan) -> float:
    """Length of the scenario's unit of time [min]."""
    return float(unit(time_unit(plan)).factor) / 60


def bytes_needed(plan: Plan) -> int:
    """Room that the results will take at most if the number of cells stays as it is, and a checkpoint [bytes].

    Compression makes it less and growth more; a run that needs far more than there is free is refused by it.
    """
    frames = round(float(plan.scenario.time.stop) / float(plan.scenario.time.save_every)) + 1
    cells = sum(c.number for c in plan.scenario.cells.values())
    per_cell = 4 * (len(plan.outputs.scalars) + sum(q.width for q in plan.outputs.blocks)) + 48
    voxels = plan.box.shape[0] * plan.box.shape[1] * plan.box.shape[2]
    remembered = 8 * sum(max(q.width, 1) for p in plan.processes for q in p.states)
    other = 2 * (cells * remembered + 8 * voxels * len(plan.fields))
    for i in plan.instruments:
        readings = int(float(plan.scenario.time.stop) / i.every) + 1
        sizes = [np.dtype(c.dtype).itemsize * math.prod(len(a.values) for a in c.axes) for c in i.described()]
        other += readings * sum(sizes)
    return frames * (cells * per_cell + 4 * voxels * len(plan.outputs.fields)) + other


class Recorder:
    """Writes what a scenario asks for at each stop.

    What it remembers between stops (how much of the lineage it has written) goes into the checkpoint.
    """

    def __init__(self, writer: RunWriter, simulation: Simulation):
        self.writer = writer
        self.simulation = simulation
        self.plan = simulation.plan
        self._per_unit = minutes_per_time_unit(self.plan)
        self._born = 0
        self._dead = np.zeros(0, dtype=bool)
        self._frame_time = -1.0

    def memory(self) -> dict[str, Any]:
        """What a resumed recorder must know."""
        return {
            "born": self._born,
            "frame_time": self._frame_time,
            "untold_deaths": self._untold_deaths().tolist(),
        }

    def remember(self, memory: Mapping[str, Any]) -> None:
        self._born = int(memory["born"])
        self._frame_time = float(memory["frame_time"])
        self._dead = ~np.isnan(self.simulation.state.lineage["death_time"])
        self._dead[np.array(memory["untold_deaths"], dtype=np.int64)] = False
        self._dead = self._dead[: self._born]

    def event(self, text: str, kind: str, target: str, cells: np.ndarray) -> None:
        self.lineage()
        self.writer.event(self._now(), kind=kind, target=target, text=text, cells=cells.tolist())

    def instruments(self, due) -> None:
        for instrument in due:
            readings = instrument.read(self.simulation.state, self.simulation.signals)
            self.writer.instrument(instrument.name, self._now(), readings)

    def lineage(self) -> None:
        """Pass on births and deaths since the last call."""
        lineage = self.simulation.state.lineage
        total = len(lineage)
        new = np.arange(self._born, total)
        self.writer.births(
            cell=new,
            time=lineage["birth_time"][new] / self._per_unit,
            parent=lineage["parent"][new],
            type=lineage["type"][new],
        )
        fresh = self._untold_deaths()
        self.writer.deaths(
            cell=fresh, time=lineage["death_time"][fresh] / self._per_unit, cause=lineage["cause"][fresh] - 1
        )
        self._born, self._dead = total, ~np.isnan(lineage["death_time"])

    def frame(self) -> None:
        """One saved time: every cell, every field, the summary by type."""
        simulation, chosen = self.simulation, self.plan.outputs
        state, signals = simulation.state, simulation.signals
        self.lineage()
        position = state["cell.position"]
        cells: dict[str, np.ndarray] = {
            "cell": state.ids,
            "type": state["cell.type"],
            **{axis: position[:, k] for k, axis in enumerate("xyz")},
            "volume": state["cell.volume"],
            "phase": state["cell.phase"],
        }
        scalars = {q.name: signals[q.name] for q in chosen.scalars}
        cells |= scalars
        cells |= {q.name: signals[q.name] for q in chosen.blocks}
        fields = {f"field.{n}": state.fields[n] for n in chosen.fields}
        self.writer.frame(self._now(), cells, fields, self._summary(scalars))
        self._frame_time = state.time

    # ---- parts

    def _untold_deaths(self) -> np.ndarray:
        """Ids of cells that died since the writer was last told."""
        dead = ~np.isnan(self.simulation.state.lineage["death_time"])
        dead[: self._born] &= ~self._dead
        return np.flatnonzero(dead)

    def _now(self) -> float:
        return round(self.simulation.state.time / self._per_unit, 9)

    def _summary(self, scalars: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        state, count = self.simulation.state, len(self.plan.type_names)
        living = self.simulation.signals["cell.living"] > 0
        types = state["cell.type"]
        lineage, since = state.lineage, self._frame_time
        born = (lineage["birth_time"] > since) & (lineage["parent"] >= 0)
        died = lineage["death_time"] > since
        out = {
            "count": np.bincount(types[living], minlength=count),
            "births": np.bincount(lineage["type"][born], minlength=count),
            "deaths": np.bincount(lineage["type"][died], minlength=count),
        }
        for name, values in scalars.items():
            mean, sd = np.full(count, np.nan), np.full(count, np.nan)
            for code in range(count):
                mine = values[living & (types == code)]
                if mine.size and not np.isnan(mine).all():
                    mean[code], sd[code] = np.nanmean(mine), np.nanstd(mine)
            out[f"{name}.mean"], out[f"{name}.sd"] = mean, sd
        return out


def _scalar(q: Quantity) -> Variable:
    return Variable(q.name, q.unit or "1", q.meaning)


def _block(q: Quantity) -> Variable:
    attrs = {"labels": " ".join(label.replace(" ", "_") for label in q.labels)}
    return Variable(
        q.name,
        q.unit or "1",
        q.meaning,
        axes=((f"{q.name.replace('.', '_')}_component", q.width),),
        attrs=attrs,
    )


def _reading(channel: Channel) -> Variable:
    axes = tuple((a.name, len(a.values)) for a in channel.axes)
    return Variable(
        channel.name, channel.unit, channel.meaning, channel.dtype, axes=axes, attrs=dict(channel.attrs)
    )


def _coordinates(channels: Sequence[Channel]) -> list[tuple[Variable, Sequence[Any]]]:
    """The axes that the channels of an instrument have beside time, each once."""
    axes = {a.name: a for c in channels for a in c.axes}
    return [(Variable(a.name, a.unit, a.meaning, _kind(a.values)), a.values) for a in axes.values()]


def _kind(values: Sequence[Any]) -> str:
    if values and isinstance(values[0], str):
        return STRING
    return "int64" if values and isinstance(values[0], int) else "float64"


def _summary(q: Quantity) -> list[Variable]:
    return [
        Variable(f"{q.name}.mean", q.unit or "1", f"{q.meaning}, mean over living cells", "float64"),
        Variable(
            f"{q.name}.sd", q.unit or "1", f"{q.meaning}, standard deviation over living cells", "float64"
        ),
    ]
