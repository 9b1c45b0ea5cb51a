"""The state of a tissue: one structure of arrays, owned by numpy."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping

import numpy as np

from sim.core.quantity import Quantity

NO_PARENT = -1

#: rows from which on a table grows by little at a time
_MANY_ROWS = 100_000

#: versions are never used twice in a process, so that what is remembered of one state is never taken for another's
_versions = itertools.count()

#: why a cell's record ended
CAUSES = ("", "division", "apoptosis", "kill", "failure", "necrosis", "phagocytosis", "fusion")


class Lineage:
    """Birth, death, parent and cause for every cell that ever was, indexed by its id."""

    def __init__(self) -> None:
        self._table = _Table(
            {
                "birth_time": (np.float64, (), np.nan),
                "death_time": (np.float64, (), np.nan),
                "parent": (np.int64, (), NO_PARENT),
                "type": (np.int32, (), 0),
                "cause": (np.int8, (), 0),
            }
        )

    def __len__(self) -> int:
        return self._table.rows

    def __getitem__(self, name: str) -> np.ndarray:
        return self._table[name]

    def born(self, time: float, parents: np.ndarray, types: np.ndarray) -> None:
        """Record births; the ids are the next free ones in order."""
        rows = self._table.extend(len(parents))
        self["birth_time"][rows] = time
        self["parent"][rows] = parents
        self["type"][rows] = types

    def died(self, time: float, ids: np.ndarray, cause: str) -> None:
        """Record deaths [min] with their cause, one of `CAUSES`."""
        self["death_time"][ids] = time
        self["cause"][ids] = CAUSES.index(cause)


class State:
    """All that a tissue remembers between two steps.

    Rows are cells in the order of their ids; an id is given once and never again. Columns hold one
    value, or one block of values, per cell; fields hold one value per voxel. Nothing that a process
    must remember lives anywhere else: a snapshot of the state is a checkpoint.

    Attributes:
        time: [min].
        steps: how many steps each process has taken, by its name; keys its random numbers.
        version: new with every change and unlike that of any other state, so that readouts know when they are
            stale.
        fields: name → (z, y, x) array in the field's unit.
        cleared: amounts that cells held when they were cleared, by name of the shared column: with them the
            books of a closed system balance.
    """

    def __init__(self, quantities: Iterable[Quantity], capacity: int = 64):
        columns: dict[str, tuple] = {"cell.id": (np.int64, (), -1), "cell.type": (np.int32, (), 0)}
        self._inherited: dict[str, np.ndarray] = {}
        self.cleared: dict[str, np.ndarray] = {}
        for q in quantities:
            if q.role == "state" or q.stored:
                shape = (q.width,) if q.width else ()
                kind = np.int32 if q.code else np.int64 if q.integer else np.float64
                columns[q.name] = (kind, shape, q.default if kind is np.float64 else int(q.default))
                if np.any(q.shared):
                    self._inherited[q.name] = np.asarray(q.shared, dtype=bool)
                    self.cleared[q.name] = np.zeros(shape)
        self._table = _Table(columns, capacity)
        self.alive = np.zeros(self._table.capacity, dtype=bool)
        self.fields: dict[str, np.ndarray] = {}
        self.lineage = Lineage()
        self.time = 0.0
        self.steps: Counter[str] = Counter()
        self.version = next(_versions)

    # ---- looking

    def __len__(self) -> int:
        return self._table.rows

    def __contains__(self, name: str) -> bool:
        return name in self._table.columns

    def __getitem__(self, name: str) -> np.ndarray:
        """The column's rows in use, a view: writing to it changes the state."""
        return self._table[name]

    @property
    def capacity(self) -> int:
        return self._table.capacity

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(self._table.columns)

    @property
    def ids(self) -> np.ndarray:
        return self["cell.id"]

    def tensor(self, name: str):
        """The column as a torch tensor that shares memory with it."""
        import torch

        return torch.from_numpy(self[name])

    # ---- changing

    def changed(self) -> None:
        """Say that something was written, so that readouts are computed anew."""
        self.version = next(_versions)

    def add(self, types: np.ndarray, parents: np.ndarray | None = None) -> np.ndarray:
        """Append cells with default values; returns their rows. Ids are the next free ones."""
        count = len(types)
        parents = np.full(count, NO_PARENT, dtype=np.int64) if parents is None else parents
        first_id = len(self.lineage)
        rows = self._table.extend(count)
        if self._table.capacity != len(self.alive):
            self.alive = np.resize(self.alive, self._table.capacity)
            self.alive[rows.start :] = False
        self.alive[rows] = True
        self["cell.id"][rows] = np.arange(first_id, first_id + count)
        self["cell.type"][rows] = types
        self.lineage.born(self.time, parents, types)
        self.changed()
        return np.arange(rows.start, rows.stop)

    def divide(self, mothers: np.ndarray, share: float | np.ndarray = 0.5) -> np.ndarray:
        """Split each mother row into itself and a new cell; returns the daughters' rows.

        The daughter inherits every column; of shared amounts she gets `share`, a number or one for each division, and
        the mother keeps the rest. The mother keeps its id, as in lineage tracing of live-cell microscopy.
        """
        daughters = self.add(self["cell.type"][mothers], parents=self.ids[mothers])
        share = np.broadcast_to(np.asarray(share, dtype=float), mothers.shape)
        for name in self._table.columns:
            if name in ("cell.id", "cell.type"):
                continue
            column = self[name]
            given = column[mothers]
            if name in self._inherited:
                part = share.reshape(-1, *[1] * (column.ndim - 1))
                shared = self._inherited[name]
                given = given * np.where(shared, part, 1.0)
                column[mothers] *= np.where(shared, 1.0 - part, 1.0)
            column[daughters] = given
        return daughters

    def remove(self, rows: np.ndarray, cause: str) -> None:
        """Mark rows dead; they leave the arrays at the next `compact`."""
        rows = rows[self.alive[rows]]
        self.alive[rows] = False
        unrecorded = rows[np.isnan(self.lineage["death_time"][self.ids[rows]])]
        self.lineage.died(self.time, self.ids[unrecorded], cause)
        self.changed()

    def compact(self) -> None:
        """Close the gaps that `remove` left, keeping the order of ids."""
        keep = self.alive[: len(self)]
        if keep.all():
            return
        for name, shared in self._inherited.items():
            amounts = np.where(shared, self[name][~keep], 0.0)
            self.cleared[name] = self.cleared[name] + amounts.sum(axis=0)
        self._table.keep(keep)
        self.alive[:] = False
        self.alive[: len(self)] = True
        self.changed()

    # ---- remembering

    def snapshot(self) -> dict[str, np.ndarray]:
        """Copies of everything, as plain arrays keyed by name: the content of a checkpoint."""
        return {name: values.copy() for name, values in self.content().items()}

    def content(self) -> dict[str, np.ndarray]:
        """The arrays of `snapshot` without copying: they hold until the next change."""
        self.compact()
        arrays = {f"cells/{name}": self[name] for name in self._table.columns}
        arrays |= {f"fields/{name}": values for name, values in self.fields.items()}
        arrays |= {f"lineage/{name}": self.lineage[name] for name in self.lineage._table.columns}
        arrays |= {f"cleared/{name}": values for name, values in self.cleared.items()}
        arrays |= {f"steps/{name}": np.array(count) for name, count in self.steps.items()}
        return arrays | {"clock/time": np.array(self.time)}

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Take over a snapshot made by a state with the same columns."""

        def part(of: str) -> dict[str, np.ndarray]:
            return {n.removeprefix(of): arrays[n] for n in arrays if n.startswith(of)}

        self._table.load(part("cells/"))
        self.lineage._table.load(part("lineage/"))
        self.fields = {name: np.array(values) for name, values in part("fields/").items()}
        self.cleared = {name: np.array(values) for name, values in part("cleared/").items()}
        self.alive = np.zeros(self._table.capacity, dtype=bool)
        self.alive[: len(self)] = True
        self.time = float(arrays["clock/time"])
        self.steps = Counter({name: int(count) for name, count in part("steps/").items()})
        self.changed()


class _Table:
    """Named arrays with a common number of rows and room to grow."""

    def __init__(self, columns: Mapping[str, tuple], capacity: int = 64):
        self._spec = dict(columns)
        self.rows = 0
        self.capacity = max(capacity, 1)
        self.columns = {
            n: np.empty((self.capacity, *shape), dtype) for n, (dtype, shape, _) in columns.items()
        }

    def __getitem__(self, name: str) -> np.ndarray:
        return self.columns[name][: self.rows]

    def extend(self, count: int) -> slice:
        needed = self.rows + count
        if needed > self.capacity:
            # a large table grows by less at a time: room that nobody takes is then in use too, as pages are large
            more = self.capacity // 4 if self.capacity < _MANY_ROWS else self.capacity // 32
            self._reserve(max(needed, self.capacity + more))
        rows = slice(self.rows, needed)
        for name, (_, _, fill) in self._spec.items():
            self.columns[name][rows] = fill
        self.rows = needed
        return rows

    def keep(self, mask: np.ndarray) -> None:
        kept = int(mask.sum())
        for column in self.columns.values():
            column[:kept] = column[: self.rows][mask]
        self.rows = kept

    def load(self, arrays: Mapping[str, np.ndarray]) -> None:
        if set(arrays) != set(self.columns):
            raise ValueError(f"snapshot holds other columns: {sorted(set(arrays) ^ set(self.columns))}")
        self.rows = 0
        self.extend(len(next(iter(arrays.values()))))
        for name, values in arrays.items():
            self.columns[name][: self.rows] = values

    def _reserve(self, capacity: int) -> None:
        for name, (dtype, shape, _) in self._spec.items():
            grown = np.empty((capacity, *shape), dtype)
            grown[: self.rows] = self.columns[name][: self.rows]
            self.columns[name] = grown
        self.capacity = capacity
