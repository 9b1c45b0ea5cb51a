"""A small network written out as formulas: its weights are parameters, its units are rules.

What comes of it is part of the model like any rate law: the compiler gives its exact Jacobian, its derivatives
along directions and backwards, and nothing at run time knows that it was a network. It pays for small networks
(see docs/decisions/networks-as-formulas.md); `MOST_WEIGHTS` is where it stops.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mechanistic.parts import Tree
from sim.hybrid.activations import ACTIVATIONS, OVER_ALL

if TYPE_CHECKING:
    from neural.sciml import Description
    from neural.sciml.description import Step

MOST_WEIGHTS = 5000
_NOTHING = ("Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout")


class CannotInline(ValueError):
    """The network has a part that is not written as formulas; the message says which, and what to do."""


class TooWide(CannotInline):
    """The network has too many weights to be written as formulas."""


@dataclass(frozen=True)
class Inlined:
    """A network as formulas.

    Attributes:
        weights: ids of the weights, by layer and array, in the array's own order.
        rules: formulas of the units, by id, in order of computation.
        outputs: the formulas of each output (its name or its tree), as arrays.
    """

    weights: dict[str, dict[str, np.ndarray]]
    rules: dict[str, Tree]
    outputs: list[np.ndarray]

    @property
    def weight_ids(self) -> list[str]:
        """Every weight's id: layers, then arrays, then elements in the order of numpy."""
        return [str(name) for arrays in self.weights.values() for ids in arrays.values() for name in ids.flat]

    def values(self, weights: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
        """The weights' values by id."""
        return {
            str(name): float(value)
            for layer, arrays in self.weights.items()
            for array, ids in arrays.items()
            for name, value in zip(ids.flat, np.asarray(weights[layer][array], dtype=float).flat)
        }


def inlined(
    description: Description,
    name: str,
    shapes: Mapping[str, Mapping[str, tuple[int, ...]]],
    inputs: Sequence[Any],
) -> Inlined:
    """The network called `name` as formulas of `inputs`.

    Args:
        shapes: of every weight, by layer and array.
        inputs: for each argument of the network the array of its formulas (ids, numbers or trees).

    Raises:
        CannotInline: a layer or a function that is not written as formulas; TooWide: too many weights.
    """
    count = sum(int(np.prod(shape)) for arrays in shapes.values() for shape in arrays.values())
    if count > MOST_WEIGHTS:
        raise TooWide(f"'{name}' has {count} weights; at most {MOST_WEIGHTS} are written as formulas")
    return _Writer(description, name, shapes).write([as_array(i) for i in inputs])


class _Writer:
    def __init__(
        self, description: Description, name: str, shapes: Mapping[str, Mapping[str, tuple[int, ...]]]
    ):
        self.description, self.name = description, name
        self.rules: dict[str, Tree] = {}
        self.weights = {
            layer: {array: weight_ids(f"{name}__{layer}__{array}", shape) for array, shape in arrays.items()}
            for layer, arrays in shapes.items()
        }

    def write(self, inputs: list[np.ndarray]) -> Inlined:
        found = self.description.walk(inputs, self._computed)
        outputs = found if isinstance(found, list) else [found]
        return Inlined(self.weights, self.rules, [as_array(f) for f in outputs])

    def _computed(self, step: Step, arguments: list) -> np.ndarray:
        if step.operation == "call_module":
            found = self._layer(step.target, arguments)
        else:
            found = self._function(step.target, arguments, step.options)
        return self._named(step.name, found)

    def _named(self, step: str, found: np.ndarray) -> np.ndarray:
        """Every formula as a rule of its own, so that those that use it name it."""
        result = np.empty(found.shape, dtype=object)
        for index in np.ndindex(*found.shape):
            tree = found[index]
            if isinstance(tree, list):
                name = "__".join([self.name, step, *map(str, index)])
                self.rules[name] = tree
                tree = name
            result[index] = tree
        return result

    def _layer(self, target: str, arguments: list[np.ndarray]) -> np.ndarray:
        layer = self.description.layers[target]
        own, given = self.weights.get(target, {}), layer.arguments
        if layer.kind in _NOTHING:
            return arguments[0]
        if layer.kind == "Linear":
            return _linear(arguments[0], own)
        if layer.kind == "Bilinear":
            first, second = arguments
            return _bilinear(first, second, own)
        if layer.kind == "Flatten":
            first = given.get("start_dim", 1)
            return _flat(arguments[0], first, given.get("end_dim", -1))
        if layer.kind == "LayerNorm":
            return _layer_norm(
                arguments[0], own, given.get("eps", 1e-5), given["normalized_shape"], self.name
            )
        raise CannotInline(
            f"the layer '{target}' ({layer.kind}) of '{self.name}' is not written as formulas; "
            "let the network act before the simulation"
        )

    def _function(self, target: str, arguments: list[Any], options: Mapping[str, Any]) -> np.ndarray:
        options = {k: v for k, v in options.items() if k not in ("inplace", "dtype", "_stacklevel")}
        if target in ("cat", "stack"):
            parts = [as_array(p) for p in arguments[0]]
            axis = options.get("dim", arguments[1] if len(arguments) > 1 else 0)
            return (np.concatenate if target == "cat" else np.stack)(parts, axis)
        if target == "flatten":
            return _flat(arguments[0], options.get("start_dim", 0), options.get("end_dim", -1))
        if target in OVER_ALL:
            axis = options.get("dim")
            if arguments[0].ndim != 1 or axis not in (0, -1, None):
                raise CannotInline(f"'{target}' of '{self.name}' is written as formulas along one axis only")
            result = np.empty(arguments[0].shape, dtype=object)
            result[:] = OVER_ALL[target](list(arguments[0]))
            return result
        if target not in ACTIVATIONS:
            raise CannotInline(f"the function '{target}' of '{self.name}' is not written as formulas")
        try:
            function: Callable[..., Tree] = ACTIVATIONS[target]
            return _each(lambda *trees: function(*trees, **options), *(as_array(a) for a in arguments))
        except TypeError as error:
            raise CannotInline(f"'{target}' of '{self.name}': {error}") from None


def weight_ids(array: str, shape: tuple[int, ...]) -> np.ndarray:
    """An id for each element: that of the array, then the element's place in it."""
    ids = np.empty(shape, dtype=object)
    for index in np.ndindex(*shape):
        ids[index] = "__".join([array, *map(str, index)])
    return ids


def as_array(values: Any) -> np.ndarray:
    """Formulas, or numbers, as an array of objects."""
    if isinstance(values, np.ndarray) and values.dtype == object:
        return values
    if isinstance(values, np.ndarray | int | float):
        array = np.asarray(values, dtype=float)
        found = np.empty(array.shape, dtype=object)
        for index in np.ndindex(*array.shape):
            found[index] = float(array[index])
        return found
    found = np.empty(len(values), dtype=object)
    for i, value in enumerate(values):
        found[i] = value
    return found


def _each(function: Callable[..., Tree], *arrays: np.ndarray) -> np.ndarray:
    """`function` of the elements, arrays broadcast against each other."""
    shape = np.broadcast_shapes(*(a.shape for a in arrays))
    spread = [np.broadcast_to(a, shape) for a in arrays]
    result = np.empty(shape, dtype=object)
    for index in np.ndindex(*shape):
        result[index] = function(*(a[index] for a in spread))
    return result


def _linear(x: np.ndarray, own: Mapping[str, np.ndarray]) -> np.ndarray:
    weight, bias = own["weight"], own.get("bias")
    result = np.empty((*x.shape[:-1], len(weight)), dtype=object)
    for index in np.ndindex(*x.shape[:-1]):
        for o, row in enumerate(weight):
            terms: list[Tree] = [["*", w, v] for w, v in zip(row, x[index])]
            result[(*index, o)] = ["+", *terms, *([] if bias is None else [bias[o]])]
    return result


def _bilinear(x: np.ndarray, y: np.ndarray, own: Mapping[str, np.ndarray]) -> np.ndarray:
    weight, bias = own["weight"], own.get("bias")
    result = np.empty(len(weight), dtype=object)
    for o in range(len(weight)):
        terms: list[Tree] = [["*", weight[o, i, j], a, b] for i, a in enumerate(x) for j, b in enumerate(y)]
        result[o] = ["+", *terms, *([] if bias is None else [bias[o]])]
    return result


def _flat(x: np.ndarray, first: int, last: int) -> np.ndarray:
    first, last = first % max(x.ndim, 1), last % max(x.ndim, 1)
    return x.reshape(*x.shape[:first], -1, *x.shape[last + 1 :])


def _layer_norm(
    x: np.ndarray, own: Mapping[str, np.ndarray], eps: float, shape: Sequence[int], name: str
) -> np.ndarray:
    if tuple(x.shape) != tuple(shape if isinstance(shape, list | tuple) else (shape,)):
        raise CannotInline(f"LayerNorm of '{name}' is written as formulas over the whole input only")
    flat = list(x.flat)
    mean: Tree = ["/", ["+", *flat], float(len(flat))]
    centred = [["-", v, mean] for v in flat]
    spread: Tree = [
        "sqrt",
        ["+", ["/", ["+", *(["*", c, c] for c in centred)], float(len(flat))], float(eps)],
    ]
    result = np.empty(x.shape, dtype=object)
    for index, c in zip(np.ndindex(*x.shape), centred):
        value: Tree = ["/", c, spread]
        if "weight" in own:
            value = ["*", own["weight"][index], value]
        result[index] = ["+", value, own["bias"][index]] if "bias" in own else value
    return result
