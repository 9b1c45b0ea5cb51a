"""Algebraic rules (0 = f) solved by substitution: each becomes the rule of the one variable it can determine.

Nothing is approximated: a rule is solved where it is linear in that variable (or in its rate of change), with
whatever factors, and refused by name otherwise.
"""

from __future__ import annotations

from mechanistic.reading.functions import references
from mechanistic.reading.problems import Problems


def solve(rules: list[dict], free: set[str], problems: Problems) -> list[dict]:
    """`rules` with an assignment or rate rule in the place of every algebraic one.

    Args:
        rules: kind, variable, math and line of each; variable is "" where the kind is "algebraic".
        free: ids that an algebraic rule may determine: not constant, and changed by nothing else.
    """
    result = list(rules)
    assigned = {r["variable"]: r["math"] for r in rules if r["kind"] == "assignment"}
    free = free - {r["variable"] for r in rules}
    open_rules = {i: r["math"] for i, r in enumerate(rules) if r["kind"] == "algebraic"}
    while open_rules:
        # a rule with one unknown settles it, which may leave one in the next
        choices = {i: _unknowns(math, free, assigned) for i, math in open_rules.items()}
        ready = next((i for i, (_, names) in choices.items() if len(names) == 1), None)
        if ready is None:
            for i, (_, names) in choices.items():
                what = ", ".join(sorted(names)) or "nothing"
                message = f"an algebraic rule does not say which variable it determines (it could be: {what})"
                problems.add(f"{message}, which is not supported", rules[i]["line"], "algebraicRule")
            return [r for r in result if r["kind"] != "algebraic"]
        math, (name,) = choices[ready]
        kind, solution = _solved(math, name)
        if solution is None:
            message = f"an algebraic rule that cannot be solved for '{name}' by hand is not supported"
            problems.add(message, rules[ready]["line"], "algebraicRule")
            return [r for r in result if r["kind"] != "algebraic"]
        result[ready] = {"kind": kind, "variable": name, "math": solution, "line": rules[ready]["line"]}
        free.discard(name)
        if kind == "assignment":
            assigned[name] = solution
        del open_rules[ready]
    return result


def _unknowns(math, free: set[str], assigned: dict) -> tuple[object, set[str]]:
    """The rule, assignment rules put in where nothing else holds an unknown, and its unknowns."""
    for _ in range(len(assigned) + 1):
        names = references(math)
        found = names & free
        if found or not names & set(assigned):
            return math, found
        math = _replaced(math, assigned)
    return math, set()


def _replaced(tree, values: dict):
    if isinstance(tree, str):
        return values.get(tree, tree)
    if not isinstance(tree, list) or tree[0] == "rateOf":
        return tree
    return [tree[0], *(_replaced(part, values) for part in tree[1:])]


def _solved(math, name: str) -> tuple[str, object]:
    """The kind of rule, and the math that `name` (or its rate) is; None where `math` is not linear in it."""
    for kind, unknown in (("assignment", name), ("rate", ["rateOf", name])):
        split = _linear(math, unknown)
        if split is not None and split[0] != 0.0 and not any(_holds(part, name) for part in split):
            slope, rest = split
            return kind, rest if slope == -1.0 else ["/", ["-", rest], slope]
    return "assignment", None


def _holds(tree, unknown) -> bool:
    if tree == unknown:
        return True
    return isinstance(tree, list) and any(_holds(part, unknown) for part in tree[1:])


def _linear(tree, x) -> tuple | None:
    """(a, b) with tree = a x + b and neither holding x; None where there is no such form."""
    if tree == x:
        return 1.0, 0.0
    if not _holds(tree, x):
        return 0.0, tree
    operator, *parts = tree
    if operator in ("+", "-"):
        split = [_linear(part, x) for part in parts]
        known = [s for s in split if s is not None]
        return (
            None if len(known) < len(split) else tuple(_sum(operator, [s[k] for s in known]) for k in (0, 1))
        )
    if operator == "*":
        within = [part for part in parts if _holds(part, x)]
        inner = _linear(within[0], x) if len(within) == 1 else None
        others = [part for part in parts if part is not within[0]]
        return None if inner is None else tuple(_product(part, others) for part in inner)
    if operator == "/" and not _holds(parts[1], x):
        inner = _linear(parts[0], x)
        return None if inner is None else tuple(v if v == 0.0 else ["/", v, parts[1]] for v in inner)
    return None


def _sum(operator: str, parts: list):
    if all(isinstance(p, float) for p in parts):
        return sum(parts) if operator == "+" else parts[0] - sum(parts[1:]) if parts[1:] else -parts[0]
    return [operator, *parts]


def _product(part, others: list):
    if part == 0.0:
        return 0.0
    if isinstance(part, float) and all(isinstance(o, float) for o in others):
        for o in others:
            part *= o
        return part
    return ["*", part, *others]
