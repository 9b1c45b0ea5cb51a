"""A space of representations: where cells lie in it by what goes on in them, and what is read off there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sim.core.process import Process
from sim.core.quantity import Quantity, Role, aggregate_of, component_of
from sim.core.state import State


@dataclass(frozen=True)
class SpaceSettings:
    """What a scenario says of one space, and what its card says of itself.

    Attributes:
        reads: modality -> quantities in the order of its features.
        built_on: modality -> the space below, and over how many hops of neighbours it is pooled (0: not).
        initial: by cell type code, the reference state in which cells stay if nothing is read; of cell types
            whose representation nobody else moves.
        owned: whether a manipulator moves the cells in this space, so that this process only decodes.
    """

    name: str
    weights: Path
    card: Any
    reads: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    built_on: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    initial: Mapping[int, str] = field(default_factory=dict)
    owned: bool = False


def place_in(space: str, card: Any, role: Role = "state") -> Quantity:
    """Where each cell lies in a space, `ur.<space>`, as the card of weights says it."""
    what = f"representation in {space}"
    return Quantity(f"ur.{space}", "1", what, role, width=card.dimension, labels=tuple(card.labels))


def begin_at(
    names: Mapping[int, str | None],
    where: Callable[[str], np.ndarray],
    ur: np.ndarray,
    state: State,
    rows: np.ndarray,
) -> None:
    """Cells begin, in `ur` (cell, d), in the reference state that `names` has for their type's code, if any.

    Args:
        where: a reference state (d,) by its name.
    """
    for code, name in names.items():
        if name is not None:
            ur[rows[state["cell.type"][rows] == code]] = where(name)


class RepresentationProcess(Process):
    """`ur.<space>` encoded from the present state, or held at a reference state; `decoder.<feature>` read off it."""

    kind = "quasi-steady"

    def __init__(self, settings: SpaceSettings, step: float, types: frozenset[int] | None):
        super().__init__(f"representation.{settings.name}", step, types)
        self.settings = settings
        self.block = f"ur.{settings.name}"
        card = settings.card
        self.encodes = bool(settings.reads or settings.built_on)
        own = place_in(settings.name, card, "readout" if self.encodes else "state")
        if not settings.owned and not self.encodes:
            self.states = (own,)
        self.features = decoded_names(card)
        self.readouts = tuple(
            Quantity(f"decoder.{f}", "1", f"{f} decoded from {self.block}", "readout") for f in self.features
        )
        self.doubt = f"decoder.{settings.name}_unusual"
        if self.encodes:
            unlike = f"1 where what {self.block} is encoded from is unlike what the space knows"
            self.readouts = (own, Quantity(self.doubt, "1", unlike, "readout"), *self.readouts)
        self.reads = tuple(s for s in self.sources if not (aggregate_of(s) or component_of(s)))

    @property
    def sources(self) -> tuple[str, ...]:
        """Quantities that the representation follows."""
        below = (f"ur.{space}" for space, _ in self.settings.built_on.values())
        return tuple(dict.fromkeys((*(q for names in self.settings.reads.values() for q in names), *below)))

    def prepare(self, streams) -> None:
        from neural.encoders import Representation

        super().prepare(streams)
        self.space = Representation.load(self.settings.weights)

    def initialise(self, state, rows) -> None:
        if self.states:
            begin_at(self.settings.initial, self.settings.card.initial, state[self.block], state, rows)

    def advance(self, state, signals, dt: float) -> None:
        """Nothing to carry forward: representations are encoded when somebody reads them."""

    def readout(self, name, state, signals) -> np.ndarray:
        if name == self.block:
            return self._of_cells(self.space.encode, self.settings.card.dimension, state, signals)
        if name == self.doubt:
            return self._of_cells(self._unusual, 1, state, signals)[:, 0]
        key = (state.version, len(state))
        if getattr(self, "_decoded", (None, None))[0] != key:
            from neural.blocks import in_blocks

            rows = np.flatnonzero(self.members(state))
            ur = state[self.block] if self.block in state else signals[self.block]
            decoded = np.full((len(state), len(self.features)), np.nan)
            decoded[rows] = in_blocks(self._decode, len(self.features), ur[rows])
            self._decoded = (key, decoded)
        return self._decoded[1][:, self.features.index(name.removeprefix("decoder."))]

    def follows(self, name: str) -> tuple[str, ...]:
        return self.sources if name in (self.block, self.doubt) else (self.block,)

    # ---- parts

    def _of_cells(
        self, function: Callable[[dict[str, np.ndarray]], np.ndarray], width: int, state, signals
    ) -> np.ndarray:
        """(cell, width) of what the space reads of the cells as they are now; NaN in cells that do not lie in it."""
        from neural.blocks import in_blocks
        from neural.encoders import pooled

        rows = np.flatnonzero(self.members(state))
        tables: dict[str, np.ndarray] = {}
        for modality, names in self.settings.reads.items():
            tables[modality] = _whole(signals.stack(names)[rows])
        for modality, (space, hops) in self.settings.built_on.items():
            below = f"ur.{space}"
            ur = state[below] if below in state else signals[below]
            if hops:
                # cells that have no such representation tell nothing about themselves to their neighbours
                ur = pooled(np.nan_to_num(ur), signals.graph(), hops)
            tables[modality] = _whole(ur[rows])
        wide = [t.shape[1] for t in tables.values()]

        def of_block(values: np.ndarray) -> np.ndarray:
            parts = np.split(values, np.cumsum(wide)[:-1], axis=1)
            return function(dict(zip(tables, parts, strict=True)))

        out = np.full((len(state), width), np.nan)
        out[rows] = in_blocks(of_block, width, np.concatenate(list(tables.values()), 1))
        return out

    def _unusual(self, tables: dict[str, np.ndarray]) -> np.ndarray:
        return np.array([[float(bool(flag))] for flag in self.space.flags(tables)])

    def _decode(self, ur: np.ndarray) -> np.ndarray:
        decoded = self.space.decode(ur)
        features = [f for m in self.space.modalities for f in m.features]
        parts = [decoded[m.name] for m in self.space.modalities]
        if self.space.states is not None:
            features += self.space.states.names
            parts.append(self.space.state_probabilities(ur))
        return np.concatenate(parts, 1)[:, [features.index(f) for f in self.features]]


def decoded_names(card: Any) -> list[str]:
    """What has a `decoder.<name>`: features, and states with their probability, if the name is said once only."""
    features = [f for m in card.architecture["modalities"] for f in m["features"]] + card.raw["states"]
    return [f for f in features if f.isidentifier() and f.isascii() and features.count(f) == 1]


def _whole(table: np.ndarray) -> np.ndarray:
    """Rows that are known in part as rows that are not known: a cell without the pathway was not measured."""
    known = np.all(np.isfinite(table), axis=1, keepdims=True)
    return np.where(known, table, np.nan)
