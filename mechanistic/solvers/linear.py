"""Linear equations of one network as machine code: the sparse matrix a/h - J factored, and solved with.

Small ones are straight lines of code (the way of KPP: A. Sandu, R. Sander, Atmos. Chem. Phys. 6, 187, 2006), which
are fastest. For large ones the compiler would take minutes and the code would not fit into the processor's cache:
they are loops over tables of positions. Both give the same bits.

The matrix is the array "M" of the layout, its entries as `Elimination.entries` has them.
"""

from __future__ import annotations

from mechanistic.codegen.native import Module
from mechanistic.codegen.sparse import Elimination
from mechanistic.codegen.vectors import Routine, constant

_ROWS = 150  # rows solved, and a quarter of the operations eliminated, in one function
_STRAIGHT = 4000  # multiplications up to which elimination is straight-line code


def emit_factor(module: Module, plan: Elimination, filled: set, a: float, stiffness: str) -> None:
    """The function "factor": M := the factors of a/h + M, with the inverse of every pivot on the diagonal.

    Writes h times about the largest eigenvalue to `stiffness`: where all is first order and nothing is made from
    nothing, none exceeds twice the largest loss rate (S. Gerschgorin's circles around the columns).

    Args:
        filled: the entries that are in M before; all others are taken for 0.
    """
    _emit_shift(module, plan, filled, a, stiffness)
    if plan.operations > _STRAIGHT:
        _emit_factor_loop(module, plan)
        module.sequence("factor", ["shift", "eliminate"])
        return
    entries = {at: i for i, at in enumerate(plan.entries)}
    pieces = ["shift"]
    work, r = 0, None
    for k in plan.order:
        if r is None:
            r = module.routine(module.piece_name())
            pieces.append(r.name)
            work = 0
        _eliminate_one(r, plan, entries, k)
        work += 1 + len(plan.below[k]) * (1 + len(plan.right[k]))
        if work > 4 * _ROWS:
            r.end()
            r = None
    if r is not None:
        r.end()
    module.sequence("factor", pieces)


def emit_solve(module: Module, plan: Elimination) -> None:
    """The function "solve": target := the solution for the right-hand side in target."""
    if plan.operations > _STRAIGHT:
        _emit_solve_loop(module, plan)
        return
    entries = {at: i for i, at in enumerate(plan.entries)}
    left, right = _left(plan), _right(plan)
    pieces = []
    for forward in (True, False):
        order = plan.order if forward else plan.order[::-1]
        for start in range(0, len(order), _ROWS):
            r = module.routine(module.piece_name())
            pieces.append(r.name)
            for i in order[start : start + _ROWS]:
                x = r.load(r.target, i)
                for j in left[i] if forward else right[i]:
                    term = r.mul(r.load(r.block, r.at("M", entries[i, j])), r.load(r.target, j))
                    x = r.sub(x, term)
                if not forward:
                    x = r.mul(x, r.load(r.block, r.at("M", entries[i, i])))
                r.store(x, r.target, i)
            r.end()
    module.sequence("solve", pieces)


def _left(plan: Elimination) -> dict[int, list[int]]:
    """For each row the earlier pivots with an entry in it, in their order."""
    left: dict[int, list[int]] = {k: [] for k in plan.order}
    for k in plan.order:
        for i in plan.below[k]:
            left[i].append(k)
    return left


def _right(plan: Elimination) -> dict[int, list[int]]:
    """For each row the later pivots with an entry in it, in their order."""
    rank = {k: i for i, k in enumerate(plan.order)}
    return {k: sorted(plan.right[k], key=rank.__getitem__) for k in plan.order}


def _emit_shift(module: Module, plan: Elimination, filled: set, a: float, stiffness: str) -> None:
    r = module.routine("shift")
    h, largest = r.load(r.block, r.at("h")), constant(0.0)
    shift = r.div(constant(a), h)
    for i, at in enumerate(plan.entries):
        place = r.at("M", i)
        if at[0] == at[1]:
            value = shift
            if at in filled:
                loss = r.load(r.block, place)
                value, largest = r.add(shift, loss), r.larger(r.abs(loss), largest)
            r.store(value, r.block, place)
        elif at not in filled:
            r.store(constant(0.0), r.block, place)
    r.store(r.mul(r.mul(constant(2.0), h), largest), r.block, r.at(stiffness))
    r.end()


