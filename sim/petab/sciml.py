"""A PEtab-SciML problem as an objective: networks inside the model as formulas, those before it by torch.

A network that the files call dynamic is written into the model (`sim.hybrid.inline`), so its weights are parameters
of the model and its inputs and outputs are quantities by their ids. A static one runs in torch before each
experiment; what it sets are parameters that `sim.fitting.computed.Computed` puts in front, with their gradient.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mechanistic.codegen.graph import Graph
from mechanistic.errors import ModelError
from mechanistic.joining import joined, names_in
from mechanistic.network import ReactionNetwork
from mechanistic.parts import Tree
from neural.sciml import read_arrays, write_arrays
from sim.errors import Problem, ScenarioError
from sim.fitting.computed import Computed
from sim.fitting.objective import Objective
from sim.fitting.parts import Experiment, Parameter
from sim.fitting.spans import Settings
from sim.hybrid.inline import CannotInline
from sim.hybrid.wide import Wide, integrator_of, slots_of, written
from sim.petab.common import Transform, replaced
from sim.petab.problem import PetabProblem
from sim.petab.sciml_tables import (
    Hybridization,
    Part,
    extension,
    input_array,
    read_hybridization,
    taken_apart,
)
from sim.petab.tables import Files
from sim.petab.version2 import read_version2

# slopes by weights pass through many products; what looks small in the course is not in them
_SETTINGS = Settings(rtol=1e-10)


@dataclass(frozen=True)
class SciMLProblem(PetabProblem):
    """Attributes:
    hybridization: what the files say about networks.
    """

    hybridization: Hybridization

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """Ids of the weights that are estimated, by "network.layer.array"; "" for those that are not."""
        return {
            f"{part.id}.{layer}.{array}": np.vectorize(lambda p: p.id if p.estimate else "", otypes=[object])(
                own
            )
            for part in self.hybridization.parts.values()
            for layer, group in part.weights.items()
            for array, own in group.items()
        }

    def write_networks(self, x: np.ndarray, folder: Path) -> None:
        weights = self.weights(x)
        for name in (extension(self.files) or {}).get("array_files") or []:
            arrays = read_arrays(folder / name)
            fitted = {network: weights.get(network, own) for network, own in arrays.parameters.items()}
            write_arrays(folder / name, fitted, arrays.inputs)

    def weights(self, x: np.ndarray | None = None) -> dict[str, dict[str, dict[str, np.ndarray]]]:
        """All weights by network, layer and array, at the scaled values `x`; at the nominal ones where None."""
        at = {} if x is None else dict(zip(self.objective.names, x))
        return {
            part.id: {
                layer: {
                    array: np.vectorize(lambda p: at.get(p.id, p.nominal), otypes=[float])(own)
                    for array, own in group.items()
                }
                for layer, group in part.weights.items()
            }
            for part in self.hybridization.parts.values()
        }


def load_sciml(
    files: Files, transform: Transform | None, more: Sequence[Parameter], settings: Settings | None
) -> SciMLProblem:
    """The problem of a YAML file with networks.

    Raises:
        ScenarioError: with the file and line of what is wrong.
    """
    found = read_hybridization(files)
    wide: list[Wide] = []

    def with_networks(network: ReactionNetwork) -> ReactionNetwork:
        network = network if transform is None else transform(network)
        try:
            return _joined(network, found, wide)
        except CannotInline as error:
            raise ScenarioError(Problem(str(files.file), str(error))) from None
        except ModelError as error:
            raise ScenarioError(
                Problem(error.file, p.message, p.line, p.key) for p in error.problems
            ) from None

    parameters, studies, rows = read_version2(files, with_networks, lambda tables: taken_apart(found, tables))
    inside = [p for part in found.parts.values() if not part.static for p in _weights(part)]
    before = _Before(found, parameters)
    try:
        studies = [
            replace(
                s, experiments=tuple(before.changed(e) for e in s.experiments),
                integrator=integrator_of(s.network, wide, s.observables),
            )
            for s in studies
        ]  # fmt: skip
        objective: Any = Objective(
            [*parameters, *more, *inside, *before.pseudo], studies, settings or _SETTINGS
        )
    except ModelError as error:
        where = str(files.file) if error.file.startswith("<") else error.file
        raise ScenarioError(Problem(where, p.message, p.line, p.key) for p in error.problems) from None
    if before.pseudo:
        objective = before.in_front_of(objective)
    return SciMLProblem(files, objective, tuple(row for part in rows for row in part), found)


def _weights(part: Part) -> list[Parameter]:
    return [p for group in part.weights.values() for own in group.values() for p in own.flat]


# ---- networks inside the model


def _joined(network: ReactionNetwork, found: Hybridization, wide: list[Wide]) -> ReactionNetwork:
    """With the networks inside the model; those that run in torch are added to `wide`."""
    constants: dict[str, float] = {}
    rules: dict[str, Tree] = {}
    outputs: set[str] = set()
    for part in found.parts.values():
        if part.static:
            continue
        inputs = [
            _input(found, part, k, constants, rules) for k in range(len(part.module.description.inputs))
        ]
        shapes = {n: {a: own.shape for a, own in group.items()} for n, group in part.weights.items()}
        made, outside = written(part.module.description, part.id, shapes, inputs)
        if outside is None:
            constants |= {p.id: p.nominal for p in _weights(part)}
        else:
            wide.append(outside)
            constants |= slots_of(outside)
        rules |= made.rules
        for name, place in part.outputs.items():
            tree = made.outputs[place.argument]
            rules[name] = np.ravel(tree[place.index] if place.index else tree)[0]
            outputs.add(name)
    for target, tree in found.values.items():
        if tree is not None and found.place(target) is None and outputs.intersection(names_in(tree)):
            rules[target] = tree
    # parameters of the tables that formulas name become constants of the model of the same id
    for tree in list(rules.values()):
        for name in names_in(tree):
            if name in found.names and name not in network and name not in rules:
                constants[name] = found.names[name]
    return joined(network, constants=constants, rules=rules) if rules else network


def _input(
    found: Hybridization, part: Part, argument: int, constants: dict[str, float], rules: dict[str, Tree]
) -> np.ndarray:
    """The formulas of one argument of a network inside the model."""
    own = {name: place.index for name, place in part.inputs.items() if place.argument == argument}
    whole = next((name for name, index in own.items() if not index), None)
    if whole is not None:
        given = found.arrays.inputs.get(whole, {})
        if not given:
            raise ScenarioError(f"the input '{whole}' of '{part.id}' has no array")
        values = next(iter(given.values()))
        result = np.empty(values.shape, dtype=object)
        for index in np.ndindex(*values.shape):
            name = _element(whole, index)
            constants[name] = float(values[index])
            result[index] = name
        return result
    shape = tuple(np.max(list(own.values()), axis=0) + 1) if own else ()
    result = np.empty(shape, dtype=object)
    for name, index in own.items():
        tree = found.values.get(name)
        if tree is None:
            tree = found.names.get(name)
            if tree is None:
                raise ScenarioError(f"the input '{name}' of '{part.id}' is given nowhere")
            constants[name] = tree
        else:
            rules[name] = tree
        result[index] = name
    return result


def _element(name: str, index: tuple[int, ...]) -> str:
    return "__".join([name, *map(str, index)])


# ---- networks before the simulation


@dataclass(frozen=True)
class _Evaluation:
    """One network before one experiment: formulas of its inputs, or arrays; parameters for what it gives."""

    part: Part
    inputs: list[np.ndarray]
    outputs: dict[str, str]


class _Before:
    """All networks that act before experiments, as one function of parameters."""

    def __init__(self, found: Hybridization, parameters: Sequence[Parameter]):
        self.found = found
        self.evaluations: list[_Evaluation] = []
        self.pseudo: list[Parameter] = []
        self._values = {p.id: p.nominal for p in parameters}
        self._free = {p.id for p in parameters if p.estimate}
        self._static = {name: part for part in found.parts.values() if part.static for name in part.outputs}

    def changed(self, experiment: Experiment) -> Experiment:
        """The experiment with what networks set before it, and what is given to networks inside the model."""
        initial = dict(experiment.initial)
        conditions = self.found.first.get(experiment.id, [])
        for part in self.found.parts.values():
            for name, place in part.inputs.items():
                if not part.static and not place.index:
                    values = input_array(self.found, name, conditions)
                    if values is None:
                        raise ScenarioError(
                            f"the input '{name}' has no array for the experiment '{experiment.id}'"
                        )
                    initial |= {_element(name, i): float(values[i]) for i in np.ndindex(*values.shape)}
        if not self._static:
            return replace(experiment, initial=initial)
        for target, tree in self.found.values.items():
            if tree is not None and set(names_in(tree)) & set(self._static):
                initial[target] = tree
        used = {n for tree in initial.values() for n in names_in(tree)}
        used |= {n for p in experiment.periods for tree in p.changes.values() for n in names_in(tree)}
        given = {name: f"{name}__in__{experiment.id or 'all'}" for name in self._static if name in used}
        for part in self.found.parts.values():
            own = {name: pseudo for name, pseudo in given.items() if name in part.outputs}
            if own and part.static:
                self.evaluations.append(_Evaluation(part, self._inputs(part, conditions), own))
                self.pseudo += [Parameter(pseudo, 1.0) for pseudo in own.values()]
        initial = {target: replaced(tree, given) for target, tree in initial.items()}
        periods = tuple(
            replace(p, changes={t: replaced(tree, given) for t, tree in p.changes.items()})
            for p in experiment.periods
        )
        return replace(experiment, initial=initial, periods=periods)

    def _inputs(self, part: Part, conditions: list[str]) -> list[np.ndarray]:
        """For each argument the array of its numbers or formulas."""
        results = []
        for argument in range(len(part.module.description.inputs)):
            own = {name: p.index for name, p in part.inputs.items() if p.argument == argument}
            whole = next((name for name, index in own.items() if not index), None)
            if whole is not None:
                values = input_array(self.found, whole, conditions)
                if values is None:
                    raise ScenarioError(f"the input '{whole}' of '{part.id}' has no array for {conditions}")
                results.append(values)
                continue
            shape = tuple(np.max(list(own.values()), axis=0) + 1) if own else ()
            result = np.empty(shape, dtype=object)
            for name, index in own.items():
                by_condition = [
                    c[name] for k, c in self.found.by_condition.items() if k in conditions and name in c
                ]
                tree = by_condition[0] if by_condition else self.found.values.get(name)
                result[index] = name if tree is None else tree
            results.append(result)
        return results

    def in_front_of(self, objective: Objective) -> Computed:
        """The objective as a function of weights and of what networks read."""
        parts = {e.part.id: e.part for e in self.evaluations}
        weights = [p for part in parts.values() for p in _weights(part)]
        formulas = [
            tree
            for e in self.evaluations
            for array in e.inputs
            if array.dtype == object
            for tree in array.flat
        ]
        read = dict.fromkeys(n for tree in formulas for n in names_in(tree))
        missing = next((n for n in read if n not in self._values), None)
        if missing is not None:
            raise ScenarioError(f"a network before the simulation reads '{missing}', which has no value")
        inputs = [n for n in read if n in self._free] + [p.id for p in weights if p.estimate]
        outputs = [pseudo for e in self.evaluations for pseudo in e.outputs.values()]
        fixed = {n: self._values[n] for n in read} | {p.id: p.nominal for p in weights}
        return Computed(
            objective, outputs, weights, inputs, _Function(self.evaluations, inputs, outputs, fixed)
        )


class _Function:
    """Values (input,) to what networks give (output,), with the product of a vector and the Jacobian."""

    def __init__(
        self,
        evaluations: list[_Evaluation],
        inputs: Sequence[str],
        outputs: Sequence[str],
        fixed: Mapping[str, float],
    ):
        self.evaluations, self.inputs, self.outputs, self.fixed = (
            evaluations,
            tuple(inputs),
            tuple(outputs),
            fixed,
        )

    def __call__(self, values: np.ndarray):
        import torch

        given = torch.tensor(np.asarray(values, dtype=float), requires_grad=True)
        now = {name: torch.tensor(value, dtype=torch.float64) for name, value in self.fixed.items()}
        now |= {name: given[i] for i, name in enumerate(self.inputs)}
        found: dict[str, Any] = {}
        for e in self.evaluations:
            tensors = {
                f"layers.{layer}.{array}": torch.stack([now[p.id] for p in own.flat]).reshape(own.shape)
                for layer, group in e.part.weights.items()
                for array, own in group.items()
            }
            arguments = tuple(_tensor(array, now) for array in e.inputs)
            result = torch.func.functional_call(e.part.module, tensors, arguments)
            several = result if isinstance(result, list | tuple) else [result]
            for name, pseudo in e.outputs.items():
                place = e.part.outputs[name]
                found[pseudo] = several[place.argument][place.index].reshape(-1)[0]
        together = torch.stack([found[name] for name in self.outputs])

        def pull(asked: np.ndarray) -> np.ndarray:
            wanted = torch.tensor(np.asarray(asked, dtype=float))
            (back,) = torch.autograd.grad(together, given, wanted, retain_graph=True, allow_unused=True)
            return np.zeros(len(values)) if back is None else back.numpy()

        return together.detach().numpy(), pull


def _tensor(array: np.ndarray, now: Mapping[str, Any]):
    """An argument of a network: its numbers, or its formulas at the parameters' values."""
    import torch

    from mechanistic.codegen.torch_field import FUNCTIONS

    if array.dtype != object:
        return torch.tensor(array, dtype=torch.float64)
    graph, names = Graph(), list(now)
    at = {name: i for i, name in enumerate(names)}
    nodes = [graph.number(graph.tree(t, lambda n: graph.input(at[n]), _no_leaf)) for t in array.flat]
    values: dict[int, Any] = {}
    for node in graph.needed(nodes):
        operation, *operands = graph.nodes[node]
        if operation == "const":
            values[node] = torch.tensor(operands[0], dtype=torch.float64)
        elif operation == "input":
            values[node] = now[names[operands[0]]]
        else:
            values[node] = FUNCTIONS[operation](*(values[o] for o in operands))
    return torch.stack([values[n] for n in nodes]).reshape(array.shape)


def _no_leaf(tree: list):
    raise ScenarioError(f"a network before the simulation cannot read '{tree[0]}'")
