"""What every instrument is, and what its readings are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from sim.core.signals import Signals
from sim.core.state import State


@dataclass(frozen=True)
class Axis:
    """A dimension that the readings of an instrument have beside time.

    Attributes:
        values: its coordinates, numbers or words.
        unit, meaning: of the coordinates.
    """

    name: str
    values: Sequence[float] | Sequence[str]
    unit: str = "1"
    meaning: str = ""


@dataclass(frozen=True)
class Channel:
    """One thing that an instrument gives: a number at each reading, or an array over `axes`."""

    name: str
    unit: str
    meaning: str
    axes: tuple[Axis, ...] = ()
    dtype: str = "float64"
    attrs: Mapping[str, Any] = field(default_factory=dict)


class Instrument(Protocol):
    """What a run asks of an instrument.

    Attributes:
        name: name in the results.
        every: time between two readings [min].
    """

    @property
    def name(self) -> str: ...

    @property
    def every(self) -> float: ...

    def described(self) -> Sequence[Channel]:
        """What `read` will give."""
        ...

    def read(self, state: State, signals: Signals) -> Mapping[str, Any]:
        """Channel -> reading of the present state: a number, or an array over the channel's axes."""
        ...


def number_of(instrument: Instrument, channel: str, state: State, signals: Signals) -> float:
    """One number for a channel: its reading, or the mean of an image or of the cells read."""
    reading = np.asarray(instrument.read(state, signals)[channel], float)
    return float(np.nanmean(reading)) if np.isfinite(reading).any() else float("nan")


def noise_key(instrument: Instrument, seed: int, *what: str) -> np.uint64:
    """Key of the random numbers of one flaw of an instrument, which `what` names (none: the instrument as a whole)."""
    from mechanistic.random import stream_key

    return stream_key(seed, " ".join(("instrument", instrument.name, *what)))


def times_read(state: State, every: float) -> int:
    """How often an instrument has read before, from the time alone: the same after a resume."""
    return round(state.time / every)


def values_of(signals: Signals, quantity: str) -> np.ndarray:
    """(cell,) a quantity, NaN in cells that do not have it."""
    return np.where(signals.members_of(quantity), signals[quantity], np.nan)


def chosen(state: State, types: Sequence[int] | None, phases: Sequence[int]) -> np.ndarray:
    """Mask (cell,) of the cells of these types (None: all) in these phases."""
    found = np.isin(state["cell.phase"], list(phases))
    return found if types is None else found & np.isin(state["cell.type"], list(types))
