"""How the report looks: colours that colour-blind readers can tell apart, quiet axes, light and dark.

Figures become inline SVG. Ink, lines and paper are drawn in marker colours that `to_svg` turns into CSS
variables, so the page decides how they look.
"""

from __future__ import annotations

import base64
import contextlib
import io
import re
from collections.abc import Iterator, Sequence
from typing import Any, Literal

INK = "#1a1a19"
SOFT = "#6e6d69"
LINE = "#d9d8d4"
PAPER = "#fdfcfa"
_VARIABLES = {INK: "var(--ink)", SOFT: "var(--soft)", LINE: "var(--line)", PAPER: "var(--paper)"}

# after Okabe & Ito (2008), evened out for white and near-black paper; vermilion, raspberry and grey mean death
PALETTE = ("#3a7fd5", "#1f9d78", "#c7659e", "#a69b14", "#8a6fd0", "#35a7c9", "#8f5a3c")
ORANGE = "#e08214"
LIVING = ("#5b9bd5", "#2fa58b", "#93b93a", "#b28bd6", "#56b4e9", "#7f9cc0")
DYING = {"apoptotic": "#d95f02", "necrotic": "#b5446e", "lysed": "#8d8a85"}
SEQUENTIAL = "viridis"  # quantities of cells
FIELD = "cividis"
NOTHING = "#8d8a8550"  # cells without the quantity shown

_MOST_DOTS = 40  # on a line

# one inch of a figure is about 100 px of the page
WIDE = 10.4


def type_colours(names: Sequence[str]) -> dict[str, str]:
    """Colour of each type of cell."""
    return {name: PALETTE[k % len(PALETTE)] for k, name in enumerate(names)}


def phase_colours(names: Sequence[str]) -> dict[str, str]:
    """Colour of each phase; dying and dead cells look the same in every report."""
    living = [name for name in names if name not in DYING]
    return {name: LIVING[k % len(LIVING)] for k, name in enumerate(living)} | DYING


@contextlib.contextmanager
def drawing() -> Iterator[Any]:
    """matplotlib, without a display, in the report's style; gives `matplotlib.figure.Figure`."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    settings: dict[Any, Any] = {
        "svg.fonttype": "none",
        "svg.hashsalt": "cellweave",
        "font.family": "sans-serif",
        "font.sans-serif": ["DejaVu Sans"],
        "font.size": 8.2,
        "axes.titlesize": 8.6,
        "axes.titlelocation": "left",
        "axes.titleweight": "bold",
        "axes.titlepad": 7,
        "axes.titlecolor": INK,
        "axes.labelcolor": SOFT,
        "axes.edgecolor": LINE,
        "axes.linewidth": 0.8,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.facecolor": "none",
        "grid.color": LINE,
        "grid.linewidth": 0.5,
        "xtick.color": LINE,
        "ytick.color": LINE,
        "xtick.labelcolor": SOFT,
        "ytick.labelcolor": SOFT,
        "xtick.major.size": 3,
        "ytick.major.size": 0,
        "figure.facecolor": "none",
        "savefig.facecolor": "none",
        "text.color": INK,
        "text.parse_math": False,
        "legend.frameon": False,
        "legend.labelcolor": SOFT,
        "legend.fontsize": 8,
        "lines.linewidth": 1.6,
        "lines.solid_capstyle": "round",
        "image.interpolation": "nearest",
    }
    with mpl.rc_context(settings):
        yield Figure


def panels(
    figure_class: Any, count: int, columns: int, height: float, **options: Any
) -> tuple[Any, list[Any]]:
    """A figure as wide as the page with `count` axes in `columns` columns, each row `height` inches tall."""
    rows = -(-count // columns)
    figure = figure_class(figsize=(WIDE, rows * height), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.08, h_pad=0.07, wspace=0.02, hspace=0.02)
    axes = figure.subplots(rows, columns, squeeze=False, **options).ravel().tolist()
    for spare in axes[count:]:
        spare.remove()
    return figure, axes[:count]


def to_svg(figure: Any, label: str) -> str:
    """The figure as an inline SVG that fills its column and follows the page's colours.

    Args:
        label: what the picture shows, for those who do not see it.
    """
    from html import escape

    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", dpi=150, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.S)
    opening = re.match(r"<svg[^>]*>", text)
    assert opening is not None
    box = re.search(r'viewBox="([^"]*)"', opening.group())
    assert box is not None
    head = f'<svg role="img" aria-label="{escape(label, quote=True)}" viewBox="{box.group(1)}"'
    head += f' style="max-width:{100 * figure.get_figwidth():.0f}px"'
    head += ' xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink">'
    text = head + text[opening.end() :]
    text = re.sub(r'(?<="data:image/png;base64,)[^"]+', _lighter, text)
    for marker, variable in _VARIABLES.items():
        text = text.replace(marker, variable)
    return re.sub(r"font: (\d[\d.]*)px[^;\"]*", r"font-size: \1px", text)


def mark_events(axes: Any, times: Sequence[float]) -> None:
    """Thin vertical lines where something was done to the cells."""
    for time in times:
        axes.axvline(time, color=SOFT, linewidth=0.8, linestyle=(0, (2, 2)), zorder=1)


def _lighter(found: re.Match[str]) -> str:
    """A picture of few colours with a palette of them, a third of its bytes."""
    from PIL import Image

    whole = base64.b64decode(re.sub(r"\s", "", found.group()))
    picture, buffer = Image.open(io.BytesIO(whole)), io.BytesIO()
    picture.quantize(256, method=Image.Quantize.FASTOCTREE).save(buffer, format="png", optimize=True)
    return base64.b64encode(min(whole, buffer.getvalue(), key=len)).decode()


def line_marks(count: int) -> dict[str, Any]:
    """Dots on a line through few saved times: what lies between them was not saved."""
    return {"marker": "o", "ms": 2.4 if count > 1 else 5} if count <= _MOST_DOTS else {}


def plain_axis(axes: Any, which: Literal["x", "y"] = "y") -> None:
    """Numbers without an offset; a quantity on y that never changes is shown in proportion to zero."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    axes.ticklabel_format(axis=which, style="sci", scilimits=(-3, 4), useMathText=False, useOffset=False)
    axis.get_offset_text().set(color=SOFT, size=7)
    if which == "x":
        axes.locator_params(axis="x", nbins=6)
        return
    low, high = axes.dataLim.intervaly
    if 0 < high - low < 1e-6 * abs(high) or 0 < low == high:
        axes.set_ylim(0, 1.25 * high)


def log_axis(axes: Any, which: Literal["x", "y"], linear: float | None = None) -> None:
    """A logarithmic axis with numbers as people write them; with a place for 0 where it is `linear` below a value."""
    from matplotlib.ticker import FuncFormatter, NullFormatter

    scale: dict[str, Any] = {} if linear is None else {"linthresh": linear}
    getattr(axes, f"set_{which}scale")("log" if linear is None else "symlog", **scale)
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_formatter(FuncFormatter(lambda value, _: plain_number(value)))
    axis.set_minor_formatter(NullFormatter())


def plain_number(value: float, digits: int = 4) -> str:
    """A number as people write it, with so many significant digits."""
    if value != value:
        return "–"
    if value == 0 or 1e-3 <= abs(value) < 1e5:
        return f"{value:,.{digits}g}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:.2g}"
