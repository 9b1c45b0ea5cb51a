"""A graph as machine code, eight cells in lockstep: vector instructions written through LLVM.

Memory is one block of doubles: arrays of vectors, one lane a cell (`Layout`). Long straight-line code is cut
into functions of bounded length, so compiling takes time in proportion to the model. Nothing of a model's
text reaches the code: ids are numbers by now.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import llvmlite.ir as ir

from mechanistic.codegen.elementary import elementary
from mechanistic.codegen.graph import LOGIC, RELATIONS, Graph, Node
from mechanistic.codegen.machine import Compiled
from mechanistic.codegen.vectors import LANES, VECTOR, Layout, Routine, constant

SOURCE, TARGET = "source", "target"
Place = tuple[str, int]  # (array of the layout, or SOURCE or TARGET for what a function is given, position)
_PIECE = 400  # operations in one function


_DOUBLE = ir.DoubleType()
_INTRINSICS = {
    "log10": "log10", "sin": "sin", "cos": "cos", "sqrt": "sqrt", "abs": "fabs", "floor": "floor", "ceil": "ceil",
}  # fmt: skip
_LIBRARY = {
    "tan": "tan", "sinh": "sinh", "cosh": "cosh", "tanh": "tanh", "arcsin": "asin", "arccos": "acos",
    "arctan": "atan", "arcsinh": "asinh", "arccosh": "acosh", "arctanh": "atanh",
}  # fmt: skip
_COMPARISONS = {"<": "<", "<=": "<=", "==": "==", "!=": "!="}


class Module:
    """One model's functions, compiled together."""

    def __init__(self, layout: Layout):
        self.layout = layout
        self.ir = ir.Module("pathway")
        self._pieces = 0

    def routine(self, name: str) -> Routine:
        return Routine(self, name)

    def piece_name(self) -> str:
        self._pieces += 1
        return f"piece{self._pieces}"

    def sequence(self, name: str, pieces: Sequence[str]) -> None:
        """A function that calls `pieces` one after the other with its own arguments."""
        r = self.routine(name)
        for piece in pieces:
            r.call(piece, r.source, r.target)
        r.end()

    def graph_function(
        self,
        name: str,
        graph: Graph,
        outputs: Sequence[tuple[Node, Place]],
        leaves: Mapping[Node, Place],
        spill: str,
    ) -> int:
        """A function that computes nodes from leaves, which it reads, and stores them at their places.

        Args:
            spill: array of the layout for values that one piece hands to the next.

        Returns:
            How many vectors of `spill` are used.
        """
        emitter = _Emitter(self, graph, leaves, spill)
        emitter.emit(outputs)
        self.sequence(name, emitter.names)
        return len(emitter.slots)

    def compile(self) -> Compiled:
        return Compiled(str(self.ir))


