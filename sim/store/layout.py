"""What a run store holds: its groups, variables, units and how each becomes a Zarr v3 array.

A `Layout` is made once from the scenario. From it follow all arrays and their metadata; only their
lengths change while a run grows.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

STRING = "string"
_CHUNK_BYTES = 256 * 1024
_MOST_ROWS = 1 << 16
_STRING_ROWS = 1024
# Spellings of a chunk's key. An array that only grows keeps the first; one whose rows change goes round, so
# that the newest commit, the one before it and the one under way never share a file ("c.0", "0", "c/0").
GENERATIONS = (("default", "."), ("v2", "."), ("default", "/"))
# xarray reads these words as a wish to decode into timedelta64
_PLAIN_UNITS = {"days": "d", "day": "d", "hours": "h", "minutes": "min", "seconds": "s", "milliseconds": "ms"}


@dataclass(frozen=True)
class Variable:
    """One quantity of the results.

    Attributes:
        name: the quantity's one name, for example "pathway.egfr.ppERK".
        units: for example "uM"; "1" where it has none.
        long_name: in words.
        dtype: numpy name or "string". Bulk values are float32, times and positions float64.
        axes: (name, size) of each further axis, for example (("drug_latent", 16),).
        flags: meanings of the codes 0, 1, … where values are integer codes.
        attrs: further attributes.
    """

    name: str
    units: str = "1"
    long_name: str = ""
    dtype: str = "float32"
    axes: tuple[tuple[str, int], ...] = ()
    flags: tuple[str, ...] = ()
    attrs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Array:
    """One array on disk. The first axis grows; `row` is the shape of one of its rows."""

    path: str
    dtype: str
    dims: tuple[str, ...]
    row: tuple[int, ...]
    attrs: Mapping[str, Any]
    chunk_rows: int
    rewritten: bool = False

    @property
    def numpy_dtype(self) -> np.dtype:
        return np.dtype(self.dtype).newbyteorder("<")

    def chunk_key(self, index: int, generation: int = 0) -> str:
        """Path of chunk `index` below the array's folder."""
        name, separator = GENERATIONS[generation % len(GENERATIONS)]
        parts = [str(index), *("0" for _ in self.row)]
        return separator.join(["c", *parts] if name == "default" else parts)

    def metadata(self, rows: int, generation: int = 0) -> dict[str, Any]:
        """The array's zarr.json with `rows` rows."""
        name, separator = GENERATIONS[generation % len(GENERATIONS)]
        if self.dtype == STRING:
            codecs = [{"name": "vlen-utf8", "configuration": {}}]
            codecs.append({"name": "zstd", "configuration": {"level": 1, "checksum": False}})
            fill: Any = ""
        else:
            size = self.numpy_dtype.itemsize
            how = {"typesize": size, "cname": "zstd", "clevel": 1, "shuffle": "shuffle", "blocksize": 0}
            if size == 1:
                how["shuffle"] = "noshuffle"
            codecs = [
                {"name": "bytes", "configuration": {"endian": "little"}},
                {"name": "blosc", "configuration": how},
            ]
            fill = 0.0 if self.numpy_dtype.kind == "f" else 0
        codecs.append({"name": "crc32c"})
        return {
            "zarr_format": 3,
            "node_type": "array",
            "shape": [rows, *self.row],
            "data_type": self.dtype,
            "chunk_grid": {
                "name": "regular",
                "configuration": {"chunk_shape": [self.chunk_rows, *(max(n, 1) for n in self.row)]},
            },
            "chunk_key_encoding": {"name": name, "configuration": {"separator": separator}},
            "fill_value": fill,
            "codecs": codecs,
            "attributes": dict(self.attrs),
            "dimension_names": list(self.dims),
            "storage_transformers": [],
        }

    @classmethod
    def from_metadata(cls, path: str, meta: Mapping[str, Any], rewritten: bool) -> Array:
        """The array that a zarr.json of ours describes."""
        return cls(
            path=path,
            dtype=meta["data_type"],
            dims=tuple(meta["dimension_names"]),
            row=tuple(meta["shape"][1:]),
            attrs=meta["attributes"],
            chunk_rows=meta["chunk_grid"]["configuration"]["chunk_shape"][0],
            rewritten=rewritten,
        )


