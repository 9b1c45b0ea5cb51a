"""What reactions and rules do to a quantity, as trees: its rate of change before anything is a graph."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mechanistic.errors import ModelError, ModelProblem
from mechanistic.network import ReactionNetwork
from mechanistic.parts import Reaction


def varies(network: ReactionNetwork, compartment: str) -> bool:
    """Whether a rule or an event changes the size of `compartment`."""
    return compartment in network.assignment_rules or compartment in network.state_ids


def rate_of(network: ReactionNetwork, changes: dict[str, Any], name: str) -> Any:
    """The tree of d(name)/dt of a quantity as it stands in math; `changes` by reactions, in amounts.

    Raises:
        ModelError: `name` has an assignment rule.
    """
    if name in network.rate_rules:
        return network.rate_rules[name].math
    if name in network.assignment_rules:
        rule = network.assignment_rules[name]
        message = f"the rate of change of '{name}', which has an assignment rule, is not supported"
        raise ModelError(network.file, [ModelProblem(message, rule.line, "rateOf")])
    if name not in network.species_ids:
        return 0.0
    s = network[name]
    for r in network.fast_reactions:
        if any(q.species == name for q in (*r.reactants, *r.products)) and not s.boundary:
            message = f"the rate of change of '{name}', which a fast reaction changes, is not supported"
            raise ModelError(network.file, [ModelProblem(message, r.line, "rateOf")])
    change = changes.get(name, 0.0) if name in network.state_ids else 0.0
    if s.substance_only:
        return change
    if varies(network, s.compartment):
        change = ["-", change, ["*", name, ["rateOf", s.compartment]]]
    return ["/", change, s.compartment]


def stoichiometric_changes(
    network: ReactionNetwork, reactions: Iterable[Reaction] | None = None, per_extent: bool = False
) -> dict[str, Any]:
    """The tree of d(amount)/dt by reactions, for every species that is not on a boundary.

    Args:
        reactions: which; all but the fast ones where None.
        per_extent: for an extent of 1 instead of the rates.
    """
    terms: dict[str, list] = {}
    slow = [r for r in network.reactions if not r.fast]
    for r in slow if reactions is None else reactions:
        for q, sign in [(q, -1.0) for q in r.reactants] + [(q, 1.0) for q in r.products]:
            if network[q.species].boundary:
                continue
            factor = network[q.species].conversion_factor or network.conversion_factor
            computed = q.id in network.assignment_rules or q.id in network.settable_ids
            amount = q.id if computed else q.stoichiometry
            term = ["*", sign * amount] if isinstance(amount, float) else ["*", sign, amount]
            term += [] if per_extent else [r.id]
            terms.setdefault(q.species, []).append([*term, factor] if factor else term)
    return {name: ["+", *parts] for name, parts in terms.items()}
