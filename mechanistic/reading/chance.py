"""Where a model may draw from distributions: at the start and when an event sets something, not in between."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from mechanistic.draws import KINDS, draws_in, is_draw, parameters
from mechanistic.reading.problems import Problems


def refuse_continuous(data: dict, problems: Problems) -> None:
    """A problem for every draw in math that holds at all times, where each evaluation would be another draw."""
    for where, tree, line, key in _continuous(data):
        for drawn in draws_in(tree):
            message = (
                f"a draw ({drawn[0]}) in {where}, which holds at all times: draw in an initial assignment or "
                "in an event assignment"
            )
            problems.add(message, line, f"{key}.{drawn[0]}")


def _continuous(data: dict) -> Iterator[tuple]:
    for r in data["reactions"]:
        yield "a rate law", r["rate"], r["line"], r["id"]
        for q in r["reactants"] + r["products"]:
            yield "a stoichiometry", q["stoichiometry"], q["line"], r["id"]
    for rule in data["rules"]:
        yield "a rule", rule["math"], rule["line"], rule["variable"]
    for e in data["events"]:
        for part in ("trigger", "delay", "priority"):
            yield f"the {part} of an event", e[part], e["line"], e["id"]


def bounds_of_draws(trees: Iterable) -> set[str]:
    """The ids that stand as a bound of a draw, and may be infinite for that."""
    return {end for tree in trees for d in draws_in(tree) for end in parameters(d)[1] if isinstance(end, str)}


def without_bounds(tree):
    """`tree` with its draws lacking their bounds."""
    if not isinstance(tree, list):
        return tree
    kept = tree[: 2 + KINDS[tree[0]][0]] if is_draw(tree) else tree
    result = kept[:1]
    for part in kept[1:]:
        result.append(without_bounds(part))
    return result
