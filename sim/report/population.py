"""How many cells, of what type and phase; births and deaths; clones."""

from __future__ import annotations

from typing import Any

import numpy as np

from sim.report.rundata import RunData
from sim.report.section import Figure, Section
from sim.report.style import (
    DYING,
    INK,
    PALETTE,
    drawing,
    line_marks,
    mark_events,
    panels,
    plain_number,
    to_svg,
)

_MOST_CLONE = 160  # cells drawn of one clone
_CLONES = 3


def section(run: RunData) -> Section | None:
    """Population over time, and lineage; None where no cell was born, died or came into another phase."""
    births, deaths = run.summary["births"].values, run.summary["deaths"].values
    nothing = not births.any() and not deaths.any() and np.count_nonzero(run.phase_counts.any(axis=0)) < 2
    if not len(run.time) or nothing:
        return None
    figures = [_counts(run)]
    lineage = run.tree["lineage"].to_dataset().load()
    if (lineage["parent"] >= 0).any():
        figures.append(_clones(run, lineage))
    return Section("Population", "", figures)


def _counts(run: RunData) -> Figure:
    counts = run.summary["count"].values
    births, deaths = run.summary["births"].values, run.summary["deaths"].values
    with drawing() as figure_class:
        figure, (left, middle, right) = panels(figure_class, 3, 3, 3.0)
        for k, name in enumerate(run.types):
            left.plot(
                run.time, counts[:, k], color=run.type_colours[name], label=name, **line_marks(len(run.time))
            )
        left.set(title="Living cells", ylim=(0, max(1, counts.max()) * 1.08))
        if len(run.types) > 1:
            _legend(left)

        phases = run.phase_counts
        shown = [k for k in range(len(run.phases)) if phases[:, k].any()]
        labels = [run.phases[k] for k in shown]
        colours = [run.phase_colours[name] for name in labels]
        if len(run.read) > 1 and shown:
            times, heights = run.time[run.read], phases[:, shown].T
            middle.stackplot(times, heights, colors=colours, labels=labels, lw=0, alpha=0.85)
            _legend(middle)
        elif shown:
            middle.bar(labels, phases[0, shown], color=colours, alpha=0.85)
        middle.set(title="Cells by phase, debris included")

        for rows, colour, label in ((births, PALETTE[1], "born"), (deaths, DYING["apoptotic"], "died")):
            total = rows.sum(axis=1).cumsum()
            right.step(
                run.time,
                total,
                where="post",
                color=colour,
                label=label,
                marker="" if len(run.time) > 1 else "o",
            )
        right.set(title="Births and deaths so far", ylim=(0, 1.08 * max(1, births.sum(), deaths.sum())))
        _legend(right)
        for axes in (left, middle, right):
            axes.set_xlabel(f"time [{run.unit}]")
            axes.margins(x=0.01)
        for axes in (left, right):
            mark_events(axes, run.event_times)
        svg = to_svg(figure, "population over time")
    start, end = int(counts[0].sum()), int(counts[-1].sum())
    caption = f"From {start} to {end} living cells; {births.sum()} were born and {deaths.sum()} died."
    if run.event_times:
        caption += " Dotted lines: " + event_words(run) + "."
    return Figure(svg, caption)


def _legend(axes: Any) -> None:
    axes.legend(loc="upper left", bbox_to_anchor=(0, -0.2), ncols=3, handlelength=1.1, columnspacing=1.2)


def event_words(run: RunData) -> str:
    """The events in a few words."""
    words = [f"{e.text} at {plain_number(e.time)} {run.unit}" for e in run.events]
    return "; ".join(words[:6]) + (f"; and {len(words) - 6} more" if len(words) > 6 else "")


def founders(ids: np.ndarray, parents: np.ndarray) -> np.ndarray:
    """Index of the founder of each cell; `ids` ascend, a parent comes before its child."""
    of = np.arange(len(ids))
    where = np.searchsorted(ids, np.where(parents < 0, ids, parents))
    known = (parents >= 0) & (where < len(ids))
    for child in np.flatnonzero(known):
        of[child] = of[where[child]]
    return of


