"""What spaces are made of, read from tables by name: columns, layers, embeddings, and the spaces below."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from neural.encoders.modalities import Modality
from neural.encoders.pooling import neighbours_within, pooled, pooled_names
from neural.encoders.representation import Representation
from neural.tables import Table

#: how a modality is read: `values` (a layer or embedding), or `weights` of the space below and its `graph`
How = Mapping[str, Any]


def read_modality(
    table: Table, name: str, kind: str, features: list[str] | None, how: How, leave: list[str]
) -> tuple[Modality, np.ndarray]:
    """A modality that was measured: `features` of the table, or all but the columns to `leave`.

    Raises:
        ValueError: the table does not have them.
    """
    with _said_of(name):
        values, chosen = table.matrix(how.get("values"), features, leave)
    return Modality(name, kind, tuple(map(str, chosen))), values  # type: ignore[arg-type]


def read_below(
    table: Table, name: str, how: How, folders: tuple[Path, ...]
) -> tuple[Modality, np.ndarray, dict[str, Any]]:
    """A modality that is a space below, over its neighbours where `how` has a graph; and what to remember of it.

    Raises:
        ValueError: there are no such weights, or the table does not have what they are made of.
    """
    file = _found(how["weights"], folders)
    under = Representation.load(file)
    with _said_of(name):
        values = under.encode(measurements_of(under, table, (file.parent, *folders), how.get("values")))
    features, hops = under.space.labels, 0
    if "graph" in how:
        hops = int(how["graph"].get("hops", 1))
        places = _positions(table, how["graph"]["positions"])
        values = pooled(values, neighbours_within(places, float(how["graph"]["radius"])), hops)
        features = pooled_names(features, hops)
    below = {
        "space": under.space.name,
        "scale": under.space.scale,
        "file": how["weights"],
        "sha256": under.card["sha256"],
        "hops": hops,
    }
    return Modality(name, "embedding", tuple(features), 1 + 2 * hops), values, below


def measurements_of(
    space: Representation,
    table: Table,
    folders: tuple[Path, ...],
    values: str | None = None,
    some: bool = False,
) -> dict[str, np.ndarray]:
    """Modality -> (cell, feature) of a table, as `space.encode` takes them; each is read as it was for training.

    Args:
        folders: where weights of spaces below are looked for.
        values: a layer or embedding to read instead of those that the space was trained on.
        some: modalities of which the table has nothing are left out.

    Raises:
        ValueError: the table does not have what the space is made of; other weights lie where a space below was.
    """
    out = {}
    for m in space.modalities:
        how = dict(space.card.get("reads", {}).get(m.name, {}))
        if values is not None:
            how["values"] = values
        if "weights" in how:
            if some and not _anything(Representation.load(_found(how["weights"], folders)), table, how):
                continue
            _, out[m.name], below = read_below(table, m.name, how, folders)
            if below["sha256"] != space.card["below"][m.name]["sha256"]:
                raise ValueError(
                    f"modality '{m.name}': {how['weights']} is not what '{space.space.name}' was trained on; "
                    "train it again"
                )
        elif not some or _has(table, m, how):
            _, out[m.name] = read_modality(table, m.name, m.kind, list(m.features), how, [])
    return out


def _anything(space: Representation, table: Table, how: How) -> bool:
    """Whether the table has anything that the space is made of; of spaces farther below it is left to reading."""
    reads = space.card.get("reads", {})
    return any(
        "weights" in reads.get(m.name, {}) or _has(table, m, {**reads.get(m.name, {}), **how})
        for m in space.modalities
    )


def _has(table: Table, m: Modality, how: How) -> bool:
    """Whether the table has any of the features."""
    for feature in m.features:
        try:
            table.matrix(how.get("values"), [feature])
        except (KeyError, ValueError):
            continue
        return True
    return False


def _positions(table: Table, asked: str | list[str]) -> np.ndarray:
    if isinstance(asked, str):
        return table.matrix(asked)[0]
    return np.stack([np.asarray(table.column(c), float) for c in asked], 1)


def _found(name: str, folders: tuple[Path, ...]) -> Path:
    for folder in folders:
        if (folder / name).is_file():
            return folder / name
    raise ValueError(f"no weights '{name}' beside the data or the output; train the space below first")


@contextmanager
def _said_of(modality: str) -> Iterator[None]:
    """What is wrong with the data inside is told with the modality's name."""
    try:
        yield
    except (KeyError, ValueError) as error:
        raise ValueError(f"modality '{modality}': {error.args[0]}") from None
