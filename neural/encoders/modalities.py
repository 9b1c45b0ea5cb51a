"""Kinds of measurements, and the scale on which encoders see them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

KINDS = ("counts", "real")
_LEAST_SD = 1e-6  # of a feature that never changes; it then says nothing


@dataclass(frozen=True)
class Modality:
    """One kind of measurement of a cell.

    Attributes:
        kind: `counts` of molecules, of which the total says how deep the cell was read and nothing else; or
            `real` values.
        features: what was measured, in the order of the columns.
    """

    name: str
    kind: Literal["counts", "real"]
    features: tuple[str, ...]


@dataclass(frozen=True)
class Scale:
    """What makes a modality comparable: log1p of counts at equal depth, each feature with mean 0 and sd 1.

    Attributes:
        depth: molecules that a cell's counts are brought to; 0 for real values.
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
    tables: Mapping[str, np.ndarray] | np.ndarray, modalities: tuple[Modality, ...], all_of_them: bool
) -> dict[str, np.ndarray]:
    """Tables by modality, each (cell, feature) float64 with rows of NaN where a cell was not measured.

    A single array is the table of the only modality.

    Raises:
        ValueError: an unknown or (with `all_of_them`) missing modality, another number of features, tables of
            different lengths, counts that are no whole numbers, rows that are NaN in part, no table at all.
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
    out = {name: _checked(known[name], tables[name]) for name in known if name in tables}
    if len({len(t) for t in out.values()}) > 1:
        raise ValueError(f"tables of different lengths: { {n: len(t) for n, t in out.items()} }")
    return out


def _checked(modality: Modality, table: np.ndarray) -> np.ndarray:
    values = np.asarray(table, float)
    if values.ndim != 2 or values.shape[1] != len(modality.features):
        raise ValueError(
            f"modality '{modality.name}' has {len(modality.features)} features, got a table of {values.shape}"
        )
    finite = np.isfinite(values)
    partly = finite.any(1) & ~finite.all(1)
    if partly.any():
        raise ValueError(
            f"modality '{modality.name}', row {int(np.argmax(partly))}: holds values that are not finite; a row is "
            "measured as a whole or all NaN"
        )
    known = values[finite.all(1)]
    if modality.kind == "counts" and ((known < 0).any() or (known != np.rint(known)).any()):
        worst = known[(known < 0) | (known != np.rint(known))][0]
        raise ValueError(
            f"modality '{modality.name}' must hold counts, whole numbers from 0 (got {worst:g}); raw counts are "
            "needed, or kind: real"
        )
    return values
