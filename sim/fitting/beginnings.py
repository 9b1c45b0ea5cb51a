"""How a cell's state and constants begin, and what a condition changes in them, with derivatives and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from mechanistic.codegen.derivatives import jacobian
from mechanistic.codegen.graph import Graph, Node
from mechanistic.codegen.initial import InitialValues
from mechanistic.codegen.system import System, varies
from mechanistic.codegen.tangent import Plan
from mechanistic.errors import ModelError
from mechanistic.network import ReactionNetwork
from mechanistic.parts import Assignment, Parameter, Species, Tree
from mechanistic.reading.problems import closest
from sim.fitting.expressions import Expressions


class Given:
    """Values that follow from the parameters of a fit alone.

    Args:
        trees: numbers, ids of parameters, or expressions of them.

    Attributes:
        at: (value, parameter) of the derivatives that are not 0 by structure.
    """

    def __init__(self, parameters: Sequence[str], trees: Sequence[Tree]):
        graph, known = Graph(), {name: i for i, name in enumerate(parameters)}

        def named(name: str) -> Node:
            if name not in known:
                message = f"'{name}' is not a parameter of the fit{closest(name, tuple(known))}"
                raise ModelError("<fit>", message)
            return graph.input(known[name])

        def special(tree: list) -> Node:
            raise ModelError("<fit>", f"what holds before a start cannot depend on '{tree[0]}'")

        nodes = [graph.number(graph.tree(tree, named, special)) for tree in trees]
        entries = jacobian(graph, nodes, [graph.input(i) for i in range(len(parameters))])
        self.at = tuple(np.array([key[i] for key in entries], dtype=np.intp) for i in (0, 1))
        self._plan, self._count = Plan(graph, [*nodes, *entries.values()]), len(nodes)

    def __call__(self, parameters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(value,), and the derivatives `at`."""
        found = np.array([float(v) for v in self._plan(list(parameters))])
        return found[: self._count], found[self._count :]


class Initial:
    """The stored state and constants (`codegen.system`) of cells for which `names` are given.

    Args:
        assigned: expressions by id that take the place of the model's initial assignments; they may have ids of the
            model, which stand for what these are at the start, and `names`.

    Attributes:
        at: (variable, name) of the derivatives that are not 0 by structure; variables: the state, the constants.

    Raises:
        ModelError: what is given or assigned is not in the model, or a rule determines it.
    """

    def __init__(self, network: ReactionNetwork, names: Sequence[str], assigned: Mapping[str, Tree]):
        network.refuse_draws("a fit")
        network.refuse_delays("a fit")
        self.names, self.variables = tuple(names), len(network.state_ids) + len(network.settable_ids)
        start = InitialValues(_assigning(network, names, assigned), dict.fromkeys(names, 1.0))
        stored = [start.stored(name) for name in (*network.state_ids, *network.settable_ids)]
        entries = jacobian(start.graph, stored, [start.graph.input(start.inputs[n]) for n in names])
        self.at = tuple(np.array([key[i] for key in entries], dtype=np.intp) for i in (0, 1))
        self._plan = Plan(start.graph, [*stored, *entries.values()])

    def __call__(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(cell, variable) of `values` (cell, name), and the derivatives `at` (entry, cell)."""
        found = self._plan(list(values.T))
        table = np.empty((len(found), len(values)))
        for i, value in enumerate(found):
            table[i] = value
        return np.ascontiguousarray(table[: self.variables].T), table[self.variables :]


def _assigning(
    network: ReactionNetwork, names: Sequence[str], assigned: Mapping[str, Tree]
) -> ReactionNetwork:
    if not assigned:
        return network
    for name in assigned:
        _position(network, name)
    kept = tuple(a for a in network.initial_assignments if a.variable not in assigned)
    more = tuple(Assignment(name, tree, 0) for name, tree in assigned.items())
    species = tuple(
        # what the model declares of it no longer counts
        replace(s, amount=None, concentration=None) if s.id in assigned else s
        for s in network.species
    )
    own = tuple(
        Parameter(name, "", None, True, None, False, 0)
        for name in names
        if name not in network and not name.startswith("amount.")
    )
    return replace(
        network,
        initial_assignments=(*kept, *more),
        species=species,
        parameters=(*network.parameters, *own),
    )


class Changes:
    """New stored values of some targets, from the current ones and from parameters.

    Where the size of a compartment changes, concentrations in it stay, unless they are targets themselves.

    Args:
        changes: trees by id of what the model keeps: species (as in math), compartments, parameters.

    Attributes:
        targets: positions among the state and the constants.
        expressions: of their new stored values.

    Raises:
        ModelError: a target is not in the model, or something else determines it.
    """

    def __init__(self, system: System, parameters: Sequence[str], changes: Mapping[str, Tree]):
        network = system.network
        changes = dict(changes)
        for s in network.species:
            moved = s.compartment in changes and s.id not in changes and not s.substance_only
            if moved and s.id in network.state_ids:
                changes[s.id] = s.id
        self.targets = np.array([_position(network, name) for name in changes], dtype=np.intp)
        trees = [_stored(network, name, changes) for name in changes]
        self.expressions = Expressions(system, parameters, trees)

    def __call__(
        self, time: float, stored: np.ndarray, states: int, named: Sequence
    ) -> tuple[np.ndarray, np.ndarray]:
        """(cell, variable) after, of `stored` before, and the derivatives `expressions.at` (entry, cell)."""
        new, slopes = self.expressions.with_slopes(time, stored[:, :states], stored[:, states:], named)
        after = stored.copy()
        after[:, self.targets] = new.T
        return after, slopes


def _position(network: ReactionNetwork, name: str) -> int:
    if name in network.state_ids:
        return network.state_ids.index(name)
    if name in network.settable_ids:
        return len(network.state_ids) + network.settable_ids.index(name)
    if name in network:
        raise ModelError(network.file, f"a condition cannot set '{name}': a rule or a rate determines it")
    known = (*network.state_ids, *network.settable_ids)
    raise ModelError(network.file, f"a condition sets '{name}', not in the model{closest(name, known)}")


def _stored(network: ReactionNetwork, name: str, changes: Mapping[str, Tree]) -> Tree:
    thing = network[name]
    if not isinstance(thing, Species) or thing.substance_only:
        return changes[name]
    if name in network.settable_ids and not varies(network, thing.compartment):
        return changes[name]
    return ["*", changes[name], changes.get(thing.compartment, thing.compartment)]
