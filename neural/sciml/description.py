"""What a network file says, as plain data: inputs, layers, and the steps of the forward pass. Runs nothing.

The file is YAML (PEtab-SciML's network format). A step is one of torch.fx's: "placeholder" (an input),
"call_module" (a layer), "call_function" and "call_method" (an activation, or arithmetic on arrays), "output".
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from neural.errors import TrainingError, shown
from neural.files import read_text
from neural.sciml.functions import FUNCTIONS
from neural.sciml.layers import LAYERS, argument_names
from neural.spelling import nearest
from neural.strict_yaml import read

OPERATIONS = ("placeholder", "call_module", "call_function", "call_method", "output")


@dataclass(frozen=True)
class Layer:
    """One layer: `kind` is the name of its class in torch.nn, `arguments` what that takes."""

    id: str
    kind: str
    arguments: dict[str, Any]


@dataclass(frozen=True)
class Step:
    """One step of the forward pass; a text among `arguments` is the name of an earlier step."""

    name: str
    operation: str
    target: str
    arguments: tuple[Any, ...]
    options: dict[str, Any]


@dataclass(frozen=True)
class Description:
    """A network as plain data.

    Attributes:
        id: the network's own name.
        inputs: ids of the arguments of the forward pass, in order.
        layers: by id.
        steps: in order of computation; the last gives the outputs.
    """

    id: str
    inputs: tuple[str, ...]
    layers: dict[str, Layer]
    steps: tuple[Step, ...]
    file: str = field(default="<network>", compare=False)

    @property
    def output(self) -> Any:
        """What the last step names: one step, or a list of them."""
        return self.steps[-1].arguments[0]

    def walk(self, inputs: Iterable[Any], call: Callable[[Step, list], Any]) -> Any:
        """What the last step names, each layer and function on the way computed by `call(step, arguments)`.

        Args:
            inputs: one for each of `self.inputs`, in order, in whatever form `call` takes.
        """
        values: dict[str, Any] = {}
        waiting = iter(inputs)
        for step in self.steps:
            if step.operation == "placeholder":
                values[step.name] = next(waiting)
                continue
            arguments = [_looked_up(values, a) for a in step.arguments]
            if step.operation == "output":
                return arguments[0]
            values[step.name] = call(step, arguments)
        raise AssertionError("a description ends with its output")


def _looked_up(values: Mapping[str, Any], argument: Any) -> Any:
    if isinstance(argument, str):
        return values[argument]
    if isinstance(argument, list | tuple):
        return [_looked_up(values, part) for part in argument]
    return argument


def read_description(path: str | os.PathLike) -> Description:
    """The network of a YAML file.

    Raises:
        TrainingError: every fault found, each with its line: an unknown layer, argument or function, a step that
            names nothing known.
    """
    content, lines = read(read_text(path), path)
    problems: list[tuple[int | None, str | None, str]] = []
    found = _Reader(content, lines, problems, str(path)).description()
    if problems:
        raise TrainingError(path, sorted(problems, key=lambda p: p[0] or 0))
    return found


def dense(
    name: str,
    inputs: int,
    widths: Sequence[int],
    outputs: int,
    activation: str = "tanh",
    last: str | None = None,
) -> Description:
    """A feed-forward network: linear layers `layer1`, `layer2`, ... with `activation` between them.

    Args:
        widths: units of each hidden layer; none of them for a linear map.
        last: an activation of the outputs, such as "softplus" where they must not be negative.
    """
    sizes = [inputs, *widths, outputs]
    layers = {
        f"layer{i + 1}": Layer(f"layer{i + 1}", "Linear", {"in_features": a, "out_features": b, "bias": True})
        for i, (a, b) in enumerate(pairwise(sizes))
    }
    steps = [Step("net_input", "placeholder", "net_input", (), {})]
    before = "net_input"
    for i, layer in enumerate(layers):
        steps.append(Step(layer, "call_module", layer, (before,), {}))
        before = layer
        after = last if i == len(widths) else activation
        if after is not None:
            before = f"{after}_{i + 1}"
            steps.append(Step(before, "call_function", after, (layer,), {}))
    steps.append(Step("output", "output", "output", (before,), {}))
    for function in (activation, *([last] if last else [])):
        if function not in FUNCTIONS:
            raise ValueError(f"unknown activation '{function}'{nearest(function, FUNCTIONS)}")
    return Description(name, ("input0",), layers, tuple(steps))


def write_description(description: Description, path: str | os.PathLike) -> None:
    """Writes the network as YAML, which reads back as the same."""
    import yaml

    content = {
        "nn_model_id": description.id,
        "inputs": [{"input_id": name} for name in description.inputs],
        "layers": [
            {"layer_id": layer.id, "layer_type": layer.kind, "args": dict(layer.arguments)}
            for layer in description.layers.values()
        ],
        "forward": [
            {
                "name": s.name,
                "op": s.operation,
                "target": s.target,
                "args": list(s.arguments),
                "kwargs": dict(s.options),
            }
            for s in description.steps
        ],
    }
    with open(path, "w", encoding="utf-8") as file:
        yaml.safe_dump(content, file, sort_keys=False)


class _Reader:
    """The parts of a file, each fault noted with its line."""

    def __init__(self, content: dict, lines: dict[str, int], problems: list, file: str):
        self.content, self.lines, self.problems, self.file = content, lines, problems, file

    def description(self) -> Description:
        name = self.content.get("nn_model_id")
        if not isinstance(name, str):
            self._fault("nn_model_id", f"must be the network's name (got {shown(name)})")
        inputs = []
        for i, item in enumerate(self._items("inputs")):
            found = item.get("input_id") if isinstance(item, dict) else None
            if not isinstance(found, str):
                self._fault(f"inputs[{i}]", f"needs an input_id (got {shown(item)})")
            inputs.append(str(found))
        layers: dict[str, Layer] = {}
        for i, item in enumerate(self._items("layers", empty=True)):
            layer = self._layer(f"layers[{i}]", item)
            if layer is not None:
                if layer.id in layers:
                    self._fault(f"layers[{i}]", f"a second layer called '{layer.id}'; rename one")
                layers[layer.id] = layer
        steps: list[Step] = []
        for i, item in enumerate(self._items("forward")):
            step = self._step(f"forward[{i}]", item, layers, {s.name for s in steps})
            if step is not None:
                steps.append(step)
        if not self.problems:
            placeholders = sum(s.operation == "placeholder" for s in steps)
            if placeholders != len(inputs):
                message = f"has {placeholders} placeholders for {len(inputs)} inputs; it needs one each"
                self._fault("forward", message)
            if steps[-1].operation != "output" or len(steps[-1].arguments) != 1:
                self._fault("forward", "must end with one output")
        return Description(str(name), tuple(inputs), layers, tuple(steps), self.file)

    def _items(self, key: str, empty: bool = False) -> list:
        found = self.content.get(key, [] if empty else None)
        if not isinstance(found, list) or not (found or empty):
            self._fault(key, f"must be a list (got {shown(found)})")
            return []
        return found

    def _layer(self, key: str, item: Any) -> Layer | None:
        if not isinstance(item, dict) or not isinstance(item.get("layer_id"), str):
            self._fault(key, f"needs a layer_id (got {shown(item)})")
            return None
        kind, arguments = item.get("layer_type"), item.get("args") or {}
        if kind not in LAYERS:
            self._fault(f"{key}.layer_type", f"unknown layer type {kind!r}{nearest(str(kind), LAYERS)}")
            return None
        known = argument_names(kind)
        for argument in arguments:
            if argument not in known:
                near = nearest(argument, known)
                self._fault(f"{key}.args.{argument}", f"{kind} has no argument '{argument}'{near}")
        return Layer(item["layer_id"], kind, dict(arguments))

    def _step(self, key: str, item: Any, layers: dict, earlier: set[str]) -> Step | None:
        if not isinstance(item, dict) or item.get("op") not in OPERATIONS:
            got = item.get("op") if isinstance(item, dict) else item
            self._fault(f"{key}.op", f"must be one of {', '.join(OPERATIONS)} (got {shown(got)})")
            return None
        name, operation, target = str(item.get("name")), item["op"], str(item.get("target"))
        arguments, options = item.get("args") or [], item.get("kwargs") or {}
        if not isinstance(arguments, list) or not isinstance(options, dict):
            self._fault(f"{key}.args", "args must be a list and kwargs a mapping")
            return None
        if operation == "call_module" and target not in layers:
            self._fault(f"{key}.target", f"there is no layer '{target}'{nearest(target, layers)}")
        if operation in ("call_function", "call_method") and target not in FUNCTIONS:
            self._fault(f"{key}.target", f"unknown function '{target}'{nearest(target, FUNCTIONS)}")
        elif operation in ("call_function", "call_method"):
            known = FUNCTIONS[target].options
            for option in options:
                if option not in known and option not in ("inplace", "dtype", "_stacklevel"):
                    self._fault(
                        f"{key}.kwargs.{option}", f"{target} takes no '{option}'{nearest(option, known)}"
                    )
        if operation != "placeholder":
            for text in _texts(arguments):
                if text not in earlier:
                    self._fault(f"{key}.args", f"no earlier step is called '{text}'{nearest(text, earlier)}")
        if name in earlier:
            self._fault(f"{key}.name", f"a second step called '{name}'; rename one")
        return Step(name, operation, target, tuple(arguments), dict(options))

    def _fault(self, key: str, message: str) -> None:
        self.problems.append((self.lines.get(key, self.lines.get(key.rpartition(".")[0])), key, message))


def _texts(arguments: Any) -> list[str]:
    if isinstance(arguments, str):
        return [arguments]
    if isinstance(arguments, list | tuple):
        return [text for part in arguments for text in _texts(part)]
    return []
