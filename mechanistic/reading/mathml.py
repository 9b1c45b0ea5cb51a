"""MathML (SBML's subset) to expression trees, checked for arity and for numbers against truth values.

A tree is a number (float), an id (str) or a list [operator, argument, ...]. Operators: + - * / ^ and the
functions and relations named below; "piecewise" holds value, condition, ..., [otherwise]; "time" is a
leaf; "call" is a call of a function definition: ["call", id, argument, ...]; ["delay", x, lag] is the value
that the expression x had `lag` ago; for draws see `mechanistic.draws`.
"""

from __future__ import annotations

import math
import re

from mechanistic.draws import KINDS, draw
from mechanistic.reading.numbers import number, shown
from mechanistic.reading.problems import MOST_ARGUMENTS, Problems
from mechanistic.reading.xmltree import Element

AVOGADRO = 6.02214179e23  # the value that SBML Level 3 fixes

_ANY = (0, MOST_ARGUMENTS)
# MathML element → operator here, fewest and most arguments, takes, gives ("n"umber, "b"oolean, "a"ny)
_OPERATORS: dict[str, tuple[str, tuple[int, int], str, str]] = {
    "plus": ("+", _ANY, "n", "n"), "times": ("*", _ANY, "n", "n"), "minus": ("-", (1, 2), "n", "n"),
    "divide": ("/", (2, 2), "n", "n"), "power": ("^", (2, 2), "n", "n"),
    "max": ("max", (1, MOST_ARGUMENTS), "n", "n"),
    "min": ("min", (1, MOST_ARGUMENTS), "n", "n"),
    "quotient": ("quotient", (2, 2), "n", "n"), "rem": ("rem", (2, 2), "n", "n"),
    "ceiling": ("ceil", (1, 1), "n", "n"), "root": ("sqrt", (1, 1), "n", "n"),
    "log": ("log10", (1, 1), "n", "n"),
    "and": ("and", _ANY, "b", "b"), "or": ("or", _ANY, "b", "b"), "xor": ("xor", _ANY, "b", "b"),
    "not": ("not", (1, 1), "b", "b"), "implies": ("implies", (2, 2), "b", "b"),
    "eq": ("==", (2, MOST_ARGUMENTS), "a", "b"), "neq": ("!=", (2, 2), "a", "b"),
    "lt": ("<", (2, MOST_ARGUMENTS), "n", "b"), "leq": ("<=", (2, MOST_ARGUMENTS), "n", "b"),
    "gt": (">", (2, MOST_ARGUMENTS), "n", "b"), "geq": (">=", (2, MOST_ARGUMENTS), "n", "b"),
}  # fmt: skip
_FUNCTIONS = """abs exp ln floor factorial sin cos tan sec csc cot sinh cosh tanh sech csch coth
    arcsin arccos arctan arcsec arccsc arccot arcsinh arccosh arctanh arcsech arccsch arccoth"""
for _name in _FUNCTIONS.split():
    _OPERATORS[_name] = (_name, (1, 1), "n", "n")
