"""An effect with its interval, what can be told of it, and the one table that all methods fill."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    import xarray as xr

#: coverage of the intervals
LEVEL = 0.9

#: verdicts, the firm ones first
RAISES, LOWERS, MATTERS = "raises", "lowers", "matters"
WITHIN_STEP_ERROR = "below the coupling error"
CANNOT_TELL = "cannot tell"
NO_EFFECT = "no effect"
UNDEFINED = "undefined"
REACHES, FALLS_SHORT = "reaches it", "falls short"
FIRM = (RAISES, LOWERS, MATTERS, REACHES)

#: how the note begins of a row whose order with the next one cannot be told
TIE = "order with "

Kind = Literal["total", "direct"]


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds with its t-interval."""

    mean: float
    lower: float
    upper: float

    @property
    def clear(self) -> bool:
        """True where the interval leaves 0 out."""
        return self.lower > 0 or self.upper < 0


def interval(values: np.ndarray, level: float = LEVEL) -> Estimate:
    """Mean of paired differences (seed,) with Student's t-interval. NaN where a run has no outcome."""
    from scipy.stats import t

    n = len(values)
    mean = float(np.mean(values))
    half = float(t.ppf((1 + level) / 2, n - 1) * np.std(values, ddof=1) / np.sqrt(n))
    return Estimate(mean, mean - half, mean + half)


def judged(effect: Estimate, differences: np.ndarray, step: Estimate | None = None) -> str:
    """What can be told of an effect, given its paired differences (seed,) and what the coupling step does."""
    if np.isnan(effect.mean):
        return UNDEFINED
    if not differences.any():
        return NO_EFFECT
    if not effect.clear:
        return CANNOT_TELL
    # only a step error that is itself told from chance can put an effect in doubt
    if step is not None and step.clear and abs(effect.mean) < abs(step.mean):
        return WITHIN_STEP_ERROR
    return RAISES if effect.mean > 0 else LOWERS


@dataclass(frozen=True)
class Row:
    """One line of the ranking.

    Attributes:
        quantity: what acts, by its one name.
        on: what it acts on: the outcome, or a quantity of the scenario.
        effect, lower, upper: in `unit`, with a 90 % interval.
        relative: the effect over the size of what it acts on; NaN where that is 0.
        kind: `total`, all consequences included, or `direct`, all else held.
        method: how it was found.
        time: when, or over which time.
        verdict: what can be told.
        rank: within its method, 1 for the strongest.
        note: `tied` where the next one's interval overlaps, so that their order cannot be told.
    """

    quantity: str
    on: str
    effect: float
    lower: float
    upper: float
    relative: float
    unit: str
    kind: Kind
    method: str
    time: str
    verdict: str
    rank: int = 0
    note: str = ""

    @property
    def firm(self) -> bool:
        """Whether something can be told of it."""
        return self.verdict in FIRM


def numbered(rows: Sequence[Row]) -> list[Row]:
    """Rows that are in their order already, with their ranks."""
    return [replace(r, rank=k + 1) for k, r in enumerate(rows)]


def ranked(rows: Sequence[Row]) -> list[Row]:
    """Rows of one method, the strongest first; what nothing can be told of comes after what is clear.

    Effects on things of different units are compared by their relative size.
    """
    one_unit = len({r.unit for r in rows}) <= 1

    def size(row: Row) -> float:
        return abs(np.nan_to_num(row.effect if one_unit else row.relative))

    order = sorted(rows, key=lambda r: (_firmness(r.verdict), -size(r)))
    found = numbered(order)
    for k, (row, after) in enumerate(itertools.pairwise(found[:])):
        if one_unit and row.verdict in FIRM and after.verdict in FIRM and _overlap(row, after):
            found[k] = replace(row, note=f"{TIE}{after.quantity}: {CANNOT_TELL}")
    return found


def as_dataset(rows: Iterable[Row]) -> xr.Dataset:
    """The table as a dataset with one dim, `row`."""
    import xarray as xr

    rows = list(rows)
    meanings = {
        "quantity": "what acts",
        "on": "what it acts on",
        "effect": "effect, in unit",
        "lower": "lower end of the 90 % interval",
        "upper": "upper end of the 90 % interval",
        "relative": "effect over the size of what it acts on",
        "unit": "unit of the effect",
        "kind": "total or direct",
        "method": "how it was found",
        "time": "when",
        "verdict": "what can be told",
        "rank": "rank within the method, 1 is strongest",
        "note": "what else to know",
    }
    table = {}
    for name, meaning in meanings.items():
        values = [getattr(r, name) for r in rows]
        kind = (
            int if name == "rank" else float if name in ("effect", "lower", "upper", "relative") else object
        )
        table[name] = ("row", np.array(values, kind), {"long_name": meaning, "units": "1"})
    return xr.Dataset(table)


def rows_of(ranking: xr.Dataset) -> list[Row]:
    """The rows of a table that `as_dataset` made."""
    names = [str(n) for n in ranking.data_vars]
    columns = [ranking[n].values.tolist() for n in names]
    return [Row(**dict(zip(names, values))) for values in zip(*columns)]


def as_plain(rows: Iterable[Row]) -> list[dict]:
    """Rows as plain data; a number that does not exist is None."""
    return [
        {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in asdict(r).items()}
        for r in rows
    ]


def ratio(effect: float, size: float) -> float:
    return effect / size if size else float("nan")


def _overlap(one: Row, other: Row) -> bool:
    """Whether the sizes of two effects have intervals in common."""
    sizes = [sorted((abs(r.lower), abs(r.upper))) for r in (one, other)]
    return sizes[0][0] <= sizes[1][1] and sizes[1][0] <= sizes[0][1]


def _firmness(verdict: str) -> int:
    return 0 if verdict in FIRM else {WITHIN_STEP_ERROR: 1, CANNOT_TELL: 1, NO_EFFECT: 2}.get(verdict, 3)