def _eliminate_one(r: Routine, plan: Elimination, entries: dict, k: int) -> None:
    def place(i: int, j: int) -> int:
        return r.at("M", entries[i, j])

    inverse = r.div(constant(1.0), r.load(r.block, place(k, k)))
    r.store(inverse, r.block, place(k, k))
    row = {j: r.load(r.block, place(k, j)) for j in plan.right[k]}
    for i in plan.below[k]:
        factor = r.mul(r.load(r.block, place(i, k)), inverse)
        r.store(factor, r.block, place(i, k))
        for j, value in row.items():
            r.store(r.sub(r.load(r.block, place(i, j)), r.mul(factor, value)), r.block, place(i, j))


def _emit_factor_loop(module: Module, plan: Elimination) -> None:
    entries = {at: i for i, at in enumerate(plan.entries)}
    pivots = [entries[k, k] for k in plan.order]
    row = [entries[k, j] for k in plan.order for j in plan.right[k]]
    column = [entries[i, k] for k in plan.order for i in plan.below[k]]
    changed = [entries[i, j] for k in plan.order for i in plan.below[k] for j in plan.right[k]]
    r = module.routine("eliminate")
    matrix = r.array("M")
    pivot, rows, columns, targets = (r.table(t) for t in (pivots, row, column, changed))
    row_ends = r.table(_ends(len(plan.right[k]) for k in plan.order))
    column_ends = r.table(_ends(len(plan.below[k]) for k in plan.order))

    def eliminate(k, target):
        at = r.entry(pivot, k)
        inverse = r.div(constant(1.0), r.load(matrix, at))
        r.store(inverse, matrix, at)
        row_start, row_end = r.entry(row_ends, k), r.entry(row_ends, r.next(k))

        def below(b, target):
            place = r.entry(columns, b)
            factor = r.mul(r.load(matrix, place), inverse)
            r.store(factor, matrix, place)
            # what `right` adds to its own counter to find the target
            shift = r.builder.sub(target, row_start)

            def right(q):
                to = r.entry(targets, r.builder.add(q, shift))
                term = r.mul(factor, r.load(matrix, r.entry(rows, q)))
                r.store(r.sub(r.load(matrix, to), term), matrix, to)

            r.span(row_start, row_end, right)
            return [r.builder.add(shift, row_end)]

        return r.span(r.entry(column_ends, k), r.entry(column_ends, r.next(k)), below, [target])

    r.span(r.number(0), r.number(len(plan.order)), eliminate, [r.number(0)])
    r.end()


def _emit_solve_loop(module: Module, plan: Elimination) -> None:
    entries = {at: i for i, at in enumerate(plan.entries)}
    left, right = _left(plan), _right(plan)
    r = module.routine("solve")
    matrix = r.array("M")
    for order, beside in ((plan.order, left), (plan.order[::-1], right)):
        rows, ends = r.table(order), r.table(_ends(len(beside[i]) for i in order))
        columns = r.table([j for i in order for j in beside[i]])
        places = r.table([entries[i, j] for i in order for j in beside[i]])
        pivots = None if beside is left else r.table([entries[i, i] for i in order])

        def substitute(k, rows=rows, ends=ends, columns=columns, places=places, pivots=pivots):
            def one(b, x):
                term = r.mul(r.load(matrix, r.entry(places, b)), r.load(r.target, r.entry(columns, b)))
                return [r.sub(x, term)]

            i = r.entry(rows, k)
            (x,) = r.span(r.entry(ends, k), r.entry(ends, r.next(k)), one, [r.load(r.target, i)])
            if pivots is not None:
                x = r.mul(x, r.load(matrix, r.entry(pivots, k)))
            r.store(x, r.target, i)

        r.span(r.number(0), r.number(len(order)), substitute)
    r.end()


def _ends(lengths) -> list[int]:
    ends = [0]
    for length in lengths:
        ends.append(ends[-1] + length)
    return ends