BOOLEAN = frozenset(o for o, _, _, gives in _OPERATORS.values() if gives == "b") | {"true", "false"}
ELEMENTS = {o: name for name, (o, *_) in _OPERATORS.items()}
_TAKES = {o: takes for o, _, takes, _ in _OPERATORS.values()}
_LEAVES = {"true": ["true"], "false": ["false"], "pi": math.pi, "exponentiale": math.e}
_SID = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class MathReader:
    """Reads the <math> of one model. `level3v2` allows truth values as numbers, as that version does."""

    def __init__(self, problems: Problems, level3v2: bool):
        self.problems, self.level3v2 = problems, level3v2

    def read(self, holder: Element, key: str, wanted: str = "n"):
        """The tree of the <math> in `holder`, or None (with the fault noted) where there is none.

        Args:
            holder: for example a kineticLaw element.
            key: id to name in errors.
            wanted: "n" for a number, "b" for a condition, "a" for either.
        """
        element = holder if holder.tag == "math" else holder.child("math")
        if element is None or not element.children:
            if element is not None or not self.level3v2:
                self.problems.add(f"{holder.tag} without math", holder.line, key)
            return None
        if len(element.children) > 1:
            self.problems.add("math holds more than one expression", element.line, key)
            return None
        try:
            tree = self._tree(element.children[0])
            if not self.level3v2 and wanted != "a":
                self._check_kinds(tree, wanted)
            return tree
        except _Wrong as wrong:
            line = wrong.line or element.line
            self.problems.add(wrong.message, line, f"{key}.{wrong.part}" if wrong.part else key)
            return None

    def _tree(self, e: Element):
        tag = e.tag
        if tag == "apply":
            return self._apply(e)
        if tag == "ci":
            name = e.text.strip()
            if not _SID.fullmatch(name):
                what = "an empty ci" if not name else f"ci holds no id (got {shown(name)})"
                raise _Wrong(what, e.line, "ci" if name else "")
            return name
        if tag == "cn":
            return self._number(e)
        if tag == "csymbol":
            return self._symbol(e)
        if tag == "piecewise":
            return self._piecewise(e)
        if tag in _LEAVES:
            return _LEAVES[tag]
        if tag in ("infinity", "notanumber"):
            return float("inf") if tag == "infinity" else float("nan")
        if tag == "semantics" and e.children:
            return self._tree(e.children[0])
        raise _Wrong(
            f"'{shown(tag)}' is not in SBML's subset of MathML", e.line, tag if _SID.fullmatch(tag) else ""
        )

    def _apply(self, e: Element):
        if not e.children:
            raise _Wrong("an apply without an operator", e.line)
        head, rest = e.children[0], e.children[1:]
        tag = head.tag
        if tag == "apply" and not rest:
            return self._apply(head)  # brackets around an expression, as some editors write them
        if tag == "ci":
            arguments = self._all(rest)
            return ["call", head.text.strip(), *arguments]
        if tag == "csymbol":
            return self._symbol_call(head, rest)
        if tag not in _OPERATORS:
            raise _Wrong(
                f"'{shown(tag)}' is not in SBML's subset of MathML",
                head.line,
                tag if _SID.fullmatch(tag) else "",
            )
        if tag in ("root", "log"):
            return self._root_or_log(tag, rest)
        operator, (fewest, most), _, _ = _OPERATORS[tag]
        if not fewest <= len(rest) <= most:
            if len(rest) > MOST_ARGUMENTS:
                raise _Wrong(f"{tag} of {len(rest)} terms (at most {MOST_ARGUMENTS} terms)", e.line)
            wants = str(fewest) if fewest == most else f"{fewest} to {most}"
            raise _Wrong(f"{tag} takes {wants} arguments (got {len(rest)})", e.line)
        return _folded([operator, *self._all(rest)], e.line)

    def _all(self, elements: list[Element]) -> list:
        trees = []
        for element in elements:
            trees.append(self._tree(element))
        return trees

    def _root_or_log(self, tag: str, rest: list[Element]):
        qualifier = None
        if rest and rest[0].tag in ("degree", "logbase"):
            if len(rest[0].children) != 1:
                raise _Wrong(f"{rest[0].tag} holds no single number", rest[0].line)
            qualifier, rest = self._tree(rest[0].children[0]), rest[1:]
        if len(rest) != 1:
            raise _Wrong(f"{tag} takes 1 argument (got {len(rest)})", None)
        x = self._tree(rest[0])
        if tag == "root":
            return ["sqrt", x] if qualifier in (None, 2.0) else ["^", x, ["/", 1.0, qualifier]]
        return ["log10", x] if qualifier in (None, 10.0) else ["/", ["ln", x], ["ln", qualifier]]

    def _number(self, e: Element) -> float:
        kind = e.attributes.get("type", "real").strip()
        try:
            if kind == "e-notation":
                mantissa, exponent = _separated(e)
                _whole(exponent)
                return number(f"{mantissa.strip()}e{exponent.strip()}")
            if kind == "rational":
                above, below = _separated(e)
                if _whole(below) == 0:
                    raise ValueError("divides by 0")
                return _whole(above) / _whole(below)
            if kind == "integer":
                value = _whole(e.text)
                if abs(value) >= 2**63:
                    raise ValueError("is beyond 64 bits")
                return float(value)
            if kind not in ("real", "integer") or e.children:
                raise ValueError(f"has the unknown type {shown(kind)}")
            if e.text.strip() == "NaN" or e.text.strip().lstrip("+-") == "INF":
                raise ValueError(f"must be finite (got {e.text.strip()})")
            return number(e.text)
        except ValueError as error:
            raise _Wrong(f"number in math {error}", e.line) from None

    def _symbol(self, e: Element):
        url = e.attributes.get("definitionURL", "").strip()
        name = url.rpartition("/")[2]
        if url.startswith("http://www.sbml.org/sbml/symbols/"):
            if name == "time":
                return ["time"]
            if name == "avogadro":
                return AVOGADRO
        raise _Wrong(f"unknown csymbol {shown(url)}", e.line, "csymbol")

    def _symbol_call(self, head: Element, rest: list[Element]):
        name = head.attributes.get("definitionURL", "").strip().rpartition("/")[2]
        if name == "delay":
            if len(rest) != 2:
                raise _Wrong(f"delay takes 2 arguments (got {len(rest)})", head.line, "delay")
            tree = ["delay", *self._all(rest)]
            if isinstance(tree[2], float) and not tree[2] >= 0:
                raise _Wrong(f"a delay must not be negative (got {tree[2]:g})", head.line, "delay")
            return tree
        if name == "rateOf" and len(rest) == 1:
            target = self._tree(rest[0])
            if not isinstance(target, str):
                raise _Wrong("rateOf takes one id", head.line, "rateOf")
            return ["rateOf", target]
        if name in KINDS and "/distrib/" in head.attributes["definitionURL"]:
            try:
                return draw(name, self._all(rest))
            except ValueError as error:
                raise _Wrong(str(error), head.line, name) from None
        raise _Wrong(
            f"unknown csymbol {shown(head.attributes.get('definitionURL', ''))}", head.line, "csymbol"
        )

    def _piecewise(self, e: Element):
        tree: list = ["piecewise"]
        otherwise = []
        for part in e.children:
            size = {"piece": 2, "otherwise": 1}.get(part.tag)
            if size is None or len(part.children) != size:
                raise _Wrong(f"a {shown(part.tag)} with {len(part.children)} parts in a piecewise", part.line)
            (tree if size == 2 else otherwise).extend(self._all(part.children))
        if len(tree) == 1 and not (otherwise and self.level3v2):
            raise _Wrong("a piecewise without pieces", e.line)
        if len(tree) > 2 * MOST_ARGUMENTS:
            raise _Wrong(f"a piecewise of {len(tree) // 2} pieces (at most {MOST_ARGUMENTS})", e.line)
        return otherwise[0] if len(tree) == 1 else tree + otherwise[:1]

    def _check_kinds(self, tree, wanted: str) -> None:
        kind = self._kind(tree)
        if kind in "nb" and kind != wanted:
            got, want = ("a truth value", "a number") if kind == "b" else ("a number", "a condition")
            raise _Wrong(f"{got} where {want} belongs", None)

    def _kind(self, tree) -> str:
        """ "n", "b", or "a" for what only the call of a function can tell."""
        if not isinstance(tree, list):
            return "n"
        operator = tree[0]
        if operator == "call":
            return "a"
        if operator == "piecewise":
            kinds = set()
            for i, part in enumerate(tree[1:]):
                if i % 2 and i < len(tree) - 1:
                    self._check_kinds(part, "b")
                else:
                    kinds.add(self._kind(part))
            return kinds.pop() if len(kinds) == 1 else "a"
        takes = _TAKES.get(operator)
        if takes in ("n", "b"):
            for part in tree[1:]:
                self._check_kinds(part, takes)
        return "b" if operator in BOOLEAN else "n"


