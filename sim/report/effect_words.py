"""Plain sentences from the numbers of an explanation. Nothing is said that the intervals do not hold."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

from sim.interpret.effects import TIE, Row
from sim.interpret.grouped import Follows
from sim.report.in_words import coupling_words, outcome_words, words
from sim.report.style import plain_number

#: effects below this share of the outcome are not worth a sentence of their own
_WORTH = 0.01
_MOST_NAMED = 4
#: of a target; a direct effect below this is not held against the total one
_LARGE = 0.2
#: inputs with a smaller share in what moves a network are not named, and so many of its outputs are
_FOLLOWED, _MOST_FOLLOWED = 0.1, 6


def sentences(a: dict[str, Any], rows: Sequence[Row], networks: Sequence[Follows] = ()) -> list[str]:
    """What the explanation says, the most important first; of `networks` what their inputs are."""
    unit = "" if a["units"] in ("1", "") else f" {a['units']}"
    said = [
        f"The {outcome_words(a['outcome'])} is {_n(a['baseline'])}{unit}; chance alone puts it between "
        f"{_n(a['baseline_lower'])} and {_n(a['baseline_upper'])} ({a['seeds']} seeds)."
    ]
    labels = json.loads(a.get("labels", "{}"))
    said += _totals(a, rows, unit, labels)
    said += _directs(rows)
    said += _networks(networks, labels, _taken(a, rows))
    said += [str(n) for n in a["notes"]]
    return said


def _totals(a: dict[str, Any], rows: Sequence[Row], unit: str, labels: dict[str, str]) -> list[str]:
    cut = [r for r in rows if r.method == "ablation"]
    if not cut:
        return []
    firm = [r for r in cut if r.firm and abs(r.relative) >= _WORTH]
    said = []
    for k, r in enumerate(firm[:_MOST_NAMED]):
        without = a["baseline"] - r.effect
        lead = "What matters most is" if k == 0 else "Then comes"
        change = f"{abs(r.relative):.0%} {'lower' if r.effect > 0 else 'higher'}"
        said.append(
            f"{lead} {r.quantity} ({coupling_words(r.quantity, labels)}): without it the outcome would be "
            f"{_n(without)}{unit}, {change} "
            f"(it {r.verdict} the outcome by {_n(abs(r.effect))}{unit}, "
            f"{_n(min(abs(r.lower), abs(r.upper)))} to {_n(max(abs(r.lower), abs(r.upper)))})."
        )
    ties = [(r.quantity, r.note.split(": ")[0].removeprefix(TIE)) for r in firm[:_MOST_NAMED] if r.note]
    if ties:
        pairs = "; ".join(f"{one} or {other}" for one, other in ties)
        said.append(f"Which is the stronger one cannot be told, as their intervals overlap: {pairs}.")
    small = [r for r in cut if r.firm and abs(r.relative) < _WORTH]
    if small:
        said.append(f"Real, but below 1 % of the outcome: {_listed(small)}.")
    unclear = [r for r in cut if r.verdict == "cannot tell"]
    if unclear:
        said.append(
            f"Of {_listed(unclear)} it cannot be told whether the outcome depends on it: more seeds may tell."
        )
    stepped = [r for r in cut if r.verdict == "below the coupling error"]
    if stepped:
        said.append(
            f"The effect of {_listed(stepped)} is smaller than what the coupling step itself does to the outcome: "
            "it says nothing until the step is shorter."
        )
    silent = [r for r in cut if r.verdict == "no effect"]
    if silent:
        said.append(f"Nothing changed in any run without {_listed(silent)}.")
    return said


def _directs(rows: Sequence[Row]) -> list[str]:
    """What changes its target, and the outcome is not seen to follow."""
    totals = {r.quantity: r for r in rows if r.method == "ablation"}
    mine = [r for r in rows if r.method == "direct" and r.quantity in totals and r.firm]
    found = [
        f"{r.quantity} ({r.relative:+.0%})"
        for r in mine
        if math.isfinite(r.relative) and abs(r.relative) > _LARGE and not totals[r.quantity].firm
    ]
    if not found:
        return []
    return [
        f"Much at its target (direct), but the outcome is not seen to follow: {', '.join(found[:_MOST_NAMED])}."
    ]


def _taken(a: dict[str, Any], rows: Sequence[Row]) -> set[str]:
    """Sources of the couplings that the outcome is seen to depend on; of all where none was cut."""
    cut = [r for r in rows if r.method == "ablation"]
    edges = json.loads(a.get("wiring", "{}")).get("edges", [])
    return {r.quantity.partition(" → ")[0] for r in cut if r.firm} if cut else {e.get("from") for e in edges}


def _networks(networks: Sequence[Follows], labels: dict[str, str], taken: set[str]) -> list[str]:
    """What the outputs that matter follow; what moves a network's own state is left to the page."""
    said = []
    for f in networks:
        for on in f.outputs:
            top = [p for p in f.by_output[on][:2] if p.share >= _FOLLOWED]
            if on not in taken or not top:
                continue
            parts = " and ".join(
                f"{words(p.name, labels)} ({'raises' if p.sign > 0 else 'lowers'} it, {p.share:.0%} of what moves it)"
                for p in top
            )
            said.append(f"{words(on, labels)[0].upper()}{words(on, labels)[1:]} ({on}) follows {parts}.")
    return said[:_MOST_FOLLOWED]


def _n(value: float) -> str:
    return plain_number(value, 3)


def _listed(rows: Sequence[Row]) -> str:
    names = [r.quantity for r in rows[:_MOST_NAMED]]
    more = len(rows) - len(names)
    return ", ".join(names) + (f" and {more} more" if more else "")
