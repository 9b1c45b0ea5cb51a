"""Maps: cells as discs of their true size, fields as heat maps."""

from __future__ import annotations

from typing import Any

import numpy as np

from sim.report.rundata import RunData
from sim.report.section import Figure, Section
from sim.report.style import (
    DYING,
    FIELD,
    INK,
    LINE,
    NOTHING,
    PALETTE,
    SEQUENTIAL,
    SOFT,
    drawing,
    line_marks,
    mark_events,
    panels,
    plain_axis,
    plain_number,
    to_svg,
)

_MOST_CELLS = 5000
_MAPS = 4
_QUANTITIES = 2
#: of discs; keeps the darkest colour apart from black paper, and the palest from white
_RIM = "#8d8a85b0"
_MOST_FIELDS = 6


def section(run: RunData) -> Section | None:
    """Maps of the cells at several times, beside the one that `first_look` gives."""
    if not len(run.time) or not run.cells.sizes["obs"] or not run.quantities:
        return None
    figures = []
    if len(run.types) > 1 or np.count_nonzero(run.phase_counts.any(axis=0)) > 1:
        figures.append(_maps(run))
    figures += [_quantity_map(run, name) for name in run.quantities[1:_QUANTITIES]]
    return Section("Tissue", "", figures) if figures else None


def first_look(run: RunData) -> Figure:
    """The cells in space, coloured by the first quantity that the scenario asked for, or else by what they are."""
    return _quantity_map(run, run.quantities[0]) if run.quantities else _maps(run)


def fields_section(run: RunData) -> Section | None:
    """Fields along the run and in space."""
    fields = run.tree["fields"].to_dataset()
    names = [str(n) for n in fields.data_vars]
    if not names or not fields.sizes["time"]:
        return None
    figures = [_fields_in_time(run, fields, names)]
    figures += [figure for name in names[:_MOST_FIELDS] if (figure := _field(run, fields, name))]
    return Section("Fields", "", figures)


def _moments(run: RunData) -> list[int]:
    last = len(run.time) - 1
    return sorted({round(last * k / (_MAPS - 1)) for k in range(_MAPS)})


