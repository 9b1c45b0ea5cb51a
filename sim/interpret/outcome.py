"""What is to be explained: one number of a run, written as `count(pc9) @ 72 h`.

    count(pc9) @ 72 h                              living cells of a type; count() of all
    mean(pathway.egfr.ppERK, pc9) @ 12 h           mean, sd, sum, min, max over the living cells of a type
    mean(pathway.egfr.ppERK, pc9) over 6-24 h      the mean over a stretch of time
    mean(field.oxygen) @ 12 h                      a field without a type: over space
    instrument.incucyte.live_area @ 96 h           what an instrument would read then

The text is matched by a grammar and never evaluated.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NoReturn

import numpy as np

from sim.build import Plan
from sim.core.quantity import aggregate_of, component_of
from sim.errors import ScenarioError, escaped
from sim.instruments.base import number_of
from sim.scenario.units import TIME, UnitError, quantity
from sim.simulation import Simulation
from sim.spelling import did_you_mean, one_of

_LONGEST = 300
_STATISTICS: dict[str, Callable[[np.ndarray], np.floating]] = {
    "mean": np.mean,
    "sd": np.std,
    "sum": np.sum,
    "min": np.min,
    "max": np.max,
}
_WHEN = re.compile(
    r"(?P<what>.+?)(?:\s*@\s*(?P<at>[^@]+)|\s+over\s+(?P<start>[0-9.eE+]+)\s*(?P<start_unit>[A-Za-z]*)\s*[-–—]\s*(?P<stop>[0-9.].*))"
)
_CALL = re.compile(r"(\w+)\s*\((.*)\)")
_READING = re.compile(r"instrument\.(\w+)\.(\w+)")
_EXAMPLE = (
    "write it like 'count(pc9) @ 72 h', 'mean(field.oxygen) @ 12 h' or 'mean(cell.volume, pc9) over 6-24 h'"
)


@dataclass(frozen=True)
class Outcome:
    """One number of a run.

    Attributes:
        text: as the user wrote it.
        statistic: `count`, one of mean, sd, sum, min, max, or `reading` of an instrument.
        quantity: name of the quantity, or of the instrument; empty for `count`.
        channel: the instrument's channel.
        cells: code of the cell type, None for all cells (of a field: over space).
        start, stop: the stretch of time that it is averaged over [min]; equal for one time.
        unit: of the number.
    """

    text: str
    statistic: str
    quantity: str
    channel: str
    cells: int | None
    start: float
    stop: float
    unit: str

    @property
    def when(self) -> str:
        """The time in the words of the text."""
        at, _, over = self.text.partition("@")
        return over.strip() or re.split(r"\sover\s", at)[-1].strip()

    def value(self, simulation: Simulation) -> float:
        """The number now. NaN where no cell has it."""
        if self.statistic == "reading":
            instrument = next(i for i in simulation.plan.instruments if i.name == self.quantity)
            return number_of(instrument, self.channel, simulation.state, simulation.signals)
        if self.cells is None and self.quantity.startswith("field."):
            return self._over_space(simulation)
        state, signals = simulation.state, simulation.signals
        chosen = signals["cell.living"] > 0
        if self.cells is not None:
            chosen = chosen & (state["cell.type"] == self.cells)
        if self.statistic == "count":
            return float(chosen.sum())
        values = signals[self.quantity][chosen]
        values = values[~np.isnan(values)]
        return float(_STATISTICS[self.statistic](values)) if values.size else float("nan")

    def _over_space(self, simulation: Simulation) -> float:
        values = simulation.state.fields[self.quantity.removeprefix("field.")]
        result = float(_STATISTICS[self.statistic](values))
        return result * simulation.plan.box.voxel**3 if self.statistic == "sum" else result


def parse_outcome(text: str, plan: Plan) -> Outcome:
    """Read an outcome of the planned scenario.

    Raises:
        ScenarioError: not of the grammar, or the scenario has no such quantity, type, instrument or time.
    """
    return _Reader(text, plan).outcome()


@dataclass(frozen=True)
class Wanted:
    """An outcome and the value that it is to come to, in its unit."""

    outcome: Outcome
    value: float

    @property
    def text(self) -> str:
        return f"{self.outcome.text} = {self.value:g}"


def parse_wanted(text: str, plan: Plan) -> Wanted:
    """Read `OUTCOME = VALUE`.

    Raises:
        ScenarioError: not of the form, or the scenario has no such outcome.
    """
    outcome, value = split_wanted(text)
    return Wanted(parse_outcome(outcome, plan), value)


def split_wanted(text: str) -> tuple[str, float]:
    """The outcome's text and the value of `OUTCOME = VALUE`.

    Raises:
        ScenarioError: not of the form.
    """
    outcome, equals, value = text.rpartition("=")
    try:
        number = float(value)
    except ValueError:
        number = float("nan")
    if not equals or not outcome.strip() or not np.isfinite(number):
        raise ScenarioError(
            f"--reach '{escaped(text, 100)}': write it as OUTCOME = VALUE, "
            "for example 'mean(pathway.egfr.ppERK, pc9) @ 24 h = 0.2'"
        )
    return outcome.strip(), number


class _Reader:
    """Takes one text apart; every fault is one line that starts with `--outcome`."""

    def __init__(self, text: str, plan: Plan):
        self.text = " ".join(text.split())
        self.plan = plan

    def outcome(self) -> Outcome:
        found = _WHEN.fullmatch(self.text) if len(self.text) <= _LONGEST else None
        if found is None:
            self._refuse(f"no time is given; {_EXAMPLE}" if 0 < len(self.text) <= _LONGEST else _EXAMPLE)
        start, stop = self._times(found)
        what = found["what"].strip()
        reading = _READING.fullmatch(what)
        if reading:
            name, channel, unit = self._instrument(*reading.groups())
            return Outcome(self.text, "reading", name, channel, None, start, stop, unit)
        call = _CALL.fullmatch(what)
        if call is None:
            if what.startswith("instrument."):
                self._refuse("an instrument's reading is written instrument.<name>.<channel>")
            hint = f"; write mean({what}) for its mean" if self._known(what) else ""
            self._refuse(f"'{escaped(what)}' is not a number of the whole tissue{hint}; {_EXAMPLE}")
        statistic, (name, cells) = call[1], _arguments(call[2])
        if statistic == "count":
            if cells:
                self._refuse("count takes one cell type")
            return Outcome(self.text, "count", "", "", self._cells(name) if name else None, start, stop, "1")
        if statistic not in _STATISTICS:
            allowed = ("count", *_STATISTICS)
            self._refuse(
                f"unknown statistic '{escaped(statistic)}'; use {one_of(allowed)}{did_you_mean(statistic, allowed)}"
            )
        unit = self._unit(name)
        code = self._cells(cells) if cells else None
        if statistic == "sum" and code is None and name.startswith("field."):
            unit = f"{unit}*um^3"
        return Outcome(self.text, statistic, name, "", code, start, stop, unit)

    # ---- parts

    def _times(self, found: re.Match) -> tuple[float, float]:
        if found["at"]:
            start = stop = self._time(found["at"].strip())
        else:
            stop = self._time(found["stop"].strip())
            unit = found["start_unit"] or re.sub(r"^[-+0-9.eE\s]*", "", found["stop"])
            start = self._time(f"{found['start']} {unit}")
            if start >= stop:
                self._refuse(
                    f"the time ends before it begins (got {escaped(found['start'])} to {escaped(found['stop'])})"
                )
        end = self.plan.scenario.time.stop
        if stop > float(end) * (1 + 1e-9):
            self._refuse(f"the scenario stops at {end}, before this time")
        return start, min(stop, float(end))

    def _time(self, text: str) -> float:
        try:
            time = float(quantity(text, TIME))
        except UnitError as error:
            self._refuse(f"the time {error} (got {escaped(text)})")
        if time < 0:
            self._refuse(f"the time must not be negative (got {escaped(text)})")
        return time

    def _cells(self, name: str) -> int:
        types = self.plan.type_names
        if name not in types:
            self._refuse(
                f"no cell type '{escaped(name)}'; there is {one_of(types)}{did_you_mean(name, types)}"
            )
        return types.index(name)

    def _instrument(self, name: str, channel: str) -> tuple[str, str, str]:
        """Name, channel and unit of what an instrument reads."""
        instruments = {i.name: i for i in self.plan.instruments}
        if name not in instruments:
            there = f"there is {one_of(instruments)}" if instruments else "the scenario has no instruments"
            self._refuse(f"no instrument '{escaped(name)}'; {there}{did_you_mean(name, instruments)}")
        channels = {c.name: c.unit for c in instruments[name].described() if c.dtype != "int64"}
        if channel not in channels:
            self._refuse(
                f"{name} has no channel '{escaped(channel)}'; it has {one_of(channels)}"
                f"{did_you_mean(channel, channels)}"
            )
        return name, channel, channels[channel]

    def _known(self, name: str) -> bool:
        return any(q.name == name for p in self.plan.processes for q in p.quantities)

    def _unit(self, name: str) -> str:
        """Unit of a quantity with one value per cell; refuses all others."""
        known = {q.name: q for p in self.plan.processes for q in p.quantities}
        aggregate = aggregate_of(name)
        if aggregate and aggregate.how == "count":
            self._cells(aggregate.of)
            return "1"
        plain = aggregate.of if aggregate else name
        part = component_of(plain)
        if part and part[0] in known and part[1] < known[part[0]].width:
            return known[part[0]].unit
        if part and part[0] in known:
            self._refuse(f"'{escaped(plain)}': the last index of {part[0]} is {known[part[0]].width - 1}")
        if plain not in known:
            self._refuse(
                f"no quantity '{escaped(plain)}'{did_you_mean(plain, known) or _siblings(plain, known)}"
            )
        if known[plain].width:
            self._refuse(f"'{plain}' has {known[plain].width} parts; name one, such as {plain}[0]")
        return known[plain].unit

    def _refuse(self, message: str) -> NoReturn:
        raise ScenarioError(f"--outcome '{escaped(self.text, 100)}': {message}")


def _arguments(text: str) -> tuple[str, str]:
    """The quantity and the cell type of a call: the last comma outside of brackets parts them."""
    depth = 0
    for place in range(len(text) - 1, -1, -1):
        depth += (text[place] in ")]") - (text[place] in "([")
        if text[place] == "," and depth == 0:
            return text[:place].strip(), text[place + 1 :].strip()
    return text.strip(), ""


def _siblings(name: str, known: Iterable[str]) -> str:
    """What else there is under the same owner, for a name too far from any to guess."""
    owner = name.rpartition(".")[0]
    there = [n for n in known if owner and n.startswith(f"{owner}.")][:8]
    return f"; there is {one_of(there)}" if there else ""
