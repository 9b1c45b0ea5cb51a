"""Evaluation of a graph by numpy, for all cells at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from mechanistic.codegen.graph import Graph, Node


def _factorial(x):
    from scipy.special import gamma

    return gamma(np.asarray(x) + 1.0)


FUNCTIONS: dict[str, Callable] = {
    "+": np.add, "-": np.subtract, "*": np.multiply, "/": np.divide, "^": np.power, "max": np.maximum,
    "min": np.minimum, "neg": np.negative, "abs": np.abs, "exp": np.exp, "ln": np.log, "log10": np.log10,
    "sqrt": np.sqrt, "floor": np.floor, "ceil": np.ceil, "factorial": _factorial, "sin": np.sin,
    "cos": np.cos, "tan": np.tan, "sinh": np.sinh, "cosh": np.cosh, "tanh": np.tanh, "arcsin": np.arcsin,
    "arccos": np.arccos, "arctan": np.arctan,
    "arcsinh": np.arcsinh, "arccosh": np.arccosh, "arctanh": np.arctanh,
    "<": np.less, "<=": np.less_equal, "==": np.equal, "!=": np.not_equal, "and": np.logical_and,
    "or": np.logical_or, "xor": np.logical_xor, "not": np.logical_not, "select": np.where,
}  # fmt: skip


def evaluate(graph: Graph, outputs: Sequence[Node], inputs: Sequence) -> list:
    """The values of `outputs`.

    Args:
        inputs: one scalar or one array (cell,) for every input of the graph.

    Returns:
        One scalar or array (cell,) for every output; undefined results are NaN, without a warning.
    """
    order = graph.needed(outputs)
    last_use = {}
    for node in order:
        operation, *operands = graph.nodes[node]
        if operation not in ("const", "input"):
            for operand in operands:
                last_use[operand] = node
    kept = set(outputs)
    values: dict[Node, object] = {}
    with np.errstate(all="ignore"):
        for node in order:
            operation, *operands = graph.nodes[node]
            if operation == "const":
                values[node] = operands[0]
            elif operation == "input":
                values[node] = np.asarray(inputs[operands[0]], dtype=float)
            else:
                values[node] = FUNCTIONS[operation](*(values[o] for o in operands))
                for operand in operands:
                    # a model of thousands of species and many cells must not keep every partial result
                    if last_use[operand] == node and operand not in kept:
                        values.pop(operand, None)
    return [values[o] for o in outputs]
