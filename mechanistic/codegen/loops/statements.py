"""Statements of `loops` in machine code: one module of functions."""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Callable, Sequence
from types import FunctionType
from typing import Any

import llvmlite.ir as ir

from mechanistic.codegen.loops.calls import Calls
from mechanistic.codegen.loops.kinds import (
    BYTE,
    DOUBLE,
    HALF,
    MOST_RESULTS,
    TRUTH,
    WHOLE,
    Kind,
    Value,
    elements,
    plain,
    source,
    types,
)  # fmt: skip


class Translator:
    """One module of code: an entry, and every function that it reaches."""

    def __init__(self) -> None:
        self.module = ir.Module("loops")
        self._known: dict[Any, tuple[ir.Function, Kind]] = {}

    def entry(self, function: Callable, kinds: Sequence[Kind], shared: bool = False) -> str:
        """The text of a function `void entry(words *)` that calls `function`.

        Args:
            shared: it is `void entry(words *, first, end)`, and the last two are the first arguments of `function`;
                its arrays lie apart from each other.
        """
        ends: list[Kind] = ["i", "i"] if shared else []
        of_it, _ = self.function(function, (*ends, *kinds))
        if shared:
            for argument in of_it.args[:-1]:
                if isinstance(argument.type, ir.PointerType):
                    argument.add_attribute("noalias")
        given = [WHOLE.as_pointer(), *[WHOLE] * len(ends)]
        entry = ir.Function(self.module, ir.FunctionType(ir.VoidType(), given), "entry")
        builder = ir.IRBuilder(entry.append_basic_block())
        parts: list[Any] = list(entry.args[1:])
        for i, kind in enumerate(t for k in kinds for t in types(k)):
            word = builder.load(builder.gep(entry.args[0], [ir.Constant(WHOLE, i)]))
            if isinstance(kind, ir.PointerType):
                word = builder.inttoptr(word, kind)
            elif kind is DOUBLE:
                word = builder.bitcast(word, DOUBLE)
            elif kind is TRUTH:
                word = builder.trunc(word, TRUTH)
            parts.append(word)
        results = builder.alloca(ir.ArrayType(WHOLE, MOST_RESULTS))
        builder.call(of_it, [*parts, builder.bitcast(results, WHOLE.as_pointer())])
        builder.ret_void()
        return str(self.module)

    def function(self, function: Callable, kinds: tuple) -> tuple[ir.Function, Kind]:
        """The function for arguments of these kinds, made if need be, and the kind of what it returns."""
        inner = plain(function)
        assert inner is not None
        key = (inner, kinds)
        if key not in self._known:
            given = [t for kind in kinds for t in types(kind)]
            kind = ir.FunctionType(ir.VoidType(), [*given, WHOLE.as_pointer()])
            code = ir.Function(self.module, kind, f"{inner.__name__}.{len(self._known)}")
            code.linkage = "internal"
            code.attributes.add("alwaysinline")
            self._known[key] = (code, None)
            self._known[key] = (code, Function(inner, kinds, self.module, code, self.function).result)
        return self._known[key]


