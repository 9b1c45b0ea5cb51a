"""Symbolic LU of a sparse matrix: an order of elimination with little fill, and the operations it takes."""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heapify, heappop, heappush


@dataclass(frozen=True)
class Elimination:
    """How to factor and solve with diagonal pivots.

    Attributes:
        order: the pivots in order.
        entries: every (row, column) that is not zero after elimination, diagonal included.
        below: for a pivot, the later rows with an entry in its column.
        right: for a pivot, the later columns with an entry in its row.
    """

    order: tuple[int, ...]
    entries: tuple[tuple[int, int], ...]
    below: tuple[tuple[int, ...], ...]
    right: tuple[tuple[int, ...], ...]

    @property
    def operations(self) -> int:
        """Multiplications of one factorisation."""
        return sum(len(b) * (1 + len(r)) for b, r in zip(self.below, self.right))


def eliminate(size: int, pattern: set[tuple[int, int]]) -> Elimination:
    """The elimination of a `size` x `size` matrix with entries at `pattern` and on the diagonal.

    Pivots by Markowitz' rule: the one that can fill the fewest places first; ties go to the lower index.
    """
    rows: list[set[int]] = [set() for _ in range(size)]
    columns: list[set[int]] = [set() for _ in range(size)]
    entries = set(pattern) | {(i, i) for i in range(size)}
    for i, j in entries:
        rows[i].add(j)
        columns[j].add(i)
    order: list[int] = []
    below: list[tuple[int, ...]] = [()] * size
    right: list[tuple[int, ...]] = [()] * size

    def cost(k: int) -> int:
        return (len(rows[k]) - 1) * (len(columns[k]) - 1)

    queue = [(cost(k), k) for k in range(size)]
    heapify(queue)
    done = [False] * size
    while queue:
        price, k = heappop(queue)
        # entries whose cost has changed since are left behind: a current one is in the queue too
        if done[k] or price != cost(k):
            continue
        order.append(k)
        done[k] = True
        later_rows, later_columns = sorted(columns[k] - {k}), sorted(rows[k] - {k})
        below[k], right[k] = tuple(later_rows), tuple(later_columns)
        for i in later_rows:
            rows[i].discard(k)
            for j in later_columns:
                if j not in rows[i]:
                    rows[i].add(j)
                    columns[j].add(i)
                    entries.add((i, j))
        for j in later_columns:
            columns[j].discard(k)
        for i in {*later_rows, *later_columns}:
            heappush(queue, (cost(i), i))
    return Elimination(tuple(order), tuple(sorted(entries)), tuple(below), tuple(right))
