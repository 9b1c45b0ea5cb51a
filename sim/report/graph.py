"""The wiring as a picture: processes as boxes with named ports, couplings as curves, read from left to right.

Columns follow the scales of the simulator: fields and neighbours, pathways, learned dynamics, the cell's life
and mechanics.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from sim.report.style import INK, LINE, ORANGE, PALETTE, PAPER, SOFT, drawing, to_svg

_COLUMNS = (("field.", "tissue", "neighbours"), ("pathway.",), ("manipulator.",), ())
_COLOURS = (PALETTE[0], PALETTE[1], PALETTE[4], ORANGE)
_GAP = 1.05
_ROW = 0.24
_HEAD = 0.46
_SPACE = 0.3
_LANE = 0.12
_LETTER = 0.062  # width of a letter of a port's name
_MOST_LABEL = 30
_Point = tuple[float, float]


@dataclass
class _Box:
    """A process, or the lane of a coupling through a column (`lane`), which has no ports."""

    name: str
    subtitle: str
    column: int
    lane: bool = False
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    left: float = 0.0
    width: float = 0.0
    top: float = 0.0

    @property
    def height(self) -> float:
        return _LANE if self.lane else _HEAD + _ROW * max(len(self.inputs), len(self.outputs)) + 0.08

    @property
    def middle(self) -> float:
        return self.top - self.height / 2

    def port(self, name: str, side: str) -> tuple[float, float]:
        ports = self.inputs if side == "in" else self.outputs
        y = self.top - _HEAD - _ROW * (ports.index(name) + 0.5)
        return (self.left if side == "in" else self.left + self.width), y

    def needed_width(self) -> float:
        """Wide enough for its names."""
        if self.lane:
            return 0.0
        rows = max(len(self.inputs), len(self.outputs))
        pairs = ((*self.inputs, *[""] * rows)[:rows], (*self.outputs, *[""] * rows)[:rows])
        ports = [len(_short(i, self.name)) + len(_short(o, self.name)) for i, o in zip(*pairs, strict=True)]
        return max([1.7, 0.3 + 0.085 * len(self.name), *(0.5 + _LETTER * n for n in ports)])


def draw_wiring(wiring: Mapping[str, Any], path: Path | str) -> Path:
    """Draws the graph of processes and couplings into an SVG (or PNG, PDF) file.

    Args:
        wiring: {"nodes": [{"name", "kind", "step"}], "edges": [{"source", "target", "from", "to", "label",
            "mode", "kind"}]} as `describe` makes it; an edge may say its own "width" and "colour".

    Raises:
        StoreError: the file cannot be written.
    """
    from sim.store.disk import disk_errors

    path = Path(path)
    with disk_errors(path), drawing() as figure_class:
        figure = wiring_figure(figure_class, wiring)
        kind = path.suffix.lstrip(".") or "svg"
        figure.savefig(path, format=kind, facecolor=PAPER, dpi=160)
    return path


def wiring_svg(wiring: Mapping[str, Any]) -> str:
    """The graph as inline SVG for the report."""
    with drawing() as figure_class:
        return to_svg(wiring_figure(figure_class, wiring), "graph of processes and couplings")


def wiring_figure(figure_class: Any, wiring: Mapping[str, Any]) -> Any:
    """The graph as a matplotlib figure."""
    boxes = _boxes(wiring.get("nodes", []))
    couplings = [
        e
        for e in wiring.get("edges", [])
        if e.get("kind", "coupling") == "coupling" and e["source"] in boxes and e["target"] in boxes
    ]
    for edge in couplings:
        _append(boxes[edge["source"]].outputs, _from(edge))
        _append(boxes[edge["target"]].inputs, _to(edge))
    routes = _routes(boxes, couplings)
    width, height = _place(boxes, routes)
    _sort_ports(boxes, couplings, routes)
    figure = figure_class(figsize=(width, height))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(-height, 0))
    axes.axis("off")
    for box in boxes.values():
        if not box.lane:
            _draw_box(axes, box)
    for edge, route in zip(couplings, routes, strict=True):
        _draw_coupling(axes, [boxes[name] for name in route], edge)
    return figure


def _from(edge: Mapping[str, Any]) -> str:
    return str(edge.get("from", edge.get("label", "")))


def _to(edge: Mapping[str, Any]) -> str:
    return str(edge.get("to", edge.get("label", "")))


def _column(name: str) -> int:
    for k, starts in enumerate(_COLUMNS):
        if any(name.startswith(start) for start in starts):
            return k
    return len(_COLUMNS) - 1


def _boxes(nodes: Sequence[Mapping[str, Any]]) -> dict[str, _Box]:
    boxes = {}
    for node in nodes:
        step = node.get("step")
        words = [str(node.get("kind", "")), f"every {step:g} min" if step else ""]
        boxes[node["name"]] = _Box(node["name"], ", ".join(w for w in words if w), _column(node["name"]))
    used = sorted({box.column for box in boxes.values()})
    for box in boxes.values():
        box.column = used.index(box.column)
    return boxes


def _append(ports: list[str], name: str) -> None:
    if name not in ports:
        ports.append(name)


def _routes(boxes: dict[str, _Box], couplings: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Boxes that each coupling passes; one that skips columns gets a lane in each and so crosses no box."""
    routes = []
    for number, edge in enumerate(couplings):
        first, last = boxes[edge["source"]].column, boxes[edge["target"]].column
        lanes = []
        for column in range(first + 1, last):
            lanes.append(f"lane {number} {column}")
            boxes[lanes[-1]] = _Box(lanes[-1], "", column, lane=True)
        routes.append([edge["source"], *lanes, edge["target"]])
    return routes


