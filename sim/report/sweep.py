"""The page of a sweep: each outcome over the swept values, the courses behind them, and what failed."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from sim.report.in_words import outcome_words
from sim.report.page import document
from sim.report.section import Figure, Section
from sim.report.style import PALETTE, drawing, log_axis, panels, plain_axis, plain_number, to_svg

#: values of the second axis that are drawn as lines, courses, and failed runs that are listed
_MOST_LINES, _MOST_COURSES, _MOST_FAILED = 7, 4, 12
#: of Student's t at 5 and 95 %
_LEVEL = 0.95
#: values over more than this factor stand on a logarithmic axis
_WIDE = 20


def write_sweep_page(store: Path | str, folder: Path | str) -> Path:
    """Writes `sweep.html` of the dataset at `store` into `folder` and returns its path.

    Raises:
        StoreError: the page cannot be written.
    """
    import xarray as xr

    from sim.store.disk import disk_errors, own_folder, replace_files

    with xr.open_zarr(store) as data:
        html = rendered(data.load(), Path(store).name)
    page = Path(folder) / "sweep.html"
    own_folder(Path(folder))
    with disk_errors(page):
        replace_files([(page, html.encode())])
    return page


def rendered(data: Any, name: str) -> str:
    """The page as HTML."""
    status = data["status"].values
    axes = [str(d) for d in data["status"].dims if d != "seed"]
    done = int((status == "done").sum())
    numbers = [
        (f"{done} of {status.size}", "runs are there"),
        (str(len(axes)), "swept: " + ", ".join(axes)),
        (str(data.sizes["seed"]), "seeds of each"),
    ]
    sections = [_outcomes(data, axes), _courses(data, axes), _failed(data), _table(data, axes)]
    return document(
        str(data.attrs.get("title", name)),
        "A sweep over " + ", ".join(f"{a} ({data.sizes[a]} values)" for a in axes),
        numbers,
        [s for s in sections if s is not None],
        f"Drawn by cellweave from {name}.",
    )


def _outcomes(data: Any, axes: list[str]) -> Section | None:
    names = _outcome_names(data)
    if not names:
        return None
    along, *others = sorted(axes, key=lambda a: -data.sizes[a])
    by = others[0] if others else None
    with drawing() as figure_class:
        figure, places = panels(figure_class, len(names), min(2, len(names)), 3.2)
        for ax, name in zip(places, names):
            _draw(ax, data[name], along, by)
        body = to_svg(figure, "outcomes over the swept values")
    rest = [a for a in others if a != by and data.sizes[a] > 1]
    caption = "Points are single runs; lines their mean over the seeds" + (
        f" and over {', '.join(rest)}." if rest else ", bands its 90 % interval."
    )
    return Section("What came out", "", [Figure(body, caption)])


def _draw(ax: Any, outcome: Any, along: str, by: str | None) -> None:
    """One outcome along an axis, a line for each value of another."""
    x, labels = _positions(outcome[along])
    lines = (
        [(None, outcome)]
        if by is None
        else [(v, outcome.sel({by: v})) for v in outcome[by].values[:_MOST_LINES]]
    )
    for k, (value, one) in enumerate(lines):
        colour = PALETTE[k % len(PALETTE)]
        runs = one.transpose(along, ...).values.reshape(len(x), -1)
        label = None if value is None else f"{by} {_text(outcome[by], value)}"
        ax.plot(x, _mean(runs), color=colour, label=label)
        ax.plot(np.repeat(x, runs.shape[1]), runs.ravel(), ".", color=colour, alpha=0.5, markersize=3)
        half = _half(runs)
        ax.fill_between(x, _mean(runs) - half, _mean(runs) + half, color=colour, alpha=0.15, linewidth=0)
    if labels:
        ax.set_xticks(x, labels)
    elif (x > 0).any() and x.min() >= 0 and x.max() > _WIDE * x[x > 0].min():
        # doses over decades, with a place for none
        log_axis(ax, "x", linear=x[x > 0].min())
    ax.set_xlabel(f"{along}{_unit(outcome[along])}")
    ax.set_title(f"{outcome.name}: {outcome_words(str(outcome.attrs.get('long_name', '')))}{_unit(outcome)}")
    plain_axis(ax)
    if by is not None:
        ax.legend()


def _courses(data: Any, axes: list[str]) -> Section | None:
    """The first courses in time, a line for each value of the axis with the most values."""
    names = [str(n) for n in data.data_vars if {"time", "type"} <= set(map(str, data[n].dims))][
        :_MOST_COURSES
    ]
    if not names or not data.sizes.get("time"):
        return None
    along = max(axes, key=lambda a: data.sizes[a])
    values = data[along].values
    chosen = values[
        np.unique(np.linspace(0, len(values) - 1, min(len(values), _MOST_LINES)).round().astype(int))
    ]
    with drawing() as figure_class:
        figure, places = panels(figure_class, len(names), min(2, len(names)), 3.0)
        for ax, name in zip(places, names):
            whole = (
                data[name].sum("type", skipna=True) if name.startswith("count") else data[name].mean("type")
            )
            for k, value in enumerate(chosen):
                one = whole.sel({along: value}).transpose("time", ...).values.reshape(data.sizes["time"], -1)
                label = f"{along} {_text(data[along], value)}"
                ax.plot(data["time"].values, _mean(one), color=PALETTE[k % len(PALETTE)], label=label)
            ax.set_title(f"{name}: {data[name].attrs.get('long_name', name)}{_unit(data[name])}")
            ax.set_xlabel(f"time{_unit(data['time'])}")
            plain_axis(ax)
        places[0].legend()
        body = to_svg(figure, "courses in time")
    return Section(
        "How it came about", "", [Figure(body, f"Means over seeds and all that is swept beside {along}.")]
    )


def _failed(data: Any) -> Section | None:
    places = np.argwhere(data["status"].values == "failed")
    if not len(places):
        return None
    dims = [str(d) for d in data["status"].dims]
    lines = []
    for place in places[:_MOST_FAILED]:
        where = ", ".join(f"{d} {_text(data[d], data[d].values[k])}" for d, k in zip(dims, place))
        reason = str(data["log"].values[tuple(place)]).splitlines()[:1]
        lines.append(f"<tr><td>{escape(where)}</td><td>{escape(reason[0] if reason else '')}</td></tr>")
    more = f"{len(places) - _MOST_FAILED} more are in the dataset." if len(places) > _MOST_FAILED else ""
    return Section("What failed", "", [Figure(f"<table>{''.join(lines)}</table>", more)])


def _table(data: Any, axes: list[str]) -> Section | None:
    """Means of the outcomes for each combination, folded."""
    names = _outcome_names(data)
    if not names:
        return None
    head = "".join(f"<th>{escape(t)}</th>" for t in (*axes, *names))
    shape = [data.sizes[a] for a in axes]
    means = {n: data[n].mean("seed").transpose(*axes).values for n in names}
    lines = []
    for place in np.ndindex(*shape):
        cells = [_text(data[a], data[a].values[k]) for a, k in zip(axes, place)]
        cells += [plain_number(float(means[n][place])) for n in names]
        lines.append("<tr>" + "".join(f"<td>{escape(c)}</td>" for c in cells) + "</tr>")
    table = f"<table><tr>{head}</tr>{''.join(lines)}</table>"
    fold = f"<details><summary>{len(lines)} combinations</summary>{table}</details>"
    return Section("Every combination", "", [Figure(fold, "Means over the seeds.")])


# ---- parts


def _outcome_names(data: Any) -> list[str]:
    dims = set(data["status"].dims)
    return [str(n) for n in data.data_vars if set(data[n].dims) == dims and str(n) not in ("status", "log")]


def _positions(axis: Any) -> tuple[np.ndarray, list[str]]:
    """Where the values stand, and their labels where they are no numbers."""
    if np.issubdtype(axis.dtype, np.number):
        return axis.values.astype(float), []
    return np.arange(axis.size, dtype=float), [str(v) for v in axis.values]


def _mean(runs: np.ndarray) -> np.ndarray:
    known = np.maximum((~np.isnan(runs)).sum(axis=1), 1)
    return np.where(np.isnan(runs).all(axis=1), np.nan, np.nansum(runs, axis=1) / known)


def _half(runs: np.ndarray) -> np.ndarray:
    """Half the width of Student's interval (value,); 0 where there is one run."""
    from scipy.stats import t

    count = (~np.isnan(runs)).sum(axis=1)
    spread = np.where(np.isnan(runs), 0.0, runs - _mean(runs)[:, None]) ** 2
    with np.errstate(invalid="ignore", divide="ignore"):
        half = t.ppf(_LEVEL, count - 1) * np.sqrt(spread.sum(axis=1) / (count - 1) / count)
    return np.where(count > 1, half, 0.0)


def _text(axis: Any, value: Any) -> str:
    unit = axis.attrs.get("units", "1")
    number = plain_number(float(value)) if isinstance(value, float | np.floating) else str(value)
    return number if unit in ("1", "") else f"{number} {unit}"


def _unit(array: Any) -> str:
    unit = array.attrs.get("units", "1")
    return "" if unit in ("1", "") else f" [{unit}]"
