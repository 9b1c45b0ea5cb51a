"""Products and quotients with all that does not change taken out, so that it is computed once a cell and not each step.

    c * k * (a / c) * (b / c)   becomes   (c * k * (1 / c) * (1 / c)) * (a * b)

with a, b what changes: fewer operations, and no division by what stays. Equal but for rounding. What a condition or
a rounding function looks at is left as it is written: there the last bit may decide.
"""

from __future__ import annotations

from collections.abc import Iterable

from mechanistic.codegen.graph import Graph, Node

_EXACT = ("floor", "ceil", "factorial")


def changing_nodes(graph: Graph, outputs: Iterable[Node], leaves: Iterable[Node]) -> set[Node]:
    """Of what `outputs` need, the conditions and all that depends on `leaves`; with the leaves."""
    changing = set(leaves)
    for node in graph.needed(outputs):
        operation, *operands = graph.nodes[node]
        if operation in ("const", "input"):
            continue
        if changing.intersection(operands) or graph.is_condition(node):
            changing.add(node)
    return changing


class Factored:
    """Nodes that equal others, with what is fixed taken out of their products.

    Args:
        outputs: all that will be asked for; leaves: what changes.
    """

    def __init__(self, graph: Graph, outputs: Iterable[Node], leaves: Iterable[Node]):
        self.graph = graph
        outputs, self._leaves = list(outputs), set(leaves)
        self._changing = changing_nodes(graph, outputs, self._leaves)
        # (fixed factor or None, the rest or None) of every node
        self._parts: dict[Node, tuple[Node | None, Node | None]] = {}
        for node in graph.needed(outputs):
            self._parts[node] = self._split(node)

    def whole(self, node: Node) -> Node:
        """The node that equals `node`."""
        factor, rest = self._parts[node]
        if factor is None or rest is None:
            found = rest if factor is None else factor
            assert found is not None
            return found
        return self.graph.op("*", factor, rest)

    def _split(self, node: Node) -> tuple[Node | None, Node | None]:
        operation, *operands = self.graph.nodes[node]
        if node not in self._changing:
            return node, None
        if node in self._leaves or operation in _EXACT or self.graph.is_condition(node):
            return None, node
        if operation in ("*", "/"):
            parts = [self._parts[o] for o in operands]
            (f, a), (g, b) = parts
            return self._joined(operation, f, g), self._joined(operation, a, b)
        if operation == "neg":
            factor, rest = self._parts[operands[0]]
            if factor is not None and rest is not None:
                return self.graph.op("neg", factor), rest
        return None, self.graph.op(operation, *(self.whole(o) for o in operands))

    def _joined(self, operation: str, a: Node | None, b: Node | None) -> Node | None:
        if b is None:
            return a
        if a is None and operation == "*":
            return b
        return self.graph.op(operation, self.graph.const(1.0) if a is None else a, b)
