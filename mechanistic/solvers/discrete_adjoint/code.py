"""Machine code of a step of the stiff solver and of its derivatives; what they are stands in `step`."""

from __future__ import annotations

from mechanistic.codegen.native import Module
from mechanistic.codegen.sparse import Elimination
from mechanistic.codegen.vectors import constant
from mechanistic.solvers.rosenbrock import STAGES, A, C

# Of the values at which the stages take the rates; the last ones add a stage each
_AT = [*A, *((*A[-1], *[1.0] * (q - len(A) + 1)) for q in range(len(A), STAGES + 1))]
_NEW = _AT[STAGES]  # the new state is y + the sum of these times K
_ROWS = 150  # lines of a matrix in one function


def _stages(r, name: str, rows: int) -> list:
    return [r.pointer(r.array(name), q * rows) for q in range(STAGES)]


def _combined(r, start, factors, vectors, i):
    """start + the sum of factors * vectors, at i."""
    value = r.load(start, i)
    for factor, vector in zip(factors, vectors):
        if factor != 0.0:
            value = r.add(value, r.mul(constant(factor), r.load(vector, i)))
    return value


def _inverse_step(r):
    return r.div(constant(1.0), r.load(r.block, r.at("h")))


def emit_step(module: Module, rows: int) -> None:
    r = module.routine("step")
    y, w, K = r.array("y"), r.array("w"), _stages(r, "K", rows)
    r.call("jacobian", y)
    r.call("factor")
    r.call("solve", y, K[0])
    inverse = _inverse_step(r)
    for q in range(1, STAGES):
        r.loop(rows, lambda i, q=q: r.store(_combined(r, y, _AT[q], K, i), w, i))
        r.call("rates", w, K[q])
        r.loop(rows, lambda i, q=q: _add_earlier(r, q, K, inverse, i))
        r.call("solve", y, K[q])
    r.loop(rows, lambda i: r.store(_combined(r, y, _NEW, K, i), w, i))
    r.end()


def _add_earlier(r, q: int, stages: list, inverse, i) -> None:
    """Adds to a stage what earlier ones leave in it."""
    value = r.mul(constant(C[q][0]), r.load(stages[0], i))
    for j in range(1, q):
        value = r.add(value, r.mul(constant(C[q][j]), r.load(stages[j], i)))
    r.store(r.add(r.load(stages[q], i), r.mul(value, inverse)), stages[q], i)


def emit_tangent(module: Module, rows: int) -> None:
    r = module.routine("tangent")
    y, s, w, ws = (r.array(name) for name in ("y", "s", "w", "ws"))
    K, T = _stages(r, "K", rows), _stages(r, "T", rows)
    r.call("first_tangent", y)
    r.call("second", K[0], T[0])
    r.call("solve", y, T[0])
    inverse = _inverse_step(r)
    for q in range(1, STAGES):

        def before(i, q=q):
            r.store(_combined(r, y, _AT[q], K, i), w, i)
            r.store(_combined(r, s, _AT[q], T, i), ws, i)

        r.loop(rows, before)
        r.call("rates_tangent", w, T[q])
        r.loop(rows, lambda i, q=q: _add_earlier(r, q, T, inverse, i))
        r.call("second", K[q], T[q])
        r.call("solve", y, T[q])

    def end(i):
        r.store(_combined(r, y, _NEW, K, i), w, i)
        r.store(_combined(r, s, _NEW, T, i), ws, i)

    r.loop(rows, end)
    r.end()


def emit_measure(module: Module, rows: int, parts: list[tuple[str, str, str]]) -> None:
    """error := the largest root mean square, over the parts, of the last stage over the tolerance.

    Not a number where anything is not finite.
    """
    r = module.routine("measure")
    tolerances, rtol, worst = r.array("atol"), r.load(r.block, r.at("rtol")), constant(0.0)
    for k, (before, after, stages) in enumerate(parts):
        y, w, last = r.array(before), r.array(after), _stages(r, stages, rows)[-1]
        atol = r.pointer(tolerances, k * rows)

        def body(i, total, y=y, w=w, last=last, atol=atol):
            old, new = r.load(y, i), r.load(w, i)
            level = r.larger(r.abs(old), r.abs(new))
            ratio = r.div(r.load(last, i), r.add(r.load(atol, i), r.mul(rtol, level)))
            # 0, or not a number where the new state is not finite
            nothing = r.builder.fsub(new, new)
            return [r.add(r.add(total, nothing), r.mul(ratio, ratio))]

        (total,) = r.loop(rows, body, [constant(0.0)])
        error = r.sqrt(r.mul(total, constant(1.0 / rows)))
        # the difference is 0, or not a number
        worst = r.add(r.builder.select(r.builder.fcmp_ordered("<=", error, worst), worst, error),
                      r.builder.fsub(worst, worst))  # fmt: skip
    r.store(worst, r.block, r.at("error"))
    r.end()