class _Emitter:
    def __init__(self, module: Module, graph: Graph, leaves: Mapping[Node, Place], spill: str):
        self.module, self.graph, self.leaves, self.spill = module, graph, leaves, spill
        self.names: list[str] = []
        self.slots: dict[Node, int] = {}

    def emit(self, outputs: Sequence[tuple[Node, Place]]) -> None:
        stores: dict[Node, list[Place]] = {}
        for node, place in outputs:
            stores.setdefault(node, []).append(place)
        order = self._computed(stores)
        pieces = [order[i : i + _PIECE] for i in range(0, len(order), _PIECE)]
        piece_of = {node: i for i, piece in enumerate(pieces) for node in piece}
        shared = {
            operand
            for node in order
            for operand in self._operands(node)
            if operand in piece_of and piece_of[operand] != piece_of[node]
        }
        self.slots = {node: i for i, node in enumerate(sorted(shared))}
        for piece in pieces:
            self._emit_piece(piece, stores)
        rest = [(node, place) for node in stores if node not in piece_of for place in stores[node]]
        for i in range(0, len(rest), _PIECE):
            r = self._piece()
            for node, place in rest[i : i + _PIECE]:
                self._store(r, self._given(r, node), place)
            r.end()

    def _piece(self) -> Routine:
        r = self.module.routine(self.module.piece_name())
        self.names.append(r.name)
        return r

    def _operands(self, node: Node) -> list[Node]:
        operation, *operands = self.graph.nodes[node]
        if operation == "^" and self.graph.value(operands[1]) is not None:
            return operands[:1]
        return operands

    def _is_given(self, node: Node) -> bool:
        return node in self.leaves or self.graph.nodes[node][0] == "const"

    def _computed(self, stores: Mapping) -> list[Node]:
        """The nodes to compute, in order; below a leaf nothing is needed."""
        wanted = set(stores)
        order = []
        for node in range(max(wanted, default=-1), -1, -1):
            if node in wanted and not self._is_given(node):
                order.append(node)
                wanted.update(self._operands(node))
        return order[::-1]

    def _emit_piece(self, piece: Sequence[Node], stores: Mapping[Node, list[Place]]) -> None:
        r = self._piece()
        values: dict[Node, Any] = {}

        def value(node: Node):
            if node not in values:
                values[node] = self._given(r, node)
            return values[node]

        for node in piece:
            values[node] = self._compute(r, node, value)
            if node in self.slots:
                self._keep(r, node, values[node])
            for place in stores.get(node, ()):
                self._store(r, values[node], place)
        r.end()

    def _given(self, r: Routine, node: Node):
        """A constant, a leaf, or what an earlier piece has kept."""
        if self.graph.nodes[node][0] == "const":
            return constant(self.graph.nodes[node][1])
        if node not in self.leaves:
            return self._restored(r, node)
        array, i = self.leaves[node]
        return r.load(r.source, i) if array == SOURCE else r.load(r.block, r.at(array, i))

    def _store(self, r: Routine, value, place: Place) -> None:
        array, i = place
        if array == TARGET:
            r.store(value, r.target, i)
        else:
            r.store(value, r.block, r.at(array, i))

    def _keep(self, r: Routine, node: Node, value) -> None:
        if self.graph.is_condition(node):
            value = r.builder.select(value, constant(1.0), constant(0.0))
        r.store(value, r.block, r.at(self.spill, self.slots[node]))

    def _restored(self, r: Routine, node: Node):
        value = r.load(r.block, r.at(self.spill, self.slots[node]))
        if self.graph.is_condition(node):
            return r.builder.fcmp_unordered("!=", value, constant(0.0))
        return value

    def _compute(self, r: Routine, node: Node, value: Callable):
        operation, *operands = self.graph.nodes[node]
        if operation == "^":
            exponent = self.graph.value(operands[1])
            if exponent is not None:
                return self._fixed_power(r, value(operands[0]), exponent)
            return self._elementary(r, "pow", [value(o) for o in operands])
        parts = [value(o) for o in operands]
        b = r.builder
        if operation in ("+", "-", "*", "/"):
            return {"+": r.add, "-": r.sub, "*": r.mul, "/": r.div}[operation](*parts)
        if operation == "neg":
            return b.fneg(parts[0])
        if operation == "select":
            return b.select(*parts)
        if operation in RELATIONS:
            ordered = b.fcmp_unordered if operation == "!=" else b.fcmp_ordered
            return ordered(_COMPARISONS[operation], *parts)
        if operation in LOGIC:
            if operation == "not":
                return b.not_(parts[0])
            return {"and": b.and_, "or": b.or_, "xor": b.xor}[operation](*parts)
        if operation in ("max", "min"):
            first = b.fcmp_ordered(">" if operation == "max" else "<", parts[0], parts[1])
            return b.select(first, parts[0], parts[1])
        if operation in ("exp", "ln"):
            return self._elementary(r, operation, parts)
        if operation in _INTRINSICS:
            return self._intrinsic(r, _INTRINSICS[operation], parts)
        if operation == "factorial":
            return self._library(r, "tgamma", r.add(parts[0], constant(1.0)))
        return self._library(r, _LIBRARY[operation], parts[0])

    def _fixed_power(self, r: Routine, base, exponent: float):
        if exponent == 0.5:
            return self._intrinsic(r, "sqrt", [base])
        if exponent != int(exponent) or abs(exponent) > 16:
            return self._elementary(r, "pow", [base, constant(exponent)])
        result, square, left = None, base, abs(int(exponent))
        while left:
            if left & 1:
                result = square if result is None else r.mul(result, square)
            left >>= 1
            if left:
                square = r.mul(square, square)
        result = constant(1.0) if result is None else result
        return r.div(constant(1.0), result) if exponent < 0 else result

    def _elementary(self, r: Routine, name: str, parts):
        return r.builder.call(elementary(self.module.ir, name), parts)

    def _intrinsic(self, r: Routine, name: str, parts):
        kind = ir.FunctionType(VECTOR, [VECTOR] * len(parts))
        function = self.module.ir.globals.get(full := f"llvm.{name}.v{LANES}f64") or ir.Function(
            self.module.ir, kind, full
        )
        return r.builder.call(function, parts)

    def _library(self, r: Routine, name: str, x):
        kind = ir.FunctionType(_DOUBLE, [_DOUBLE])
        function = self.module.ir.globals.get(name) or ir.Function(self.module.ir, kind, name)
        result = ir.Constant(VECTOR, ir.Undefined)
        for lane in range(LANES):
            position = ir.Constant(ir.IntType(32), lane)
            one = r.builder.call(function, [r.builder.extract_element(x, position)])
            result = r.builder.insert_element(result, one, position)
        return result
