"""`predict`: a table of conditions in, predictions with 90 % intervals out.

What a row of the table may hold depends on the kind of weights:

- `manipulator`: doses (absent ones are 0), `live_area` [% of the image at the start, 10 by default] or `confluence`
  (held; then no population is followed), and `hours` (how long, 72 by default); a row per condition and time comes out.
- `perturbation`: doses; a row per condition comes out.
- `transport`: `time`; a row per time, with where the cells of the population lie.
- `traces`: the past of tracks, a row per track and frame; a row per track and coming frame comes out.

Every row has `flag`, which says in words where the training data have no say (empty where they have), and `gain`: how
much a measurement of this condition would help, as the share of all rows' summed uncertainty that it would remove.
"""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING

import numpy as np

from neural import weights as weight_files
from neural.errors import TrainingError, WeightsError, shown
from neural.files import read_text
from neural.manipulators import Manipulator
from neural.spelling import nearest
from neural.uncertainty import value_of_measuring

if TYPE_CHECKING:
    import pandas

_DEFAULT_AREA = 10.0
_DEFAULT_HOURS = 72.0
_COURSE = {"hours": 10_000.0, "live_area": 100.0, "confluence": 1.0}
_USUAL = {"hours": _DEFAULT_HOURS, "live_area": _DEFAULT_AREA}
_PREDICTORS = {
    "manipulator": "neural.predict:predict_courses",
    "perturbation": "neural.predict:predict_responses_table",
    "transport": "neural.train_transport:predict_populations",
    "traces": "neural.train_traces:predict_tracks",
}


def predict_table(
    weights: str | os.PathLike, conditions: str | os.PathLike, every: float = 3.0
) -> pandas.DataFrame:
    """Predictions of the weights for a table of conditions.

    Args:
        weights: of kind "manipulator", "perturbation", "transport" or "traces".
        conditions: CSV, as said above.
        every: hours between rows of a time course.

    Returns:
        For each quantity q three columns: `q`, `q.lower`, `q.upper` (90 %); before them `condition` (row of the table,
        from 0), `time` where there is one, `flag`, `gain`, and the conditions.

    Raises:
        WeightsError: the weights cannot be used.
        TrainingError: the table cannot; every problem at once, with its line and column.
    """
    kind = weight_files.read_card(weights).kind
    if kind not in _PREDICTORS:
        raise WeightsError(weights, f"weights of kind '{kind}' predict nothing; {', '.join(_PREDICTORS)} do")
    module, function = _PREDICTORS[kind].split(":")
    return getattr(import_module(module), function)(weights, conditions, every)


def predict_courses(
    weights: str | os.PathLike, conditions: str | os.PathLike, every: float
) -> pandas.DataFrame:
    """Time courses by a manipulator: one row per condition and time [h]."""
    import pandas as pd

    manipulator = Manipulator.load(weights)
    rows = read_conditions(conditions, manipulator.condition_names)
    start = next(iter(manipulator.card.initial_names))
    ur = manipulator.initial(start)
    doses = np.array([[row.get(name, 0.0) for name in manipulator.condition_names] for row in rows])
    flags, gains = manipulator.flags(doses), _gains(manipulator, rows, doses)
    frames = []
    for i, row in enumerate(rows):
        times = np.append(np.arange(0.0, row["hours"], every), row["hours"]) * 60.0
        course = manipulator.evolve(
            ur, times, doses[i : i + 1], message=row.get("confluence"), live_area=row.get("live_area")
        )
        table: dict[str, object] = {
            "condition": i,
            "time": times / 60.0,
            "extrapolated": bool(course.extrapolated[0]),
            "flag": flags[i],
            "gain": gains[i],
            **dict(zip(manipulator.condition_names, doses[i], strict=True)),
        }
        for q in course["quantity"].values:
            one = course.sel(quantity=q).isel(cell=0)
            table |= bounds(str(q), one["mean"].values, one["lower"].values, one["upper"].values)
        frames.append(pd.DataFrame(table))
    return pd.concat(frames, ignore_index=True)


def bounds(name: str, mean: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> dict[str, np.ndarray]:
    """The three columns of one quantity."""
    return {name: mean, f"{name}.lower": lower, f"{name}.upper": upper}


def _gains(manipulator: Manipulator, rows: list[dict[str, float]], doses: np.ndarray) -> np.ndarray:
    """What measuring each condition would tell of all: from how the ensemble's members differ in live area at the end.

    The members' covariance over the conditions stands for what is not known, the interval's floor for the noise.
    """
    start = manipulator.initial(next(iter(manipulator.card.initial_names)))
    live = np.array([row.get("live_area", _DEFAULT_AREA) for row in rows])
    ends = []
    for i, row in enumerate(rows):
        times = np.array([0.0, 0.5, 1.0]) * 60.0 * row["hours"]
        ends.append(manipulator.member_signals(start, times, doses[i : i + 1], live[i : i + 1])[-1, :, 0, 0])
    apart = np.array(ends)
    apart = apart - apart.mean(1, keepdims=True)
    return value_of_measuring(apart @ apart.T / apart.shape[1], manipulator.noise[0] ** 2)


def predict_responses_table(
    weights: str | os.PathLike, conditions: str | os.PathLike, every: float
) -> pandas.DataFrame:
    """Responses to doses: one row per condition."""
    import pandas as pd

    from neural.perturbation_model import PerturbationModel

    model = PerturbationModel.load(weights)
    rows = read_conditions(conditions, model.condition_names, {}, {}, low=-math.inf)
    doses = np.array([[row.get(name, 0.0) for name in model.condition_names] for row in rows])
    mean, half = model.predict(doses)
    table: dict[str, object] = {
        "condition": np.arange(len(rows)),
        "flag": model.flags(doses),
        "gain": model.value(doses),
        **dict(zip(model.condition_names, doses.T, strict=True)),
    }
    for k, name in enumerate(model.response_names):
        table |= bounds(name, mean[:, k], mean[:, k] - half[:, k], mean[:, k] + half[:, k])
    return pd.DataFrame(table)


def read_conditions(
    path: str | os.PathLike,
    names: list[str],
    top: Mapping[str, float] = _COURSE,
    default: Mapping[str, float] = _USUAL,
    low: float = 0.0,
) -> list[dict[str, float]]:
    """Rows of a table of conditions.

    Args:
        names: the conditions allowed.
        top: further columns allowed, with their largest value; of a time course if not given.
        default: of further columns; `live_area` has none where the table has `confluence`.
        low: smallest value of a condition.

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
    problems: list[tuple[int | None, str | None, str]] = []
    for name in head:
        if name not in (*names, *top):
            hint = nearest(name, [*names, *top], f"known: {', '.join([*names, *top])}")
            problems.append((1, name, f"unknown column '{name}'{hint}"))
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
        row = {k: v for k, v in default.items() if not (k == "live_area" and "confluence" in head)}
        for name, cell in zip(head, cells, strict=True):
            try:
                value = float(cell)
            except ValueError:
                value = math.nan
            least = 0.0 if name in top else low
            if not least <= value <= top.get(name, math.inf) or math.isinf(value):
                upper = f" to {top[name]:g}" if name in top else ""
                wanted = "a finite number" if math.isinf(least) else f"a number from {least:g}{upper}"
                problems.append((number, name, f"must be {wanted} (got {shown(cell)})"))
            row[name] = value
        rows.append(row)
    if problems:
        raise TrainingError(path, problems)
    if not rows:
        raise TrainingError(path, [(1, None, "holds no condition; give one row per condition")])
    return rows