class _Slice:
    """The cells of one saved time that a map shows: all in 2-D, those that cross the middle plane in 3-D."""

    def __init__(self, run: RunData, frame: int):
        x, y, z = (run.at(axis, frame) for axis in "xyz")
        radius = np.cbrt(3 * np.maximum(run.at("volume", frame), 0) / (4 * np.pi))
        shown = np.ones(len(x), bool)
        if run.solid:
            height = middle_plane(run) - z
            shown = np.abs(height) < radius
            radius = np.sqrt(np.maximum(radius**2 - height**2, 0))
        rows = np.flatnonzero(shown)
        self.total = len(rows)
        if len(rows) > _MOST_CELLS:
            rows = rows[:: -(-len(rows) // _MOST_CELLS)]
        self.rows, self.x, self.y, self.radius = rows, x[rows], y[rows], radius[rows]

    def draw(self, axes: Any, colours: Any) -> None:
        from matplotlib.collections import EllipseCollection

        size = 2 * self.radius
        discs = EllipseCollection(
            size,
            size,
            np.zeros(len(size)),
            units="xy",
            offsets=np.column_stack([self.x, self.y]),
            offset_transform=axes.transData,
            facecolors=colours,
            edgecolors=_RIM,
            linewidths=0.3,
            rasterized=True,
        )
        axes.add_collection(discs)


def middle_plane(run: RunData) -> float:
    """Height of the plane that maps of a three-dimensional run show [um]."""
    fields = run.tree["fields"].to_dataset()
    if "z" in fields.coords and fields.sizes["z"] > 1:
        return float(fields["z"].values[len(fields["z"]) // 2])
    return float(np.median(run.at("z", 0)))


def _frame_box(run: RunData) -> tuple[float, float, float, float]:
    """What a map shows: the domain where fields tell it, else the reach of the cells."""
    fields = run.tree["fields"].to_dataset()
    if "x" in fields.coords and fields.sizes["x"] > 1 and fields.sizes["y"] > 1:
        x, y = fields["x"].values, fields["y"].values
        dx, dy = (x[1] - x[0]) / 2, (y[1] - y[0]) / 2
        return x[0] - dx, x[-1] + dx, y[0] - dy, y[-1] + dy
    reach = [(run.at("x", f), run.at("y", f)) for f in _moments(run)]
    xs, ys = (np.concatenate([r[k] for r in reach]) for k in (0, 1))
    if not len(xs):
        return -1.0, 1.0, -1.0, 1.0
    pad = 0.05 * max(np.ptp(xs), np.ptp(ys), 20.0)
    return xs.min() - pad, xs.max() + pad, ys.min() - pad, ys.max() + pad


def _dress(axes: Any, box: tuple[float, float, float, float], first: bool) -> None:
    axes.set(xlim=box[:2], ylim=box[2:], aspect="equal", xticks=[], yticks=[])
    axes.grid(visible=False)
    for side in axes.spines.values():
        side.set(visible=True, color=LINE)
    if first:
        bar = _round(0.25 * (box[1] - box[0]))
        y = box[2] - 0.045 * (box[3] - box[2])
        line = axes.plot([box[0], box[0] + bar], [y, y], color=INK, linewidth=2, solid_capstyle="butt")[0]
        line.set_clip_on(False)
        axes.text(box[0] + 1.15 * bar, y, f"{bar:g} µm", size=7, va="center", color=SOFT)


def _round(value: float) -> float:
    power = 10 ** np.floor(np.log10(value))
    return float(max(s for s in (1, 2, 5) if s * power <= value) * power)


def _height(box: tuple[float, float, float, float], columns: int) -> float:
    shape = (box[3] - box[2]) / (box[1] - box[0])
    return min(max(10.0 / columns * shape, 1.2), 4.0) + 0.38


def _maps(run: RunData) -> Figure:
    moments, box = _moments(run), _frame_box(run)
    several = len(run.types) > 1
    present: dict[str, str] = {}
    thinned = False
    with drawing() as figure_class:
        figure, axes = panels(figure_class, len(moments), _MAPS, _height(box, _MAPS) + 0.25)
        for k, (frame, ax) in enumerate(zip(moments, axes, strict=True)):
            cut = _Slice(run, frame)
            thinned |= cut.total > _MOST_CELLS
            phases = [run.phases[c] for c in run.at("phase", frame)[cut.rows]]
            types = [run.types[c] for c in run.at("type", frame)[cut.rows]]
            shown = [p if p in DYING or not several else t for p, t in zip(phases, types, strict=True)]
            table = {**run.phase_colours, **(run.type_colours if several else {}), **DYING}
            present |= {name: table[name] for name in set(shown)}
            cut.draw(ax, [table[name] for name in shown])
            _dress(ax, box, k == 0)
            ax.set_title(f"{plain_number(run.time[frame])} {run.unit}")
        _legend(figure, {name: present[name] for name in (*run.types, *run.phases) if name in present})
        svg = to_svg(figure, "the cells at several times")
    caption = "Each disc is a cell in its true size, coloured by " + ("type" if several else "phase")
    caption += "; dying cells and debris keep one colour." if several else "."
    return Figure(svg, caption + _cut_words(run, thinned))


def _cut_words(run: RunData, thinned: bool) -> str:
    """What a map leaves out."""
    said = ""
    if run.solid:
        plane = plain_number(middle_plane(run))
        said += f" A slice at z = {plane} µm: discs are the cells' cuts with this plane."
    return said + (f" At most {_MOST_CELLS:,} cells are drawn." if thinned else "")


def _legend(figure: Any, colours: dict[str, str]) -> None:
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], marker="o", linestyle="", color=c, markeredgecolor=_RIM, label=n)
        for n, c in colours.items()
    ]
    if handles:
        figure.legend(
            handles=handles, loc="outside lower left", ncols=8, handletextpad=0.2, columnspacing=1.4
        )


def _quantity_map(run: RunData, name: str) -> Figure:
    moments, box = _moments(run), _frame_box(run)
    values = [np.where(run.living(f), run.at(name, f), np.nan) for f in moments]
    low, high = _limits(values)
    thinned = False
    with drawing() as figure_class:
        figure, axes = panels(figure_class, len(moments), _MAPS, _height(box, _MAPS))
        for k, (frame, ax) in enumerate(zip(moments, axes, strict=True)):
            cut = _Slice(run, frame)
            thinned |= cut.total > _MOST_CELLS
            cut.draw(ax, _mapped(values[k][cut.rows], low, high))
            _dress(ax, box, k == 0)
            ax.set_title(f"{plain_number(run.time[frame])} {run.unit}")
        _bar(figure, axes, low, high, f"{name} [{run.units(name)}]".replace(" []", ""))
        svg = to_svg(figure, f"{name} of the cells in space")
    caption = f"Each disc is a cell in its true size, coloured by {run.in_words(name)}."
    if any(np.isnan(v).any() for v in values):
        caption += " Pale: dead, or without this quantity."
    return Figure(svg, caption + _cut_words(run, thinned))


def _limits(values: list[np.ndarray]) -> tuple[float, float]:
    """Colour limits that one extreme cell does not decide."""
    all_values = np.concatenate([v[np.isfinite(v)] for v in values]) if values else np.empty(0)
    if not len(all_values):
        return 0.0, 1.0
    low, high = np.quantile(all_values, [0.01, 0.99])
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        pad = 0.05 * abs(low) or 0.5
        low, high = low - pad, high + pad
    return float(low), float(high)


def _mapped(values: np.ndarray, low: float, high: float) -> Any:
    import matplotlib as mpl
    from matplotlib.colors import to_rgba

    colours = mpl.colormaps[SEQUENTIAL](np.clip((values - low) / (high - low), 0, 1))
    colours[~np.isfinite(values)] = to_rgba(NOTHING)
    return colours


def _bar(
    figure: Any, axes: list[Any], low: float, high: float, label: str, colours: str = SEQUENTIAL
) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    scale = ScalarMappable(Normalize(low, high), colours)
    bar = figure.colorbar(scale, ax=axes, aspect=22, pad=0.01, fraction=0.03)
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=0)
    bar.set_label(label, color=SOFT)


