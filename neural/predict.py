"""`predict`: a table of conditions in, time courses with 90 % intervals out.

Columns of the table: the weights' conditions by name (absent ones are 0), `live_area` [% of the image at
the start, 10 by default] or `confluence` (held; then no population is followed), and `hours` (how long, 72
by default).
"""

from __future__ import annotations

import csv
import math
import os
from difflib import get_close_matches
from typing import TYPE_CHECKING

import numpy as np

from neural.errors import TrainingError
from neural.files import read_text
from neural.manipulators import Manipulator

if TYPE_CHECKING:
    import pandas

_DEFAULT_AREA = 10.0
_DEFAULT_HOURS = 72.0
_LONGEST_HOURS = 10_000.0


def predict_table(
    weights: str | os.PathLike, conditions: str | os.PathLike, every: float = 3.0
) -> pandas.DataFrame:
    """One row per condition and time.

    Args:
        weights: of kind "manipulator".
        conditions: CSV with one condition per row.
        every: hours between rows.

    Returns:
        Columns `condition` (row of the table, from 0), `time` [h], `extrapolated`, the doses, and for every
        quantity q of `Manipulator.evolve`: `q`, `q.lower`, `q.upper`.

    Raises:
        WeightsError: the weights cannot be used.
        TrainingError: the table cannot; every problem at once, with its line and column.
    """
    import pandas as pd

    manipulator = Manipulator.load(weights)
    rows = read_conditions(conditions, manipulator.condition_names)
    start = next(iter(manipulator.card.initial_names))
    ur = manipulator.initial(start)
    frames = []
    for i, row in enumerate(rows):
        times = np.append(np.arange(0.0, row["hours"], every), row["hours"]) * 60.0
        doses = {name: row.get(name, 0.0) for name in manipulator.condition_names}
        course = manipulator.evolve(
            ur, times, doses, message=row.get("confluence"), live_area=row.get("live_area")
        )
        table: dict[str, object] = {
            "condition": i,
            "time": times / 60.0,
            "extrapolated": bool(course.extrapolated[0]),
            **doses,
        }
        for q in course["quantity"].values:
            one = course.sel(quantity=q).isel(cell=0)
            table |= {
                str(q): one["mean"].values,
                f"{q}.lower": one["lower"].values,
                f"{q}.upper": one["upper"].values,
            }
        frames.append(pd.DataFrame(table))
    return pd.concat(frames, ignore_index=True)


def read_conditions(path: str | os.PathLike, names: list[str]) -> list[dict[str, float]]:
    """Rows of a table of conditions; `names` are the conditions allowed.

    Raises:
        TrainingError: not a table, an unknown column, or a value that is not a number in its range.
    """
    try:
        lines = list(csv.reader(read_text(path).splitlines()))
    except csv.Error as error:
        raise TrainingError(path, [(None, None, f"is not a table ({error})")]) from None
    if len(lines) < 2:
        raise TrainingError(path, [(1, None, "holds no condition; give a header and one row per condition")])
    head = [h.strip() for h in lines[0]]
    top = {"hours": _LONGEST_HOURS, "live_area": 100.0, "confluence": 1.0}
    problems: list[tuple[int | None, str | None, str]] = []
    for name in head:
        if name not in (*names, *top):
            close = get_close_matches(name, [*names, *top], 1)
            hint = f"did you mean '{close[0]}'?" if close else f"known: {', '.join([*names, *top])}"
            problems.append((1, name, f"unknown column '{name}'; {hint}"))
    for name in sorted({n for n in head if head.count(n) > 1}):
        problems.append((1, name, f"column '{name}' is given twice"))
    if "confluence" in head and "live_area" in head:
        problems.append(
            (1, "confluence", "give either 'confluence' (held) or 'live_area' (followed), not both")
        )
    rows = []
    for number, cells in enumerate(lines[1:], 2):
        if not any(c.strip() for c in cells):
            continue
        if len(cells) != len(head):
            problems.append((number, None, f"has {len(cells)} values for {len(head)} columns"))
            continue
        row = {"hours": _DEFAULT_HOURS} | ({} if "confluence" in head else {"live_area": _DEFAULT_AREA})
        for name, cell in zip(head, cells, strict=True):
            try:
                value = float(cell)
            except ValueError:
                value = math.nan
            if not 0.0 <= value <= top.get(name, math.inf) or math.isinf(value):
                upper = f" to {top[name]:g}" if name in top else ""
                problems.append((number, name, f"must be a number from 0{upper} (got {cell!r})"))
            row[name] = value
        rows.append(row)
    if problems:
        raise TrainingError(path, problems)
    if not rows:
        raise TrainingError(path, [(1, None, "holds no condition; give one row per condition")])
    return rows
