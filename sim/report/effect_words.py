"""Plain sentences from the numbers of an explanation. Nothing is said that the intervals do not hold."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sim.report.style import plain_number

#: effects below this share of the outcome are not worth a sentence of their own
_WORTH = 0.01
_MOST_NAMED = 4


@dataclass(frozen=True)
class Told:
    """One row of the ranking, as stored."""

    quantity: str
    on: str
    effect: float
    lower: float
    upper: float
    relative: float
    unit: str
    kind: str
    method: str
    time: str
    verdict: str
    rank: int
    note: str = ""

    @property
    def firm(self) -> bool:
        return self.verdict in ("raises", "lowers", "matters")


def sentences(a: dict[str, Any], rows: Sequence[Told]) -> list[str]:
    """What the explanation says, the most important first."""
    unit = "" if a["units"] in ("1", "") else f" {a['units']}"
    said = [
        f"{a['outcome']} is {plain_number(a['baseline'])}{unit}, between {plain_number(a['baseline_lower'])} and "
        f"{plain_number(a['baseline_upper'])} by chance alone ({a['seeds']} seeds)."
    ]
    said += _totals(a, rows, unit)
    said += _directs(rows)
    labels = json.loads(a.get("labels", "{}"))
    said += _networks(rows, labels)
    said += [str(n) for n in a["notes"]]
    return said


def _totals(a: dict[str, Any], rows: Sequence[Told], unit: str) -> list[str]:
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
            f"{lead} {r.quantity}: without it the outcome would be {plain_number(without)}{unit}, {change} "
            f"(it {r.verdict} the outcome by {plain_number(abs(r.effect))}{unit}, "
            f"{plain_number(min(abs(r.lower), abs(r.upper)))} to {plain_number(max(abs(r.lower), abs(r.upper)))})."
        )
    ties = [r for r in firm[:_MOST_NAMED] if r.note]
    if ties:
        said.append(
            f"Which of them is stronger cannot be told where their intervals overlap: {_listed(ties)}."
        )
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


def _directs(rows: Sequence[Told]) -> list[str]:
    said = []
    totals = {r.quantity: r for r in rows if r.method == "ablation"}
    for r in rows:
        total = totals.get(r.quantity)
        if r.method != "direct" or total is None or not r.firm or not math.isfinite(r.relative):
            continue
        if abs(r.relative) > 0.2 and not total.firm:
            said.append(
                f"{r.quantity} does change {r.on} ({r.relative:+.0%}, direct), but the outcome is not seen to follow."
            )
    return said[:_MOST_NAMED]


def _networks(rows: Sequence[Told], labels: dict[str, str]) -> list[str]:
    said = []
    for method in ("integrated_gradients", "gradients"):
        mine = [r for r in rows if r.method == method and r.firm and math.isfinite(r.relative)]
        for on in dict.fromkeys(r.on for r in mine):
            if not on.startswith(("decoder.", "tissue.", "rate.")):
                continue
            top = sorted((r for r in mine if r.on == on), key=lambda r: -abs(r.relative))[:2]
            parts = " and ".join(f"{_named(r.quantity, labels)} ({r.relative:+.0%})" for r in top)
            said.append(f"What the network says of {on} follows {parts}, in shares of its change.")
        if said:
            break
    return said[:6]


def _named(name: str, labels: dict[str, str]) -> str:
    return f"{name}, {labels[name]}," if labels.get(name) else name


def _listed(rows: Sequence[Told]) -> str:
    names = [r.quantity for r in rows[:_MOST_NAMED]]
    more = len(rows) - len(names)
    return ", ".join(names) + (f" and {more} more" if more else "")
