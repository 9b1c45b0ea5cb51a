"""The state and the constants of a cell before anything has happened."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from mechanistic.codegen.changes import rate_of, stoichiometric_changes, varies
from mechanistic.codegen.graph import Graph, Node
from mechanistic.codegen.numeric import evaluate
from mechanistic.codegen.system import Resolver, dependencies, draw_nodes
from mechanistic.errors import ModelError, ModelProblem
from mechanistic.network import ReactionNetwork
from mechanistic.parts import Species
from mechanistic.reading.problems import closest


def initial_values(
    network: ReactionNetwork,
    given: Mapping[str, Any],
    cells: int,
    seed: int = 0,
    constants: Sequence[str] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """The stored state (cell, state_ids) and constants (cell, settable_ids), or those of the ids `constants`.

    What is given replaces what the model declares, before initial assignments are evaluated, so whatever is
    computed from it follows.

    Args:
        given: values by id, each a scalar or one a cell; a species as concentration, or as `amount.<id>`.
        seed: of what initial assignments draw from distributions; a cell's draws are its own in any company.

    Raises:
        ModelError: an id that is not in the model, or that a rule determines; a value that is not finite; the
            parameters of a draw have no meaning.
    """
    initial = InitialValues(network, given)
    names = (*network.state_ids, *(network.settable_ids if constants is None else constants))
    nodes = [initial.stored(name) for name in names]
    inputs = [np.asarray(v, dtype=float) for v in given.values()]
    inputs += _drawn(initial, nodes, inputs, cells, seed)
    values = evaluate(initial.graph, nodes, inputs)
    states = len(network.state_ids)
    return _table(values[:states], cells), _table(values[states:], cells)


def _table(values: Sequence, cells: int) -> np.ndarray:
    """(cell, values): a row of the scalars, repeated, and the columns that differ."""
    row = np.array([0.0 if np.ndim(v) else v for v in values], dtype=float)
    table = np.empty((cells, len(values)))
    table[:] = row
    for i, value in enumerate(values):
        if np.ndim(value):
            table[:, i] = value
    return table


def computed_from(network: ReactionNetwork, given: Iterable[str]) -> set[str]:
    """The ids of `given`, and those whose initial value follows from them."""
    users: dict[str, list[str]] = {}
    formulas = [(a.variable, a.math) for a in network.initial_assignments]
    formulas += [(name, rule.math) for name, rule in network.assignment_rules.items()]
    formulas += [(s.id, s.compartment) for s in network.species]
    formulas += [(r.id, r.rate) for r in network.reactions]
    for name, tree in formulas:
        for needed in dependencies(tree):
            users.setdefault(needed, []).append(name)
    reached = {name.removeprefix("amount.") for name in given}
    waiting = list(reached)
    while waiting:
        following = set(users.get(waiting.pop(), ())) - reached
        reached |= following
        waiting.extend(following)
    return reached


def _drawn(initial: InitialValues, nodes: list[Node], inputs: list, cells: int, seed: int) -> list:
    """(cell,) for every draw of the model; those that nothing at the start needs are not made."""
    network, graph = initial.network, initial.graph
    if not network.draws:
        return []
    from mechanistic.random import stream_key
    from mechanistic.random.quantiles import fill

    draws = [draw_nodes(initial.resolver, *found) for found in network.draws]
    values: list = [np.nan] * len(draws)
    leaves = {d.leaf: i for i, d in enumerate(draws)}

    def missing(needed: list[Node]) -> list[int]:
        found = (leaves.get(node) for node in graph.needed(needed))
        return [i for i in found if i is not None and values[i] is np.nan]

    waiting = missing(nodes)
    while waiting:
        i = waiting[-1]
        first = missing(list(draws[i].parameters))
        if first:
            # what one draw depends on may be drawn itself
            waiting += first
            continue
        waiting.pop()
        if values[i] is np.nan:
            d, out = draws[i], np.empty(cells)
            found = evaluate(graph, d.parameters, [*inputs, *values])
            rows = [np.ascontiguousarray(np.broadcast_to(v, cells), dtype=float) for v in found]
            fill(out, stream_key(seed, "draw"), d.site, d.kind, *rows)
            if np.any(np.isnan(out)):
                cell = int(np.flatnonzero(np.isnan(out))[0])
                got = ", ".join(f"{row[cell]:g}" for row in rows)
                message = f"the parameters of a draw have no meaning (got {got}; the last two are its bounds)"
                raise ModelError(network.file, [ModelProblem(message, d.line, d.key)])
            values[i] = out
    return values


class InitialValues:
    """The graph of everything at the start; its inputs are the values of `given`, in order, then all draws.

    Or of everything at a `time` before it, which delays look at: rules and initial assignments hold, nothing
    changes by itself.
    """

    def __init__(self, network: ReactionNetwork, given: Mapping[str, Any]):
        for name, value in given.items():
            self._check(network, name, value)
        self._set(network, Graph(), {name: i for i, name in enumerate(given)}, None)

    def _set(self, network: ReactionNetwork, graph: Graph, inputs: dict[str, int], time: Node | None) -> None:
        self.network, self.graph, self.inputs, self.time = network, graph, inputs, time
        self.initial = {a.variable: a.math for a in network.initial_assignments}
        self.changes = stoichiometric_changes(network)
        self.drawn = {f"{tree[1]:.0f}": len(inputs) + i for i, (tree, _, _) in enumerate(network.draws)}
        self.delayed = {repr(tree): tree for tree, _, _ in network.delays}
        self.resolver = Resolver(graph, self._formula, network.file)

    def before(self, time: Node) -> InitialValues:
        """The same on the same graph at `time`, which lies before the start."""
        earlier = InitialValues.__new__(InitialValues)
        earlier._set(self.network, self.graph, self.inputs, time)
        return earlier

    def stored(self, name: str) -> int:
        """As the state and the constants keep it (see `codegen.system`)."""
        thing = None if name in self.network.references else self.network[name]
        if isinstance(thing, Species):
            kept = name in self.network.state_ids or (
                not thing.substance_only and varies(self.network, thing.compartment)
            )
            return self.resolver.node(f"amount:{name}" if kept else name)
        return self.resolver.node(name)

    def _formula(self, name: str) -> Any:
        network = self.network
        if name == "time:":
            return 0.0 if self.time is None else self.time
        kind, _, rest = name.partition(":")
        if kind == "amount" and rest:
            return self._amount(network[rest])
        if kind == "delay":
            return self._delay(self.delayed[rest])
        if kind == "draw":
            return self.graph.input(self.drawn[rest])
        if rest:
            # the other name with a colon is that of a rate of change
            return rate_of(network, self.changes, rest) if self.time is None else 0.0
        if name in self.inputs and name not in network.species_ids:
            return self.graph.input(self.inputs[name])
        if name in network.assignment_rules:
            return network.assignment_rules[name].math
        if name in network.species_ids:
            return self._species_value(network[name])
        if name in self.initial:
            return self.initial[name]
        if name in network.reaction_ids:
            return network.rate_law(name)
        if name in self.network.references:
            value = self.network.references[name].stoichiometry
        else:
            thing = network[name]
            value = thing.size if name in network.compartment_ids else thing.value
        return float("nan") if value is None else value

    def _species_value(self, s: Species) -> Any:
        given, amount = self.inputs.get(s.id), self.inputs.get(f"amount.{s.id}")
        if given is not None:
            concentration = self.graph.input(given)
            if not s.substance_only:
                return concentration
            return self.graph.op("*", concentration, self.resolver.node(s.compartment))
        if amount is not None:
            node = self.graph.input(amount)
            return node if s.substance_only else self.graph.op("/", node, self.resolver.node(s.compartment))
        if s.id in self.initial:
            return self.initial[s.id]
        if s.amount is not None:
            return s.amount if s.substance_only else ["/", s.amount, s.compartment]
        if s.concentration is not None:
            return ["*", s.concentration, s.compartment] if s.substance_only else s.concentration
        return float("nan")

    def _delay(self, tree: list) -> Any:
        lag, now = self.resolver.of(tree[2]), self.resolver.node("time:")
        return self.before(self.graph.op("-", now, lag)).resolver.of(tree[1])

    def _amount(self, s: Species) -> Any:
        amount = self.inputs.get(f"amount.{s.id}")
        if amount is not None:
            return self.graph.input(amount)
        declared = (
            s.id not in self.inputs and s.id not in self.initial and s.id not in self.network.assignment_rules
        )
        if declared and s.amount is not None:
            return s.amount
        return s.id if s.substance_only else ["*", s.id, s.compartment]

    @staticmethod
    def _check(network: ReactionNetwork, name: str, value: Any) -> None:
        species = name[7:] if name.startswith("amount.") else name
        if species not in network or (species != name and species not in network.species_ids):
            known = (*network.species_ids, *network.parameter_ids, *network.compartment_ids)
            raise ModelError(
                network.file,
                [ModelProblem(f"'{name}' is not in the model{closest(name, known)}", None, name)],
            )
        if species in network.assignment_rules or species in network.reaction_ids:
            rule = network.assignment_rules.get(species)
            what = f"the rule at line {rule.line}" if rule else "its rate law"
            message = f"'{name}' cannot be set: {what} determines it"
            raise ModelError(network.file, [ModelProblem(message, network.line_of(species), name)])
        if not np.all(np.isfinite(np.asarray(value, dtype=float))):
            raise ModelError(
                network.file, [ModelProblem(f"the value of '{name}' must be finite", None, name)]
            )
        if species in network.species_ids and np.any(np.asarray(value, dtype=float) < 0):
            raise ModelError(
                network.file, [ModelProblem(f"the value of '{name}' must not be negative", None, name)]
            )