def _fields_in_time(run: RunData, fields: Any, names: list[str]) -> Figure:
    frames = run.read
    shown = names[:_MOST_FIELDS]
    with drawing() as figure_class:
        figure, axes = panels(figure_class, len(shown), max(2, min(len(shown), 3)), 2.3)
        for name, ax in zip(shown, axes, strict=True):
            flat = [fields[name].isel(time=int(f)).values for f in frames]
            low, mean, high = (np.array([how(f) for f in flat]) for how in (np.min, np.mean, np.max))
            ax.fill_between(run.time[frames], low, high, color=PALETTE[0], alpha=0.2, lw=0)
            ax.plot(run.time[frames], mean, color=PALETTE[0], **line_marks(len(frames)))
            ax.set(title=f"{name} [{run.units(name, 'fields')}]", xlabel=f"time [{run.unit}]")
            ax.margins(x=0.01)
            plain_axis(ax)
            mark_events(ax, run.event_times)
        svg = to_svg(figure, "fields over time")
    more = f" The first {len(shown)} of {len(names)} fields." if len(names) > len(shown) else ""
    return Figure(
        svg, f"Fields: mean over the domain, and the range between its lowest and highest voxel.{more}"
    )


def _field(run: RunData, fields: Any, name: str) -> Figure | None:
    """Maps of a field, or None where it is the same everywhere."""
    moments = _moments(run)
    middle = fields.sizes["z"] // 2
    planes = [fields[name].isel(time=f, z=middle).values for f in moments]
    if all(np.ptp(p) <= 1e-6 * np.abs(p).max() for p in planes):
        return None
    box = _frame_box(run)
    low, high = float(min(p.min() for p in planes)), float(max(p.max() for p in planes))
    unit = run.units(name, "fields")
    with drawing() as figure_class:
        figure, axes = panels(figure_class, len(moments), _MAPS, _height(box, _MAPS))
        for frame, plane, ax in zip(moments, planes, axes, strict=True):
            ax.imshow(plane, origin="lower", extent=box, cmap=FIELD, vmin=low, vmax=high)
            _dress(ax, box, False)
            ax.set_title(f"{plain_number(run.time[frame])} {run.unit}")
        _bar(figure, axes, low, high, f"{name.removeprefix('field.')} [{unit}]".replace(" []", ""), FIELD)
        svg = to_svg(figure, f"{name} in space at several times")
    where = ""
    if fields.sizes["z"] > 1:
        where = f", a slice at z = {plain_number(float(fields['z'].values[middle]))} µm"
    span = f"from {plain_number(low)} to {plain_number(high)} {unit}"
    return Figure(svg, f"{name} in space{where}: {span}.")
