"""A weights file's card as a page that a person reads."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from neural.weights import Card, read_card

# rows of a table beyond which a reader learns nothing
_LONGEST = 40


def as_markdown(path: str | os.PathLike) -> str:
    """The model card of a weights file, with the picture of the same name that lies beside it, if any."""
    card = read_card(path)
    size = sum(_count(shape) for shape, _ in card.tensors.values())
    out = [
        f"# {card.name}",
        "",
        f"Weights of kind **{card.kind}**, {size} numbers, sha256 `{card.sha256[:16]}`.",
        "",
    ]
    out += _space(card) if "reference_states" in card.raw.get("space", {}) else []
    picture = Path(path).with_suffix(".png")
    if picture.is_file():
        out += [f"![{card.name}]({picture.name})", ""]
    out += _table("Conditions", ["name", "unit", "trained range"], _conditions(card))
    out += _table("Messages", ["name", "unit", "meaning"], _named(card.raw.get("messages", [])))
    out += _table("Decoders", ["name", "unit", "meaning"], _named(card.raw.get("decoders", [])))
    out += ["## Data and split", ""]
    out += [
        f"- {k}: {_text(v)}" for k, v in {**card.raw.get("data", {}), **card.raw.get("split", {})}.items()
    ]
    out += [f"- seeds: {_text(card.raw.get('seeds', []))}", ""]
    out += ["## Scores beside their controls", ""]
    for name, block in card.raw.get("scores", {}).items():
        out += _scores(name, block)
    for note in card.raw.get("notes", []):
        out += [f"- {note}"]
    return "\n".join(out).rstrip() + "\n"


def _space(card: Card) -> list[str]:
    space = card.raw["space"]
    return [
        f"Space `{space['name']}`, {space['dimension']} components: {', '.join(space['labels'])}. "
        f"Reference states: {', '.join(space['reference_states'])}.",
        "",
    ]


def _conditions(card: Card) -> list[list[str]]:
    return [
        [c["name"], c["unit"], f"{c['range'][0]:g} to {c['range'][1]:g}"]
        for c in card.raw.get("conditions", [])
    ]


def _named(entries: list[dict[str, Any]]) -> list[list[str]]:
    return [[e["name"], e.get("unit", ""), e.get("meaning", "")] for e in entries]


def _table(title: str, head: list[str], rows: list[list[str]]) -> list[str]:
    if not rows:
        return []
    if len(rows) > _LONGEST:
        rest = f"and {len(rows) - _LONGEST} more"
        rows = [*rows[:_LONGEST], [rest, *[""] * (len(head) - 1)]]
    lines = ["| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows]]
    return [f"## {title}", "", *lines, ""]


def _scores(name: str, block: Any) -> list[str]:
    """Nested mappings become one table per innermost pair of levels."""
    title = name.replace("_", " ")
    if not isinstance(block, dict) or not block:
        return [f"- {title}: {_text(block)}"]
    depth = _depth(block)
    if depth == 1:
        return [*_table(title, ["", "value"], [[k, _text(v)] for k, v in block.items()])]
    if depth == 2:
        columns = list(dict.fromkeys(c for row in block.values() for c in row))
        rows = [[k, *[_text(row.get(c, "")) for c in columns]] for k, row in block.items()]
        return _table(title, ["", *columns], rows)
    if depth == 3:
        flat = {
            row: {f"{a} {b}": v for a, inner in cells.items() for b, v in inner.items()}
            for row, cells in block.items()
        }
        if all(isinstance(c, dict) for row in block.values() for c in row.values()):
            return _scores(name, flat)
    return [line for key, inner in block.items() for line in _scores(f"{title}: {key}", inner)]


def _depth(block: Any) -> int:
    return 1 + max(_depth(v) for v in block.values()) if isinstance(block, dict) and block else 0


def _count(shape: tuple[int, ...]) -> int:
    n = 1
    for k in shape:
        n *= k
    return n


def _text(value: Any) -> str:
    if value is None or value == {}:
        return "cannot be told"
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, list):
        return ", ".join(_text(v) for v in value)
    return str(value)
