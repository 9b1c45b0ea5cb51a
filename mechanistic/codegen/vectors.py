"""Instructions on vectors of eight cells, written through LLVM: routines over a block of numbers and its layout."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import llvmlite.ir as ir

if TYPE_CHECKING:
    from mechanistic.codegen.native import Module

LANES = 8
_DOUBLE, _INDEX, _SHORT = ir.DoubleType(), ir.IntType(64), ir.IntType(32)
VECTOR = ir.VectorType(_DOUBLE, LANES)
_POINTER = VECTOR.as_pointer()


class Layout:
    """Where arrays of vectors lie in the block: `place(name, length)` in order, then `offset[name]`."""

    def __init__(self) -> None:
        self.offset: dict[str, int] = {}
        self.size = 0

    def place(self, name: str, length: int) -> None:
        self.offset[name] = self.size
        self.size += length * LANES


class Routine:
    """Builds one function `void name(vector *block, vector *in, vector *out)`; places count in vectors."""

    def __init__(self, module: Module, name: str):
        self.module, self.name = module, name
        kind = ir.FunctionType(ir.VoidType(), [_POINTER] * 3)
        self.function = ir.Function(module.ir, kind, name)
        self.builder = ir.IRBuilder(self.function.append_basic_block())
        self.block, self.source, self.target = self.function.args

    def pointer(self, base: ir.Value, index: int | ir.Value):
        if isinstance(index, int):
            index = ir.Constant(_INDEX, index)
        return self.builder.gep(base, [index])

    def load(self, base: ir.Value, index):
        return self.builder.load(self.pointer(base, index), align=8)

    def store(self, value, base: ir.Value, index) -> None:
        self.builder.store(value, self.pointer(base, index), align=8)

    def at(self, name: str, i: int = 0) -> int:
        return self.module.layout.offset[name] // LANES + i

    def array(self, name: str):
        """The address of a whole array of the block."""
        return self.builder.gep(self.block, [ir.Constant(_INDEX, self.at(name))])

    def add(self, a, b):
        return self.builder.fadd(a, b, flags=("contract",))  # pyright: ignore[reportCallIssue]

    def sub(self, a, b):
        return self.builder.fsub(a, b, flags=("contract",))  # pyright: ignore[reportCallIssue]

    def mul(self, a, b):
        return self.builder.fmul(a, b, flags=("contract",))  # pyright: ignore[reportCallIssue]

    def div(self, a, b):
        return self.builder.fdiv(a, b)

    def call(self, name: str, source=None, target=None) -> None:
        function = self.module.ir.get_global(name)
        self.builder.call(function, [self.block, self.block if source is None else source,
                                     self.block if target is None else target])  # fmt: skip

    def sqrt(self, x):
        return self._of_one("sqrt", x)

    def abs(self, x):
        return self._of_one("fabs", x)

    def larger(self, a, b):
        """The larger of two; `b` where one is not a number."""
        return self.builder.select(self.builder.fcmp_ordered(">", a, b), a, b)

    def _of_one(self, name: str, x):
        module, full = self.module.ir, f"llvm.{name}.v{LANES}f64"
        function = module.globals.get(full) or ir.Function(module, ir.FunctionType(VECTOR, [VECTOR]), full)
        return self.builder.call(function, [x])

    def number(self, value: int):
        return ir.Constant(_INDEX, value)

    def next(self, index):
        return self.builder.add(index, ir.Constant(_INDEX, 1))

    def table(self, numbers: Sequence[int]):
        """Whole numbers that are part of the code, read with `entry`."""
        kind = ir.ArrayType(_SHORT, len(numbers))
        table = ir.GlobalVariable(self.module.ir, kind, self.module.piece_name())
        table.global_constant, table.linkage = True, "internal"
        table.initializer = ir.Constant(kind, list(numbers))  # pyright: ignore[reportAttributeAccessIssue]
        return table

    def entry(self, table, index):
        at = self.builder.gep(table, [ir.Constant(_INDEX, 0), index], inbounds=True)
        return self.builder.zext(self.builder.load(at), _INDEX)

    def span(self, first, end, body: Callable, carried: Sequence = ()) -> list:
        """`body(i, *values)` for i from `first` below `end`, which may not be above it; see `loop`."""
        builder = self.builder
        start = builder.block
        test, inside, after = (builder.append_basic_block() for _ in range(3))
        builder.branch(test)
        builder.position_at_end(test)
        index = builder.phi(_INDEX)
        index.add_incoming(first, start)
        values = [builder.phi(value.type) for value in carried]
        for value, before in zip(values, carried):
            value.add_incoming(before, start)
        builder.cbranch(builder.icmp_unsigned("<", index, end), inside, after)
        builder.position_at_end(inside)
        ends = list(body(index, *values) or ())
        following = builder.add(index, ir.Constant(_INDEX, 1))
        index.add_incoming(following, builder.block)
        for value, end_value in zip(values, ends):
            value.add_incoming(end_value, builder.block)
        builder.branch(test)
        builder.position_at_end(after)
        return values

    def loop(self, count: int, body: Callable, carried: Sequence = ()) -> list:
        """`body(i, *values)` for i = 0, 1, ... below `count`, which is at least 1.

        Args:
            carried: values before the loop; where there are any, `body` returns their next ones.

        Returns:
            The values after the loop.
        """
        builder = self.builder
        start = builder.block
        inside, after = builder.append_basic_block(), builder.append_basic_block()
        builder.branch(inside)
        builder.position_at_end(inside)
        index = builder.phi(_INDEX)
        index.add_incoming(ir.Constant(_INDEX, 0), start)
        values = [builder.phi(VECTOR) for _ in carried]
        for value, before in zip(values, carried):
            value.add_incoming(before, start)
        ends = list(body(index, *values) or ())
        for value, end in zip(values, ends):
            value.add_incoming(end, builder.block)
        following = builder.add(index, ir.Constant(_INDEX, 1))
        index.add_incoming(following, builder.block)
        done = builder.icmp_unsigned("<", following, ir.Constant(_INDEX, count))
        builder.cbranch(done, inside, after)
        builder.position_at_end(after)
        return ends

    def end(self) -> None:
        self.builder.ret_void()


def constant(value: float):
    return ir.Constant(VECTOR, [float(value)] * LANES)
