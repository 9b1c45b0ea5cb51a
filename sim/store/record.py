"""The commit record: root zarr.json, one file whose atomic replacement makes a commit visible.

It carries the consolidated metadata of all groups and arrays, so every reader that uses them (xarray does)
sees one consistent prefix of the run. Its attribute `store` (JSON) lists rows, checksum and generation of
each array; `metadata_sha256` covers the whole file. The zarr.json of single arrays, which only readers that
do without consolidated metadata use, follow when a run stops: `published` says what they held before.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sim.errors import Problem, ScenarioError
from sim.store.layout import Array, group_metadata, render

FORMAT = 1
RECORD = "zarr.json"

Extent = tuple[int, int, int]  # rows, checksum, generation


@dataclass(frozen=True)
class Record:
    """One commit.

    Attributes:
        attrs: root attributes, without those that the store adds.
        groups: attributes of each group.
        arrays: all arrays.
        number: of the commit, from 1.
        extents: (rows, checksum, generation) of each array.
        published: the same, when the files of single arrays were last written; they say this or `extents`.
    """

    attrs: Mapping[str, Any]
    groups: Mapping[str, Mapping[str, Any]]
    arrays: tuple[Array, ...]
    number: int
    extents: Mapping[str, Extent]
    published: Mapping[str, Extent]

    def file(self) -> bytes:
        """Content of the root zarr.json."""
        state = {
            "format": FORMAT,
            "commit": self.number,
            "extents": {k: list(v) for k, v in self.extents.items()},
            "published": {k: list(v) for k, v in self.published.items()},
            "rewritten": [a.path for a in self.arrays if a.rewritten],
        }
        members: dict[str, Any] = {}
        for path, attrs in self.groups.items():
            nested = {"kind": "inline", "must_understand": False, "metadata": {}}
            members[path] = group_metadata(attrs) | {"consolidated_metadata": nested}
        members |= {a.path: self.array_metadata(a) for a in self.arrays}
        root = group_metadata({**self.attrs, "store": json.dumps(state), "metadata_sha256": ""})
        root["consolidated_metadata"] = {"kind": "inline", "must_understand": False, "metadata": members}
        root["attributes"]["metadata_sha256"] = hashlib.sha256(render(root)).hexdigest()
        return render(root)

    def array_metadata(self, array: Array, extents: Mapping[str, Extent] | None = None) -> dict[str, Any]:
        """zarr.json of one array at this commit (or at other `extents`)."""
        rows, _, generation = (extents or self.extents).get(array.path, (0, 0, 0))
        return array.metadata(rows, generation)

    def files(self) -> list[tuple[str, bytes]]:
        """The zarr.json of every group and array below the root."""
        groups = [(f"{path}/{RECORD}", render(group_metadata(attrs))) for path, attrs in self.groups.items()]
        return groups + [(f"{a.path}/{RECORD}", render(self.array_metadata(a))) for a in self.arrays]

    @property
    def array(self) -> dict[str, Array]:
        """Arrays by path."""
        return {a.path: a for a in self.arrays}


def damaged(file: Path, why: str = "its checksum differs from what was written") -> Problem:
    """The problem to report for a file that is not as it was written."""
    return Problem(str(file), f"damaged: {why}")


def is_run(path: Path) -> bool:
    """Whether `path` holds a run of ours."""
    try:
        return "metadata_sha256" in json.loads((path / RECORD).read_bytes())["attributes"]
    except (OSError, ValueError, KeyError, TypeError):
        return False


def read_record(path: Path) -> Record:
    """The commit record of the run at `path`.

    Raises:
        ScenarioError: there is no run, or the record is damaged.
    """
    file = path / RECORD
    try:
        content = file.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise ScenarioError(f"{path}: there is no run here") from None
    except OSError as error:
        raise ScenarioError(Problem(str(file), f"cannot be read: {error.strerror}")) from None
    try:
        root = json.loads(content)
        attrs = root["attributes"]
        stated = attrs.pop("metadata_sha256")
        as_hashed = render(root | {"attributes": {**attrs, "metadata_sha256": ""}})
        as_stored = render(root | {"attributes": {**attrs, "metadata_sha256": stated}})
        if as_stored != content or hashlib.sha256(as_hashed).hexdigest() != stated:
            raise ValueError
        state = json.loads(attrs.pop("store"))
        members = root["consolidated_metadata"]["metadata"]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ScenarioError(damaged(file)) from None
    if state["format"] != FORMAT:
        reason = f"is of store format {state['format']}, this version reads {FORMAT}"
        raise ScenarioError(Problem(str(file), reason))
    return Record(
        attrs=attrs,
        groups={k: m["attributes"] for k, m in members.items() if m["node_type"] == "group"},
        arrays=_arrays(members, state["rewritten"]),
        number=state["commit"],
        extents=_extents(state["extents"]),
        published=_extents(state["published"]),
    )


def _arrays(members: Mapping[str, Any], rewritten: Iterable[str]) -> tuple[Array, ...]:
    changing = set(rewritten)
    return tuple(
        Array.from_metadata(path, meta, path in changing)
        for path, meta in members.items()
        if meta["node_type"] == "array"
    )


def _extents(table: Mapping[str, Any]) -> dict[str, Extent]:
    return {path: (int(rows), int(crc), int(generation)) for path, (rows, crc, generation) in table.items()}
