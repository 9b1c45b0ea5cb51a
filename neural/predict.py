"""`predict`: a table of conditions in, predictions with 90 % intervals out.

What a row of the table may hold depends on the kind of weights:

- `manipulator`: doses (absent ones are 0), `live_area` [% of the image at the start, 10 by default] or `confluence`
  (held; then no population is followed), and `hours` (how long, 72 by default); a row per condition and time comes out.
  A row with `at` [h] goes on with the condition of the row above: from then on its doses hold.
- `perturbation`: doses; a row per condition comes out.
- `transport`: `time`; a row per time, with where the cells of the population lie.
- `traces`: the past of tracks, a row per track and frame; a row per track and coming frame comes out.
- `representation`: cells (CSV, npz or AnnData) with what the space is made of, or a part of it; a row per cell with its
  place in the space, and its `state` where the training named some.

Every row has `flag`, which says in words where the training data have no say (empty where they have), and but for cells
`gain`: how much a measurement of this condition would help, as the share of all rows' summed uncertainty that it would
remove.
"""

from __future__ import annotations

import csv
import itertools
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from neural import weights as weight_files
from neural.errors import TrainingError, WeightsError, shown
from neural.files import read_text
from neural.manipulators import Manipulator
from neural.spelling import nearest
from neural.uncertainty import value_by_members

if TYPE_CHECKING:
    import pandas

_DEFAULT_AREA = 10.0
_DEFAULT_HOURS = 72.0
_COURSE = {"hours": 10_000.0, "live_area": 100.0, "confluence": 1.0, "at": 10_000.0}
# beyond which no dose is one
_LARGEST = 1e30
_USUAL = {"hours": _DEFAULT_HOURS, "live_area": _DEFAULT_AREA, "at": 0.0}
# courses that are integrated together, as long as the longest of them
_TOGETHER = 64
_PREDICTORS = {
    "manipulator": "neural.predict:predict_courses",
    "perturbation": "neural.predict:predict_responses_table",
    "transport": "neural.train_transport:predict_populations",
    "traces": "neural.train_traces:predict_tracks",
    "representation": "neural.encoders.predict:predict_places",
}


