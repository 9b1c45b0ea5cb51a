"""Fast reactions: the equations on the manifold on which they are at equilibrium.

With rates v of the fast reactions, their stoichiometry N and the other changes d of the state x, the model says
dx/dt = d + N w with unknown fluxes w, and v(x, t) = 0. Differentiated once along the solution that is linear in w:

    (dv/dx N) w = -(dv/dx d + dv/dt)

which is solved here by symbolic elimination (index reduction; Hairer & Wanner, Solving Ordinary Differential Equations
II, 2nd ed., Springer 1996, VII.1). A pivot of exactly 0 leaves its reaction without flux: a fast reaction that is
switched off.
"""

from __future__ import annotations

from collections.abc import Sequence

from mechanistic.codegen.derivatives import jacobian
from mechanistic.codegen.graph import Graph, Node


class FastReactions:
    """The equations with the fluxes of the fast reactions put in.

    Attributes:
        rates: the rate law of each fast reaction.
        columns: for each, the change of the state (by position) per extent.
        response: (i, j) of the change of rate i per extent of reaction j.
        pivots: of the elimination, as conditions: it is below 0.
        derivative: d(state)/dt on the manifold.

    Raises:
        NotDifferentiable: a rate law of a fast reaction.
    """

    def __init__(
        self,
        graph: Graph,
        derivative: Sequence[Node],
        rates: Sequence[Node],
        columns: Sequence[dict[int, Node]],
        states: Sequence[Node],
        time: Node,
    ):
        self.graph, self.rates, self.columns = graph, list(rates), list(columns)
        slopes = jacobian(graph, rates, [*states, time])
        drift = [*derivative, graph.const(1.0)]
        zero = graph.const(0.0)
        matrix, right = [], []
        for i in range(len(rates)):
            mine = {j: d for (row, j), d in slopes.items() if row == i}
            matrix.append([self._dot(mine, column) for column in columns])
            moved = self._dot(mine, dict(enumerate(drift)))
            right.append(graph.op("neg", moved))
        self.response = {(i, j): n for i, row in enumerate(matrix) for j, n in enumerate(row)}
        fluxes = self._eliminated([list(row) for row in matrix], right)
        self.pivots = [graph.op("<", p, zero) for p in self._pivots]
        self.derivative = list(derivative)
        for column, flux in zip(columns, fluxes):
            for i, per_extent in column.items():
                self.derivative[i] = graph.op("+", self.derivative[i], graph.op("*", per_extent, flux))

    def _dot(self, left: dict[int, Node], right: dict[int, Node]) -> Node:
        op, zero = self.graph.op, self.graph.const(0.0)
        terms = [op("*", left[j], right[j]) for j in left if j in right and right[j] != zero]
        return self.graph.folded("+", terms, 0.0)

    def _eliminated(self, matrix: list[list[Node]], right: list[Node]) -> list[Node]:
        """The solution of matrix · w = right."""
        graph, size, zero = self.graph, len(right), self.graph.const(0.0)
        self._pivots: list[Node] = []
        for k in range(size):
            self._pivots.append(matrix[k][k])
            for i in range(k + 1, size):
                if matrix[i][k] == zero:
                    continue
                factor = self._over(matrix[i][k], matrix[k][k])
                for j in range(k + 1, size):
                    if matrix[k][j] != zero:
                        less = graph.op("*", factor, matrix[k][j])
                        matrix[i][j] = graph.op("-", matrix[i][j], less)
                right[i] = graph.op("-", right[i], graph.op("*", factor, right[k]))
        fluxes: list[Node] = [zero] * size
        for k in reversed(range(size)):
            rest = right[k]
            for j in range(k + 1, size):
                if matrix[k][j] != zero:
                    rest = graph.op("-", rest, graph.op("*", matrix[k][j], fluxes[j]))
            fluxes[k] = self._over(rest, matrix[k][k])
        return fluxes

    def _over(self, above: Node, below: Node) -> Node:
        """above / below; 0, with derivatives of 0, where `below` is."""
        op, zero, one = self.graph.op, self.graph.const(0.0), self.graph.const(1.0)
        off = op("==", below, zero)
        return op("/", op("select", off, zero, above), op("select", off, one, below))
