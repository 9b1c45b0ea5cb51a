"""More equations for a network that was read: new constants, rules, initial values, reactions. Plain data in and out.

    joined(network, constants={"w": 0.3}, rules={"gamma": ["*", "w", "prey"]})

What is joined obeys what a file must: nothing is determined twice, every name is known, amounts change by
stoichiometry alone. The text of the new network is that of the old one with the new elements written into it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mechanistic.errors import ModelError, ModelProblem
from mechanistic.joining_text import text_with
from mechanistic.network import ReactionNetwork
from mechanistic.parts import Assignment, Parameter, Reaction, Reference, Rule, Species, Tree
from mechanistic.reading.problems import closest


@dataclass(frozen=True)
class NewReaction:
    """A reaction with its column of the stoichiometric matrix.

    Attributes:
        rate: an extent per time, in names.
        stoichiometry: species -> what one extent adds to its amount (negative: takes).
    """

    id: str
    rate: Tree
    stoichiometry: Mapping[str, float]


def joined(
    network: ReactionNetwork,
    *,
    constants: Mapping[str, float] | None = None,
    rules: Mapping[str, Tree] | None = None,
    initial: Mapping[str, Tree] | None = None,
    reactions: Sequence[NewReaction] = (),
    rates: Mapping[str, Tree] | None = None,
    states: Mapping[str, tuple[float, Tree]] | None = None,
) -> ReactionNetwork:
    """The network with more equations.

    Args:
        constants: new parameters and their values.
        rules: what holds at all times, by id: of a new parameter, of a constant one of the model, which is constant
            no longer, or of one that has such a rule, which the new one replaces.
        initial: what a parameter or a species (its concentration) is at the start, instead of what the model says.
        reactions: new ones.
        rates: new rate laws of reactions that there are.
        states: new parameters that change by themselves: what each begins with, and its derivative by time.

    Raises:
        ModelError: a name is taken or unknown; something else determines it already.
    """
    constants, rules, initial, rates = (
        dict(constants or {}),
        dict(rules or {}),
        dict(initial or {}),
        dict(rates or {}),
    )
    states = dict(states or {})
    _check(network, constants, rules, initial, reactions, rates, states)
    new = [p for p in (*constants, *rules) if p not in network]
    parameters = [
        replace(p, constant=False, value=None) if p.id in rules else p for p in network.parameters
    ] + [Parameter(name, name, constants.get(name), name in constants, None, False, 0) for name in new]
    parameters += [Parameter(n, n, float(start), False, None, False, 0) for n, (start, _) in states.items()]
    kept = [a for a in network.initial_assignments if a.variable not in rules and a.variable not in initial]
    made = tuple(_reaction(r) for r in reactions)
    return replace(
        network,
        parameters=tuple(parameters),
        rules=(
            *(r for r in network.rules if r.variable not in rules),
            *(Rule("assignment", name, math, 0) for name, math in rules.items()),
            *(Rule("rate", name, math, 0) for name, (_, math) in states.items()),
        ),
        initial_assignments=(*kept, *(Assignment(name, math, 0) for name, math in initial.items())),
        reactions=tuple(
            [replace(r, rate=rates[r.id]) if r.id in rates else r for r in network.reactions] + list(made)
        ),
        source=text_with(network, constants, rules, initial, made, rates, states),
    )


def names_in(tree: Tree) -> Iterator[str]:
    """Every id of an expression tree."""
    if isinstance(tree, str):
        yield tree
    elif isinstance(tree, list):
        for part in tree[1:]:
            yield from names_in(part)


def _reaction(new: NewReaction) -> Reaction:
    taken = [(name, -n) for name, n in new.stoichiometry.items() if n < 0]
    made = [(name, n) for name, n in new.stoichiometry.items() if n > 0]

    def references(items: list[tuple[str, float]]) -> tuple[Reference, ...]:
        return tuple(Reference("", name, float(n), True, 0) for name, n in items)

    return Reaction(new.id, new.id, False, new.rate, references(taken), references(made), (), 0)


def _check(network, constants, rules, initial, reactions, rates, states) -> None:
    problems: list[ModelProblem] = []

    def fault(name: str, message: str) -> None:
        problems.append(ModelProblem(message, network.line_of(name), name))

    known = {*network.species_ids, *network.parameter_ids, *network.compartment_ids, *network.reaction_ids}
    known |= set(network.references) | {*constants, *rules, *states, *(r.id for r in reactions)}
    for name in (*constants, *states):
        if name in network:
            fault(name, f"'{name}' is in the model already; call the new one something else")
    changed = set(network.state_ids)
    for name in rules:
        if name in constants:
            fault(name, f"'{name}' cannot be both a constant and a rule")
        if name in network and name not in network.parameter_ids:
            fault(name, f"'{name}' is no parameter: a rule can only be joined to a parameter")
        elif name in changed:
            fault(name, f"'{name}' is changed by the model itself (by a rate or an event); remove that first")
    for name in initial:
        if name not in network.species_ids and name not in network.parameter_ids:
            near = closest(name, (*network.species_ids, *network.parameter_ids))
            fault(name, f"'{name}' is no species or parameter{near}")
        elif name in network.assignment_rules or name in rules:
            fault(name, f"'{name}' has a rule, which gives its initial value too")
    for r in reactions:
        if r.id in network or r.id in constants or r.id in rules:
            fault(r.id, f"'{r.id}' is in the model already; call the new reaction something else")
        for species in r.stoichiometry:
            thing = network[species] if species in network.species_ids else None
            if not isinstance(thing, Species):
                fault(r.id, f"'{species}' is no species{closest(species, network.species_ids)}")
            elif thing.constant or species in network.assignment_rules or species in network.rate_rules:
                fault(r.id, f"'{species}' cannot be changed by a reaction: it is constant or has a rule")
        if not any(r.stoichiometry.values()):
            fault(r.id, f"the reaction '{r.id}' changes nothing; give its stoichiometry")
    for name in rates:
        if name not in network.reaction_ids:
            fault(name, f"'{name}' is no reaction{closest(name, network.reaction_ids)}")
    trees: dict[str, Any] = {**rules, **initial, **rates, **{r.id: r.rate for r in reactions}}
    trees |= {name: tree for name, (_, tree) in states.items()}
    for owner, tree in trees.items():
        for name in dict.fromkeys(names_in(tree)):
            if name not in known:
                fault(
                    owner,
                    f"'{name}' in the formula of '{owner}' is not in the model{closest(name, tuple(known))}",
                )
    if problems:
        raise ModelError(network.file, problems)
