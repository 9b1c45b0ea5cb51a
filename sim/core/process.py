"""A process: what moves a part of the state, and says beforehand what it touches."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Literal

import numpy as np

from sim.core.quantity import Quantity

if TYPE_CHECKING:
    from sim.core.random import Streams
    from sim.core.signals import Signals
    from sim.core.state import State

Kind = Literal["quasi-steady", "dynamic", "discrete"]


class Process(ABC):
    """One part of the tissue's change.

    The declarations are cheap and complete before anything heavy is imported: the wiring is checked and
    drawn from them alone. `prepare` imports and compiles; after it, `advance` may be called.

    A process keeps nothing between two calls that is not in the State.

    Attributes:
        name: unique, for people (`pathway.egfr`).
        kind: `quasi-steady` (follows the state at once), `dynamic` (integrated over the step) or
            `discrete` (events at the end of a step).
        cost: rank of what one more call of `advance` costs, however short: the dearest is called least.
        step: the largest step it takes in one go [min].
        types: codes of the cell types it acts on, or None for all.
        states, inputs, readouts: the quantities it owns, takes from couplings, and shows.
        reads: names of other quantities that it looks at.
    """

    kind: Kind = "dynamic"
    cost: int = 0

    def __init__(self, name: str, step: float, types: frozenset[int] | None = None):
        self.name = name
        self.step = step
        self.types = types
        self.states: tuple[Quantity, ...] = ()
        self.inputs: tuple[Quantity, ...] = ()
        self.readouts: tuple[Quantity, ...] = ()
        self.reads: tuple[str, ...] = ()

    @property
    def quantities(self) -> tuple[Quantity, ...]:
        return (*self.states, *self.inputs, *self.readouts)

    def prepare(self, streams: Streams) -> None:
        """Import and compile what `advance` needs. Called once, before the first step."""
        self.streams = streams

    def initialise(self, state: State, rows: np.ndarray) -> None:  # noqa: B027 (most processes need nothing)
        """Fill this process's columns for cells placed at the start (rows of `state`)."""

    @abstractmethod
    def advance(self, state: State, signals: Signals, dt: float) -> None:
        """Move what this process owns by `dt` [min], everything else held still.

        Raises:
            SimulationError: naming cell, quantity and time.
        """

    def readout(self, name: str, state: State, signals: Signals) -> np.ndarray:
        """Values (cell,) of one of `readouts`, now. NaN for cells of other types."""
        raise KeyError(name)

    def follows(self, name: str) -> tuple[str, ...]:
        """Names of inputs and readouts that the readout `name` needs at the same instant (for cycles)."""
        return ()

    # ---- chance

    def uniforms(self, purpose: str, state: State, ids: np.ndarray, draws: int = 1) -> np.ndarray:
        """(cell, draws) numbers in [0, 1) of the step that this process now takes."""
        return self.streams.uniforms(self._stream(purpose), state.steps[self.name], ids, draws)

    def key_and_step(self, purpose: str, state: State) -> tuple[np.uint64, int]:
        """What the same numbers are drawn by inside a kernel."""
        return self.streams.key(self._stream(purpose)), state.steps[self.name]

    def _stream(self, purpose: str) -> str:
        # every process counts from 0, so that no two may share a stream
        return f"{self.name}: {purpose}"

    # ---- where

    def members(self, state: State) -> np.ndarray:
        """Mask (cell,) of the rows this process acts on."""
        if self.types is None:
            return np.ones(len(state), dtype=bool)
        return np.isin(state["cell.type"], list(self.types))
