"""Writes a run: buffered rows, atomic commits, checkpoints, resume.

Order of a commit: chunk files (each a longer version of itself) → checkpoint → root zarr.json. A crash at
any point leaves the commit before it, whole; `resume` takes the newest good checkpoint and forgets the rest.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sim.errors import ScenarioError
from sim.store import checkpoint as checkpoints
from sim.store.checkpoint import Checkpoint
from sim.store.chunks import Column, RewrittenColumn
from sim.store.disk import disk_errors, replace_files
from sim.store.layout import Layout
from sim.store.lock import Lock
from sim.store.numbers import Numbers
from sim.store.place import appear, beside, check_output, make_folders, recover
from sim.store.record import RECORD, Record, read_record
from sim.store.resume import identity_of, newest_good, publish, read_rows, reopened, require_same, rewind

_ALIVE = 0  # code of `cause`; the causes of the layout follow


class RunWriter:
    """One run under construction.

    Made by `create` or `resume`. Holds the lock until `close`. Nothing is at `path` before the first commit.
    After a `StoreError` only `close` may be called.
    """

    def __init__(self, path: Path, lock: Lock, record: Record, columns: dict[str, Column | RewrittenColumn]):
        self.path = path
        self._lock = lock
        self._record = record
        self._columns = columns
        self._attrs = dict(record.attrs)
        self._published = record.extents
        self._started = record.number > 0
        self._folder = path if self._started else beside(path, "new")
        self._times: dict[str, float] = {}
        self._born = Numbers()
        if self._started:
            self._born.add(read_rows(path, record, "lineage/cell").astype(np.int64))
            self._times["frame"] = max(read_rows(path, record, "cells/time"), default=-np.inf)

    # ------------------------------------------------------------------ make

    @classmethod
    def create(
        cls,
        path: Path | str,
        *,
        layout: Layout,
        attrs: Mapping[str, Any],
        identity: Mapping[str, str],
        force: bool = False,
        needed: int = 0,
    ) -> RunWriter:
        """Begins a run.

        Args:
            layout: what it will hold.
            attrs: attributes of the root; plain JSON values.
            identity: what a resumed run must share, by name: hashes of scenario, models and weights, version.
            force: replace an earlier run at `path`, which stays until the first commit.
            needed: bytes that must be free.

        Raises:
            ScenarioError: there is something at `path`.
            StoreError: locked, read-only, no room.
        """
        path = Path(path)
        check_output(path, force=force, needed=needed)
        with disk_errors(path):
            path.absolute().parent.mkdir(parents=True, exist_ok=True)
        lock = Lock(path)
        try:
            with disk_errors(path):
                recover(path)
            check_output(path, force=force, locked=True)
            known = {"run_id": uuid.uuid4().hex, **identity}
            root = {"status": "running", **_plain(attrs), **known, "time_unit": layout.time_unit}
            root["identity"] = sorted(known)
            record = Record(root, layout.groups(), tuple(layout.arrays()), 0, {}, {})
            columns: dict[str, Column | RewrittenColumn] = {}
            for array in record.arrays:
                columns[array.path] = RewrittenColumn(array) if array.rewritten else Column(array)
            for name, values in layout.fixed_values().items():
                columns[name].append(values)
            with disk_errors(path):
                make_folders(beside(path, "new"), record)
            return cls(path, lock, record, columns)
        except BaseException:
            shutil.rmtree(beside(path, "new"), ignore_errors=True)
            lock.release()
            raise

    @classmethod
    def resume(cls, path: Path | str, *, expect: Mapping[str, str]) -> tuple[RunWriter, Checkpoint]:
        """Goes on with a run from its newest good checkpoint; what was stored after it is forgotten.

        A bad checkpoint is named in a warning (logger "cellweave") and the one before it taken. A complete
        run is left as it is (`writer.status` says so).

        Args:
            expect: what the run must have been made with, as given to `create` as `identity`.

        Raises:
            ScenarioError: no run, another scenario, model, weights or version, no good checkpoint, damage.
            StoreError: locked, read-only.
        """
        path = Path(path)
        if not path.absolute().parent.is_dir():
            raise ScenarioError(f"{path}: there is no run here to resume")
        lock = Lock(path)
        try:
            with disk_errors(path):
                recover(path)
            record = read_record(path)
            require_same(path, record, expect)
            if record.attrs["status"] == "complete":
                there = Checkpoint({}, {}, record.number, record.extents, {})
            else:
                there = newest_good(path, record)
                with disk_errors(path):
                    record = rewind(path, record, there)
            columns = {a.path: reopened(path, record, a) for a in record.arrays}
            return cls(path, lock, record, columns), there
        except BaseException:
            lock.release()
            raise

    # ------------------------------------------------------------------ add

    @property
    def status(self) -> str:
        """`running`, `interrupted` or `complete`, as of the last commit."""
        return str(self._record.attrs["status"])

    def frame(
        self,
        time: float,
        cells: Mapping[str, Any],
        fields: Mapping[str, Any] | None = None,
        summary: Mapping[str, Any] | None = None,
    ) -> None:
        """Adds one saved time.

        Args:
            time: in the unit of the layout; later than the last.
            cells: every per-cell quantity of the layout, (cell,) or (cell, latent).
            fields: every field, (z, y, x).
            summary: every per-type quantity, (type,).
        """
        self._tick("frame", time)
        sizes = {name: len(values) for name, values in cells.items()}
        if len(set(sizes.values())) > 1:
            raise ValueError(f"per-cell quantities of different lengths: {sizes}")
        self._add("cells", {**cells, "time": [time], "row_size": [next(iter(sizes.values()))]})
        whole = {name: np.asarray(values)[None] for name, values in (fields or {}).items()}
        self._add("fields", {**whole, "time": [time]}, fixed="zyx")
        by_type = {name: np.asarray(values)[None] for name, values in (summary or {}).items()}
        self._add("summary", {**by_type, "time": [time]}, fixed=("type",))

    def instrument(self, name: str, time: float, values: Mapping[str, Any]) -> None:
        """Adds one reading of every channel of an instrument: numbers, or arrays over the channel's axes."""
        self._tick(f"instrument {name}", time)
        group = f"instruments/{name}"
        axes = {
            dim for n, c in self._columns.items() if n.rpartition("/")[0] == group for dim in c.array.dims
        }
        rows = {channel: np.asarray(v)[None] for channel, v in values.items()}
        self._add(group, {"time": [time], **rows}, fixed=tuple(axes - {"time"}))

    def event(
        self, time: float, *, kind: str, target: str = "", text: str = "", cells: Sequence[int] = ()
    ) -> None:
        """Adds what was done, and to which cells."""
        self._add(
            "events",
            {
                "time": [time],
                "kind": [kind],
                "target": [target],
                "text": [text],
                "row_size": [len(cells)],
                "cell": np.asarray(cells, np.int64),
            },
        )

    def births(self, *, cell: Any, time: Any, parent: Any, type: Any) -> None:
        """Adds cells to the lineage; numbers ascend and are never used twice. Scalars hold for all."""
        ids = np.atleast_1d(np.asarray(cell, np.int64))
        n = len(ids)
        if not n:
            return
        self._born.add(ids)
        self._add(
            "lineage",
            {
                "cell": ids,
                "birth_time": np.broadcast_to(time, n),
                "death_time": np.full(n, np.nan),
                "parent": np.broadcast_to(parent, n),
                "type": np.broadcast_to(type, n),
                "cause": np.full(n, _ALIVE),
            },
        )

    def deaths(self, *, cell: Any, time: Any, cause: Any) -> None:
        """Fills in the time and cause (code into the layout's `causes`) of deaths."""
        ids = np.atleast_1d(np.asarray(cell, np.int64))
        if not len(ids):
            return
        where = self._born.places(ids)
        for name, values in (("death_time", time), ("cause", np.asarray(cause) + 1)):
            column = self._columns[f"lineage/{name}"]
            assert isinstance(column, RewrittenColumn)
            column.set(where, np.broadcast_to(values, len(ids)))

    # ------------------------------------------------------------------ commit

    def commit(
        self,
        checkpoint: Mapping[str, np.ndarray],
        meta: Mapping[str, Any],
        *,
        status: str,
        attrs: Mapping[str, Any] | None = None,
    ) -> None:
        """Makes everything before it durable and visible, at once.

        Args:
            checkpoint: arrays from which the run can go on.
            meta: plain JSON values from which the run can go on.
            status: `running`, `interrupted` or `complete`.
            attrs: root attributes to add or change.

        Raises:
            StoreError: disk full, read-only; the commit before stays as it was.
        """
        self._attrs |= {**_plain(attrs or {}), "status": status}
        with disk_errors(self.path, self._when(), kept=self._started):
            replace_files(
                (self._folder / name / key, content)
                for name, column in self._columns.items()
                for key, content in column.take()
            )
            extents = {n: (c.rows, c.checksum, c.generation) for n, c in self._columns.items()}
            old = self._record
            number = old.number + 1
            self._record = Record(self._attrs, old.groups, old.arrays, number, extents, self._published)
            state = Checkpoint(checkpoint, meta, number, extents, self._attrs)
            checkpoints.save(self._folder, state, identity_of(self._record))
            replace_files([(self._folder / RECORD, self._record.file())])
            if status != "running" or not self._started:
                publish(self._folder, self._record, durable=True)
                self._published = extents
            if not self._started:
                appear(self._folder, self.path)
                self._folder, self._started = self.path, True
            checkpoints.keep(self.path, checkpoints.numbers(self.path)[: checkpoints.KEPT])

    def stop(self, status: str) -> None:
        """Says that the run stopped at its last commit; what was added since is forgotten.

        Raises:
            StoreError: disk full, read-only.
        """
        old = self._record
        attrs = {**old.attrs, "status": status}
        self._record = Record(attrs, old.groups, old.arrays, old.number, old.extents, self._published)
        with disk_errors(self.path, self._when()):
            replace_files([(self._folder / RECORD, self._record.file())])
            publish(self._folder, self._record, durable=True)
            self._published = old.extents

    def close(self) -> None:
        """Frees the lock. A run without a commit leaves nothing behind."""
        if not self._started:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._lock.release()

    def __enter__(self) -> RunWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ------------------------------------------------------------------ parts

    def _add(self, group: str, values: Mapping[str, Any], fixed: Sequence[str] = ()) -> None:
        known = {n.rpartition("/")[2] for n in self._columns if n.rpartition("/")[0] == group} - set(fixed)
        if set(values) != known:
            missing, unknown = sorted(known - set(values)), sorted(set(values) - known)
            raise ValueError(f"/{group}: missing {missing}, unknown {unknown}")
        for name, rows in values.items():
            self._columns[f"{group}/{name}"].append(rows)

    def _tick(self, what: str, time: float) -> None:
        if time <= self._times.get(what, -np.inf):
            raise ValueError(f"{what} at {time} is not after the one before")
        self._times[what] = time

    def _when(self) -> str:
        time = self._times.get("frame")
        return "" if time is None else f" at t = {time:g} {self._attrs['time_unit']}"


def _plain(attrs: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _plain_value(value) for name, value in attrs.items()}


def _plain_value(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _plain_value(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain_value(v) for v in value]
    if isinstance(value, np.generic | np.ndarray):
        return _plain_value(value.tolist())
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
