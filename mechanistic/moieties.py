"""Conservation laws of a network: which combinations of amounts no reaction changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from mechanistic.errors import ModelError, ModelProblem
from mechanistic.network import ReactionNetwork


@dataclass(frozen=True)
class Moieties:
    """state = link @ state[independent] + what is conserved (Reder, J. theor. Biol. 135, 1988).

    Attributes:
        independent: positions in state_ids.
        link: (state_ids, independent), exact fractions rounded once.
        laws: each conserved sum as text, such as "E + ES".
    """

    independent: np.ndarray
    link: np.ndarray
    laws: tuple[str, ...]


def stoichiometry(network: ReactionNetwork, constants: np.ndarray) -> np.ndarray:
    """(state_ids, reaction_ids): change of each stored amount by one extent of each reaction.

    Args:
        constants: (settable_ids,), for conversion factors and computed stoichiometries.

    Raises:
        ModelError: a stoichiometry or a conversion factor is not a fixed number.
    """
    at = {name: i for i, name in enumerate(network.state_ids)}
    fixed = dict(zip(network.settable_ids, constants))
    matrix = np.zeros((len(at), len(network.reactions)))
    for column, reaction in enumerate(network.reactions):
        for references, sign in ((reaction.reactants, -1.0), (reaction.products, 1.0)):
            for q in references:
                if network[q.species].boundary or q.species not in at:
                    continue
                amount = fixed.get(q.id, q.stoichiometry)
                factor_id = network[q.species].conversion_factor or network.conversion_factor
                factor = fixed.get(factor_id) if factor_id else 1.0
                if q.id in network.assignment_rules or not isinstance(amount, int | float) or factor is None:
                    message = f"the stoichiometry of '{q.species}' in '{reaction.id}' is not a fixed number"
                    raise ModelError(network.file, [ModelProblem(message, q.line, q.species)])
                matrix[at[q.species], column] += sign * amount * factor
    return matrix


def conserved(network: ReactionNetwork, matrix: np.ndarray) -> Moieties:
    """The conservation laws of a stoichiometry matrix, by elimination in exact fractions.

    What a rate rule changes counts as changed by a reaction of its own.
    """
    rows: list[dict[int, Fraction]] = [
        {int(i): _fraction(column[i]) for i in np.flatnonzero(column)} for column in matrix.T
    ]
    rows += [{i: Fraction(1)} for i, name in enumerate(network.state_ids) if name in network.rate_rules]
    reduced = _reduced(rows)
    independent = np.array(sorted(reduced), dtype=np.intp)
    position = {int(i): k for k, i in enumerate(independent)}
    link = np.zeros((len(network.state_ids), len(independent)))
    sums: dict[int, dict[int, Fraction]] = {
        i: {i: Fraction(1)} for i in range(len(link)) if i not in position
    }
    for pivot, row in reduced.items():
        for i, value in row.items():
            link[i, position[pivot]] = float(value)
            if i not in position:
                sums[i][pivot] = -value
    laws = tuple(_text(network, law) for law in sums.values())
    return Moieties(independent, link, laws)


def _fraction(value: float) -> Fraction:
    near = Fraction(float(value)).limit_denominator(10**6)
    return near if abs(float(near) - value) <= 1e-14 * abs(value) else Fraction(float(value))


def _reduced(rows: list[dict[int, Fraction]]) -> dict[int, dict[int, Fraction]]:
    """The reduced row echelon form, by pivot column."""
    found: dict[int, dict[int, Fraction]] = {}
    for row in rows:
        for pivot in [p for p in row if p in found]:
            _subtract(row, found[pivot], row.get(pivot, Fraction(0)))
        if not row:
            continue
        pivot = min(row)
        first = row[pivot]
        row = {i: value / first for i, value in row.items()}
        for other in found.values():
            if pivot in other:
                _subtract(other, row, other[pivot])
        found[pivot] = row
    return found


def _subtract(row: dict[int, Fraction], other: Mapping[int, Fraction], factor: Fraction) -> None:
    for i, value in other.items():
        rest = row.get(i, Fraction(0)) - factor * value
        if rest:
            row[i] = rest
        else:
            row.pop(i, None)


def _text(network: ReactionNetwork, law: Mapping[int, Fraction]) -> str:
    parts = []
    for i, value in sorted(law.items()):
        size = "" if abs(value) == 1 else f"{abs(value)} "
        sign = ("- " if value < 0 else "") if not parts else ("- " if value < 0 else "+ ")
        parts.append(f"{sign}{size}{network.state_ids[i]}")
    return " ".join(parts)
