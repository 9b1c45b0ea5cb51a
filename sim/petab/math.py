"""PEtab's math to expression trees, through sympy, by a walk that knows what it takes; nothing is evaluated as code."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

from mechanistic.parts import Tree

_FUNCTIONS = {
    "exp": "exp", "Abs": "abs", "floor": "floor", "ceiling": "ceil", "sin": "sin", "cos": "cos", "tan": "tan",
    "sec": "sec", "csc": "csc", "cot": "cot", "sinh": "sinh", "cosh": "cosh", "tanh": "tanh", "sech": "sech",
    "csch": "csch", "coth": "coth", "asin": "arcsin", "acos": "arccos", "atan": "arctan", "asec": "arcsec",
    "acsc": "arccsc", "acot": "arccot", "asinh": "arcsinh", "acosh": "arccosh", "atanh": "arctanh",
    "asech": "arcsech", "acsch": "arccsch", "acoth": "arccoth", "Min": "min", "Max": "max", "And": "and",
    "Or": "or", "Not": "not", "Xor": "xor", "StrictLessThan": "<", "LessThan": "<=", "StrictGreaterThan": ">",
    "GreaterThan": ">=", "Equality": "==", "Unequality": "!=",
}  # fmt: skip
_LONGEST = 100_000


@lru_cache(maxsize=10_000)
def tree_of(text: str) -> Tree:
    """The tree of a formula; repeated ones are read once.

    Raises:
        ValueError: it is not PEtab math, or has what trees have no word for.
    """
    if len(text) > _LONGEST:
        raise ValueError(f"a formula of {len(text)} characters is not read (at most {_LONGEST})")
    try:
        return float(text)
    except ValueError:
        pass
    if text.isidentifier() and text not in ("time", "true", "false", "inf", "nan"):
        return text
    from petab.v1.math import sympify_petab

    try:
        # not evaluated: what the modeller wrote is what is computed
        found = sympify_petab(text, evaluate=False)
    except RecursionError:
        raise ValueError("the formula is nested too deeply") from None
    return from_sympy(found)


def from_sympy(expression: Any) -> Tree:
    """The tree of a sympy expression.

    Raises:
        ValueError: it has a function that trees have no word for.
    """
    kind = type(expression).__name__
    if expression.is_Symbol:
        return ["time"] if expression.name == "time" else expression.name
    if kind in ("BooleanTrue", "BooleanFalse"):
        return ["true"] if kind == "BooleanTrue" else ["false"]
    if expression.is_number and not expression.args:
        value = float(expression)
        if math.isnan(value):
            raise ValueError("a formula is not a number")
        return value
    parts = [from_sympy(a) for a in expression.args] if kind not in ("Piecewise", "ExprCondPair") else []
    if kind == "Add":
        return ["+", *parts]
    if kind == "Mul":
        return _product(expression, parts)
    if kind == "Pow":
        return ["^", *parts]
    if kind == "log":
        if len(parts) == 2:
            return ["/", ["ln", parts[0]], ["ln", parts[1]]]
        return ["ln", parts[0]]
    if kind == "sign":
        return ["piecewise", 1.0, [">", parts[0], 0.0], -1.0, ["<", parts[0], 0.0], 0.0]
    if kind == "Piecewise":
        result: list = ["piecewise"]
        for value, condition in expression.args:
            if type(condition).__name__ == "BooleanTrue":
                return [*result, from_sympy(value)]
            result += [from_sympy(value), from_sympy(condition)]
        return result
    if kind in _FUNCTIONS:
        return [_FUNCTIONS[kind], *parts]
    raise ValueError(f"'{kind}' is not known in a formula")


def _product(expression: Any, parts: list[Tree]) -> Tree:
    """With what stands below the line in one division: 1/x is no power."""
    above = [p for p, a in zip(parts, expression.args) if not _below(a)]
    below = [from_sympy(a.base) for a in expression.args if _below(a)]
    if not below:
        return ["*", *above]
    return [
        "/",
        above[0] if len(above) == 1 else ["*", *above],
        below[0] if len(below) == 1 else ["*", *below],
    ]


def _below(argument: Any) -> bool:
    return type(argument).__name__ == "Pow" and argument.exp == -1