class Function(Calls):
    """Writes one function for arguments of given kinds."""

    def __init__(
        self, function: FunctionType, kinds: tuple, module: ir.Module, code: ir.Function, called: Callable
    ):
        super().__init__(function, module, code, called)
        tree = ast.parse(textwrap.dedent(source(function))).body[0]
        assert isinstance(tree, ast.FunctionDef)
        first = self.builder.block
        self.exit = code.append_basic_block("exit")
        self.result: Kind = None
        self.turns: list[tuple[ir.Block, ir.Block]] = []
        stored = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
        names, parts = [a.arg for a in tree.args.args], list(code.args[:-1])
        for name, kind in zip(names, kinds, strict=True):
            count = len(types(kind))
            value = Value(kind, parts[:count])
            parts = parts[count:]
            if name in stored:
                self._assign(name, value)
            else:
                self.given[name] = value
        self._body(tree.body)
        if not self.ended():
            self.builder.branch(self.exit)
        self.start.branch(first)
        ir.IRBuilder(self.exit).ret_void()

    # ---- statements

    def _body(self, statements: Sequence[ast.stmt]) -> None:
        for statement in statements:
            if self.ended():
                return
            write = getattr(self, f"_do_{type(statement).__name__.lower()}", None)
            if write is None:
                raise self.refuse(statement, f"'{type(statement).__name__}'")
            write(statement)

    def _do_pass(self, _node: ast.Pass) -> None:
        return

    def _do_expr(self, node: ast.Expr) -> None:
        if not isinstance(node.value, ast.Constant):
            self.value(node.value, nothing=True)

    def _do_return(self, node: ast.Return) -> None:
        if node.value is not None:
            value = self.value(node.value)
            if self.result is None:
                self.result = value.kind
            value = self.as_kind(value, self.result, node)
            for i, part in enumerate(value.parts):
                place = self.builder.gep(self.code.args[-1], [ir.Constant(WHOLE, i)])
                self.builder.store(part, self.builder.bitcast(place, part.type.as_pointer()))
        self.builder.branch(self.exit)

    def _do_assign(self, node: ast.Assign) -> None:
        value = self.value(node.value)
        for target in node.targets:
            self._put(target, value)

    def _do_augassign(self, node: ast.AugAssign) -> None:
        before = self.value(ast.copy_location(_read_again(node.target), node))
        self._put(node.target, self.combined(node, node.op, before, self.value(node.value)))

    def _put(self, target: ast.expr, value: Value) -> None:
        if isinstance(target, ast.Name):
            self._assign(target.id, value, target)
        elif isinstance(target, ast.Tuple):
            for one, part in zip(target.elts, elements(value), strict=True):
                self._put(one, part)
        elif isinstance(target, ast.Subscript):
            pointer, kind = self.element(target)
            if kind == "s":
                value = self.converted(value, "s", target)
            (scalar,) = self.as_kind(value, "i" if kind == "h" else kind, target).parts
            if kind == "h":
                scalar = self.builder.trunc(scalar, HALF)
            self.builder.store(self.builder.zext(scalar, BYTE) if kind == "b" else scalar, pointer)
        else:
            raise self.refuse(target, "this assignment")

    def _assign(self, name: str, value: Value, node: ast.AST | None = None) -> None:
        if name not in self.variables:
            self.variables[name] = (value.kind, [self.start.alloca(t) for t in types(value.kind)])
        kind, places = self.variables[name]
        for part, place in zip(self.as_kind(value, kind, node or ast.Pass()).parts, places, strict=True):
            self.builder.store(part, place)

    def _do_if(self, node: ast.If) -> None:
        self.either(self.truth(node.test), lambda: self._body(node.body), lambda: self._body(node.orelse))

    def _do_while(self, node: ast.While) -> None:
        self._turns(lambda: self.truth(node.test), lambda: self._body(node.body), lambda: None)

    def _turns(self, test: Callable, body: Callable, advance: Callable) -> None:
        check, inside, again, after = (self.code.append_basic_block() for _ in range(4))
        self.builder.branch(check)
        self.builder.position_at_end(check)
        self.builder.cbranch(test(), inside, after)
        self.builder.position_at_end(inside)
        self.turns.append((again, after))
        body()
        self.turns.pop()
        if not self.ended():
            self.builder.branch(again)
        self.builder.position_at_end(again)
        advance()
        self.builder.branch(check)
        self.builder.position_at_end(after)

    def _do_continue(self, _node: ast.Continue) -> None:
        self.builder.branch(self.turns[-1][0])

    def _do_break(self, _node: ast.Break) -> None:
        self.builder.branch(self.turns[-1][1])

    def _do_for(self, node: ast.For) -> None:
        builder, step, array = self.builder, 1, None
        if isinstance(node.iter, ast.Call) and getattr(node.iter.func, "id", "") == "range":
            bounds = node.iter.args
            if len(bounds) == 3:
                step = self.known(bounds[2])
            ends = [self.whole(b) for b in bounds[:2]]
            first, end = ends if len(ends) == 2 else (ir.Constant(WHOLE, 0), ends[0])
        else:
            array = self.value(node.iter)
            first, end = ir.Constant(WHOLE, 0), array.parts[1]
        counter = self.start.alloca(WHOLE)
        builder.store(first, counter)

        def body() -> None:
            index = builder.load(counter)
            value = Value("i", [index]) if array is None else self.read(array, index)
            self._put(node.target, value)
            self._body(node.body)

        def advance() -> None:
            builder.store(builder.add(builder.load(counter), ir.Constant(WHOLE, step)), counter)

        compare = "<" if step > 0 else ">"
        self._turns(lambda: builder.icmp_signed(compare, builder.load(counter), end), body, advance)


def _read_again(target: ast.expr) -> Any:
    return ast.parse(ast.unparse(target), mode="eval").body