def _place(boxes: Mapping[str, _Box], routes: Sequence[Sequence[str]]) -> tuple[float, float]:
    """Sets each box's place: columns by kind, rows by the mean row of its partners. Gives the size [inch]."""
    columns: dict[int, list[_Box]] = {}
    for box in boxes.values():
        columns.setdefault(box.column, []).append(box)
    partners: dict[str, list[str]] = {name: [] for name in boxes}
    for route in routes:
        for one, other in pairwise(route):
            partners[one].append(other)
            partners[other].append(one)
    tallest = max((_stack_height(c) for c in columns.values()), default=0.8)
    order = [columns[k] for k in sorted(columns)]
    for sweep in range(6):
        for column in order if sweep % 2 == 0 else order[::-1]:
            wish = {}
            for box in column:
                linked = [boxes[name].middle for name in partners[box.name]]
                wish[box.name] = sum(linked) / len(linked) if linked else -1e3
            column.sort(key=lambda b, wish=wish: -wish[b.name])
            top = -(tallest - _stack_height(column)) / 2 - 0.2
            for box in column:
                box.top = top
                top -= box.height + _SPACE
    left = 0.5 if any(boxes[r[0]].column >= boxes[r[-1]].column for r in routes) else 0.1
    for column in order:
        width = max(box.needed_width() for box in column)
        for box in column:
            box.left, box.width = left, width
        left += width + _GAP
    return max(left - _GAP + 0.1, 2.0), tallest + 0.4


def _sort_ports(
    boxes: Mapping[str, _Box], couplings: Sequence[Mapping[str, Any]], routes: Sequence[Sequence[str]]
) -> None:
    """Orders the ports of each box as their other ends stand, so that few curves cross."""
    ends: dict[tuple[str, str], list[float]] = {}
    for edge, route in zip(couplings, routes, strict=True):
        ends.setdefault((route[0], _from(edge)), []).append(boxes[route[1]].middle)
        ends.setdefault((route[-1], _to(edge)), []).append(boxes[route[-2]].middle)
    for box in boxes.values():
        for ports in (box.inputs, box.outputs):
            ports.sort(key=lambda port, box=box: -sum(ends[box.name, port]) / len(ends[box.name, port]))


def _stack_height(column: Sequence[_Box]) -> float:
    return sum(b.height for b in column) + _SPACE * (len(column) - 1)


