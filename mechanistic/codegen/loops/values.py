"""Expressions of `loops` in machine code: how a value is made of others; calls are in `calls`."""

from __future__ import annotations

import ast
import builtins
import math
from collections.abc import Callable
from types import FunctionType
from typing import Any

import llvmlite.ir as ir
import numpy as np

from mechanistic.codegen.loops.kinds import (
    BYTE,
    DOUBLE,
    SINGLE,
    TRUTH,
    WHOLE,
    Kind,
    Static,
    Value,
    elements,
    types,
)  # fmt: skip

_OPERATORS = {ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul"}
_DIVISIONS = {ast.FloorDiv: "udiv", ast.Mod: "urem"}
_BITWISE = {ast.BitAnd: "and_", ast.BitOr: "or_", ast.BitXor: "xor", ast.RShift: "lshr", ast.LShift: "shl"}
_COMPARISONS = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!="}


class Expressions:
    """Writes the expressions of one function; `Function` in `statements` is the whole of it.

    Attributes:
        start: writes the room for variables, before anything else.
        builder: writes what is read now.
        given: arguments that keep their value; variables: the others, and where they lie.
        called: the code of another function for kinds of arguments, and the kind of what it returns.
    """

    def __init__(self, function: FunctionType, module: ir.Module, code: ir.Function, called: Callable):
        self.plain, self.module, self.code, self.called = function, module, code, called
        self._first_line = function.__code__.co_firstlineno
        self.start, self.builder = (ir.IRBuilder(code.append_basic_block()) for _ in range(2))
        self.variables: dict[str, tuple[Kind, list]] = {}
        self.given: dict[str, Value] = {}

    def refuse(self, node: ast.AST, what: str) -> TypeError:
        line = self._first_line + getattr(node, "lineno", 1) - 1
        return TypeError(f"{self.plain.__module__}, line {line}: {what} cannot be compiled here")

    # ---- expressions

    def value(self, node: ast.expr, nothing: bool = False) -> Value:
        value = self._of(node)
        if isinstance(value, Static):
            value = self._constant(value.thing)
        if value is None and not nothing:
            raise self.refuse(node, f"'{ast.unparse(node)}'")
        return value  # pyright: ignore[reportReturnType]

    def _of(self, node: ast.expr) -> Value | Static | None:
        write = getattr(self, f"_of_{type(node).__name__.lower()}", None)
        if write is None:
            raise self.refuse(node, f"'{ast.unparse(node)}'")
        return write(node)

    def _constant(self, thing: Any) -> Value | None:
        if isinstance(thing, (bool, np.bool_)):
            return Value("b", [ir.Constant(TRUTH, int(thing))])
        if isinstance(thing, (int, np.integer)):
            number = int(thing)
            return Value("i", [ir.Constant(WHOLE, number - 2**64 if number >= 2**63 else number)])
        if isinstance(thing, (float, np.floating)):
            return Value("f", [ir.Constant(DOUBLE, float(thing))])
        return None

    def _of_constant(self, node: ast.Constant) -> Value | None:
        return self._constant(node.value)

    def _of_name(self, node: ast.Name) -> Value | Static:
        if node.id in self.given:
            return self.given[node.id]
        if node.id in self.variables:
            kind, places = self.variables[node.id]
            return Value(kind, [self.builder.load(p) for p in places])
        if node.id in self.plain.__globals__:
            return Static(self.plain.__globals__[node.id])
        if hasattr(builtins, node.id):
            return Static(getattr(builtins, node.id))
        raise self.refuse(node, f"'{node.id}', which has no value yet,")

    def _of_attribute(self, node: ast.Attribute) -> Value | Static:
        whole = self._of(node.value)
        if isinstance(whole, Static) and whole.thing in (np, math):
            return Static(getattr(whole.thing, node.attr))
        if isinstance(whole, Value) and whole.kind[0] == "array" and node.attr in ("shape", "size"):
            lengths = whole.parts[1:]
            if node.attr == "shape":
                return Value(("tuple", tuple(map(str, range(len(lengths)))), ("i",) * len(lengths)), lengths)
            size = lengths[0]
            for length in lengths[1:]:
                size = self.builder.mul(size, length)
            return Value("i", [size])
        if not isinstance(whole, Value) or whole.kind[0] != "tuple" or node.attr not in whole.kind[1]:
            raise self.refuse(node, f"'{ast.unparse(node)}'")
        return elements(whole)[whole.kind[1].index(node.attr)]

    def _of_subscript(self, node: ast.Subscript) -> Value:
        array = self.value(node.value)
        if array.kind[0] == "tuple":
            return elements(array)[ast.literal_eval(node.slice)]
        indices = self._indices(node)
        pointer = self._place(array, indices)
        part = node.slice.elts[-1] if isinstance(node.slice, ast.Tuple) else node.slice
        if isinstance(part, ast.Slice):
            if len(indices) != array.kind[2] or part.upper is None or part.step is not None:
                raise self.refuse(node, f"'{ast.unparse(node)}'")
            length = self.builder.sub(self.whole(part.upper), indices[-1])
            return Value(("array", array.kind[1], 1), [pointer, length])
        left = array.kind[2] - len(indices)
        if left:
            return Value(("array", array.kind[1], left), [pointer, *array.parts[1 + len(indices) :]])
        return self._loaded(pointer, array.kind[1])

    def read(self, array: Value, index) -> Value:
        return self._loaded(self._place(array, [index]), array.kind[1])

    def _loaded(self, pointer, kind: str) -> Value:
        value = self.builder.load(pointer)
        if kind == "b":
            value = self.builder.icmp_signed("!=", value, ir.Constant(BYTE, 0))
        elif kind == "h":
            kind, value = "i", self.builder.sext(value, WHOLE)
        return Value(kind, [value])

    def _indices(self, node: ast.Subscript) -> list:
        inner = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        first = [(i.lower or ast.Constant(0)) if isinstance(i, ast.Slice) else i for i in inner]
        return [self.whole(i) for i in first]

    def element(self, node: ast.Subscript):
        array = self.value(node.value)
        indices = self._indices(node)
        if len(indices) != array.kind[2]:
            raise self.refuse(node, "an assignment to a part of an array")
        return self._place(array, indices), array.kind[1]

    def _place(self, array: Value, indices: list):
        """Address of an element, or of where a part of the array begins."""
        pointer, *shape = array.parts
        at = None
        for k, length in enumerate(shape):
            if at is not None:
                at = self.builder.mul(at, length)
            if k < len(indices):
                at = indices[k] if at is None else self.builder.add(at, indices[k])
        return self.builder.gep(pointer, [at])

    def _of_tuple(self, node: ast.Tuple) -> Value:
        values = [self.value(e) for e in node.elts]
        kind = ("tuple", tuple(map(str, range(len(values)))), tuple(v.kind for v in values))
        return Value(kind, [p for v in values for p in v.parts])

    def _of_unaryop(self, node: ast.UnaryOp) -> Value:
        if isinstance(node.op, ast.Not):
            return Value("b", [self.builder.not_(self.truth(node.operand))])
        value = self.value(node.operand)
        if isinstance(node.op, ast.Invert) and value.kind == "i":
            return Value("i", [self.builder.not_(value.parts[0])])
        if not isinstance(node.op, ast.USub) or value.kind not in ("f", "s", "i"):
            raise self.refuse(node, f"'{ast.unparse(node)}'")
        write = self.builder.neg if value.kind == "i" else self.builder.fneg
        return Value(value.kind, [write(value.parts[0])])

    def _of_binop(self, node: ast.BinOp) -> Value:
        if isinstance(node.op, ast.Pow):
            if isinstance(node.left, ast.Constant):
                known = self._constant(ast.literal_eval(node.left) ** ast.literal_eval(node.right))
                assert known is not None
                return known
            return self.of_doubles("pow", [self.value(node.left), self.value(node.right)], node)
        return self.combined(node, node.op, self.value(node.left), self.value(node.right))

    def combined(self, node: ast.AST, op: ast.operator, a: Value, b: Value) -> Value:
        builder = self.builder
        if type(op) in _BITWISE and a.kind == b.kind and a.kind in ("i", "b"):
            return Value(a.kind, [getattr(builder, _BITWISE[type(op)])(a.parts[0], b.parts[0])])
        if isinstance(op, ast.Div):
            return Value(
                "f", [builder.fdiv(self.as_kind(a, "f", node).parts[0], self.as_kind(b, "f", node).parts[0])]
            )
        if type(op) in _DIVISIONS and a.kind == b.kind == "i":
            return Value("i", [getattr(builder, _DIVISIONS[type(op)])(a.parts[0], b.parts[0])])
        if type(op) not in _OPERATORS:
            raise self.refuse(node, f"'{type(op).__name__}'")
        kind = common(a, b)
        name = _OPERATORS[type(op)]
        write = getattr(builder, name if kind == "i" else f"f{name}")
        return Value(
            kind, [write(self.as_kind(a, kind, node).parts[0], self.as_kind(b, kind, node).parts[0])]
        )

    def _of_compare(self, node: ast.Compare) -> Value:
        left, result = self.value(node.left), None
        if isinstance(node.ops[0], ast.In) and isinstance(node.comparators[0], ast.Tuple):
            for one in node.comparators[0].elts:
                same = self.compared(node, "==", left, self.value(one))
                result = same if result is None else self.builder.or_(result, same)
            return Value("b", [result])
        for op, right_node in zip(node.ops, node.comparators):
            right = self.value(right_node)
            one = self.compared(node, _COMPARISONS[type(op)], left, right)
            result = one if result is None else self.builder.and_(result, one)
            left = right
        return Value("b", [result])

    def compared(self, node: ast.AST, sign: str, a: Value, b: Value):
        if a.kind == b.kind == "b":
            return self.builder.icmp_unsigned(sign, a.parts[0], b.parts[0])
        kind = common(a, b)
        first, second = self.as_kind(a, kind, node).parts[0], self.as_kind(b, kind, node).parts[0]
        if kind == "i":
            return self.builder.icmp_signed(sign, first, second)
        compare = self.builder.fcmp_unordered if sign == "!=" else self.builder.fcmp_ordered
        return compare(sign, first, second)

    def _of_boolop(self, node: ast.BoolOp) -> Value:
        place = self.start.alloca(TRUTH)
        self.builder.store(self.truth(node.values[0]), place)
        for operand in node.values[1:]:

            def more(operand=operand) -> None:
                self.builder.store(self.truth(operand), place)

            known = self.builder.load(place)
            steps = (more, lambda: None) if isinstance(node.op, ast.And) else (lambda: None, more)
            self.either(known, *steps)
        return Value("b", [self.builder.load(place)])

    def _of_ifexp(self, node: ast.IfExp) -> Value:
        values: list[Value] = []
        blocks = []
        test = self.truth(node.test)
        yes, no, after = (self.code.append_basic_block() for _ in range(3))
        self.builder.cbranch(test, yes, no)
        for block, part in ((yes, node.body), (no, node.orelse)):
            self.builder.position_at_end(block)
            values.append(self.value(part))
            blocks.append(self.builder.block)
        kinds = {v.kind for v in values}
        kind = kinds.pop() if len(kinds) == 1 else "f"
        ends: list[list] = []
        for block, value in zip(blocks, values):
            self.builder.position_at_end(block)
            ends.append(self.as_kind(value, kind, node).parts)
            self.builder.branch(after)
        self.builder.position_at_end(after)
        parts = [self.builder.phi(t) for t in types(kind)]
        for k, phi in enumerate(parts):
            for block, end in zip(blocks, ends):
                phi.add_incoming(end[k], block)
        return Value(kind, parts)

    def of_doubles(self, name: str, values: list[Value], node: ast.AST) -> Value:
        doubles = [self.as_kind(v, "f", node).parts[0] for v in values]
        kind = ir.FunctionType(DOUBLE, [DOUBLE] * len(doubles))
        known = self.module.globals.get(name)
        return Value("f", [self.builder.call(known or ir.Function(self.module, kind, name), doubles)])

    # ---- kinds

    def known(self, node: ast.expr) -> int:
        """A whole number that is known now: written as one, or a constant of the module."""
        if isinstance(node, ast.Name):
            thing = self._of(node)
            if isinstance(thing, Static) and isinstance(thing.thing, int):
                return thing.thing
        elif isinstance(node, (ast.Constant, ast.UnaryOp)):
            return ast.literal_eval(node)
        raise self.refuse(node, f"'{ast.unparse(node)}' where a number must be known")

    def whole(self, node: ast.expr):
        return self.as_kind(self.value(node), "i", node).parts[0]

    def truth(self, node: ast.expr):
        value = self.value(node)
        if value.kind == "b":
            return value.parts[0]
        return self.compared(node, "!=", value, Value("i", [ir.Constant(WHOLE, 0)]))

    def as_kind(self, value: Value, kind: Kind, node: ast.AST) -> Value:
        """`value` as a `kind` that holds all it may be."""
        if value.kind == kind:
            return value
        if (value.kind, kind) in (("i", "f"), ("b", "i"), ("b", "f"), ("s", "f")):
            return self.converted(value, kind, node)
        raise self.refuse(node, f"a {value.kind} where a {kind} is wanted")

    def converted(self, value: Value, kind: str, node: ast.AST) -> Value:
        builder, (part,) = self.builder, value.parts
        if value.kind == kind:
            return value
        if kind == "s":
            return Value("s", [builder.fptrunc(self.converted(value, "f", node).parts[0], SINGLE)])
        if value.kind == "s":
            return self.converted(Value("f", [builder.fpext(part, DOUBLE)]), kind, node)
        if value.kind == "b":
            part = builder.zext(part, WHOLE)
            return Value(kind, [part if kind == "i" else builder.sitofp(part, DOUBLE)])
        if value.kind == "i":
            return Value("f", [builder.sitofp(part, DOUBLE)])
        return Value("i", [builder.fptosi(part, WHOLE)])

    # ---- blocks

    def either(self, test, first: Callable, second: Callable) -> None:
        yes, no, after = (self.code.append_basic_block() for _ in range(3))
        self.builder.cbranch(test, yes, no)
        for block, write in ((yes, first), (no, second)):
            self.builder.position_at_end(block)
            write()
            if not self.ended():
                self.builder.branch(after)
        self.builder.position_at_end(after)

    def ended(self) -> bool:
        """Whether nothing more can follow where code is written now."""
        block = self.builder.block
        return block is not None and block.is_terminated


def common(a: Value, b: Value) -> Kind:
    """What two numbers are combined as: single precision only where both have it."""
    if a.kind == b.kind == "s":
        return "s"
    return "f" if {a.kind, b.kind} & {"f", "s"} else "i"
