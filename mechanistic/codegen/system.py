"""The equations of a network as one graph: every quantity, and the derivative of the state.

Inputs of the graph, in order: time, scale, the state, the constants.

- *state* (network.state_ids): species as amounts, compartments at scale 1, parameters by value.
- *constants* (network.settable_ids): parameters and stoichiometries by value, compartments at scale 1,
  boundary and constant species as they stand in math (as amounts where their compartment changes in time).
- *scale*: volume of the cell relative to the model's; every compartment is multiplied by it.

Where a time course is asked for, delays in math follow as inputs, whose values the integrator looks up; then the
draws of events, which who fires them makes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mechanistic.codegen.changes import rate_of, stoichiometric_changes, varies
from mechanistic.codegen.derivatives import NotDifferentiable
from mechanistic.codegen.fast import FastReactions
from mechanistic.codegen.graph import Graph, Node
from mechanistic.draws import KINDS, NUMBERS, parameters
from mechanistic.errors import ModelError, ModelProblem
from mechanistic.network import ReactionNetwork
from mechanistic.parts import Event, Species

TIME, SCALE, STATE = 0, 1, 2


@dataclass(frozen=True)
class EventNodes:
    """One event: its trigger, delay and priority, and (position in the state, new stored value).

    `values`: the new values as they stand in math, and what each is worth in the state: the two are not taken at the
    same time where an event has a delay.
    """

    event: Event
    trigger: Node
    delay: Node | None
    priority: Node | None
    assignments: tuple[tuple[int, Node], ...]
    values: tuple[tuple[Node, Node], ...]


@dataclass(frozen=True)
class DelayNodes:
    """`leaf` stands for the value that `inner` had `lag` ago."""

    leaf: Node
    inner: Node
    lag: Node
    line: int
    key: str


@dataclass(frozen=True)
class DrawNodes:
    """`leaf` stands for a draw of `kind` (`mechanistic.draws.NUMBERS`) with two parameters and two bounds."""

    leaf: Node
    site: int
    kind: int
    parameters: tuple[Node, ...]
    line: int
    key: str


def draw_nodes(resolver: Resolver, tree: list, line: int, key: str) -> DrawNodes:
    values, bounds = parameters(tree)
    nodes = tuple(resolver.of(part) for part in (*values, *bounds))
    return DrawNodes(resolver.of(tree), int(tree[1]), NUMBERS[tree[0]], nodes, line, key)


class Resolver:
    """Nodes of named formulas, made in order of dependence; chains of any length.

    Names with a colon are internal: "amount:S" (amount of a species), "rateOf:x", "state:x" (derivative of
    the stored value of x), "delay:" with the tree, "draw:" with the site, "time:" and "scale:".
    """

    def __init__(self, graph: Graph, formula, file: str):
        self.graph, self.formula, self.file = graph, formula, file
        self.nodes: dict[str, Node] = {}

    def node(self, name: str) -> Node:
        if name not in self.nodes:
            self._resolve(name)
        return self.nodes[name]

    def of(self, tree: Any) -> Node:
        """The node of a number of a tree."""
        for name in dependencies(tree):
            self.node(name)
        return self.graph.number(self._built(tree))

    def condition(self, tree: Any) -> Node:
        for name in dependencies(tree):
            self.node(name)
        return self.graph.condition(self._built(tree))

    def _built(self, tree: Any) -> Node:
        def special(leaf):
            return self.nodes[_name_of(leaf)]

        return self.graph.tree(tree, self.nodes.__getitem__, special)

    def _resolve(self, name: str) -> None:
        waiting, formulas = [name], {}
        while waiting:
            current = waiting[-1]
            if current in self.nodes:
                waiting.pop()
                continue
            first_visit = current not in formulas
            if first_visit:
                formulas[current] = self.formula(current)
            found = formulas[current]
            missing = (
                [d for d in dependencies(found) if d not in self.nodes] if not isinstance(found, int) else []
            )
            if not missing:
                self.nodes[current] = (
                    found if isinstance(found, int) else self.graph.number(self._built(found))
                )
                waiting.pop()
            elif not first_visit:
                raise ModelError(self.file, [ModelProblem(f"'{current}' depends on itself", None, current)])
            else:
                waiting.extend(missing)


def dependencies(tree: Any) -> list[str]:
    """The names whose nodes `tree` needs, each once, in order of appearance."""
    found: dict[str, None] = {}
    waiting = [tree]
    while waiting:
        part = waiting.pop()
        if isinstance(part, str):
            found[part] = None
        elif isinstance(part, list):
            if part[0] in ("rateOf", "time", "delay") or part[0] in KINDS:
                found[_name_of(part)] = None
            else:
                waiting.extend(reversed(part[1:]))
    return list(found)


def _name_of(leaf: list) -> str:
    """The internal name of what depends on the model."""
    if leaf[0] in KINDS:
        return f"draw:{leaf[1]:.0f}"
    return f"{leaf[0]}:{leaf!r}" if leaf[0] == "delay" else f"{leaf[0]}:{''.join(leaf[1:])}"


class System:
    """The equations of `network`.

    Attributes:
        graph: all operations.
        derivative: nodes of d(state)/dt.
        events: their nodes.
        delays: their nodes, in the order of their inputs, which follow the constants.
        draws: those of events, in the order of their inputs, which follow the delays.
        fast: what the fast reactions do, or None where there are none.

    Args:
        course: whether delays in math and fast reactions are taken, which time courses alone can run.

    Raises:
        ModelError: there are such, by line.
    """

    def __init__(self, network: ReactionNetwork, course: bool = False):
        if not course:
            network.refuse_delays("this method")
            network.refuse_draws("this method")
        self.network = network
        self.graph = Graph()
        self.state_at = {name: i for i, name in enumerate(network.state_ids)}
        first_constant = STATE + len(network.state_ids)
        self.constant_at = {name: first_constant + i for i, name in enumerate(network.settable_ids)}
        first_delay = first_constant + len(network.settable_ids)
        self._delay_at = {repr(tree): first_delay + i for i, (tree, _, _) in enumerate(network.delays)}
        first_draw = first_delay + len(network.delays)
        self._draw_at = {
            f"{tree[1]:.0f}": first_draw + i for i, (tree, _, _) in enumerate(network.event_draws)
        }
        self._changes = stoichiometric_changes(network)
        self._resolver = Resolver(self.graph, self._formula, network.file)
        self.derivative = [self._resolver.node(f"state:{name}") for name in network.state_ids]
        self.fast = self._fast() if network.fast_reactions else None
        if self.fast is not None:
            self.derivative = self.fast.derivative
        self.events = tuple(self._event(e) for e in network.events)
        self.delays = tuple(
            DelayNodes(
                self._resolver.node(_name_of(tree)),
                self._resolver.of(tree[1]),
                self._resolver.of(tree[2]),
                line,
                key,
            )
            for tree, line, key in network.delays
        )
        self.draws = tuple(draw_nodes(self._resolver, *found) for found in network.event_draws)

    def of(self, tree: Any) -> Node:
        """The node of an expression tree whose ids mean what they mean in the math of the model.

        Raises:
            KeyError: there is no such quantity.
        """
        return self._resolver.of(tree)

    def quantity(self, name: str) -> Node:
        """The node of what users call `name`: the concentration of a species, `amount.<species>`, or any id.

        Raises:
            KeyError: there is no such quantity.
        """
        if name.startswith("amount.") and name[7:] in self.network.species_ids:
            return self._resolver.node(f"amount:{name[7:]}")
        if name not in self.network:
            raise KeyError(name)
        thing = None if name in self.network.references else self.network[name]
        if (
            isinstance(thing, Species)
            and thing.substance_only
            and self.network[thing.compartment].dimensions > 0
        ):
            return self._resolver.of(["/", name, thing.compartment])
        return self._resolver.node(name)

    def varies(self, compartment: str) -> bool:
        """Whether a rule or an event changes the size of `compartment`."""
        return varies(self.network, compartment)

    # ---- formulas: a tree in names, or a node

    def _formula(self, name: str) -> Any:
        graph, network = self.graph, self.network
        if name == "time:":
            return graph.input(TIME)
        if name == "scale:":
            return graph.input(SCALE)
        kind, _, rest = name.partition(":")
        if kind == "delay":
            return graph.input(self._delay_at[rest])
        if kind == "draw":
            return graph.input(self._draw_at[rest])
        if rest:
            return {"amount": self._amount, "state": self._state_change, "rateOf": self._rate}[kind](rest)
        if name in network.references:
            return self._stoichiometry(name)
        if name in network.reaction_ids:
            return network.rate_law(name)
        if name in network.species_ids:
            return self._species_value(network[name])
        own = self._own(name)
        if name in network.compartment_ids:
            return graph.op(
                "*", self._resolver.of(own) if not isinstance(own, int) else own, graph.input(SCALE)
            )
        return own

    def _stoichiometry(self, name: str) -> Any:
        rule = self.network.assignment_rules.get(name)
        if rule is not None:
            return rule.math
        if name in self.constant_at:
            return self.graph.input(self.constant_at[name])
        return self.network.references[name].stoichiometry

    def _own(self, name: str) -> Any:
        """A compartment (at scale 1) or parameter."""
        rule = self.network.assignment_rules.get(name)
        if rule is not None:
            return rule.math
        if name in self.state_at:
            return self.graph.input(STATE + self.state_at[name])
        return self.graph.input(self.constant_at[name])

    def _species_value(self, s: Species) -> Any:
        """A species as it stands in math."""
        rule = self.network.assignment_rules.get(s.id)
        if rule is not None:
            return rule.math
        if s.id in self.state_at or (not s.substance_only and self.varies(s.compartment)):
            amount = f"amount:{s.id}"
            return amount if s.substance_only else ["/", amount, s.compartment]
        return self.graph.input(self.constant_at[s.id])

    def _amount(self, name: str) -> Any:
        s = self.network[name]
        if name in self.state_at:
            return self.graph.input(STATE + self.state_at[name])
        if name not in self.network.assignment_rules and not s.substance_only and self.varies(s.compartment):
            return ["*", self._constant_name(name), "scale:"]
        return name if s.substance_only else ["*", name, s.compartment]

    def _constant_name(self, name: str) -> str:
        """The internal name of the constant stored for `name`."""
        self._resolver.nodes.setdefault(f"constant:{name}", self.graph.input(self.constant_at[name]))
        return f"constant:{name}"

    def _state_change(self, name: str) -> Any:
        rule = self.network.rate_rules.get(name)
        thing = self.network[name]
        if isinstance(thing, Species):
            if rule is None:
                return self._changes.get(name, 0.0)
            if thing.substance_only:
                return rule.math
            change = ["*", rule.math, thing.compartment]
            if self.varies(thing.compartment):
                change = ["+", change, ["*", name, ["rateOf", thing.compartment]]]
            return change
        if rule is None:
            return 0.0
        return ["/", rule.math, "scale:"] if name in self.network.compartment_ids else rule.math

    def _fast(self) -> FastReactions:
        network, resolver = self.network, self._resolver
        rates = [resolver.node(r.id) for r in network.fast_reactions]
        columns = []
        for r in network.fast_reactions:
            one = stoichiometric_changes(network, (r,), per_extent=True)
            columns.append({self.state_at[name]: resolver.of(tree) for name, tree in one.items()})
        states = [self.graph.input(STATE + i) for i in range(len(self.state_at))]
        try:
            return FastReactions(self.graph, self.derivative, rates, columns, states, self.graph.input(TIME))
        except NotDifferentiable as error:
            r = network.fast_reactions[0]
            message = f"the equilibrium of the fast reactions cannot be followed: {error}"
            raise ModelError(network.file, [ModelProblem(message, r.line, f"{r.id}.fast")]) from None

    def _rate(self, name: str) -> Any:
        return rate_of(self.network, self._changes, name)

    def _event(self, e: Event) -> EventNodes:
        resolver = self._resolver

        def optional(tree):
            return None if tree is None else resolver.of(tree)

        assignments, values = [], []
        for a in e.assignments:
            thing, worth = self.network[a.variable], 1.0
            if isinstance(thing, Species) and not thing.substance_only:
                worth = thing.compartment
            elif a.variable in self.network.compartment_ids:
                worth = ["/", 1.0, "scale:"]
            value, worth = resolver.of(a.math), resolver.of(worth)
            assignments.append((self.state_at[a.variable], self.graph.op("*", value, worth)))
            values.append((value, worth))
        trigger = resolver.condition(e.trigger)
        return EventNodes(
            e, trigger, optional(e.delay), optional(e.priority), tuple(assignments), tuple(values)
        )
