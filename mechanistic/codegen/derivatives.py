"""Sparse derivatives of a graph by forward accumulation."""

from __future__ import annotations

from collections.abc import Sequence

from mechanistic.codegen.graph import LOGIC, RELATIONS, Graph, Node


class NotDifferentiable(ValueError):
    """An operation whose derivative is not known here."""


def jacobian(graph: Graph, outputs: Sequence[Node], variables: Sequence[Node]) -> dict[tuple[int, int], Node]:
    """Nodes of d(outputs[i])/d(variables[j]) by (i, j), where not zero by structure. They join the graph."""
    gradients: dict[Node, dict[int, Node]] = {v: {j: graph.const(1.0)} for j, v in enumerate(variables)}
    for node in graph.needed(outputs):
        operation, *operands = graph.nodes[node]
        if node in gradients or operation in ("const", "input") or operation in RELATIONS | LOGIC:
            continue
        if operation == "select":
            if chosen := _of_choice(graph, operands, gradients):
                gradients[node] = chosen
            continue
        total: dict[int, Node] = {}
        for position, operand in enumerate(operands):
            inner = gradients.get(operand)
            if not inner:
                continue
            slope = partial(graph, node, operation, operands, position)
            if graph.value(slope) == 0.0:
                continue
            for j, derivative in inner.items():
                term = graph.op("*", slope, derivative)
                total[j] = graph.op("+", total[j], term) if j in total else term
        if total:
            gradients[node] = total
    return {(i, j): d for i, o in enumerate(outputs) for j, d in gradients.get(o, {}).items()}


def _of_choice(graph: Graph, operands: list[Node], gradients: dict) -> dict[int, Node]:
    """Derivatives of a choice: those of what is chosen. What is not chosen may be infinite, so nothing is added."""
    condition, yes, no = operands
    zero = graph.const(0.0)
    sides = gradients.get(yes, {}), gradients.get(no, {})
    return {
        j: graph.op("select", condition, sides[0].get(j, zero), sides[1].get(j, zero))
        for j in sorted({*sides[0], *sides[1]})
    }


def partial(graph: Graph, node: Node, operation: str, operands: list[Node], position: int) -> Node:
    """d(node)/d(operands[position])."""

    def op(name: str, *parts: Node) -> Node:
        return graph.op(name, *parts)

    one, x = graph.const(1.0), operands[0]
    if operation in ("+", "-"):
        return graph.const(-1.0) if operation == "-" and position == 1 else one
    if operation == "*":
        return operands[1 - position]
    if operation == "/":
        return op("/", one, operands[1]) if position == 0 else op("neg", op("/", node, operands[1]))
    if operation == "^":
        return _of_power(graph, node, operands, position)
    if operation == "select":
        zero = graph.const(0.0)
        return (
            graph.const(0.0)
            if position == 0
            else op("select", x, *((one, zero) if position == 1 else (zero, one)))
        )
    if operation in ("max", "min"):
        first = op("<", operands[1], x) if operation == "max" else op("<", x, operands[1])
        return op("select", first, *((one, graph.const(0.0)) if position == 0 else (graph.const(0.0), one)))
    return _of_function(graph, node, operation, x)


def _of_power(graph: Graph, node: Node, operands: list[Node], position: int) -> Node:
    """n x^(n-1), 0 where both n and x are, or x^n ln x, 0 where x is 0 and n above it.

    What would be 0 times infinity is never computed, so that derivatives of these hold there too.
    """

    def op(name: str, *parts: Node) -> Node:
        return graph.op(name, *parts)

    (x, exponent), zero, one = operands, graph.const(0.0), graph.const(1.0)
    known = graph.value(exponent)
    if position == 0:
        slope = op("*", exponent, op("^", x, op("-", exponent, one)))
        if known is not None:
            return slope if known else zero
        return op("select", op("and", op("==", exponent, zero), op("==", x, zero)), zero, slope)
    # rounding may have left x a little below 0
    nothing = op("and", op("not", op("<", zero, x)), op("<", zero, exponent))
    return op("*", node, op("ln", op("select", nothing, one, x)))


def _of_function(graph: Graph, node: Node, operation: str, x: Node) -> Node:
    def op(name: str, *parts: Node) -> Node:
        return graph.op(name, *parts)

    one = graph.const(1.0)

    def one_plus_square(sign: str) -> Node:
        return op(sign, one, op("*", x, x))

    if operation == "neg":
        return graph.const(-1.0)
    if operation in ("floor", "ceil"):
        return graph.const(0.0)
    if operation == "abs":
        return op("select", op("<", x, graph.const(0.0)), graph.const(-1.0), one)
    if operation == "exp":
        return node
    if operation == "ln":
        return op("/", one, x)
    if operation == "log10":
        return op("/", graph.const(0.4342944819032518), x)
    if operation == "sqrt":
        return op("/", graph.const(0.5), node)
    if operation == "sin":
        return op("cos", x)
    if operation == "cos":
        return op("neg", op("sin", x))
    if operation == "tan":
        return op("+", one, op("*", node, node))
    if operation == "sinh":
        return op("cosh", x)
    if operation == "cosh":
        return op("sinh", x)
    if operation == "tanh":
        return op("-", one, op("*", node, node))
    if operation == "arctan":
        return op("/", one, one_plus_square("+"))
    if operation in ("arcsin", "arccos"):
        slope = op("/", one, op("sqrt", one_plus_square("-")))
        return slope if operation == "arcsin" else op("neg", slope)
    if operation == "arcsinh":
        return op("/", one, op("sqrt", one_plus_square("+")))
    if operation == "arccosh":
        return op("/", one, op("sqrt", op("-", op("*", x, x), one)))
    if operation == "arctanh":
        return op("/", one, one_plus_square("-"))
    raise NotDifferentiable(f"the derivative of {operation} is not known")
