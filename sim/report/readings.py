"""What the virtual instruments read, beside measurements where the scenario names them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sim.report.images import is_image, pictures
from sim.report.rundata import RunData
from sim.report.section import Figure, Section
from sim.report.style import INK, ORANGE, PALETTE, SOFT, drawing, mark_events, panels, plain_number, to_svg

_MOMENTS = 4
_MOST_TRACKS = 60
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
            figures.append(_figure(run, str(name), node.to_dataset(), series))
    return Section("Instruments", "", figures) if figures else None


def _figure(run: RunData, name: str, readings: Any, series: Sequence[Mapping[str, Any]]) -> Figure:
    if is_image(readings):
        return pictures(run, name, readings)
    if "event" in readings.dims:
        return _histograms(run, name, readings.load())
    return _curves(run, name, readings.load(), series)


def _curves(run: RunData, name: str, readings: Any, series: Sequence[Mapping[str, Any]]) -> Figure:
    channels = [str(c) for c in readings.data_vars if c != "cell"]
    tracks = readings.sizes.get("track", 0)
    mine = [s for s in series if s.get("instrument", name) == name]
    kinds = {str(s.get("kind", "measured")) for s in mine if s.get("channel") in channels}
    with drawing() as figure_class:
        figure, axes = panels(figure_class, len(channels), min(len(channels), 3), 2.7)
        for channel, ax in zip(channels, axes, strict=True):
            if tracks:
                ax.plot(
                    readings["time"], readings[channel][:, :_MOST_TRACKS], color=PALETTE[0], lw=0.7, alpha=0.5
                )
            else:
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
            low, high = ax.dataLim.intervaly
            ax.set_ylim(min(0.0, 1.08 * low), 1.08 * high if high > 0 else None)
            mark_events(ax, run.event_times)
        if kinds:
            handles, labels = axes[0].get_legend_handles_labels()
            unique = dict(zip(labels, handles, strict=True))
            figure.legend(unique.values(), unique.keys(), loc="outside lower left", ncols=6)
        svg = to_svg(figure, f"readings of {name}")
    meanings = [f"{c.replace('_', ' ')}: {readings[c].attrs.get('long_name', c)}" for c in channels]
    caption = f"{name}, as the real instrument would read this tissue. " + "; ".join(meanings) + "."
    if tracks:
        caption += f" Each line is one cell, {min(tracks, _MOST_TRACKS)} of {tracks}."
    if "measured" in kinds:
        caption += " Points were measured."
    if kinds & {"bliss", "hsa"}:
        caption += " Bliss and HSA are what two drugs would do without any interaction: the controls to beat."
    return Figure(svg, caption)


def _histograms(run: RunData, name: str, readings: Any) -> Figure:
    """How bright the cells are in each colour, early to late."""
    channels = [str(c) for c in readings.data_vars]
    last = readings.sizes["time"] - 1
    moments = sorted({round(last * k / (_MOMENTS - 1)) for k in range(_MOMENTS)})
    with drawing() as figure_class:
        figure, axes = panels(figure_class, len(channels), min(len(channels), 3), 2.5)
        for channel, ax in zip(channels, axes, strict=True):
            values = np.asarray(readings[channel].values, float)
            # photons from none to many: the logarithm that begins at 0
            scaled = np.log10(1 + values)
            known = scaled[np.isfinite(scaled)]
            bins = int(np.clip(np.sqrt(values.shape[1]), 8, 40))
            low, high = (known.min(), known.max() + 1e-6) if known.size else (0.0, 1.0)
            edges = np.linspace(low, high, bins + 1)
            for k, t in enumerate(moments):
                now = scaled[t][np.isfinite(scaled[t])]
                heights = np.histogram(now, edges)[0] / max(len(now), 1)
                label = f"{plain_number(float(readings['time'].values[t]))} {run.unit}"
                ax.stairs(heights, edges, color=PALETTE[k], lw=1.3, label=label)
            ax.set(title=channel.replace("_", " "), xlabel="log10(1 + photons)")
        axes[0].set_ylabel("share of the cells")
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower left", ncols=_MOMENTS)
        svg = to_svg(figure, f"readings of {name}")
    meanings = "; ".join(f"{c.replace('_', ' ')}: {readings[c].attrs.get('long_name', c)}" for c in channels)
    return Figure(svg, f"{name}, as a flow cytometer would count the light of single cells. {meanings}.")


def _overlay(axes: Any, series: Mapping[str, Any]) -> None:
    kind = str(series.get("kind", "measured"))
    look = _LOOKS.get(kind, {"color": SOFT, "lw": 1.0, "label": kind})
    axes.plot(np.asarray(series["time"], float), np.asarray(series["value"], float), zorder=3, **look)