def element_of(tree) -> str:
    """The MathML of a tree (without calls of functions), as text."""
    if isinstance(tree, str):
        return f"<ci>{tree}</ci>"
    if isinstance(tree, float):
        if not math.isfinite(tree):
            sign = "<apply><minus/><infinity/></apply>" if tree < 0 else "<infinity/>"
            return "<notanumber/>" if math.isnan(tree) else sign
        mantissa, _, exponent = repr(tree).partition("e")
        return f'<cn type="e-notation">{mantissa}<sep/>{exponent or 0}</cn>'
    operator, *parts = tree
    if operator in ("true", "false"):
        return f"<{operator}/>"
    if operator == "time":
        return '<csymbol encoding="text" definitionURL="http://www.sbml.org/sbml/symbols/time">t</csymbol>'
    inner = [element_of(part) for part in parts]
    if operator == "piecewise":
        pieces = [f"<piece>{v}{c}</piece>" for v, c in zip(inner[::2], inner[1::2])]
        rest = f"<otherwise>{inner[-1]}</otherwise>" if len(inner) % 2 else ""
        return f"<piecewise>{''.join(pieces)}{rest}</piecewise>"
    if operator in ("rateOf", "delay"):
        url = f"http://www.sbml.org/sbml/symbols/{operator}"
        head = f'<csymbol encoding="text" definitionURL="{url}">{operator}</csymbol>'
    else:
        head = f"<{ELEMENTS[operator]}/>"
    return f"<apply>{head}{''.join(inner)}</apply>"


class _Wrong(Exception):
    def __init__(self, message: str, line: int | None, part: str = ""):
        self.message, self.line, self.part = message, line, part


def _separated(e: Element) -> tuple[str, str]:
    """The two texts around <sep/>, which the XML tree marks by U+001F."""
    parts = e.text.split("\x1f")
    if len(parts) != 2:
        raise ValueError("has no two parts around <sep/>")
    return parts[0], parts[1]


def _whole(text: str) -> int:
    text = text.strip()
    if not re.fullmatch(r"[+-]?[0-9]{1,30}", text):
        raise ValueError(f"is not a whole number (got {shown(text)})")
    return int(text)


def _folded(tree: list, line: int):
    """`tree`, after seeing that an operation on constants alone gives a finite number."""
    operator, *arguments = tree
    if operator not in ("^", "factorial", "exp") or not all(isinstance(a, float) for a in arguments):
        return tree
    try:
        if operator == "^":
            value = math.pow(*arguments)
        elif operator == "exp":
            value = math.exp(arguments[0])
        else:
            value = math.gamma(arguments[0] + 1) if arguments[0] >= 0 else float("nan")
    except (OverflowError, ValueError):
        value = float("nan")
    if not math.isfinite(value):
        raise _Wrong(f"a constant part of the math has no finite value ({operator} of {arguments})", line)
    return value