def group_metadata(attrs: Mapping[str, Any]) -> dict[str, Any]:
    """zarr.json of a group."""
    return {"zarr_format": 3, "node_type": "group", "attributes": dict(attrs)}


def render(metadata: Mapping[str, Any]) -> bytes:
    """The one spelling of a zarr.json, so that a changed byte is found by comparison."""
    return json.dumps(metadata, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


@dataclass(frozen=True)
class Layout:
    """Everything a store will hold.

    Attributes:
        time_unit: the scenario's unit of time, for example "h".
        types, phases, causes: names whose codes 0, 1, … stand in `type`, `phase` and `cause`.
        cells: per-cell quantities beside cell, type, x, y, z, volume and phase, which are always there.
        fields: quantities on the grid.
        grid: coordinates of the voxel centres {"z": …, "y": …, "x": …} [um].
        summary: quantities per type beside count, births and deaths, which are always there.
        instruments: channels by instrument.
        coordinates: of the further axes of an instrument's channels, by instrument; each a variable with its values.
    """

    time_unit: str
    types: Sequence[str]
    phases: Sequence[str]
    causes: Sequence[str] = ()
    cells: Sequence[Variable] = ()
    fields: Sequence[Variable] = ()
    grid: Mapping[str, np.ndarray] = field(default_factory=dict)
    summary: Sequence[Variable] = ()
    instruments: Mapping[str, Sequence[Variable]] = field(default_factory=dict)
    coordinates: Mapping[str, Sequence[tuple[Variable, Sequence[Any]]]] = field(default_factory=dict)

    def groups(self) -> dict[str, dict[str, Any]]:
        """Attributes by group, parents first."""
        words = {
            "cells": "cells at the saved times, a CF contiguous ragged array: row_size cells for each time",
            "fields": "fields at the voxel centres",
            "summary": "counts, births, deaths and means by type of cell",
            "lineage": "every cell that ever lived",
            "instruments": "what the virtual instruments read",
            "events": "what was done to the cells, and when; row_size affected cells for each event",
        }
        groups: dict[str, dict[str, Any]] = {name: {"title": text} for name, text in words.items()}
        groups |= {f"instruments/{name}": {"title": f"readings of {name}"} for name in self.instruments}
        return groups

    def cell_variables(self) -> list[Variable]:
        """All per-cell quantities, in the order in which they stand in /cells."""
        fixed = [
            Variable("cell", long_name="number of the cell, never used twice", dtype="int64"),
            Variable("type", long_name="type of cell", dtype="int16", flags=tuple(self.types)),
            *(Variable(a, "um", f"{a} position of the centre", "float64") for a in "xyz"),
            Variable("volume", "um^3", "volume of the cell", "float64"),
            Variable("phase", long_name="phase of the cell's life", dtype="int8", flags=tuple(self.phases)),
        ]
        asked = {v.name: v for v in self.cells}
        return [asked.pop(v.name, v) for v in fixed] + list(asked.values())

    def summary_variables(self) -> list[Variable]:
        """All per-type quantities."""
        fixed = [
            Variable("count", long_name="living cells", dtype="int64"),
            Variable("births", long_name="cells born since the time before", dtype="int64"),
            Variable("deaths", long_name="cells that died since the time before", dtype="int64"),
        ]
        asked = {v.name: v for v in self.summary}
        return [asked.pop(v.name, v) for v in fixed] + list(asked.values())

    def fixed_values(self) -> dict[str, np.ndarray | list[str]]:
        """Arrays that are written once, by path."""
        values: dict[str, Any] = {"summary/type": list(self.types)}
        if self.fields:
            values |= {f"fields/{axis}": np.asarray(self.grid[axis], "<f8") for axis in "zyx"}
        for name, axes in self.coordinates.items():
            values |= {f"instruments/{name}/{v.name}": list(along) for v, along in axes}
        return values

    def arrays(self) -> list[Array]:
        """Every array of the store."""
        return [_chunked(array, self.fixed_values().get(array.path)) for array in self._arrays()]

    def _arrays(self) -> Iterator[Array]:
        time = Variable("time", self.time_unit, "time", "float64")
        yield _array("cells", time, "time")
        size = Variable("row_size", "1", "number of cells", "int64", attrs={"sample_dimension": "obs"})
        yield _array("cells", size, "time")
        for variable in self.cell_variables():
            yield _array("cells", variable, "obs")

        yield _array("fields", time, "time")
        if self.fields:
            shape = tuple(len(self.grid[axis]) for axis in "zyx")
            for axis in "zyx":
                centre = Variable(axis, "um", f"{axis} position of the voxel's centre", "float64")
                yield _array("fields", centre, axis)
            for variable in self.fields:
                yield replace(_array("fields", variable, "time"), dims=("time", "z", "y", "x"), row=shape)

        yield _array("summary", time, "time")
        yield _array("summary", Variable("type", "1", "type of cell", STRING), "type")
        for variable in self.summary_variables():
            by_type = replace(variable, axes=(("type", len(self.types)),))
            yield _array("summary", by_type, "time")

        yield _array("lineage", Variable("cell", "1", "number of the cell", "int64"), "cell")
        yield _array("lineage", Variable("birth_time", self.time_unit, "time of birth", "float64"), "cell")
        death = Variable("death_time", self.time_unit, "time of death, NaN while it lives", "float64")
        yield replace(_array("lineage", death, "cell"), rewritten=True)
        yield _array("lineage", Variable("parent", "1", "number of the parent, -1: none", "int64"), "cell")
        kind = Variable("type", "1", "type of cell at birth", "int16", flags=tuple(self.types))
        yield _array("lineage", kind, "cell")
        cause = Variable("cause", "1", "cause of death", "int8", flags=("alive", *self.causes))
        yield replace(_array("lineage", cause, "cell"), rewritten=True)

        for name, channels in self.instruments.items():
            yield _array(f"instruments/{name}", time, "time")
            for axis, _ in self.coordinates.get(name, ()):
                yield _array(f"instruments/{name}", axis, axis.name)
            for channel in channels:
                yield _array(f"instruments/{name}", channel, "time")

        yield _array("events", time, "event")
        yield _array("events", Variable("kind", "1", "kind of event", STRING), "event")
        yield _array("events", Variable("target", "1", "quantity or type acted on", STRING), "event")
        yield _array("events", Variable("text", "1", "what was done, in words", STRING), "event")
        size = Variable("row_size", "1", "cells affected", "int64", attrs={"sample_dimension": "hit"})
        yield _array("events", size, "event")
        yield _array("events", Variable("cell", "1", "number of the affected cell", "int64"), "hit")


def _array(group: str, variable: Variable, dim: str) -> Array:
    attrs: dict[str, Any] = {
        "units": _PLAIN_UNITS.get(variable.units, variable.units),
        "long_name": variable.long_name or variable.name,
    }
    if variable.flags:
        attrs["flag_values"] = list(range(len(variable.flags)))
        attrs["flag_meanings"] = " ".join(name.replace(" ", "_") for name in variable.flags)
    attrs |= dict(variable.attrs)
    dims = (dim, *(name for name, _ in variable.axes))
    row = tuple(size for _, size in variable.axes)
    return Array(f"{group}/{variable.name}", variable.dtype, dims, row, attrs, chunk_rows=0)


def _chunked(array: Array, fixed: Any) -> Array:
    if array.dtype == STRING:
        return replace(array, chunk_rows=_STRING_ROWS)
    if fixed is not None:
        return replace(array, chunk_rows=max(len(fixed), 1))
    row_bytes = array.numpy_dtype.itemsize * max(int(np.prod(array.row)), 1)
    rows = max(1, min(_MOST_ROWS, _CHUNK_BYTES // row_bytes))
    return replace(array, chunk_rows=1 << (rows.bit_length() - 1))
