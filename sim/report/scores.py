"""The page of trained weights: held-out scores as bars beside their controls."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from sim.report.page import document
from sim.report.section import Figure, Section
from sim.report.style import LINE, PALETTE, SOFT, drawing, panels, plain_number, to_svg

_MOST_TABLES, _MOST_PANELS, _MOST_ROWS = 9, 9, 14
#: rows that are what was trained; all others are its controls
_TRAINED = re.compile(r"(network|law|hybrid|model|learned|this space|flow)\b")
_SMALLER = re.compile(r"rmse|rms|error|mae|nll|loss|distance|deviation")
_LARGER = re.compile(r"r2\b|R²|r_curve|skill|correlation|auroc|accuracy")

Table = tuple[str, list[str], list[str], np.ndarray]


def write_scores_page(weights: Path | str) -> Path | None:
    """Writes `NAME.html` beside the weights and returns its path; None where the card has no table of scores.

    Raises:
        StoreError: the page cannot be written.
    """
    from neural.weights import read_card
    from sim.store.disk import disk_errors, replace_files

    card = read_card(weights)
    page = Path(weights).with_suffix(".html")
    drawn = Path(weights).with_suffix(".png")
    picture = drawn.read_bytes() if drawn.is_file() else None
    html = rendered(card.name, card.kind, card.raw.get("scores", {}), card.raw.get("split", {}), picture)
    if html is None:
        return None
    with disk_errors(page):
        replace_files([(page, html.encode())])
    return page


def rendered(
    name: str, kind: str, scores: Mapping[str, Any], split: Mapping[str, Any], picture: bytes | None = None
) -> str | None:
    """The page as HTML, None where there is no table; a PNG that training drew comes first."""
    found = tables(scores)
    if not found:
        return None
    figures = [_bars(*table) for table in found[:_MOST_TABLES]]
    told = "".join(f"<tr><th>{escape(str(k))}</th><td>{escape(str(v))}</td></tr>" for k, v in split.items())
    sections = []
    if picture is not None:
        data = b64encode(picture).decode()
        image = f'<img alt="held-out data" src="data:image/png;base64,{data}" width="100%">'
        sections.append(Section("Held-out data", "", [Figure(image)]))
    sections.append(Section("Scores beside their controls", _LEAD, figures))
    if told:
        sections.append(Section("What was left out", "", [Figure(f'<table class="facts">{told}</table>')]))
    return document(
        name,
        f"Weights of kind {kind}: what they foretell of data that they never saw, beside simple rules.",
        [],
        sections,
        f"Drawn by cellweave from the card of {name}, which has every number.",
    )


_LEAD = (
    "Blue: what was trained; grey: what it is held against. No better than a simple rule is no more than it."
)


def tables(block: Any, title: str = "") -> list[Table]:
    """Every table of numbers in nested scores: (title, rows, columns, values (row, column)); NaN where none is."""
    if not isinstance(block, Mapping) or not block:
        return []
    rows = {str(k): flat for k, v in block.items() if (flat := _flat(v)) is not None}
    # where what was trained is told apart from its controls one level down, there is a table for each score
    below = [v for v in block.values() if isinstance(v, Mapping) and any(map(_TRAINED.match, map(str, v)))]
    if len(rows) == len(block) and len(rows) > 1 and (any(map(_TRAINED.match, rows)) or not below):
        columns = list(dict.fromkeys(c for row in rows.values() for c in row))
        if 0 < len(columns) <= _MOST_PANELS:
            values = np.array([[row.get(c, np.nan) for c in columns] for row in rows.values()], float)
            return [(title, list(rows), columns, values)]
    return [t for k, v in block.items() for t in tables(v, f"{title}, {k}".removeprefix(", "))]


def _flat(block: Any) -> dict[str, float] | None:
    """Numbers by name, one level of nesting joined into it; None where it is deeper, or no mapping."""
    if not isinstance(block, Mapping):
        return None
    found: dict[str, float] = {}
    for key, value in block.items():
        if isinstance(value, Mapping):
            if any(not isinstance(v, int | float | None) for v in value.values()):
                return None
            found |= {f"{key} {k}": float(v) for k, v in value.items() if v is not None}
        elif isinstance(value, int | float):
            found[str(key)] = float(value)
    return found


def _bars(title: str, rows: list[str], columns: list[str], values: np.ndarray) -> Figure:
    shown = min(len(rows), _MOST_ROWS)
    across = min(len(columns), 3)
    with drawing() as figure_class:
        figure, axes = panels(figure_class, len(columns), across, 0.75 + 0.22 * shown, sharey=True)
        for k, (ax, column) in enumerate(zip(axes, columns)):
            one = values[:shown, k]
            colours = [PALETTE[0] if _TRAINED.match(r) else "#a9a7a2" for r in rows[:shown]]
            ax.barh(np.arange(shown), np.nan_to_num(one), color=colours, height=0.66)
            for y, value in enumerate(one):
                if np.isfinite(value):
                    ax.annotate(
                        plain_number(value, 3), (max(value, 0.0), y), (3, 0), textcoords="offset points",
                        va="center", size=7, color=SOFT,
                    )  # fmt: skip
            ax.axvline(0, color=LINE, linewidth=0.8)
            ax.grid(axis="y", visible=False)
            ax.set_title(column.replace("_", " ") + _better(column))
            ax.set_yticks(np.arange(shown), [r.replace("_", " ") for r in rows[:shown]])
            ax.margins(x=0.14)
        axes[0].invert_yaxis()
        body = to_svg(figure, f"scores: {title}")
    more = f" The first {shown} of {len(rows)} rows." if len(rows) > shown else ""
    return Figure(body, f"{title[:1].upper()}{title[1:]}.{more}".replace("_", " "))


def _better(column: str) -> str:
    if _SMALLER.search(column):
        return ": smaller is better"
    return ": larger is better" if _LARGER.search(column) else ""
