"""A graph of operations with equal parts shared: the common form of all mathematics of a model.

Nodes are whole numbers; operands come before the nodes that use them, so a graph is also straight-line
code. Truth values are nodes of their own kind; only "select" and the logical operations take them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any

from mechanistic.draws import KINDS

Node = int

# Operations of one and of two numbers; "select" takes (condition, number, number).
_UNARY = """neg abs exp ln log10 sqrt floor ceil factorial sin cos tan sinh cosh tanh
    arcsin arccos arctan arcsinh arccosh arctanh"""
UNARY = frozenset(_UNARY.split())
BINARY = frozenset({"+", "-", "*", "/", "^", "max", "min"})
RELATIONS = frozenset({"<", "<=", "==", "!="})
LOGIC = frozenset({"and", "or", "xor", "not"})

_RECIPROCALS = {"sec": "cos", "csc": "sin", "cot": "tan", "sech": "cosh", "csch": "sinh", "coth": "tanh"}


class Graph:
    """Grows node by node; equal nodes are made once.

    Attributes:
        nodes: (operation, operands...) by node; ("const", value) and ("input", index) are the leaves.
    """

    def __init__(self) -> None:
        self.nodes: list[tuple] = []
        self._known: dict[tuple, Node] = {}

    def const(self, value: float) -> Node:
        # -0.0 and 0.0, and every NaN, must not be taken for each other
        return self._node(("const", float(value)), ("const", math.copysign(1.0, value), float(value).hex()))

    def input(self, index: int) -> Node:
        return self._node(("input", index))

    def op(self, operation: str, *operands: Node) -> Node:
        """The node of an operation on nodes, simplified where that is exact."""
        simple = self._simplified(operation, operands)
        return self._node((operation, *operands)) if simple is None else simple

    def is_condition(self, node: Node) -> bool:
        return self.nodes[node][0] in RELATIONS or self.nodes[node][0] in LOGIC

    def value(self, node: Node) -> float | None:
        """The value of a constant node, else None."""
        kind, *rest = self.nodes[node]
        return rest[0] if kind == "const" else None

    def _node(self, node: tuple, key: tuple | None = None) -> Node:
        key = key or node
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = len(self.nodes)
            self.nodes.append(node)
        return known

    def _simplified(self, operation: str, operands: tuple[Node, ...]) -> Node | None:
        values = [self.value(a) for a in operands]
        if operation == "select":
            return operands[1] if operands[1] == operands[2] else None
        if operation in ("+", "-") and values[1] == 0.0:
            return operands[0]
        if operation == "+" and values[0] == 0.0:
            return operands[1]
        if operation in ("*", "/", "^") and values[1] == 1.0:
            return operands[0]
        if operation == "*" and values[0] == 1.0:
            return operands[1]
        if all(v is not None for v in values) and (operation in BINARY or operation == "neg"):
            result = _constant_result(operation, values)
            return None if result is None else self.const(result)
        return None

    # ---- expression trees

    def tree(self, tree: Any, lookup: Callable[[str], Node], special: Callable[[list], Node]) -> Node:
        """The node of an expression tree.

        Args:
            lookup: the node of an id.
            special: the node of a leaf that depends on the model: ["time"], ["rateOf", id], ["delay", ...],
                draws.
        """
        if isinstance(tree, str):
            return lookup(tree)
        if not isinstance(tree, list):
            return self.const(tree)
        operator = tree[0]
        if operator in ("time", "rateOf", "delay") or operator in KINDS:
            return special(tree)
        parts = []
        for part in tree[1:]:
            parts.append(self.tree(part, lookup, special))
        return self._applied(operator, parts)

    def _applied(self, operator: str, parts: list[Node]) -> Node:
        if operator == "piecewise":
            return self._piecewise(parts)
        if operator in ("true", "false"):
            return self.op(
                "<",
                *(
                    (self.const(0.0), self.const(1.0))
                    if operator == "true"
                    else (self.const(1.0), self.const(0.0))
                ),
            )
        if operator in ("and", "or", "xor", "not", "implies"):
            return self._logic(operator, [self.condition(p) for p in parts])
        parts = [self.number(p) for p in parts]
        if operator in ("+", "*"):
            return self.folded(operator, parts, 0.0 if operator == "+" else 1.0)
        if operator in ("max", "min"):
            return self.folded(operator, parts, 0.0)
        if operator == "-":
            return self.op("neg", parts[0]) if len(parts) == 1 else self.op("-", *parts)
        if operator in ("<", "<=", ">", ">=", "==", "!="):
            return self._relation(operator, parts)
        if operator == "quotient":
            return self._truncated(self.op("/", *parts))
        if operator == "rem":
            whole = self._truncated(self.op("/", *parts))
            return self.op("-", parts[0], self.op("*", parts[1], whole))
        if operator in _RECIPROCALS:
            return self.op("/", self.const(1.0), self.op(_RECIPROCALS[operator], parts[0]))
        if operator.startswith("arc") and operator[3:] in _RECIPROCALS:
            return self._arc_reciprocal(operator[3:], parts[0])
        assert operator in UNARY or operator in BINARY, operator
        return self.op(operator, *parts)

    def folded(self, operation: str, parts: Iterable[Node], empty: float) -> Node:
        """`operation` over all of `parts`, left to right; `empty` where there are none."""
        result = None
        for part in parts:
            result = part if result is None else self.op(operation, result, part)
        return self.const(empty) if result is None else result

    def condition(self, node: Node) -> Node:
        return node if self.is_condition(node) else self.op("!=", node, self.const(0.0))

    def number(self, node: Node) -> Node:
        return self.op("select", node, self.const(1.0), self.const(0.0)) if self.is_condition(node) else node

    def _piecewise(self, parts: list[Node]) -> Node:
        result = self.number(parts[-1]) if len(parts) % 2 else self.const(float("nan"))
        for i in range(len(parts) // 2 - 1, -1, -1):
            result = self.op("select", self.condition(parts[2 * i + 1]), self.number(parts[2 * i]), result)
        return result

    def _logic(self, operator: str, parts: list[Node]) -> Node:
        if operator == "implies":
            return self.op("or", self.op("not", parts[0]), parts[1])
        if operator == "not":
            return self.op("not", parts[0])
        if not parts:
            return self._applied("true" if operator == "and" else "false", [])
        return self.folded(operator, parts, 0.0)

    def _relation(self, operator: str, parts: list[Node]) -> Node:
        pairs = list(pairwise(parts))
        if operator in (">", ">="):
            operator, pairs = operator.replace(">", "<"), [(b, a) for a, b in pairs]
        return self.folded("and", [self.op(operator, a, b) for a, b in pairs], 0.0)

    def _truncated(self, node: Node) -> Node:
        negative = self.op("<", node, self.const(0.0))
        return self.op("select", negative, self.op("ceil", node), self.op("floor", node))

    def _arc_reciprocal(self, name: str, x: Node) -> Node:
        one_over = self.op("/", self.const(1.0), x)
        if name == "cot":
            return self.op("arctan", one_over)
        return self.op(
            {"sec": "arccos", "csc": "arcsin", "sech": "arccosh", "csch": "arcsinh", "coth": "arctanh"}[name],
            one_over,
        )

    def needed(self, outputs: Iterable[Node]) -> list[Node]:
        """Every node that `outputs` depend on, in order of computation."""
        wanted = set(outputs)
        order = []
        for node in range(max(wanted, default=-1), -1, -1):
            if node in wanted:
                order.append(node)
                operation, *operands = self.nodes[node]
                if operation not in ("const", "input"):
                    wanted.update(operands)
        return order[::-1]


def _constant_result(operation: str, values: list) -> float | None:
    try:
        if operation == "neg":
            return -values[0]
        a, b = values
        if operation == "^":
            result = math.pow(a, b)
        else:
            result = {"+": lambda: a + b, "-": lambda: a - b, "*": lambda: a * b, "/": lambda: a / b,
                      "max": lambda: max(a, b), "min": lambda: min(a, b)}[operation]()  # fmt: skip
    except (ArithmeticError, ValueError):
        return None
    return result if math.isfinite(result) else None
