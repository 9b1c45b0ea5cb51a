"""Kinds of measurements, and the scale on which encoders see them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from neural.tables import places_of

KINDS = ("counts", "real", "embedding")
_LEAST_SD = 1e-6  # of a feature that never changes; it then says nothing


@dataclass(frozen=True)
class Modality:
    """One kind of measurement of a cell.

    Attributes:
        kind: `counts` of molecules, of which the total says how deep the cell was read and nothing else; `real`
            values, each on a scale of its own; or `embedding`, coordinates in a space that somebody else made, whose
            distances mean something: they have one scale and one noise.
        features: what was measured, in the order of the columns.
        blocks: of an embedding that many spaces side by side, of equal width; each has one scale.
    """

    name: str
    kind: Literal["counts", "real", "embedding"]
    features: tuple[str, ...]
    blocks: int = 1


@dataclass(frozen=True)
class Scale:
    """What makes modalities comparable: log1p of counts at equal depth; each feature, or embedding, of mean 0 and sd 1.

    Attributes:
        depth: molecules that a cell's counts are brought to; 0 where they are no counts.
        centre, spread: (feature,) of the training cells.
    """

    depth: float
    centre: np.ndarray
    spread: np.ndarray

    @classmethod
    def of(cls, modality: Modality, table: np.ndarray) -> Scale:
        """The scale of the training cells (cell, feature); rows that are NaN are left out."""
        known = table[measured(table)]
        if not len(known):
            raise ValueError(f"modality '{modality.name}' is measured in no training cell")
        depth = float(np.median(known.sum(1))) if modality.kind == "counts" else 0.0
        values = _levels(known, depth)
        spread = values.std(0)
        if modality.kind == "embedding":
            together = np.sqrt((spread**2).reshape(modality.blocks, -1).mean(1))
            spread = np.repeat(together, len(spread) // modality.blocks)
        return cls(depth, values.mean(0), np.where(spread > _LEAST_SD, spread, 1.0))

    def to(self, table: np.ndarray) -> np.ndarray:
        """(cell, feature) as encoders see it; cells that were not measured become 0."""
        out = np.zeros(np.shape(table))
        known = measured(table)
        out[known] = (_levels(table[known], self.depth) - self.centre) / self.spread
        return out

    def back(self, values: np.ndarray) -> np.ndarray:
        """Levels (cell, feature) of what encoders see; of counts at `depth`, never below 0."""
        levels = values * self.spread + self.centre
        return np.maximum(np.expm1(np.minimum(levels, 50.0)), 0.0) if self.depth else levels


def _levels(table: np.ndarray, depth: float) -> np.ndarray:
    if not depth:
        return table
    total = table.sum(1, keepdims=True)
    return np.log1p(table * (depth / np.maximum(total, 1.0)))


def measured(table: np.ndarray) -> np.ndarray:
    """(cell,) whether a cell was measured at all: its row is not NaN."""
    return np.asarray(np.isfinite(np.asarray(table, float)).all(axis=1))


def checked(
    tables: Mapping[str, Any] | Any,
    modalities: tuple[Modality, ...],
    all_of_them: bool,
    names: Sequence[str] | None = None,
) -> dict[str, np.ndarray]:
    """Tables by modality, each (cell, feature) float64 with rows of NaN where a cell was not measured.

    A table is an array or a sparse matrix with the features in order, or a data frame, whose columns are found by
    name. A table alone is that of the only modality. A cell without a molecule was not measured.

    Args:
        names: of the cells, for messages.

    Raises:
        ValueError: an unknown or (with `all_of_them`) missing modality, another number of features, a data frame
            without one of them, tables of different lengths, counts that are no whole numbers, rows that are NaN
            in part, no table at all.
    """
    if not isinstance(tables, Mapping):
        if len(modalities) != 1:
            raise ValueError(f"give a table for each of {', '.join(m.name for m in modalities)}, by name")
        tables = {modalities[0].name: tables}
    known = {m.name: m for m in modalities}
    unknown = sorted(set(tables) - set(known))
    if unknown:
        raise ValueError(f"no modality '{unknown[0]}'; there is {', '.join(known)}")
    missing = [n for n in known if n not in tables]
    if not tables or (missing and all_of_them):
        raise ValueError(f"the table of modality '{missing[0]}' is missing")
    out = {name: _checked(known[name], tables[name], names) for name in known if name in tables}
    if len({len(t) for t in out.values()}) > 1:
        raise ValueError(f"tables of different lengths: { {n: len(t) for n, t in out.items()} }")
    return out


def _checked(modality: Modality, table: Any, names: Sequence[str] | None) -> np.ndarray:
    said = f"modality '{modality.name}'"
    if hasattr(table, "columns"):
        try:
            places = places_of(modality.features, list(map(str, table.columns)))
        except KeyError as error:
            raise ValueError(f"{said}: {error.args[0]}") from None
        table = table.iloc[:, places]
    values = np.array(table.toarray() if hasattr(table, "toarray") else table, float)
    if values.ndim != 2 or values.shape[1] != len(modality.features):
        raise ValueError(f"{said} has {len(modality.features)} features, got a table of {values.shape}")

    def at(wrong: np.ndarray) -> str:
        cell = int(np.argmax(wrong.any(1)))
        where = f"cell {cell}" if names is None else f"cell '{names[cell]}'"
        return f"{said}, {where}, {modality.features[int(np.argmax(wrong[cell]))]}"

    finite = np.isfinite(values)
    partly = ~finite & finite.any(1, keepdims=True)
    if partly.any():
        raise ValueError(f"{at(partly)}: is not finite; a cell is measured as a whole or all NaN")
    if modality.kind == "counts":
        no_count = finite & ((values < 0) | (values != np.rint(values)))
        if no_count.any():
            got = values[no_count][0]
            raise ValueError(
                f"{at(no_count)}: must be a count, a whole number from 0 (got {got:g}); raw counts are needed, or "
                "kind: real"
            )
        values[~values.any(1)] = np.nan
    return values
