"""Derivatives of a graph along one direction, and weighted sums of derivatives: no Jacobian is formed.

Forward and reverse accumulation (Griewank & Walther, Evaluating Derivatives, 2nd ed., SIAM 2008): a few times
the operations of the graph itself, whatever the number of variables.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from mechanistic.codegen.derivatives import partial
from mechanistic.codegen.graph import LOGIC, RELATIONS, Graph, Node


def along(graph: Graph, outputs: Sequence[Node], tangents: Mapping[Node, Node]) -> list[Node]:
    """Nodes of the derivative of each output along a direction. They join the graph.

    Args:
        tangents: for each variable that moves, the node of how fast.
    """
    moving: dict[Node, Node] = dict(tangents)
    for node in graph.needed(outputs):
        operation, *operands = graph.nodes[node]
        if node in moving or operation in ("const", "input") or operation in RELATIONS | LOGIC:
            continue
        if operation == "select":
            # an undefined value in the part that is not chosen must not reach the result
            sides = [moving.get(o) for o in operands[1:]]
            if sides != [None, None]:
                parts = [graph.const(0.0) if s is None else s for s in sides]
                moving[node] = graph.op("select", operands[0], *parts)
            continue
        total = None
        for position, operand in enumerate(operands):
            if operand in moving:
                term = _times(graph, partial(graph, node, operation, operands, position), moving[operand])
                if term is not None:
                    total = term if total is None else graph.op("+", total, term)
        if total is not None:
            moving[node] = total
    return [moving.get(o, graph.const(0.0)) for o in outputs]


def weighted(
    graph: Graph, outputs: Sequence[Node], weights: Sequence[Node], variables: Sequence[Node]
) -> list[Node]:
    """Nodes of the sum over i of weights[i] d(outputs[i]) / d(variables[j]). They join the graph."""
    order = graph.needed(outputs)
    sums: dict[Node, Node] = {}

    def add(node: Node, term: Node) -> None:
        sums[node] = graph.op("+", sums[node], term) if node in sums else term

    reaches = set(variables)
    for node in order:
        operation, *operands = graph.nodes[node]
        if operation not in ("const", "input") and reaches.intersection(operands):
            reaches.add(node)
    for output, weight in zip(outputs, weights):
        if output in reaches:
            add(output, weight)
    for node in reversed(order):
        operation, *operands = graph.nodes[node]
        if node not in sums or operation in ("const", "input") or operation in RELATIONS | LOGIC:
            continue
        weight, zero = sums[node], graph.const(0.0)
        for position, operand in enumerate(operands):
            if operand not in reaches or graph.is_condition(operand):
                continue
            if operation == "select":
                sides = (weight, zero) if position == 1 else (zero, weight)
                add(operand, graph.op("select", operands[0], *sides))
                continue
            term = _times(graph, partial(graph, node, operation, operands, position), weight)
            if term is not None:
                add(operand, term)
    return [sums.get(v, graph.const(0.0)) for v in variables]


def _times(graph: Graph, slope: Node, other: Node) -> Node | None:
    """Their product; None where it is 0 by structure."""
    value = graph.value(slope)
    if value == 0.0 or graph.value(other) == 0.0:
        return None
    if value == -1.0:
        return graph.op("neg", other)
    return graph.op("*", slope, other)


def copied(
    graph: Graph,
    outputs: Sequence[Node],
    into: Graph,
    replaced: Callable[[Node, Mapping[Node, Node]], Node | None] = lambda _node, _went: None,
) -> dict[Node, Node]:
    """Copies what `outputs` need into another graph; where each node went.

    Args:
        replaced: of (a node, where its operands went): the node to take in its place, or None to copy it.
    """
    went: dict[Node, Node] = {}
    for node in graph.needed(outputs):
        other = replaced(node, went)
        if other is None:
            operation, *operands = graph.nodes[node]
            if operation == "const":
                other = into.const(operands[0])
            elif operation == "input":
                other = into.input(operands[0])
            else:
                other = into.op(operation, *(went[o] for o in operands))
        went[node] = other
    return went
