"""Calls of function definitions replaced by their bodies, with a bound on what that grows to."""

from __future__ import annotations

from mechanistic.draws import is_draw
from mechanistic.reading.problems import MOST_TERMS, Problems, closest


class Functions:
    """The function definitions of one model; `expand` inlines them in a tree."""

    def __init__(self, definitions: list[dict], problems: Problems):
        self.problems = problems
        self.known = {f["id"]: f for f in definitions}
        self._draws = 0
        self.broken = {f["id"] for f in definitions if f["body"] is None}
        for f in definitions:
            self._check_body(f)
        self._check_recursion()

    def expand(self, tree, line: int, key: str):
        """`tree` without calls; None (the fault noted) where a call is wrong or the result too large."""
        if tree is None:
            return None
        self._terms = 0
        try:
            return self._expand(tree, None)
        except _Wrong as wrong:
            self.problems.add(wrong.args[0], line, f"{key}.{wrong.args[1]}" if wrong.args[1] else key)
            return None

    def _expand(self, tree, bound: dict | None):
        if isinstance(tree, str) and bound is not None:
            tree, size = bound[tree]
            self._grow(size)
            return tree
        self._grow(1)
        if not isinstance(tree, list):
            return tree
        if tree[0] == "call":
            return self._call(tree, bound)
        result = tree[:1]
        for part in tree[1:]:
            # rateOf names a quantity rather than taking its value
            result.append(self._expand(part, bound))
        if is_draw(result):
            # every call of a function draws anew, every use of its argument is the same draw
            result[1] = float(self._draws)
            self._draws += 1
        return result

    def _call(self, tree: list, bound: dict | None):
        name = tree[1]
        f = self.known.get(name)
        if f is None:
            raise _Wrong(f"calls the unknown function '{name}'{closest(name, self.known)}", name)
        if name in self.broken:
            raise _Wrong(f"calls the function '{name}', which cannot be used", name)
        if len(tree) - 2 != len(f["arguments"]):
            raise _Wrong(
                f"the function '{name}' takes {len(f['arguments'])} arguments (got {len(tree) - 2})", name
            )
        values = {}
        for argument, part in zip(f["arguments"], tree[2:]):
            before = self._terms
            value = self._expand(part, bound)
            values[argument] = (value, self._terms - before)
        return self._expand(f["body"], values)

    def _grow(self, by: int) -> None:
        self._terms += by
        if self._terms > MOST_TERMS:
            raise _Wrong(f"inlining the functions gives more than {MOST_TERMS} terms", "")

    def _check_body(self, f: dict) -> None:
        if f["body"] is None:
            return
        for name in references(f["body"]):
            if name not in f["arguments"]:
                message = f"the function '{f['id']}' uses '{name}', which is not one of its arguments"
                self.problems.add(message, f["line"], f["id"])
                self.broken.add(f["id"])

    def _check_recursion(self) -> None:
        calls = {name: [c for c in called(f["body"]) if c in self.known] for name, f in self.known.items()}
        cycle = find_cycle(calls)
        if cycle:
            f = self.known[cycle[0]]
            self.problems.add(
                f"functions call each other in a circle: {' -> '.join(cycle)}", f["line"], cycle[0]
            )
            self.broken |= set(self.known)


class _Wrong(Exception):
    pass


def references(tree) -> set[str]:
    """The ids whose values `tree` uses (not those of called functions)."""
    found: set[str] = set()
    waiting = [tree]
    while waiting:
        part = waiting.pop()
        if isinstance(part, str):
            found.add(part)
        elif isinstance(part, list):
            waiting.extend(part[2:] if part[0] == "call" else part[1:])
    return found


def called(tree) -> set[str]:
    """The functions that `tree` calls."""
    found: set[str] = set()
    waiting = [tree]
    while waiting:
        part = waiting.pop()
        if isinstance(part, list):
            if part[0] == "call":
                found.add(part[1])
            waiting.extend(part[1:])
    return found


def find_cycle(graph: dict[str, list[str]]) -> list[str] | None:
    """A closed walk [a, b, ..., a] in a directed graph, or None. Iterative: chains may be long."""
    state: dict[str, int] = {}
    for start in graph:
        if start in state:
            continue
        path, pending = [start], [iter(graph[start])]
        state[start] = 1
        while path:
            following = next(pending[-1], None)
            if following is None:
                state[path.pop()] = 2
                pending.pop()
            elif state.get(following) == 1:
                return [*path[path.index(following) :], following]
            elif following not in state and following in graph:
                state[following] = 1
                path.append(following)
                pending.append(iter(graph[following]))
    return None
