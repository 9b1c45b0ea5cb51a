"""Networks with too many weights for formulas: they run in torch within the equations, and so does the integrator.

Written as formulas a network is part of the model. One that is too wide stands there as constants, its *slots*, which
have no value of their own; whoever evaluates the equations here puts the network's outputs in their places. The
method is `sim.hybrid.odeint`, the same as that of the pathways; each step waits for torch, so a course takes some
hundred times as long. Events, and rests before an experiment, are refused by name.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from mechanistic.codegen.graph import Node
from mechanistic.codegen.system import STATE, System
from mechanistic.codegen.torch_field import FUNCTIONS
from mechanistic.errors import ModelError, ModelProblem
from mechanistic.joining import names_in
from mechanistic.network import ReactionNetwork
from mechanistic.parts import Tree
from neural.sciml import Description, SciMLNetwork
from sim.fitting.parts import Observable
from sim.fitting.spans import Followed, Integrator, Settings
from sim.hybrid.inline import Inlined, TooWide, as_array, inlined, weight_ids
from sim.hybrid.odeint import odeint

_log = logging.getLogger("cellweave")
_FLOOR = 1e-4  # of the relative tolerance: what counts as nothing beside the largest initial value


@dataclass(frozen=True)
class Wide:
    """A network inside the model that runs in torch.

    Attributes:
        weights: ids by layer and array.
        inputs: for each argument the ids of the model's quantities that are its elements.
        slots: ids of the constants that its outputs stand in, an array for each output.
    """

    name: str
    module: SciMLNetwork
    weights: dict[str, dict[str, np.ndarray]]
    inputs: list[np.ndarray]
    slots: list[np.ndarray]

    @property
    def ids(self) -> list[str]:
        """Of all weights, in the order of layers, arrays and elements."""
        return [str(i) for group in self.weights.values() for own in group.values() for i in own.flat]

    def outputs(self, inputs: list[torch.Tensor], weights: torch.Tensor) -> list[torch.Tensor]:
        """(cell, ...) of each output, of arguments (cell, ...) and the weights (ids,)."""
        tensors, first = {}, 0
        for layer, group in self.weights.items():
            for array, own in group.items():
                tensors[f"layers.{layer}.{array}"] = weights[first : first + own.size].reshape(own.shape)
                first += own.size

        def one(*arguments: torch.Tensor):
            found = torch.func.functional_call(self.module, tensors, arguments)
            return tuple(found) if isinstance(found, list | tuple) else (found,)

        return list(torch.vmap(one)(*inputs))


def written(
    description: Description,
    name: str,
    shapes: Mapping[str, Mapping[str, tuple[int, ...]]],
    inputs: Sequence[Any],
) -> tuple[Inlined, Wide | None]:
    """The network as formulas; where it has too many weights for that, slots for its outputs, and itself.

    Raises:
        CannotInline: see `sim.hybrid.inline.inlined`.
    """
    try:
        return inlined(description, name, shapes, inputs), None
    except TooWide as error:
        _log.warning("%s: it runs in torch, with all that is around it; courses take longer", error)
    rules: dict[str, Tree] = {}
    arguments = [as_array(i) for i in inputs]
    for k, array in enumerate(arguments):
        for index in np.ndindex(*array.shape):
            id = "__".join([name, f"input{k}", *map(str, index)])
            rules[id], array[index] = array[index], id
    module = SciMLNetwork(description)
    with torch.no_grad():
        found = module(*(torch.zeros(a.shape, dtype=torch.float64) for a in arguments))
    slots = [
        weight_ids(f"{name}__output{k}", tuple(f.shape))
        for k, f in enumerate(found if isinstance(found, list | tuple) else [found])
    ]
    ids = {
        layer: {array: weight_ids(f"{name}__{layer}__{array}", shape) for array, shape in arrays.items()}
        for layer, arrays in shapes.items()
    }
    return Inlined({}, rules, slots), Wide(name, module, ids, arguments, slots)


def slots_of(wide: Wide | None) -> dict[str, float]:
    """The constants that stand for what the network gives: not a number, so that nothing runs without it."""
    return {} if wide is None else {str(i): np.nan for own in wide.slots for i in own.flat}


def integrator_of(
    network: ReactionNetwork, wide: Sequence[Wide], observables: Sequence[Observable]
) -> Callable[[Settings, Sequence[str]], Integrator] | None:
    """What follows the model where networks run in torch; None where none does.

    Raises:
        ModelError: there are events; an observable reads what such a network gives.
    """
    if not wide:
        return None
    torch_system = TorchSystem(network, wide)
    slots = torch_system.slots
    for o in observables:
        named = [n for tree in (o.formula, o.noise) for n in names_in(tree) if n in network]
        nodes = [torch_system.system.quantity(n) for n in named]
        if slots & set(torch_system.system.graph.needed(nodes)):
            raise torch_system.refused(f"the observable '{o.id}' cannot read what a network gives", None)
    return lambda settings, parameters: TorchSpans(network, settings, parameters, wide)


class TorchSystem:
    """The equations of a network with wide networks in it.

    Raises:
        ModelError: there are events; a network reads what it, or a later one, gives.
    """

    def __init__(self, network: ReactionNetwork, wide: Sequence[Wide]):
        self.network, self.wide = network, tuple(wide)
        self.system = System(network)
        self.states = len(network.state_ids)
        if network.events:
            raise self.refused(f"the event '{network.events[0].id}' is not followed", network.events[0].line)
        at = {name: STATE + self.states + k for k, name in enumerate(network.settable_ids)}
        self._slots = [[[at[str(i)] for i in own.flat] for own in w.slots] for w in self.wide]
        self._inputs = [
            [[self.system.quantity(str(i)) for i in own.flat] for own in w.inputs] for w in self.wide
        ]
        graph = self.system.graph
        given: set[Node] = set()
        #: nodes that stand for what networks give
        self.slots = {graph.input(i) for places in self._slots for own in places for i in own}
        for w, nodes, slots in reversed(list(zip(self.wide, self._inputs, self._slots))):
            given |= {graph.input(i) for own in slots for i in own}
            if given & set(graph.needed([n for own in nodes for n in own])):
                raise self.refused(f"'{w.name}' reads what it gives itself, or a network after it", None)

    def values(
        self,
        nodes: Sequence[Node],
        time: torch.Tensor,
        state: torch.Tensor,
        constants: torch.Tensor,
        weights: Sequence[torch.Tensor],
    ) -> list[torch.Tensor]:
        """(cell,) of each node, of states (cell, state_ids), constants (cell, settable_ids), and weights."""
        inputs = [time, torch.ones((), dtype=state.dtype), *state.unbind(-1), *constants.unbind(-1)]
        for w, own, slots, theta in zip(self.wide, self._inputs, self._slots, weights):
            flat = [self._evaluated(part, inputs, len(state)) for part in own]
            arguments = [f.reshape(len(state), *a.shape) for f, a in zip(flat, w.inputs)]
            for found, places in zip(w.outputs(arguments, theta), slots):
                for k, value in zip(places, found.reshape(len(state), -1).unbind(-1)):
                    inputs[k] = value
        return list(self._evaluated(nodes, inputs, len(state)).unbind(-1))

    def _evaluated(self, nodes: Sequence[Node], inputs: list[torch.Tensor], cells: int) -> torch.Tensor:
        graph, values = self.system.graph, {}
        for node in graph.needed(nodes):
            operation, *operands = graph.nodes[node]
            if operation == "const":
                values[node] = torch.tensor(operands[0], dtype=torch.float64)
            elif operation == "input":
                values[node] = inputs[operands[0]]
            else:
                values[node] = FUNCTIONS[operation](*(values[o] for o in operands))
        return torch.stack([values[n].expand(cells) for n in nodes], -1)

    def course(
        self,
        state: torch.Tensor,
        constants: torch.Tensor,
        weights: Sequence[torch.Tensor],
        grid: np.ndarray,
        rtol: float,
        atol: float,
    ) -> torch.Tensor:
        """(time, cell, state_ids) over the rising `grid`; differentiable where torch's gradients are on."""

        def field(t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return torch.stack(self.values(self.system.derivative, t, y, constants, weights), -1)

        return odeint(field, state, torch.from_numpy(np.asarray(grid, dtype=float)), rtol=rtol, atol=atol)

    def refused(self, message: str, line: int | None) -> ModelError:
        names = ", ".join(f"'{w.name}'" for w in self.wide)
        message = f"{message} where a network runs in torch ({names}); use fewer weights"
        return ModelError(self.network.file, [ModelProblem(message, line, None)])


class TorchSpans:
    """What `sim.fitting.spans.Spans` does, for a model with wide networks whose weights are parameters of the fit.

    Args:
        parameters: ids of all parameters of the fit.
    """

    def __init__(
        self, network: ReactionNetwork, settings: Settings, parameters: Sequence[str], wide: Sequence[Wide]
    ):
        self.torch, self.settings = TorchSystem(network, wide), settings
        at = {name: i for i, name in enumerate(parameters)}
        self._at = [np.array([at[i] for i in w.ids], dtype=np.intp) for w in wide]
        self._weights: list[np.ndarray] = []

    def begin(self, values: np.ndarray) -> None:
        """Takes over the weights from the values of all parameters."""
        self._weights = [values[at] for at in self._at]

    def memory(self, cells: int) -> np.ndarray:
        return np.zeros((cells, 0))

    def follow(
        self, stored: np.ndarray, slopes: np.ndarray | None, memory: np.ndarray, grid: np.ndarray, back: bool
    ) -> Followed:
        """As `Spans.follow`; all cells share their steps."""
        if slopes is not None:
            raise ValueError("networks in torch give their gradient back over the course, not along it")
        n = self.torch.states
        with torch.set_grad_enabled(back):
            state, constants, *weights = (
                torch.tensor(a, requires_grad=back) for a in (stored[:, :n], stored[:, n:], *self._weights)
            )
            largest = float(np.abs(stored[:, :n]).max(initial=0.0)) or 1.0
            atol = max(self.settings.atol, _FLOOR * self.settings.rtol) * largest
            course = self.torch.course(state, constants, weights, grid, self.settings.rtol, atol)
        course = course.movedim(0, 1)

        def pull(asked: np.ndarray, parameters: np.ndarray) -> np.ndarray:
            given = (state, constants, *weights)
            found = torch.autograd.grad(
                course, given, torch.from_numpy(asked), retain_graph=True, allow_unused=True
            )
            own = [np.zeros(g.shape) if f is None else f.numpy() for g, f in zip(given, found)]
            for at, more in zip(self._at, own[2:]):
                np.add.at(parameters, at, more)
            return np.concatenate([own[0], np.nan_to_num(own[1])], 1)

        return Followed(course.detach().numpy().copy(), None, memory, pull if back else None)

    def settle(
        self, stored: np.ndarray, slopes: np.ndarray | None, memory: np.ndarray, time: float, back: bool
    ) -> Followed:
        """Refused, by name."""
        raise self.torch.refused("rests before or after an experiment are not found", None)
