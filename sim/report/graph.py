"""The wiring as a picture: processes as boxes with named ports, couplings as curves, read from left to right.

Columns follow the scales of the simulator: fields and neighbours, pathways, learned dynamics, the cell's life,
mechanics.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sim.report.style import INK, LINE, PALETTE, PAPER, SOFT, drawing, to_svg

_COLUMNS = (("field.", "tissue", "neighbours"), ("pathway.",), ("manipulator.",), ("life", "growth"), ())
_COLOURS = (PALETTE[0], PALETTE[2], PALETTE[4], PALETTE[1], PALETTE[7])
_BOX_WIDTH = 2.05
_GAP = 1.25
_ROW = 0.24
_HEAD = 0.46
_SPACE = 0.42
_MOST_LABEL = 30


@dataclass
class _Box:
    name: str
    subtitle: str
    column: int
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    left: float = 0.0
    top: float = 0.0

    @property
    def height(self) -> float:
        return _HEAD + _ROW * max(len(self.inputs), len(self.outputs)) + 0.08

    def port(self, name: str, side: str) -> tuple[float, float]:
        ports = self.inputs if side == "in" else self.outputs
        y = self.top - _HEAD - _ROW * (ports.index(name) + 0.5)
        return (self.left if side == "in" else self.left + _BOX_WIDTH), y


def draw_wiring(wiring: Mapping[str, Any], path: Path | str) -> Path:
    """Draws the graph of processes and couplings into an SVG (or PNG, PDF) file.

    Args:
        wiring: {"nodes": [{"name", "kind", "step"}], "edges": [{"source", "target", "from", "to", "label",
            "mode", "kind"}]} as `describe` makes it.

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
    couplings = [e for e in wiring.get("edges", []) if e.get("kind", "coupling") == "coupling"]
    reads = [e for e in wiring.get("edges", []) if e.get("kind") == "read"]
    boxes = _boxes(wiring.get("nodes", []), couplings)
    width, height = _place(boxes, couplings)
    figure = figure_class(figsize=(max(width, 4), max(height, 1.2)))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, max(width, 4)), ylim=(-max(height, 1.2), 0))
    axes.axis("off")
    for pair in sorted({(e["source"], e["target"]) for e in reads}):
        if all(name in boxes for name in pair) and pair[0] != pair[1]:
            _faint(axes, boxes[pair[0]], boxes[pair[1]])
    for box in boxes.values():
        _draw_box(axes, box)
    for edge in couplings:
        if edge["source"] in boxes and edge["target"] in boxes:
            _draw_coupling(axes, boxes[edge["source"]], boxes[edge["target"]], edge)
    return figure


def _column(name: str) -> int:
    for k, starts in enumerate(_COLUMNS):
        if any(name.startswith(start) for start in starts):
            return k
    return len(_COLUMNS) - 1


def _boxes(nodes: Sequence[Mapping[str, Any]], couplings: Sequence[Mapping[str, Any]]) -> dict[str, _Box]:
    boxes = {}
    for node in nodes:
        step = node.get("step")
        words = [str(node.get("kind", "")), f"every {step:g} min" if step else ""]
        boxes[node["name"]] = _Box(node["name"], ", ".join(w for w in words if w), _column(node["name"]))
    used = sorted({box.column for box in boxes.values()})
    for box in boxes.values():
        box.column = used.index(box.column)
    for edge in couplings:
        if edge["source"] in boxes and edge["target"] in boxes:
            _append(boxes[edge["source"]].outputs, edge.get("from", edge.get("label", "")))
            _append(boxes[edge["target"]].inputs, edge.get("to", edge.get("label", "")))
    return boxes


def _append(ports: list[str], name: str) -> None:
    if name not in ports:
        ports.append(name)


