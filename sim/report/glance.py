"""The first thing on the page: what was simulated, what happened, how sure it is, and where to ask what drove it."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

import numpy as np

from sim.report import tissue
from sim.report.population import event_words
from sim.report.rundata import RunData, quantiles
from sim.report.section import Figure, Section
from sim.report.style import plain_number

_MOST_ROWS = 4  # of quantities; as many of readings

#: what processes of a kind are called: those in the cells, and those around them
_WITHIN = {"pathway": "pathway", "manipulator": "network"}
_AROUND = {"field": "field", "vessels": "vessels", "tissue": "what neighbours tell"}


def section(run: RunData) -> Section | None:
    """The cells in space, sentences, and what changed."""
    if not len(run.time):
        return None
    items = "".join(f"<li>{s}</li>" for s in (_simulated(run), _happened(run), _sure(run)) if s)
    figures = [tissue.first_look(run)] if run.cells.sizes["obs"] else []
    figures.append(Figure(f'<ul class="said">{items}</ul>'))
    if len(run.time) > 1 and (rows := _changes(run)):
        figures.append(_table(run, rows))
    return Section("At a glance", "", figures)


def _simulated(run: RunData) -> str:
    counts = run.summary["count"].values[0]
    kinds = " and ".join(f"{int(n):,} {t}" for t, n in zip(run.types, counts, strict=True))
    where = "three dimensions" if run.solid else "two dimensions"
    wiring = run.attribute("wiring")
    nodes = wiring.get("nodes", []) if isinstance(wiring, Mapping) else []
    parts = [str(n["name"]).partition(".") for n in nodes]
    within = [f"{_WITHIN[kind]} {name}" for kind, _, name in parts if kind in _WITHIN]
    around = [f"{_AROUND[kind]} {name}".strip() for kind, _, name in parts if kind in _AROUND]
    said = f"<b>Simulated:</b> {escape(kinds)} cells in {where}"
    if within:
        said += f"; in the cells {escape(', '.join(within))}"
    if around:
        said += f"; around them {escape(', '.join(around))}"
    said += "."
    if run.events:
        said += f" Done to them: {escape(event_words(run))}."
    return said


def _happened(run: RunData) -> str:
    counts = run.summary["count"].values.sum(axis=1)
    births, deaths = (int(run.summary[n].values.sum()) for n in ("births", "deaths"))
    span = f"in {plain_number(float(run.time[-1] - run.time[0]))} {run.unit}"
    said = f"<b>Happened:</b> from {int(counts[0]):,} to {int(counts[-1]):,} living cells {span}"
    if not births and not deaths:
        return f"{said}; none was born and none died."
    return f"{said}; {births:,} born, {deaths:,} died."


def _sure(run: RunData) -> str:
    counts = run.summary["count"].values[-1]
    said = (
        "<b>How sure:</b> this is one run with one seed, and another seed gives another course; bands show how "
        "cells differ, not how sure the run is."
    )
    if not len(counts):
        return said
    kind = run.types[int(np.argmax(counts))]
    lives = run.summary["births"].values.any() or run.summary["deaths"].values.any()
    outcome = f"count({kind})" if lives or not run.quantities else f"mean({run.quantities[0]}, {kind})"
    ask = f'cellweave explain {run.path.name} --outcome "{outcome} @ {run.time[-1]:g} {run.unit}" -o why.zarr'
    return f"{said} What drove an outcome, with intervals over seeds: <code>{escape(ask)}</code> (minutes)."


def _changes(run: RunData) -> list[tuple[str, str, np.ndarray, str]]:
    """(name, unit, course, how the cells differ at the end): medians of the living cells, readings of instruments."""
    rows = []
    for name in run.quantities[:_MOST_ROWS]:
        low, middle, high = quantiles(run.values(name), (0.05, 0.5, 0.95))
        differ = f"{plain_number(float(low[-1]), 3)} to {plain_number(float(high[-1]), 3)}"
        rows.append((name, run.units(name), middle, differ if np.isfinite(high[-1]) else ""))
    readings = []
    for instrument, node in run.tree["instruments"].children.items():
        for channel, values in node.data_vars.items():
            if values.dims == ("time",) and values.size > 1:
                unit = str(values.attrs.get("units", "")).removeprefix("1")
                readings.append((f"{instrument}: {str(channel).replace('_', ' ')}", unit, values.values, ""))
    return [r for r in rows + readings[:_MOST_ROWS] if np.isfinite(r[2]).any()]


def _table(run: RunData, rows: list[tuple[str, str, np.ndarray, str]]) -> Figure:
    differ = any(r[3] for r in rows)
    titles = [
        "",
        "first",
        "last",
        "lowest to highest on the way",
        *(["90 % of the cells, last"] if differ else []),
    ]
    lines = []
    for name, unit, course, spread in rows:
        known = course[np.isfinite(course)]
        low, high = (plain_number(float(v), 3) for v in (known.min(), known.max()))
        ends = (plain_number(float(course[k]), 3) for k in (0, -1))
        cells = [
            name + (f" [{unit}]" if unit else ""),
            *ends,
            f"{low} to {high}",
            *([spread] if differ else []),
        ]
        lines.append("<tr>" + "".join(f"<td>{escape(c)}</td>" for c in cells) + "</tr>")
    head = "".join(f"<th>{escape(t)}</th>" for t in titles)
    caption = (
        "Medians of the living cells, and what the instruments read, at the first and the last saved time."
    )
    return Figure(f'<table class="changes"><tr>{head}</tr>{"".join(lines)}</table>', caption)