def _draw_box(axes: Any, box: _Box) -> None:
    from matplotlib.patches import FancyBboxPatch, Rectangle

    colour = _COLOURS[_column(box.name)]
    shape = FancyBboxPatch(
        (box.left, box.top - box.height),
        box.width,
        box.height,
        boxstyle="round,pad=0,rounding_size=0.07",
        facecolor=PAPER,
        edgecolor=LINE,
        linewidth=1,
        zorder=3,
    )
    axes.add_patch(shape)
    axes.add_patch(
        Rectangle((box.left, box.top - _HEAD + 0.08), 0.045, _HEAD - 0.16, color=colour, lw=0, zorder=4)
    )
    axes.text(box.left + 0.13, box.top - 0.17, box.name, weight="bold", size=8.2, va="center", zorder=5)
    axes.text(box.left + 0.13, box.top - 0.34, box.subtitle, size=6.6, color=SOFT, va="center", zorder=5)
    for side, ports in (("in", box.inputs), ("out", box.outputs)):
        for name in ports:
            x, y = box.port(name, side)
            axes.plot([x], [y], "o", ms=4, color=colour, mec=PAPER, mew=0.8, zorder=6)
            short = _short(name, box.name)
            at, align = (x + 0.1, "left") if side == "in" else (x - 0.1, "right")
            axes.text(at, y, short, size=7.2, color=INK, va="center", ha=align, zorder=5)


def _short(name: str, owner: str) -> str:
    """A port's name without the owner's, which stands above it."""
    short = name.removeprefix(owner + ".") or name
    return short if len(short) <= _MOST_LABEL else short[: _MOST_LABEL - 1] + "…"


def _draw_coupling(axes: Any, route: Sequence[_Box], edge: Mapping[str, Any]) -> None:
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path as Outline

    x, y = route[0].port(_from(edge), "out")
    end = route[-1].port(_to(edge), "in")
    points, steps = [(x, y)], [Outline.MOVETO]
    lanes = [(box.left + dx, box.middle) for box in route[1:-1] for dx in (0, box.width)]
    for number, (x1, y1) in enumerate([*lanes, end]):
        if number % 2:
            points, steps = [*points, (x1, y1)], [*steps, Outline.LINETO]
        else:
            pull = max(0.4, (x1 - x) * 0.5)
            points += [(x + pull, y), (x1 - pull, y1), (x1, y1)]
            steps += [Outline.CURVE4] * 3
        x, y = x1, y1
    if route[0].column >= route[-1].column:
        points, steps = _way_back(route[0], route[-1], points[0], end)
    colour = edge.get("colour") or _COLOURS[_column(route[0].name)]
    width = float(edge.get("width", 1.5))
    axes.add_patch(PathPatch(Outline(points, steps), facecolor="none", edgecolor=colour, lw=width, zorder=2))
    axes.plot([x - 0.07], [y], marker=">", ms=4, color=colour, mec="none", zorder=2)
    words = _response(edge)
    if words:
        behind = {"facecolor": PAPER, "edgecolor": "none", "pad": 0.8, "alpha": 0.85}
        style = {"size": 6.2, "color": SOFT, "va": "bottom", "ha": "right", "zorder": 7, "bbox": behind}
        axes.text(x - 0.16, y + 0.04, words, **style)


def _way_back(source: _Box, target: _Box, start: _Point, end: _Point) -> tuple[list[_Point], list[Any]]:
    """Out on the right, over both boxes, in on the left."""
    from matplotlib.path import Path as Outline

    (x0, y0), (x1, y1) = start, end
    over = max(source.top, target.top) + 0.16
    points = [(x0, y0), (x0 + 0.45, y0), (x0 + 0.45, over), (x0, over), (x1, over)]
    points += [(x1 - 0.5, over), (x1 - 0.5, y1), (x1, y1)]
    curve = [Outline.CURVE4] * 3
    return points, [Outline.MOVETO, *curve, Outline.LINETO, *curve]


def _response(edge: Mapping[str, Any]) -> str:
    label = str(edge.get("label", ""))
    label = "" if label == "identity" else label.split(",")[0]
    sign = {"scale": "×", "add": "+"}.get(str(edge.get("mode", "")), "")
    return f"{sign} {label}".strip()
