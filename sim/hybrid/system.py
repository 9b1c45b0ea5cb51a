"""A pathway with networks in it, as one model."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mechanistic import PathwayModel, load_model
from mechanistic.errors import ModelError, ModelProblem
from mechanistic.joining import NewReaction, joined
from mechanistic.network import ReactionNetwork
from mechanistic.parts import Tree
from mechanistic.reading.problems import closest
from neural.sciml import SciMLNetwork
from sim.hybrid.activations import ACTIVATIONS
from sim.hybrid.inline import Inlined
from sim.hybrid.joint import Changes, Gives, Joint, Rate, Sets, Starts
from sim.hybrid.term import Term, names_of
from sim.hybrid.wide import Wide, slots_of, written

if TYPE_CHECKING:
    import xarray

    from sim.fitting.objective import Study
    from sim.fitting.parts import Experiment, Measurement, Observable, Parameter
    from sim.hybrid.layer import HybridLayer

Weights = Mapping[str, Mapping[str, Any]]


class Hybrid:
    """A pathway model with networks in it: rates, parameters, observables of the model, or what it starts from.

    Networks inside the model are written out as formulas (`sim.hybrid.inline`): their weights are parameters like
    others, so whatever a pathway can do a hybrid can: stiff courses of many cells, events, sensitivities, adjoint,
    steady states, a file of SBML. One with too many weights for that runs in torch, and so does the integrator of the
    whole (`sim.hybrid.wide`): `simulate` and `layer` take it, and fits through `study`; the choice is logged. A network
    that acts before the simulation runs in torch (`layer`).

    Attributes:
        model: the joined model; weights hold the values of `weights`.
        joints: by name.
        weights: by name, layer and array.
        inlined: by name, where the weights of networks inside the model are.
        wide: those among them that run in torch; where there are any, `model` does not run by itself.

    Raises:
        ModelError: a joint names what is not there, or determines what something else determines.
        CannotInline: a network inside the model has a layer that is not written as formulas.
    """

    def __init__(
        self,
        model: PathwayModel | ReactionNetwork | str | os.PathLike,
        joints: Iterable[Joint],
        *,
        constants: Mapping[str, float] | None = None,
        weights: Mapping[str, Weights] | None = None,
    ):
        """
        Args:
            constants: what networks read from outside of the model, with a value until it is given: a slot of a
                representation, a neighbour's message, a dose. They are settable like parameters.
            weights: by name of the joint; drawn at random (torch's own distributions) where missing.
        """
        if not isinstance(model, PathwayModel | ReactionNetwork):
            model = load_model(model)
        self.pathway = model.network if isinstance(model, PathwayModel) else model
        self.constants = dict(constants or {})
        self.joints = {joint.name: joint for joint in joints}
        self.weights = {
            name: {layer: dict(arrays) for layer, arrays in (weights or {}).get(name, _drawn(joint)).items()}
            for name, joint in self.joints.items()
        }
        self.inlined: dict[str, Inlined] = {}
        self.wide: dict[str, Wide] = {}
        self.network = self._joined()
        self.model = PathwayModel(self.network)

    def with_weights(self, weights: Mapping[str, Weights]) -> Hybrid:
        """The same with other weights of some networks."""
        return Hybrid(
            self.pathway, self.joints.values(), constants=self.constants, weights={**self.weights, **weights}
        )

    # ---- what one does with it

    def simulate(self, times: Iterable[float], **options: Any) -> xarray.Dataset:
        """As `PathwayModel.simulate`; units of networks inside the model are among the variables.

        Where a network runs in torch: species and what is given to `outputs`; `method` and `seed` say nothing there.
        """
        if not self.wide:
            return self.model.simulate(times, **options)
        from sim.hybrid.wide_course import simulate

        return simulate(self, times, **options)

    def study(
        self,
        experiments: Sequence[Experiment],
        observables: Sequence[Observable],
        measurements: Sequence[Measurement],
    ) -> Study:
        """What was measured on this hybrid, for an `Objective` with `fit_parameters`."""
        from sim.fitting.objective import Study
        from sim.hybrid.wide import integrator_of

        return Study(
            self.network, tuple(experiments), tuple(observables), tuple(measurements),
            integrator_of(self.network, tuple(self.wide.values()), observables),
        )  # fmt: skip

    def layer(
        self,
        times: Iterable[float],
        parameters: Sequence[str] = (),
        outputs: Sequence[str] | None = None,
        **options: Any,
    ) -> HybridLayer:
        """The time course as a torch module with the weights and `parameters` as its parameters.

        Args:
            parameters: ids of the pathway that are learned too.
            outputs: ids of any quantities; all species of the pathway, as concentrations, where None.
            options: initial, rtol, atol; see `mechanistic.adjoint.Adjoint`.
        """
        from sim.hybrid.layer import HybridLayer

        return HybridLayer(self, times, parameters, outputs, options)

    def term(self, name: str, samples: np.ndarray | None = None, members: Sequence[Weights] = ()) -> Term:
        """The function of a joint by itself.

        Args:
            samples: (point, input) where it is of interest; see `samples`.
            members: weights of other fits, for intervals.
        """
        joint = self.joints[name]
        n, m = len(joint.inputs), len(joint.targets)
        return Term(
            name,
            names_of(joint.inputs),
            tuple(_target_name(t) for t in joint.targets),
            joint.description(),
            (self.weights[name], *members),
            joint.positive,
            np.array(joint.input_scales or (1.0,) * n),
            np.array(joint.output_scales or (1.0,) * m),
            samples,
        )

    def samples(self, name: str, course: xarray.Dataset) -> np.ndarray:
        """(cell x time, input): what the network of a joint read along a course."""
        columns = []
        for item in self.joints[name].inputs:
            if item == "time":
                values = np.broadcast_to(course["time"].values, (course.sizes["cell"], course.sizes["time"]))
            elif isinstance(item, str) and item in course:
                values = course[item].values
            elif isinstance(item, str):
                values = np.full((course.sizes["cell"], course.sizes["time"]), self.constants[item])
            else:
                raise ValueError(f"'{name}' reads a formula; give it a name by a rule of the model")
            columns.append(np.ravel(values))
        return np.stack(columns, 1)

    def weight_ids(self, name: str) -> list[str]:
        """Ids of the weights of a network inside the model, in the order of its layers and arrays."""
        return list(_ids(self._weights_of(name)))

    def _weights_of(self, name: str) -> dict[str, dict[str, np.ndarray]]:
        """Ids by layer and array."""
        return self.wide[name].weights if name in self.wide else self.inlined[name].weights

    def weight_groups(self, name: str) -> dict[str, list[str]]:
        """Ids of the weights of a network inside the model: of each input by its name, then of each other array."""
        joint = self.joints[name]
        found: dict[str, list[str]] = {}
        for layer, arrays in self._weights_of(name).items():
            for array, ids in arrays.items():
                if not found and array == "weight" and ids.ndim == 2 and ids.shape[1] == len(joint.inputs):
                    for k, given in enumerate(names_of(joint.inputs)):
                        found[given] = [str(i) for i in ids[:, k]]
                else:
                    found[f"{layer}.{array}"] = [str(i) for i in ids.flat]
        return found

    def fit_parameters(self, deviation: float = np.inf) -> list[Parameter]:
        """The weights of all networks inside the model as parameters of a fit (`sim.fitting`).

        Args:
            deviation: of a normal prior around 0; none where infinite.
        """
        from sim.fitting.parts import Parameter, Prior

        prior = Prior("normal", (0.0, deviation)) if np.isfinite(deviation) else None
        return [
            Parameter(id, value, prior=prior)
            for name in self.inlined
            for id, value in zip(self.weight_ids(name), _ordered(self.weights[name], self._weights_of(name)))
        ]

    def taken(self, values: Mapping[str, float]) -> dict[str, Weights]:
        """The weights of all networks inside the model from values by id."""
        return {
            name: {
                layer: {
                    array: np.array([values[str(i)] for i in ids.flat], dtype=float).reshape(ids.shape)
                    for array, ids in arrays.items()
                }
                for layer, arrays in self._weights_of(name).items()
            }
            for name in self.inlined
        }

    def with_formulas(
        self, formulas: Mapping[str, Sequence[Tree]], constants: Mapping[str, float]
    ) -> ReactionNetwork:
        """The pathway with formulas in the places of some networks, the others written into it as they are.

        Args:
            formulas: for a joint one tree for each of its targets.
            constants: what the formulas name beside the pathway's own ids.
        """
        return self._joined(formulas, constants)

    # ---- how it is joined

    def _joined(
        self, formulas: Mapping[str, Sequence[Tree]] | None = None, more: Mapping[str, float] | None = None
    ) -> ReactionNetwork:
        constants, rules, rates, reactions = {**self.constants, **(more or {})}, {}, {}, []
        states: dict[str, tuple[float, Tree]] = {}
        for name, joint in self.joints.items():
            if joint.before:
                self._check_before(joint)
                continue
            if formulas is not None and name in formulas:
                outputs = list(formulas[name])
            else:
                part, wide = self._inlined(joint)
                self.inlined[name] = part
                if wide is not None:
                    self.wide[name] = wide
                constants |= part.values(self.weights[name]) | slots_of(wide)
                rules |= part.rules
                outputs = self._outputs(joint, part)
            for k, (target, tree) in enumerate(zip(joint.targets, outputs)):
                if isinstance(target, Sets | Gives):
                    rules[target.parameter if isinstance(target, Sets) else target.quantity] = tree
                elif isinstance(target, Changes):
                    states[target.quantity] = (target.start, tree)
                elif isinstance(target, Rate):
                    id = name if len(joint.targets) == 1 else f"{name}_{k}"
                    rate = self._rate(joint, target, tree)
                    if target.instead_of is not None:
                        rates[target.instead_of] = rate
                    else:
                        reactions.append(NewReaction(id, rate, target.stoichiometry))
        for name in [r for r in rules if r in constants]:
            self._refuse(name, f"'{name}' is a constant and an output; remove one")
        return joined(
            self.pathway, constants=constants, rules=rules, reactions=reactions, rates=rates, states=states
        )

    def _inlined(self, joint: Joint) -> tuple[Inlined, Wide | None]:
        description = joint.description()
        trees = joint.formulas()
        shapes = {
            layer: {array: np.shape(values) for array, values in arrays.items()}
            for layer, arrays in self.weights[joint.name].items()
        }
        inputs = [_array(trees)] if len(description.inputs) == 1 else [_array([t]) for t in trees]
        return written(description, joint.name, shapes, inputs)

    def _outputs(self, joint: Joint, part: Inlined) -> list[Tree]:
        trees = [tree for output in part.outputs for tree in np.ravel(output)]
        if len(trees) != len(joint.targets):
            message = f"'{joint.name}' has {len(trees)} outputs for {len(joint.targets)} targets"
            self._refuse(joint.name, message)
        if joint.positive:
            trees = [ACTIVATIONS["softplus"](tree) for tree in trees]
        if joint.output_scales:
            trees = [t if s == 1.0 else ["*", float(s), t] for t, s in zip(trees, joint.output_scales)]
        return trees

    def _rate(self, joint: Joint, target: Rate, tree: Tree) -> Tree:
        network = self.pathway
        if target.instead_of is not None:
            if target.instead_of not in network.reaction_ids:
                near = closest(target.instead_of, network.reaction_ids)
                self._refuse(joint.name, f"there is no reaction '{target.instead_of}'{near}")
            reaction = network[target.instead_of]
            first = (*reaction.reactants, *reaction.products)[0].species
        else:
            first = next(iter(target.stoichiometry), "")
        if first not in network.species_ids:
            self._refuse(joint.name, f"'{first}' is no species{closest(first, network.species_ids)}")
        species = network[first]
        factors = [] if species.substance_only else [species.compartment]
        return ["*", *factors, *target.times, tree] if factors or target.times else tree

    def _check_before(self, joint: Joint) -> None:
        for target in joint.targets:
            if not isinstance(target, Starts):
                message = f"'{joint.name}' acts before the simulation; its other outputs must, too"
                self._refuse(joint.name, message)
            elif target.id not in (*self.pathway.species_ids, *self.pathway.parameter_ids):
                known = (*self.pathway.species_ids, *self.pathway.parameter_ids)
                self._refuse(target.id, f"'{target.id}' is not in the model{closest(target.id, known)}")

    def _refuse(self, name: str, message: str) -> None:
        raise ModelError(self.pathway.file, [ModelProblem(message, None, name)])


def _ids(weights: Weights) -> Iterator[str]:
    for arrays in weights.values():
        for own in arrays.values():
            yield from (str(i) for i in own.flat)


def _ordered(values: Weights, like: Weights) -> Iterator[float]:
    """The values in the order of the ids."""
    for layer, arrays in like.items():
        for array in arrays:
            yield from (float(v) for v in np.ravel(values[layer][array]))


def _drawn(joint: Joint) -> Weights:
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(joint.seed)
        return SciMLNetwork(joint.description()).weights()


def _array(trees: Sequence[Tree]) -> np.ndarray:
    found = np.empty(len(trees), dtype=object)
    for i, tree in enumerate(trees):
        found[i] = tree
    return found


def _target_name(target: Any) -> str:
    if isinstance(target, Rate):
        return target.instead_of or "rate"
    if isinstance(target, Sets):
        return target.parameter
    return target.id if isinstance(target, Starts) else target.quantity