def _clones(run: RunData, lineage: Any) -> Figure:
    ids, parents = lineage["cell"].values, lineage["parent"].values
    born, died = lineage["birth_time"].values, lineage["death_time"].values
    founder = founders(ids, parents)
    alive = np.isnan(died)
    roots = np.flatnonzero(founder == np.arange(len(ids)))
    sizes = np.bincount(founder[alive], minlength=len(ids))[roots]
    largest = roots[np.argsort(-sizes, kind="stable")[:_CLONES]]
    end = float(run.time[-1])
    with drawing() as figure_class:
        figure, (left, right) = panels(figure_class, 2, 2, 3.0, gridspec_kw={"width_ratios": [1, 2]})
        top = int(sizes.max(initial=0))
        if top <= 30:
            left.bar(np.arange(top + 1), np.bincount(sizes, minlength=top + 1), color=PALETTE[0], width=0.8)
        else:
            left.hist(sizes, bins=30, color=PALETTE[0])
        left.set(title="Clone sizes at the end", xlabel="living cells of one founder", ylabel="founders")
        left.xaxis.get_major_locator().set_params(integer=True)
        row = 0.0
        cut = False
        for root in largest:
            members = np.flatnonzero(founder == root)
            cut |= len(members) > _MOST_CLONE
            row = _draw_tree(right, ids, parents, born, died, members[:_MOST_CLONE], end, row) + 2.0
        right.set(title=f"The {len(largest)} largest clones", xlabel=f"time [{run.unit}]", yticks=[])
        right.grid(axis="y", visible=False)
        right.spines["left"].set_visible(False)
        right.margins(x=0.01, y=0.04)
        right.invert_yaxis()
        svg = to_svg(figure, "clone sizes and family trees")
    gone = int((sizes == 0).sum())
    left_none = "one founder has" if gone == 1 else f"{gone} founders have"
    caption = (
        f"{len(roots)} founders; the largest clone has {sizes.max(initial=0)} living cells, {left_none} "
        "no living descendant. In the trees each line is a cell from birth to death; a fork is a "
        "division, an orange dot a death."
    )
    if cut:
        caption += f" Of each clone the first {_MOST_CLONE} cells are drawn."
    return Figure(svg, caption)


def _draw_tree(
    axes: Any,
    ids: np.ndarray,
    parents: np.ndarray,
    born: np.ndarray,
    died: np.ndarray,
    members: np.ndarray,
    end: float,
    row: float,
) -> float:
    """Draws one clone below `row`; returns the last row used."""
    children: dict[int, list[int]] = {}
    index = {int(ids[m]): int(m) for m in members}
    for m in members[1:]:
        children.setdefault(index.get(int(parents[m]), int(members[0])), []).append(int(m))
    stays = {m for m in children if not any(abs(born[c] - died[m]) < 1e-9 for c in children[m])}
    for own in children.values():
        own.sort(key=lambda c: -born[c])
    heights = _rows(int(members[0]), children, stays, row)
    lines, forks, dots = [], [], []
    for m in map(int, members):
        y = heights[m]
        stop = end if np.isnan(died[m]) else float(died[m])
        own = children.get(m, [])
        lines.append(((float(born[m]), y), (stop, y)))
        forks += [((float(born[c]), y), (float(born[c]), heights[c])) for c in own]
        # a mother that ends as two daughters begin has divided, not died
        if not np.isnan(died[m]) and (not own or m in stays):
            dots.append((stop, y))
    from matplotlib.collections import LineCollection

    axes.add_collection(LineCollection(lines + forks, colors=INK, linewidths=0.9, capstyle="round"))
    if dots:
        axes.plot(*zip(*dots, strict=True), "o", ms=3, color=DYING["apoptotic"], mec="none", zorder=4)
    axes.autoscale_view()
    return max(heights.values())


def _rows(root: int, children: dict[int, list[int]], stays: set[int], start: float) -> dict[int, float]:
    """A row for each cell, so that no line crosses another.

    A mother who ends with her division stands in the middle of her descendants; one who stays (`stays`)
    stands above them, her youngest next to her.
    """
    heights: dict[int, float] = {}
    following = start
    stack: list[tuple[int, bool]] = [(root, False)]
    while stack:
        cell, ready = stack.pop()
        below = children.get(cell, [])
        if ready:
            heights[cell] = sum(heights[c] for c in below) / len(below)
            continue
        if not below or cell in stays:
            heights[cell] = following
            following += 1.0
        else:
            stack.append((cell, True))
        stack += [(c, False) for c in reversed(below)]
    return heights
