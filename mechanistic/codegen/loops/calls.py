"""Calls of `loops` in machine code: of functions of Python and numpy, of ours, and of machine code."""

from __future__ import annotations

import ast
import math
from collections.abc import Callable

import llvmlite.ir as ir
import numpy as np

from mechanistic.codegen.loops.kinds import (
    DOUBLE,
    MOST_RESULTS,
    STORED,
    WHOLE,
    Static,
    Value,
    Written,
    call_code,
    plain,
    types,
)  # fmt: skip
from mechanistic.codegen.loops.values import Expressions, common

_OF_DOUBLES = {
    "sqrt": "llvm.sqrt.f64", "floor": "llvm.floor.f64", "ceil": "llvm.ceil.f64", "rint": "llvm.rint.f64",
    **{name: name for name in ("exp", "expm1", "log", "log1p", "erfc", "lgamma", "hypot", "nextafter")},
    **{name: name for name in ("cos", "sin", "tan", "atan")},
}  # fmt: skip


class Calls(Expressions):
    """Writes calls, as `Expressions` the other expressions."""

    def _of_call(self, node: ast.Call) -> Value | None:
        function = self._of(node.func)
        if isinstance(function, Value) and function.kind[0] == "function":
            function = Static(function.kind[1])
        if not isinstance(function, Static) or node.keywords:
            raise self.refuse(node, f"'{ast.unparse(node)}'")
        thing = function.thing
        name = getattr(thing, "name", getattr(thing, "__name__", ""))
        if thing is np.empty:
            return self._room(*node.args)
        values = [self.value(a) for a in node.args]
        if isinstance(thing, Written):
            written = thing.write(self.builder, *(v.parts[0] for v in values), *thing.given)
            return Value(thing.result, written)
        if thing is call_code:
            return self._call_code(*values)
        if plain(thing) is not None:
            return self._call_ours(thing, values)
        if thing is len:
            return Value("i", [values[0].parts[1]])
        if thing in (int, float):
            return self.converted(values[0], "i" if thing is int else "f", node)
        if name == "uint64":
            return self.converted(values[0], "i", node)
        if name == "uint32":
            return Value("i", [self.builder.and_(values[0].parts[0], ir.Constant(WHOLE, 2**32 - 1))])
        if thing in (min, max):
            best = values[0]
            for other in values[1:]:
                best = self._better(node, "<" if thing is min else ">", best, other)
            return best
        if thing is abs and values[0].kind == "i":
            (number,) = values[0].parts
            negative = self.builder.icmp_signed("<", number, ir.Constant(WHOLE, 0))
            return Value("i", [self.builder.select(negative, self.builder.neg(number), number)])
        if thing is np.isnan or thing is math.isnan:
            return Value("b", [self.builder.fcmp_unordered("uno", values[0].parts[0], values[0].parts[0])])
        name = "llvm.fabs.f64" if thing is abs else _OF_DOUBLES.get(name)
        if name is None:
            raise self.refuse(node, f"'{ast.unparse(node)}'")
        return self.of_doubles(name, values, node)

    def _call_code(self, address: Value, block: Value, source: Value | None = None) -> None:
        pointer = DOUBLE.as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [pointer] * 3)
        function = self.builder.inttoptr(address.parts[0], kind.as_pointer())
        given = [self.builder.inttoptr(v.parts[0], pointer) for v in (block, source or block)]
        self.builder.call(function, [*given, given[0]])

    def _call_ours(self, function: Callable, values: list[Value]) -> Value | None:
        code, kind = self.called(function, tuple(v.kind for v in values))
        results = self.start.alloca(ir.ArrayType(WHOLE, MOST_RESULTS))
        self.builder.call(
            code, [*(p for v in values for p in v.parts), self.builder.bitcast(results, WHOLE.as_pointer())]
        )
        if kind is None:
            return None
        parts = []
        for i, part in enumerate(types(kind)):
            place = self.builder.gep(results, [ir.Constant(WHOLE, 0), ir.Constant(WHOLE, i)])
            parts.append(self.builder.load(self.builder.bitcast(place, part.as_pointer())))
        return Value(kind, parts)

    def _better(self, node: ast.AST, sign: str, a: Value, b: Value) -> Value:
        """As Python's min and max: the first unless the other is beyond it."""
        kind = common(a, b)
        first, second = self.as_kind(a, kind, node), self.as_kind(b, kind, node)
        beyond = self.compared(node, sign, second, first)
        return Value(kind, [self.builder.select(beyond, second.parts[0], first.parts[0])])

    def _room(self, count: ast.expr, of_it: ast.expr | None = None) -> Value:
        """Room for a known number of numbers, in the function's own memory."""
        thing = None if of_it is None else self._of(of_it)
        kind = "i" if isinstance(thing, Static) and thing.thing is np.int64 else "f"
        if kind == "f" and of_it is not None:
            raise self.refuse(of_it, f"room for '{ast.unparse(of_it)}'")
        size = self.known(count)
        place = self.start.alloca(ir.ArrayType(STORED[kind], size))
        pointer = self.start.bitcast(place, STORED[kind].as_pointer())
        return Value(("array", kind, 1), [pointer, ir.Constant(WHOLE, size)])
