"""What goes on inside the cells: quantities and representations over time, and spread at the end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sim.report.rundata import RunData, quantiles
from sim.report.section import Figure, Section
from sim.report.style import SOFT, drawing, line_marks, mark_events, panels, plain_axis, to_svg

_BAND = (0.05, 0.5, 0.95)
_MOST_PANELS = 12
_MOST_COMPONENTS = 12
_SINGLE_CELLS = 6
_BINS = 36


def section(run: RunData) -> Section | None:
    """Pathways, rates and representations."""
    figures = []
    if len(run.time) and run.quantities:
        figures.append(_quantities(run))
        if len(run.quantities) > 1:
            figures.append(_final(run))
    if len(run.time):
        figures += [_representation(run, name) for name in run.representations]
    if not figures:
        return None
    lead = "Living cells only. Lines are medians; bands hold 90 % of the cells (5th to 95th percentile)."
    return Section("Inside the cells", lead, figures)


def _columns(count: int) -> int:
    return count if count <= 3 else (4 if count > 6 else 3)


def _quantities(run: RunData) -> Figure:
    names = run.quantities[:_MOST_PANELS]
    followed = _followed(run)
    alone = len(names) == 1
    with drawing() as figure_class:
        if alone:
            shape = {"gridspec_kw": {"width_ratios": [2, 1]}}
            figure, axes = panels(figure_class, 2, 2, 2.7, **shape)
            _histogram(run, axes[1], names[0])
        else:
            figure, axes = panels(figure_class, len(names), _columns(len(names)), 2.35)
        for name, ax in zip(names, axes, strict=False):
            values = run.values(name)
            for cell in followed:
                ax.plot(
                    run.time[run.read], _track(run, values, cell), color=SOFT, lw=0.5, alpha=0.55, zorder=1
                )
            _bands(run, ax, values)
            ax.set(title=_with_unit(run, name))
            _dress(run, ax)
        if axes[0].get_legend_handles_labels()[1][1:]:
            axes[0].legend(handlelength=1.2)
        svg = to_svg(figure, "quantities of the living cells over time")
    caption = "; ".join(map(run.in_words, names)) + "."
    if followed:
        caption += f" Thin grey lines: {len(followed)} single cells."
    if alone:
        caption += f" Right: how the cells differ at {run.time[-1]:g} {run.unit}."
    if len(run.quantities) > len(names):
        caption += f" The first {len(names)} of {len(run.quantities)} stored quantities."
    return Figure(svg, caption)


def _with_unit(run: RunData, name: str) -> str:
    unit = run.units(name)
    return name + (f" [{unit}]" if unit else "")


def _bands(run: RunData, axes: Any, values: Sequence[np.ndarray]) -> None:
    time = run.time[run.read]
    for code, name in enumerate(run.types):
        mine = [v[t == code] for v, t in zip(values, run.types_of_living, strict=True)]
        low, middle, high = quantiles(mine, _BAND)
        if np.isnan(middle).all():
            continue
        colour = run.type_colours[name]
        axes.fill_between(time, low, high, color=colour, alpha=0.2, lw=0, zorder=2)
        axes.plot(time, middle, color=colour, label=name, zorder=3, **line_marks(len(time)))


def _dress(run: RunData, axes: Any) -> None:
    axes.set_xlabel(f"time [{run.unit}]")
    axes.margins(x=0.01)
    plain_axis(axes)
    mark_events(axes, run.event_times)


def _followed(run: RunData) -> list[int]:
    """A few cells that live from the first to the last saved time."""
    names = run.names_of_living
    if len(names) < 2:
        return []
    stayed = np.intersect1d(names[0], names[-1])
    if not len(stayed):
        stayed = names[-1]
    return stayed[:: max(1, len(stayed) // _SINGLE_CELLS)][:_SINGLE_CELLS].tolist()


def _track(run: RunData, values: Sequence[np.ndarray], cell: int) -> np.ndarray:
    """One cell's value at each read time, NaN where it does not live."""
    track = np.full(len(values), np.nan)
    for k, (names, now) in enumerate(zip(run.names_of_living, values, strict=True)):
        at = np.flatnonzero(names == cell)
        if len(at):
            track[k] = now[at[0]]
    return track


def _final(run: RunData) -> Figure:
    names = run.quantities[:4]
    with drawing() as figure_class:
        figure, axes = panels(figure_class, len(names), max(3, len(names)), 2.2)
        for name, ax in zip(names, axes, strict=True):
            _histogram(run, ax, name)
        svg = to_svg(figure, "distribution over the cells at the end")
    return Figure(svg, f"How the living cells differ at {run.time[-1]:g} {run.unit}.")


def _histogram(run: RunData, axes: Any, name: str) -> None:
    """The last values of the living cells, by type."""
    values, kinds = run.values(name)[-1], run.types_of_living[-1]
    finite = values[np.isfinite(values)]
    reach = (finite.min(), finite.max()) if len(finite) and np.ptp(finite) > 0 else None
    for code, kind in enumerate(run.types):
        mine = values[(kinds == code) & np.isfinite(values)]
        if len(mine):
            bins = min(_BINS, max(8, int(2 * np.sqrt(len(finite))))) if reach else 1
            axes.hist(mine, bins=bins, range=reach, color=run.type_colours[kind], alpha=0.55, label=kind)
    axes.set(xlabel=_with_unit(run, name), ylabel="living cells")
    axes.grid(axis="x", visible=False)
    plain_axis(axes, "x")


def _representation(run: RunData, name: str) -> Figure:
    values = run.values(name)
    width = int(run.cells[name].shape[1])
    shown = min(width, _MOST_COMPONENTS)
    labels = str(run.cells[name].attrs.get("labels", "")).split()
    columns = min(_columns(shown), shown)
    with drawing() as figure_class:
        figure, axes = panels(figure_class, shown, columns, 1.95)
        for k, ax in enumerate(axes):
            _bands(run, ax, [v[:, k] for v in values])
            title = f"[{k}]" + (f" {labels[k].replace('_', ' ')}" if k < len(labels) else "")
            ax.set(title=title)
            _dress(run, ax)
        svg = to_svg(figure, f"components of {name} over time")
    caption = f"{name}: the learned state of each cell, component by component."
    if width > shown:
        caption += f" The first {shown} of {width} components."
    return Figure(svg, caption)
