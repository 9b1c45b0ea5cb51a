"""Pictures of an explanation: ranked bars, courses in time, the weighted graph, the map, formulas beside curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sim.interpret.effects import Row
from sim.report.graph import wiring_figure
from sim.report.style import INK, LINE, PALETTE, SOFT, WIDE, drawing, panels, plain_axis, to_svg

UP, DOWN, UNCLEAR = "#d97a1f", "#3a7fd5", "#a9a7a2"
_MOST_BARS = 16
_MOST_INPUTS = 12
_MOST_PANELS = 6
#: inputs whose share never reaches this are not drawn
_SEEN = 0.03


def bars(rows: Sequence[Row], unit: str) -> str:
    """Effects with their intervals, the strongest on top."""
    unit = "" if unit in ("1", "") else f" [{unit}]"
    return _bars(
        rows,
        [(r.effect, r.lower, r.upper) for r in rows],
        f"effect on the outcome{unit}",
        [r.quantity for r in rows],
    )


def relative_bars(rows: Sequence[Row]) -> str:
    """Effects relative to what they act on, in percent."""
    values = []
    for r in rows:
        scale = 100 * r.relative / r.effect if r.effect else 0.0
        values.append((r.effect * scale, r.lower * scale, r.upper * scale))
    return _bars(rows, values, "direct effect, % of the target", [r.quantity for r in rows])


def _bars(
    rows: Sequence[Row], values: Sequence[tuple[float, float, float]], label: str, names: Sequence[str]
) -> str:
    kept = [k for k, v in enumerate(values) if np.isfinite(v).all()][:_MOST_BARS]
    with drawing() as figure_class:
        figure = figure_class(figsize=(WIDE, 0.9 + 0.3 * max(len(kept), 1)), layout="constrained")
        axes = figure.add_subplot()
        for place, k in enumerate(kept):
            effect, lower, upper = values[k]
            colour = (UP if effect > 0 else DOWN) if rows[k].firm else UNCLEAR
            axes.barh(place, effect, color=colour, height=0.62)
            axes.plot([lower, upper], [place, place], color=INK, linewidth=1.1)
        axes.axvline(0, color=SOFT, linewidth=0.8)
        axes.set_yticks(range(len(kept)), [_label(names[k], rows[k]) for k in kept])
        axes.grid(axis="y", visible=False)
        axes.invert_yaxis()
        axes.set_xlabel(label)
        return to_svg(figure, f"bars of {label}")


def _label(name: str, row: Row) -> str:
    return name if row.firm else f"{name}  ({row.verdict})"


def weighted_graph(wiring: Mapping[str, Any], rows: Sequence[Row]) -> str:
    """The wiring, each coupling as wide as its total effect."""
    by_name = {r.quantity.split(" (")[0]: r for r in rows}
    largest = max((abs(r.effect) for r in rows if r.firm), default=0.0)
    edges = []
    for e in wiring.get("edges", []):
        r = by_name.get(f"{e.get('from')} → {e.get('to')}")
        share = abs(r.effect) / largest if r is not None and r.firm and largest else 0.0
        colour = UNCLEAR if r is None or not r.firm else UP if r.effect > 0 else DOWN
        edges.append({**e, "width": 0.8 + 6 * share, "colour": colour})
    with drawing() as figure_class:
        figure = wiring_figure(figure_class, {**wiring, "edges": edges})
        return to_svg(figure, "couplings as wide as their total effect")


def direct_in_time(data: Any) -> str:
    """Share of each coupling in its target, along the run."""
    effect, driven = data["effect"].mean("seed").values, np.abs(data["driven"].mean("seed").values)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.clip(np.where(driven > 0, effect / driven, np.nan), -1, 1)
    return _heat([("", share.T, data["coupling"].values.tolist())], data["time"].values)


def attribution_in_time(data: Any, labels: Mapping[str, str], *, inner: bool) -> str:
    """Share of each input in what each network's outputs say, along the run; empty where there is none.

    Args:
        labels: what inputs are called.
        inner: of what moves the representations rather than of what acts on the tissue.
    """
    parts = []
    for name in data.data_vars:
        if not str(name).startswith("attribution of"):
            continue
        values = data[name].mean("seed")
        outputs, inputs = values[values.dims[1]].values.tolist(), values[values.dims[2]].values.tolist()
        called = [f"{labels[n].replace('_', ' ')}  {n}" if labels.get(n) else n for n in inputs]
        for k, output in enumerate(outputs):
            one = values.values[:, k, :]
            size = np.abs(one).sum(axis=1, keepdims=True)
            with np.errstate(divide="ignore", invalid="ignore"):
                share = np.where(size > 0, one / size, 0.0)
            seen = np.nan_to_num(np.abs(share)).max(axis=0) >= _SEEN
            if output.startswith("d(") == inner and seen.any():
                parts.append((output, share.T[seen], [n for n, s in zip(called, seen) if s]))
    return _heat(parts[:_MOST_PANELS], data["time"].values) if parts else ""


def _heat(parts: Sequence[tuple[str, np.ndarray, Sequence[str]]], times: np.ndarray) -> str:
    rows = max(min(len(p[2]), _MOST_INPUTS) for p in parts)
    columns = 2 if len(parts) > 1 else 1
    with drawing() as figure_class:
        figure, axes = panels(figure_class, len(parts), columns, max(1.7, 0.75 + 0.24 * rows))
        drawn = None
        for ax, (title, values, names) in zip(axes, parts):
            strong = np.argsort(-np.nan_to_num(np.abs(values)).max(axis=1), kind="stable")[:_MOST_INPUTS]
            strong = np.sort(strong)
            edges = _edges(times / 60)
            drawn = ax.pcolormesh(
                edges, np.arange(len(strong) + 1), values[strong], cmap=_blue_to_orange(), vmin=-1, vmax=1
            )
            ax.set_yticks(np.arange(len(strong)) + 0.5, [names[k] for k in strong])
            ax.invert_yaxis()
            ax.grid(visible=False)
            ax.set_title(title)
            ax.set_xlabel("time [h]")
        bar = figure.colorbar(drawn, ax=axes, shrink=0.9, aspect=18, ticks=[-1, 0, 1])
        bar.set_label("share")
        bar.outline.set_edgecolor(LINE)
        return to_svg(figure, "shares along the run")


def _blue_to_orange() -> Any:
    """What lowers, what does nothing, what raises: the colours of the bars, and those of either paper between them."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("effect", [DOWN, "#e9e7e2", UP])


