"""A graph as machine code, eight cells in lockstep: vector instructions written through LLVM.

Memory is one block of doubles: arrays of vectors, one lane a cell (`Layout`). Long straight-line code is cut
into functions of bounded length, so compiling takes time in proportion to the model. Nothing of a model's
text reaches the code: ids are numbers by now.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import llvmlite
import llvmlite.binding as llvm
import llvmlite.ir as ir

from mechanistic.codegen.elementary import elementary
from mechanistic.codegen.graph import LOGIC, RELATIONS, Graph, Node
from mechanistic.jit import private_folder

LANES = 8
SOURCE, TARGET = "source", "target"
Place = tuple[str, int]  # (array of the layout, or SOURCE or TARGET for what a function is given, position)
_PIECE = 400  # operations in one function

# The code is straight lines of shared terms already: neither LLVM's passes over its own form nor a more thorough
# choice of instructions make it faster, and both take several times as long.
_EFFORT = 1

_DOUBLE, _INDEX, _SHORT = ir.DoubleType(), ir.IntType(64), ir.IntType(32)
VECTOR, _MASK = ir.VectorType(_DOUBLE, LANES), ir.VectorType(ir.IntType(1), LANES)
_POINTER = VECTOR.as_pointer()
_INTRINSICS = {
    "log10": "log10", "sin": "sin", "cos": "cos", "sqrt": "sqrt", "abs": "fabs", "floor": "floor", "ceil": "ceil",
}  # fmt: skip
_LIBRARY = {
    "tan": "tan", "sinh": "sinh", "cosh": "cosh", "tanh": "tanh", "arcsin": "asin", "arccos": "acos",
    "arctan": "atan", "arcsinh": "asinh", "arccosh": "acosh", "arctanh": "atanh",
}  # fmt: skip
_COMPARISONS = {"<": "<", "<=": "<=", "==": "==", "!=": "!="}


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


class Compiled:
    """Machine code of one module; keeps it alive. Taken from the user's private cache if made before.

    Args:
        text: the module, or what writes it: then only where it is not in the cache.
        stamp: what the text depends on, where it is written on demand; its variables are then put into registers.
    """

    def __init__(self, text: str | Callable[[], str], stamp: str | None = None):
        machine = _machine()
        said = stamp if callable(text) else text
        assert isinstance(said, str)
        parts = (said, llvmlite.__version__, llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten())
        name = hashlib.sha256("\0".join(parts).encode()).hexdigest()
        folder = private_folder("pathways")
        file = None if folder is None else folder / f"{name}.o"
        kept = file.read_bytes() if file is not None and file.exists() else None
        if kept is None:
            module = llvm.parse_assembly(text() if callable(text) else text)
            module.verify()
            if stamp is not None:
                _tidy(module, machine)
            kept = machine.emit_object(module)
            if file is not None:
                _write(file, kept)
        # an empty module brings the engine to life; the code itself is the object file
        self._engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
        self._engine.add_object_file(llvm.ObjectFileRef.from_data(kept))
        self._engine.finalize_object()

    def address(self, name: str) -> int:
        return self._engine.get_function_address(name)


def _tidy(module, machine) -> None:
    """The few passes of LLVM that loops gain by: one function of many, variables in registers, nothing twice."""
    passes = llvm.create_new_module_pass_manager()
    passes.add_always_inliner_pass()
    passes.add_sroa_pass()
    passes.add_instruction_combine_pass()
    passes.add_simplify_cfg_pass()
    passes.add_new_gvn_pass()
    passes.add_dead_code_elimination_pass()
    passes.add_simplify_cfg_pass()
    options = llvm.create_pipeline_tuning_options(speed_level=1)
    passes.run(module, llvm.create_pass_builder(machine, options))


def _machine():
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    # "jitdefault" lets the code lie anywhere in memory relative to the mathematics library
    return llvm.Target.from_default_triple().create_target_machine(
        opt=_EFFORT,
        jit=True,
        reloc="pic",
        codemodel="jitdefault",
        cpu=llvm.get_host_cpu_name(),
        features=llvm.get_host_cpu_features().flatten(),
    )


def _write(file, data: bytes) -> None:
    import os
    import tempfile

    try:
        handle, name = tempfile.mkstemp(dir=file.parent)
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
        os.replace(name, file)
    except OSError:
        # a full disk costs a compilation next time, nothing else
        return
