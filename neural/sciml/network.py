"""A network file as a torch module."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from neural.errors import TrainingError, WeightsError
from neural.sciml.description import Description, Step, read_description
from neural.sciml.functions import FUNCTIONS, options_of
from neural.sciml.layers import make

Weights = Mapping[str, Mapping[str, Any]]


class SciMLNetwork(torch.nn.Module):
    """The network of a file, in double precision, in evaluation mode (dropout does nothing; `train()` turns it on).

    What a normalisation layer measures over its batch it measures in evaluation mode too: the format has no
    running statistics.

    Attributes:
        description: what the file says.
        layers: torch modules by layer id.
    """

    def __init__(self, description: Description):
        super().__init__()
        self.description = description
        made = {}
        for layer in description.layers.values():
            try:
                module = make(layer.kind, layer.arguments)
            except (TypeError, ValueError, RuntimeError) as error:
                message = f"{layer.kind} cannot be made of {layer.arguments}: {str(error).splitlines()[0]}"
                raise TrainingError(description.file, [(None, f"layers.{layer.id}", message)]) from None
            for name in ("running_mean", "running_var"):
                if hasattr(module, name):
                    setattr(module, name, None)
            made[layer.id] = module
        self.layers = torch.nn.ModuleDict(made)
        self.eval()

    @classmethod
    def load(cls, path: str | os.PathLike, weights: Weights | None = None) -> SciMLNetwork:
        """The network of a YAML file; its own random weights where none are given.

        Raises:
            TrainingError, WeightsError: see `read_description`, `set_weights`.
        """
        network = cls(read_description(path))
        if weights is not None:
            network.set_weights(weights)
        return network

    def forward(self, *inputs: torch.Tensor) -> Any:
        """The output, or a list of them.

        Args:
            inputs: one tensor for each of `description.inputs`, in order.
        """
        if len(inputs) != len(self.description.inputs):
            raise ValueError(f"needs {len(self.description.inputs)} inputs (got {len(inputs)})")
        return self.description.walk(inputs, self._computed)

    def _computed(self, step: Step, arguments: list) -> Any:
        if step.operation == "call_module":
            return self.layers[step.target](*arguments)
        return FUNCTIONS[step.target].call(*arguments, **options_of(step.options))

    # ---- weights

    def weights(self) -> dict[str, dict[str, np.ndarray]]:
        """Copies of all weights, by layer and name of the array."""
        return {
            layer: {name: p.detach().numpy().copy() for name, p in module.named_parameters()}
            for layer, module in self.layers.items()
            if any(True for _ in module.parameters())
        }

    def set_weights(self, weights: Weights) -> None:
        """Takes over all weights.

        Raises:
            WeightsError: an array is missing, has another shape, is not finite, or belongs to no layer.
        """
        for layer in weights:
            if layer not in self.layers:
                self._refuse(f"there is no layer '{layer}' (layers: {', '.join(self.layers)})")
        for layer, module in self.layers.items():
            given = dict(weights.get(layer, {}))
            for name, parameter in module.named_parameters():
                if name not in given:
                    self._refuse(f"'{layer}.{name}' has no values; its shape is {tuple(parameter.shape)}")
                values = np.array(given.pop(name), dtype=float)
                if values.shape != tuple(parameter.shape):
                    expected = tuple(parameter.shape)
                    self._refuse(f"'{layer}.{name}' must have the shape {expected} (got {values.shape})")
                if not np.all(np.isfinite(values)):
                    self._refuse(f"'{layer}.{name}' has values that are not finite")
                with torch.no_grad():
                    parameter.copy_(torch.from_numpy(values))
            if given:
                self._refuse(f"layer '{layer}' has no array '{next(iter(given))}'")

    def _refuse(self, message: str) -> None:
        raise WeightsError(self.description.file, message)