def _edges(times: np.ndarray) -> np.ndarray:
    if len(times) < 2:
        return np.array([times[0] - 0.5, times[0] + 0.5])
    middle = (times[1:] + times[:-1]) / 2
    return np.concatenate(
        [[times[0] - (middle[0] - times[0])], middle, [times[-1] + (times[-1] - middle[-1])]]
    )


def influence_map(data: Any) -> str:
    """Each cell where it is, coloured by what it adds to its neighbours' messages."""
    place, values = data["position"].values, data["influence"].values
    names = data["message"].values.tolist()
    with drawing() as figure_class:
        figure, axes = panels(figure_class, len(names), 2, 4.2)
        for k, (ax, name) in enumerate(zip(axes, names)):
            size = np.abs(values[:, k]).max(initial=0.0) or 1.0
            drawn = ax.scatter(
                place[:, 0],
                place[:, 1],
                c=values[:, k],
                cmap=_blue_to_orange(),
                vmin=-size,
                vmax=size,
                s=36,
                lw=0.4,
                edgecolors=LINE,
            )
            ax.set_aspect("equal")
            ax.grid(visible=False)
            ax.set_title(f"what cells add to {name}")
            ax.set_xlabel("x [um]")
            ax.set_ylabel("y [um]")
            figure.colorbar(drawn, ax=ax, shrink=0.8).outline.set_edgecolor(LINE)
        return to_svg(figure, "map of influence")


def formulas(data: Any) -> str:
    """Networks and their formulas along the input that moves them most; empty where there are none."""
    curves = [data[n] for n in data.data_vars if str(n).startswith("curve ")]
    curves.sort(key=lambda c: str(c.attrs["output"]).startswith("d("))
    curves = curves[:_MOST_PANELS]
    if not curves:
        return ""
    with drawing() as figure_class:
        figure, axes = panels(figure_class, len(curves), min(3, len(curves)), 2.4)
        for ax, curve in zip(axes, curves):
            x, network, formula = curve.values
            ax.plot(x, network, color=PALETTE[0], label="network")
            ax.plot(x, formula, color=UP, linestyle=(0, (4, 2)), label="formula")
            ax.set_title(f"{curve.attrs['output']}: {float(curve.attrs['explained']):.1%}")
            ax.set_xlabel(str(curve.attrs["input"]))
            plain_axis(ax)
        axes[0].legend()
        return to_svg(figure, "learned curves and formulas")
