"""What the virtual instruments read, beside measurements where the scenario names them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sim.report.rundata import RunData
from sim.report.section import Figure, Section
from sim.report.style import INK, ORANGE, PALETTE, SOFT, drawing, mark_events, panels, to_svg

_LOOKS: dict[str, dict[str, Any]] = {
    "measured": {"color": INK, "marker": "o", "ms": 3.2, "lw": 0, "mec": "none", "label": "measured"},
    "bliss": {"color": ORANGE, "linestyle": (0, (4, 2)), "lw": 1.3, "label": "Bliss independence"},
    "hsa": {"color": PALETTE[2], "linestyle": (0, (1, 1.5)), "lw": 1.5, "label": "highest single agent"},
}


def section(run: RunData) -> Section | None:
    """One figure for each instrument."""
    measured = run.attribute("measurements")
    series = measured.get("series", []) if isinstance(measured, Mapping) else []
    figures = []
    for name, node in run.tree["instruments"].children.items():
        if node.sizes.get("time"):
            figures.append(_instrument(run, str(name), node.to_dataset().load(), series))
    return Section("Instruments", "", figures) if figures else None


def _instrument(run: RunData, name: str, readings: Any, series: Sequence[Mapping[str, Any]]) -> Figure:
    channels = [str(c) for c in readings.data_vars]
    mine = [s for s in series if s.get("instrument", name) == name]
    kinds = {str(s.get("kind", "measured")) for s in mine if s.get("channel") in channels}
    with drawing() as figure_class:
        figure, axes = panels(figure_class, len(channels), min(len(channels), 3), 2.7)
        for channel, ax in zip(channels, axes, strict=True):
            ax.plot(
                readings["time"],
                readings[channel],
                color=PALETTE[0],
                marker="o",
                ms=2.5,
                label="simulated",
                zorder=4,
            )
            for one in mine:
                if one.get("channel") == channel:
                    _overlay(ax, one)
            unit = readings[channel].attrs.get("units", "")
            title = channel.replace("_", " ") + (f" [{unit}]" if unit not in ("", "1") else "")
            ax.set(title=title, xlabel=f"time [{run.unit}]")
            ax.set_ylim(bottom=min(0, ax.get_ylim()[0]))
            mark_events(ax, run.event_times)
        if kinds:
            handles, labels = axes[0].get_legend_handles_labels()
            unique = dict(zip(labels, handles, strict=True))
            figure.legend(unique.values(), unique.keys(), loc="outside lower left", ncols=6)
        svg = to_svg(figure, f"readings of {name}")
    meanings = [f"{c.replace('_', ' ')}: {readings[c].attrs.get('long_name', c)}" for c in channels]
    caption = f"{name}, as the real instrument would read this tissue. " + "; ".join(meanings) + "."
    if "measured" in kinds:
        caption += " Points were measured."
    if kinds & {"bliss", "hsa"}:
        caption += " Bliss and HSA are what two drugs would do without any interaction: the controls to beat."
    return Figure(svg, caption)


def _overlay(axes: Any, series: Mapping[str, Any]) -> None:
    kind = str(series.get("kind", "measured"))
    look = _LOOKS.get(kind, {"color": SOFT, "lw": 1.0, "label": kind})
    axes.plot(np.asarray(series["time"], float), np.asarray(series["value"], float), zorder=3, **look)