def emit_second(module: Module, entries: list[tuple[int, int]]) -> None:
    """target += dJ source."""
    lines: dict[int, list[tuple[int, int]]] = {}
    for k, (i, j) in enumerate(entries):
        lines.setdefault(i, []).append((k, j))
    _in_pieces(module, "second", list(lines.items()), _second_line)


def _second_line(r, line) -> None:
    i, parts = line
    value = r.load(r.target, i)
    for k, j in parts:
        value = r.add(value, r.mul(r.load(r.block, r.at("dM", k)), r.load(r.source, j)))
    r.store(value, r.target, i)


def emit_outer(module: Module, rows: int, entries: list[tuple[int, int]]) -> None:
    """G := the sum over the stages of B K^T, on the entries of the Jacobian; source is the tape."""

    def one(r, numbered) -> None:
        k, (i, j) = numbered
        total = None
        for q in range(STAGES):
            product = r.mul(
                r.load(r.block, r.at("B", q * rows + i)), r.load(r.source, r.at("K", q * rows + j))
            )
            total = product if total is None else r.add(total, product)
        r.store(total, r.block, r.at("G", k))

    _in_pieces(module, "outer", list(enumerate(entries)), one)


def emit_transposed_solve(module: Module, plan: Elimination) -> None:
    """target := the solution with the transposed matrix for the right-hand side in target; source is the tape."""
    entries = {at: i for i, at in enumerate(plan.entries)}
    above: dict[int, list[int]] = {k: [] for k in plan.order}
    for k in plan.order:
        for j in plan.right[k]:
            above[j].append(k)

    def forward(r, j) -> None:
        x = r.load(r.target, j)
        for k in above[j]:
            x = r.sub(x, r.mul(r.load(r.source, r.at("M", entries[k, j])), r.load(r.target, k)))
        r.store(r.mul(x, r.load(r.source, r.at("M", entries[j, j]))), r.target, j)

    def backward(r, k) -> None:
        x = r.load(r.target, k)
        for i in plan.below[k]:
            x = r.sub(x, r.mul(r.load(r.source, r.at("M", entries[i, k])), r.load(r.target, i)))
        r.store(x, r.target, k)

    lines = [(forward, j) for j in plan.order] + [(backward, k) for k in plan.order[::-1]]
    _in_pieces(module, "solve_transposed", lines, lambda r, line: line[0](r, line[1]))


def _in_pieces(module: Module, name: str, lines: list, one) -> None:
    pieces = []
    for start in range(0, len(lines), _ROWS):
        r = module.routine(module.piece_name())
        pieces.append(r.name)
        for line in lines[start : start + _ROWS]:
            one(r, line)
        r.end()
    module.sequence(name, pieces)


def emit_adjoint(module: Module, rows: int, constants: int) -> None:
    """Source is the tape of the step."""
    r = module.routine("adjoint")
    w, lam, kept, u, v, total = (r.array(name) for name in ("w", "lam", "kept", "u", "v", "sum"))
    pbar, pv = r.array("pbar"), r.array("pv")
    B, asked = (_stages(r, name, rows) for name in ("B", "asked"))
    y = r.pointer(r.source, r.at("y"))
    K = [r.pointer(r.source, r.at("K", q * rows)) for q in range(STAGES)]

    def start(i):
        value = r.load(lam, i)
        r.store(r.add(value, r.load(kept, i)), total, i)
        for q in range(STAGES):
            r.store(r.add(r.load(asked[q], i), r.mul(constant(_NEW[q]), value)), B[q], i)

    r.loop(rows, start)
    inverse = _inverse_step(r)
    for q in range(STAGES - 1, -1, -1):

        def before(i, q=q):
            r.store(r.load(B[q], i), u, i)
            r.store(_combined(r, y, _AT[q], K, i), w, i)

        r.loop(rows, before)
        r.call("solve_transposed", r.source, u)
        r.call("pulled", w)

        def after(i, q=q):
            back, solution = r.load(v, i), r.load(u, i)
            r.store(r.add(r.load(total, i), back), total, i)
            r.store(solution, B[q], i)
            solved = r.mul(solution, inverse)
            for j in range(q):
                value = r.add(r.load(B[j], i), r.mul(constant(_AT[q][j]), back))
                r.store(r.add(value, r.mul(constant(C[q][j]), solved)), B[j], i)

        r.loop(rows, after)
        _added(r, pv, pbar, constants)
    r.call("outer", r.source)
    r.call("pulled_jacobian", y)
    r.loop(rows, lambda i: r.store(r.add(r.load(total, i), r.load(v, i)), lam, i))
    _added(r, pv, pbar, constants)
    r.end()


def _added(r, source, target, count: int) -> None:
    if count:
        r.loop(count, lambda i: r.store(r.add(r.load(target, i), r.load(source, i)), target, i))
