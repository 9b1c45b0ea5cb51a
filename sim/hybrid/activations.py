"""Activations as formulas. What bends, bends by `max` and `min`: no condition is watched for turns."""

from __future__ import annotations

from collections.abc import Callable
from math import pi, sqrt

from mechanistic.parts import Tree

# Klambauer et al., Self-normalizing neural networks, 2017
_SELU_SCALE, _SELU_ALPHA = 1.0507009873554805, 1.6732632423543772


def _positive(x: Tree) -> Tree:
    return ["max", x, 0.0]


def _negative(x: Tree) -> Tree:
    return ["min", x, 0.0]


def _sigmoid(x: Tree) -> Tree:
    # neither side overflows
    return ["+", 0.5, ["*", 0.5, ["tanh", ["*", 0.5, x]]]]


def _softplus(x: Tree, beta: float = 1.0, threshold: float = 20.0) -> Tree:
    # torch goes over to x itself beyond the threshold, where the two are equal to rounding
    scaled: Tree = x if beta == 1.0 else ["*", float(beta), x]
    value: Tree = ["+", _positive(scaled), ["ln", ["+", 1.0, ["exp", ["-", ["abs", scaled]]]]]]
    return value if beta == 1.0 else ["/", value, float(beta)]


def _elu(x: Tree, alpha: float = 1.0) -> Tree:
    return ["+", _positive(x), ["*", float(alpha), ["-", ["exp", _negative(x)], 1.0]]]


def _celu(x: Tree, alpha: float = 1.0) -> Tree:
    return ["+", _positive(x), ["*", float(alpha), ["-", ["exp", ["/", _negative(x), float(alpha)]], 1.0]]]


def _selu(x: Tree) -> Tree:
    return ["*", _SELU_SCALE, _elu(x, _SELU_ALPHA)]


def _gelu(x: Tree, approximate: str = "none") -> Tree:
    if approximate != "tanh":
        raise TypeError("the error function is not written as formulas; give approximate: tanh")
    inner = ["*", sqrt(2.0 / pi), ["+", x, ["*", 0.044715, x, x, x]]]
    return ["*", 0.5, x, ["+", 1.0, ["tanh", inner]]]


def _hardtanh(x: Tree, min_val: float = -1.0, max_val: float = 1.0) -> Tree:
    return ["min", ["max", x, float(min_val)], float(max_val)]


def _hardsigmoid(x: Tree) -> Tree:
    return ["min", ["max", ["+", ["/", x, 6.0], 0.5], 0.0], 1.0]


def _leaky(x: Tree, negative_slope: float = 0.01) -> Tree:
    return ["+", _positive(x), ["*", float(negative_slope), _negative(x)]]


def _silu(x: Tree) -> Tree:
    return ["*", x, _sigmoid(x)]


ACTIVATIONS: dict[str, Callable[..., Tree]] = {
    "relu": _positive, "relu6": lambda x: ["min", _positive(x), 6.0], "hardtanh": _hardtanh,
    "hardswish": lambda x: ["*", x, _hardsigmoid(x)], "hardsigmoid": _hardsigmoid, "selu": _selu, "silu": _silu,
    "swish": _silu, "leaky_relu": _leaky, "gelu": _gelu, "logsigmoid": lambda x: ["-", _softplus(["-", x])],
    "tanhshrink": lambda x: ["-", x, ["tanh", x]], "softsign": lambda x: ["/", x, ["+", 1.0, ["abs", x]]],
    "softplus": _softplus, "mish": lambda x: ["*", x, ["tanh", _softplus(x)]], "elu": _elu, "celu": _celu,
    "sigmoid": _sigmoid, "tanh": lambda x: ["tanh", x], "exp": lambda x: ["exp", x], "log": lambda x: ["ln", x],
    "sqrt": lambda x: ["sqrt", x], "square": lambda x: ["*", x, x], "abs": lambda x: ["abs", x],
    "neg": lambda x: ["-", x], "sin": lambda x: ["sin", x], "cos": lambda x: ["cos", x],
    "add": lambda a, b: ["+", a, b], "sub": lambda a, b: ["-", a, b], "mul": lambda a, b: ["*", a, b],
    "div": lambda a, b: ["/", a, b], "truediv": lambda a, b: ["/", a, b], "pow": lambda a, b: ["^", a, b],
}  # fmt: skip


def _softmax(xs: list[Tree]) -> list[Tree]:
    largest: Tree = ["max", *xs]
    parts: list[Tree] = [["exp", ["-", x, largest]] for x in xs]
    return [["/", p, ["+", *parts]] for p in parts]


def _log_softmax(xs: list[Tree]) -> list[Tree]:
    largest: Tree = ["max", *xs]
    total: Tree = ["ln", ["+", *(["exp", ["-", x, largest]] for x in xs)]]
    return [["-", ["-", x, largest], total] for x in xs]


OVER_ALL: dict[str, Callable[[list[Tree]], list[Tree]]] = {"softmax": _softmax, "log_softmax": _log_softmax}