def _place(boxes: Mapping[str, _Box], couplings: Sequence[Mapping[str, Any]]) -> tuple[float, float]:
    """Sets each box's place: columns by kind, rows by the mean row of its partners. Gives the size [inch]."""
    columns: dict[int, list[_Box]] = {}
    for box in boxes.values():
        columns.setdefault(box.column, []).append(box)
    partners: dict[str, list[str]] = {name: [] for name in boxes}
    for edge in couplings:
        if edge["source"] in boxes and edge["target"] in boxes:
            partners[edge["source"]].append(edge["target"])
            partners[edge["target"]].append(edge["source"])
    tallest = max((_stack_height(c) for c in columns.values()), default=0.0)
    for _ in range(4):
        for column in columns.values():
            middle = {b.name: -b.top - b.height / 2 for b in boxes.values()}
            for box in column:
                linked = [middle[p] for p in partners[box.name]]
                box.top = -(sum(linked) / len(linked)) if linked else -middle[box.name]
            column.sort(key=lambda b: -b.top)
            top = -(tallest - _stack_height(column)) / 2 - 0.2
            for box in column:
                box.top = top
                top -= box.height + _SPACE
    for box in boxes.values():
        box.left = 0.1 + box.column * (_BOX_WIDTH + _GAP)
    count = max(columns, default=0) + 1
    return 0.2 + count * _BOX_WIDTH + (count - 1) * _GAP, tallest + 0.4


def _stack_height(column: Sequence[_Box]) -> float:
    return sum(b.height for b in column) + _SPACE * (len(column) - 1)


def _draw_box(axes: Any, box: _Box) -> None:
    from matplotlib.patches import FancyBboxPatch, Rectangle

    colour = _COLOURS[_column(box.name)]
    shape = FancyBboxPatch(
        (box.left, box.top - box.height),
        _BOX_WIDTH,
        box.height,
        boxstyle="round,pad=0,rounding_size=0.07",
        facecolor=PAPER,
        edgecolor=LINE,
        linewidth=1,
        zorder=3,
    )
    axes.add_patch(shape)
    axes.add_patch(Rectangle((box.left, box.top - _HEAD + 0.08), 0.045, _HEAD - 0.16, color=colour, lw=0, zorder=4))
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


def _draw_coupling(axes: Any, source: _Box, target: _Box, edge: Mapping[str, Any]) -> None:
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path as Outline

    x0, y0 = source.port(edge.get("from", edge.get("label", "")), "out")
    x1, y1 = target.port(edge.get("to", edge.get("label", "")), "in")
    pull = max(0.5, abs(x1 - x0) * 0.45)
    curve = [(x0, y0), (x0 + pull, y0), (x1 - pull, y1), (x1, y1)]
    steps = [Outline.MOVETO, Outline.CURVE4, Outline.CURVE4, Outline.CURVE4]
    colour = _COLOURS[_column(source.name)]
    axes.add_patch(PathPatch(Outline(curve, steps), facecolor="none", edgecolor=colour, lw=1.5, zorder=2))
    axes.plot([x1 - 0.07], [y1], marker=">", ms=4, color=colour, mec="none", zorder=2)
    words = _response(edge)
    if words:
        axes.text(x1 - 0.16, y1 + 0.025, words, size=6.2, color=SOFT, va="bottom", ha="right", zorder=7)


def _response(edge: Mapping[str, Any]) -> str:
    label = str(edge.get("label", ""))
    label = "" if label == "identity" else label.split(",")[0]
    sign = {"scale": "×", "add": "+"}.get(str(edge.get("mode", "")), "")
    return f"{sign} {label}".strip()


def _faint(axes: Any, source: _Box, target: _Box) -> None:
    """What one process reads of another's state: a thin line behind the boxes."""
    ends = [(b.left + _BOX_WIDTH / 2, b.top - b.height / 2) for b in (source, target)]
    axes.plot(*zip(*ends, strict=True), color=LINE, linewidth=0.7, linestyle=(0, (1, 2.5)), zorder=0)