def predict_table(
    weights: str | os.PathLike, conditions: str | os.PathLike, every: float = 3.0
) -> pandas.DataFrame:
    """Predictions of the weights for a table of conditions.

    Args:
        weights: of kind "manipulator", "perturbation", "transport", "traces" or "representation".
        conditions: the table, as said above.
        every: hours between rows of a time course.

    Returns:
        For each quantity q three columns: `q`, `q.lower`, `q.upper` (90 %); before them `condition` (of the table,
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
    names = manipulator.condition_names
    courses = _courses(read_conditions(conditions, names), names, every)
    start = manipulator.initial(next(iter(manipulator.card.initial_names)))
    longest = float(manipulator.card.architecture["step"]) / 60.0
    tables: list[np.ndarray] = [np.empty(0)] * len(courses)
    apart = np.empty((len(courses), int(manipulator.card.architecture["members"])))
    columns: list[str] = []
    for together in _batches(courses, longest):
        mine = [courses[i] for i in together]
        times = np.unique(np.concatenate([c.times for c in mine]))
        held, breaks = np.stack([c.doses for c in mine], 1), [60.0 * at for at in mine[0].changes]
        doses = held if breaks else held[0]
        live = np.array([c.live_area for c in mine])
        told = [c.confluence for c in mine if c.confluence is not None]
        found = manipulator.evolve(
            start,
            times * 60.0,
            doses,
            message=np.array(told) if told else None,
            live_area=None if told else live,
            breaks=breaks,
        )
        three = np.stack([found[part].values for part in ("mean", "lower", "upper")], -1)
        columns = [f"{q}{part}" for q in found["quantity"].values for part in ("", ".lower", ".upper")]
        ends = np.unique([0.0, *(c.times[-1] for c in mine)])
        signals = manipulator.member_signals(start, ends * 60.0, doses, live, breaks)[..., 0]
        for k, i in enumerate(together):
            own = np.searchsorted(times, mine[k].times)
            tables[i] = three[k, own].reshape(len(own), -1)
            apart[i] = signals[np.searchsorted(ends, mine[k].times[-1]), :, k]
    gains = value_by_members(apart - apart.mean(1, keepdims=True), manipulator.noise[0] ** 2)
    long = [len(c.times) for c in courses]
    doses = np.concatenate([c.doses[np.searchsorted(c.changes, c.times, side="right")] for c in courses])
    beyond = [bool(manipulator.extrapolated(c.doses).any()) for c in courses]
    table = {
        "condition": np.repeat(np.arange(len(courses)), long),
        "time": np.concatenate([c.times for c in courses]),
        "extrapolated": np.repeat(beyond, long),
        "flag": np.repeat([_flag(manipulator, c) for c in courses], long),
        "gain": np.repeat(gains, long),
        **dict(zip(names, doses.T, strict=True)),
        **dict(zip(columns, np.concatenate(tables).T, strict=True)),
    }
    return pd.DataFrame(table)


@dataclass(frozen=True)
class _Course:
    """A condition of a table: doses (S, drug), each held up to its change [h]; times [h] asked for; `confluence` is
    held where it is given, else the population is followed from `live_area` [%]."""

    doses: np.ndarray
    changes: tuple[float, ...]
    times: np.ndarray
    live_area: float
    confluence: float | None


def _courses(rows: list[dict[str, float]], names: list[str], every: float) -> list[_Course]:
    """Courses of the rows, each row with `at` 0 and those after it that go on with it."""
    begins = [i for i, row in enumerate(rows) if row["at"] == 0.0]
    out = []
    for first, last in zip(begins, [*begins[1:], len(rows)], strict=True):
        row, hours = rows[first], rows[first]["hours"]
        out.append(
            _Course(
                np.array([[r.get(name, 0.0) for name in names] for r in rows[first:last]]),
                tuple(r["at"] for r in rows[first + 1 : last]),
                np.append(np.arange(0.0, hours, every), hours),
                row.get("live_area", _DEFAULT_AREA),
                row.get("confluence"),
            )
        )
    return out


def _batches(courses: list[_Course], step: float) -> Iterator[list[int]]:
    """Courses that can go together, the shortest first: with the same changes, and either of the same length or each
    as long as a number of whole steps [h], so that none is stepped otherwise than alone."""

    def alike(i: int) -> tuple[Any, ...]:
        c = courses[i]
        steps = (c.times[-1] - (c.changes[-1] if c.changes else 0.0)) / step
        return c.changes, 0.0 if steps == round(steps) else float(c.times[-1])

    order = sorted(range(len(courses)), key=lambda i: (*alike(i), float(courses[i].times[-1])))
    for _, group in itertools.groupby(order, alike):
        mine = list(group)
        for first in range(0, len(mine), _TOGETHER):
            yield mine[first : first + _TOGETHER]


def _flag(manipulator: Manipulator, course: _Course) -> str:
    """What of a course the training wells have no say in."""
    said = dict.fromkeys(
        part for flag in manipulator.flags(course.doses) for part in flag.split("; ") if part
    )
    known = float(manipulator.card.raw.get("data", {}).get("hours", math.inf))
    if course.times[-1] > known * (1 + 1e-9):
        said[f"hours above {known:g}"] = None
    if len(np.unique(course.doses, axis=0)) > 1:
        said["doses change, those learned of were held"] = None
    return "; ".join(said)


def bounds(name: str, mean: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> dict[str, np.ndarray]:
    """The three columns of one quantity."""
    return {name: mean, f"{name}.lower": lower, f"{name}.upper": upper}


def predict_responses_table(
    weights: str | os.PathLike, conditions: str | os.PathLike, every: float
) -> pandas.DataFrame:
    """Responses to doses: one row per condition."""
    import pandas as pd

    from neural.perturbation_model import PerturbationModel

    model = PerturbationModel.load(weights)
    rows = read_conditions(conditions, model.condition_names, {}, {}, low=-_LARGEST)
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
    high: float = _LARGEST,
) -> list[dict[str, float]]:
    """Rows of a table of conditions.

    Args:
        names: the conditions allowed.
        top: further columns allowed, with their largest value; of a time course if not given.
        default: of further columns; `live_area` has none where the table has `confluence`.
        low, high: smallest and largest value of a condition.

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
    for mark in ";\t":
        if mark in lines[0][0] and len(lines[0]) == 1:
            raise TrainingError(
                path, [(1, None, f"columns must be separated by commas (got {shown(lines[0][0])})")]
            )
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
            least, most = (0.0, top[name]) if name in top else (low, high)
            if not least <= value <= most:
                upper = f" to {most:g}" if most < _LARGEST else ""
                wanted = f"a number from {least:g}{upper}" if least > -_LARGEST else "a finite number"
                if math.isfinite(value) and abs(value) > _LARGEST:
                    wanted = f"at most {_LARGEST:g}"
                problems.append((number, name, f"must be {wanted} (got {shown(cell)})"))
            row[name] = value
        if not problems:
            problems += [(number, key, said) for key, said in _change(row, rows[-1] if rows else None)]
        rows.append(row)
    if problems:
        raise TrainingError(path, problems)
    if not rows:
        raise TrainingError(path, [(1, None, "holds no condition; give one row per condition")])
    return rows


def _change(row: dict[str, float], before: dict[str, float] | None) -> Iterator[tuple[str, str]]:
    """What is wrong with a row that goes on with the condition of the row before: key and words."""
    at = row.get("at", 0.0)
    if not at > 0.0:
        return
    if before is None:
        yield "at", f"the first row of a condition is at 0 (got {at:g})"
        return
    if not before["at"] < at < before["hours"]:
        yield (
            "at",
            f"must be after that of the row above and before the end at {before['hours']:g} h (got {at:g})",
        )
    for key in ("hours", "live_area", "confluence"):
        if row.get(key) != before.get(key):
            said = f"must be that of the row above, which this one goes on with, {before[key]:g} (got {row[key]:g})"
            yield key, said
