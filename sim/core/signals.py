"""The value of any quantity in every cell, now: states, readouts, driven inputs, neighbours' means."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import numpy as np

from sim.core.by_type import by_type
from sim.core.coupling import Combined, Coupling, combined
from sim.core.process import Process
from sim.core.quantity import Aggregate, Quantity, aggregate_of, component_of
from sim.core.state import State

#: (indptr, indices) of the neighbour graph over all rows
Graph = tuple[np.ndarray, np.ndarray]


class Signals:
    """Looks quantities up by name, applies couplings to inputs, and remembers within one version of the state.

    Args:
        state: looked at, never changed.
        processes: owners of the quantities.
        couplings: at most one of mode `set` per target and cell type (the wiring check sees to it).
        graph: gives the neighbour graph of the current positions.
        type_names: cell types in the order of their codes.
    """

    def __init__(
        self,
        state: State,
        processes: Sequence[Process],
        couplings: Sequence[Coupling],
        graph: Callable[[], Graph],
        type_names: Sequence[str],
    ):
        self._state = state
        self._graph = graph
        self._type_names = tuple(type_names)
        self._owners: dict[str, tuple[Process, Quantity]] = {
            q.name: (p, q) for p in processes for q in p.quantities
        }
        self._couplings: dict[str, list[Coupling]] = {}
        # "set" first, then "add" and "scale" in the order of the scenario; rules act on what these give
        for c in sorted(couplings, key=lambda c: (c.mode != "set", c.index)):
            self._couplings.setdefault(c.target, []).append(c)
        self._known: dict[str, np.ndarray] = {}
        self._version = -1

    def __getitem__(self, name: str) -> np.ndarray:
        """Values (cell,) of a scalar quantity, (cell, part) of a block. Do not write to the result."""
        if self._version != self._state.version:
            self._known.clear()
            self._version = self._state.version
        if name not in self._known:
            self._known[name] = self._value(name)
        return self._known[name]

    def forget(self) -> None:
        """Free what was computed; whatever is asked for again is computed anew."""
        self._known.clear()

    def stack(self, names: Sequence[str]) -> np.ndarray:
        """Values (cell, len(names))."""
        out = np.empty((len(self._state), len(names)))
        for k, name in enumerate(names):
            out[:, k] = self[name]
        return out

    def members_of(self, name: str) -> np.ndarray:
        """Mask (cell,) of the cells that have the quantity at all."""
        if aggregate_of(name):
            return np.ones(len(self._state), dtype=bool)
        part = component_of(name)
        process, _ = self._owners[part[0] if part else name]
        return process.members(self._state)

    def graph(self) -> Graph:
        return self._graph()

    def driving(self, name: str) -> list[Coupling]:
        """The couplings that act on an input, in the order in which they do."""
        return list(self._couplings.get(name, ()))

    def without(self, name: str, left_out: Collection[int]) -> np.ndarray:
        """Values (cell,) of an input as it would be now without the couplings of these indices."""
        return self._input(*self._owners[name], left_out)

    # ---- how a value comes about

    def _value(self, name: str) -> np.ndarray:
        aggregate = aggregate_of(name)
        if aggregate:
            return self._aggregate(aggregate)
        part = component_of(name)
        if part:
            block = self._state[part[0]] if part[0] in self._state else self[part[0]]
            return block[:, part[1]]
        process, quantity = self._owners[name]
        if quantity.role == "readout":
            return process.readout(name, self._state, self)
        if quantity.role == "state":
            return self._state[name]
        return self._input(process, quantity)

    def _input(self, process: Process, quantity: Quantity, left_out: Collection[int] = ()) -> np.ndarray:
        state = self._state
        if quantity.name in state:
            value = state[quantity.name]
        else:
            value = by_type(quantity.by_type, state["cell.type"], quantity.default)
        rules: dict[str, Combined] = {}
        for coupling in self._couplings.get(quantity.name, ()):
            if coupling.index in left_out:
                continue
            where = process.members(state) & self.members_of(coupling.source)
            if coupling.types is not None:
                where &= np.isin(state["cell.type"], list(coupling.types))
            if not coupling.applies_to_dead:
                where &= self["cell.living"] > 0
            if coupling.is_rule:
                rules.setdefault(coupling.mode, Combined(len(state))).add(
                    coupling, self[coupling.source], where
                )
            else:
                value = coupling.apply(value, self[coupling.source], where)
        return combined(value, rules.get("increase"), rules.get("decrease")) if rules else value

    def _aggregate(self, asked: Aggregate) -> np.ndarray:
        """Over what each cell's neighbours, or all living cells, have of a quantity; 0 where nobody has it."""
        if asked.how == "count":
            has = self._state["cell.type"] == self._type_names.index(asked.of)
            return self._summed(asked.over, has.astype(float))
        has = self.members_of(asked.of)
        values = np.where(has, self[asked.of], 0.0)
        total = self._summed(asked.over, values)
        if asked.how == "sum":
            return total
        count = self._summed(asked.over, has.astype(float))
        mean = np.divide(total, count, out=np.zeros_like(total), where=count > 0)
        if asked.how == "mean":
            return mean
        square = self._summed(asked.over, values**2)
        square = np.divide(square, count, out=np.zeros_like(total), where=count > 0)
        return np.sqrt(np.maximum(square - mean**2, 0.0))

    def _summed(self, over: str, values: np.ndarray) -> np.ndarray:
        """Sum (cell,) of values (cell,) over the neighbours of each cell, or over all living cells, in their order."""
        if over == "tissue":
            counted = np.where(self["cell.living"] > 0, values, 0.0)
            whole = np.bincount(np.zeros(len(values), np.int64), counted, minlength=1)
            return np.full(len(values), whole[0])
        indptr, indices = self._graph()
        return _row_sums(indptr, values[indices])


def _row_sums(indptr: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Sum of each CSR row, in the order of the row: the same bits whatever else is computed."""
    rows = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
    sums = np.bincount(rows, weights=values, minlength=len(indptr) - 1)
    return sums.astype(np.float64, copy=False)  # of nothing at all numpy makes whole numbers
