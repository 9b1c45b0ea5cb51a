"""Events and conditions on time of one network as machine code and tables, for any method's `Program`.

The functions that join those of the method (see `program`); all but the last look at the state "x" at time "t":

- `modes`: the locked conditions into "zn" and when each changes next into "b"; "side" 0: as they are at "t", 1: as
  they are from "t" on.
- `watch`: the triggers, then what else is watched, into "m".
- `actions`: of every event the delay "d", priority "q", new values "a" and what each is worth in the state "u".
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mechanistic.codegen.graph import Node
from mechanistic.codegen.native import Module, Place
from mechanistic.codegen.system import STATE, System
from mechanistic.codegen.vectors import Layout
from mechanistic.solvers.conditions import Conditions

# Columns of `EventCode.table`; `instants` numbers them and the places likewise
PERSISTENT, FROM_TRIGGER, DELAYED, RANKED, FIRST, COUNT = range(6)


class EventCode:
    """What the driver must know of events and conditions.

    Attributes:
        conditions: of the network.
        leaves: where the locked conditions lie in the block.
        events, watched, locked: how many.
        table: (event, 6) see above; the last two say where its assignments are in `targets`.
        targets: positions in the state.
        looked_at: positions in the state of what triggers depend on.
    """

    def __init__(self, system: System):
        self.conditions = conditions = Conditions(system)
        self._system = system
        graph, events = system.graph, system.events
        self.leaves: dict[Node, Place] = {one.leaf: ("z", i) for i, one in enumerate(conditions.locked)}
        self.events, self.locked = len(events), len(conditions.locked)
        self.watched = len(conditions.watched)
        self.table = np.zeros((len(events), 6), dtype=np.int64)
        targets: list[int] = []
        for e, nodes in enumerate(events):
            event = nodes.event
            self.table[e, PERSISTENT], self.table[e, FROM_TRIGGER] = event.persistent, event.from_trigger_time
            self.table[e, DELAYED] = nodes.delay is not None
            self.table[e, RANKED] = nodes.priority is not None
            self.table[e, FIRST], self.table[e, COUNT] = len(targets), len(nodes.assignments)
            targets += [at for at, _ in nodes.assignments]
        self.targets = np.array(targets, dtype=np.int64)
        inputs = set(graph.needed([*conditions.triggers, *conditions.watched]))
        states = len(system.state_at)
        self.looked_at = np.array([i for i in range(states) if graph.input(STATE + i) in inputs], np.int64)

    def place(self, layout: Layout) -> None:
        """Gives what is computed here its place in `layout`."""
        conditions = self.conditions
        formulas = [n for d, q, _ in conditions.formulas for n in (d, q) if n is not None]
        formulas += [n for _, _, values in conditions.formulas for pair in values for n in pair]
        outputs = [one.value for one in conditions.locked] + [one.following for one in conditions.locked]
        outputs += [*conditions.triggers, *conditions.watched, *formulas]
        sizes = {
            "x": len(self._system.state_at), "t": 1, "side": 1, "z": self.locked, "b": self.locked,
            "zn": self.locked, "m": self.events + self.watched, "d": self.events, "q": self.events,
            "a": len(self.targets), "u": len(self.targets), "espill": len(self._system.graph.needed(outputs)),
        }  # fmt: skip
        for name, length in sizes.items():
            layout.place(name, length)
        names = ("x", "t", "side", "z", "b", "zn", "m", "d", "q", "a", "u")
        self.places = np.array([layout.offset[name] for name in names], dtype=np.int64)

    def emit(self, module: Module, constants: Mapping[Node, Place]) -> None:
        """Adds the functions; `constants`: where scale and constants lie."""
        graph, conditions = self._system.graph, self.conditions
        leaves: dict[Node, Place] = dict(constants)
        leaves |= {graph.input(STATE + i): ("x", i) for i in range(len(self._system.state_at))}
        leaves |= {conditions.time: ("t", 0), conditions.side: ("side", 0)}
        modes: list[tuple[Node, Place]] = []
        for i, one in enumerate(conditions.locked):
            modes += [(one.value, ("zn", i)), (one.following, ("b", i))]
        looked = [graph.number(n) for n in conditions.triggers] + conditions.watched
        watch: list[tuple[Node, Place]] = [(n, ("m", i)) for i, n in enumerate(looked)]
        actions: list[tuple[Node, Place]] = []
        for e, (delay, priority, values) in enumerate(conditions.formulas):
            actions += [] if delay is None else [(delay, ("d", e))]
            actions += [] if priority is None else [(priority, ("q", e))]
            for k, (value, worth) in enumerate(values, start=int(self.table[e, FIRST])):
                actions += [(value, ("a", k)), (worth, ("u", k))]
        module.graph_function("modes", graph, modes, leaves, "espill")
        leaves |= self.leaves
        module.graph_function("watch", graph, watch, leaves, "espill")
        module.graph_function("actions", graph, actions, leaves, "espill")
