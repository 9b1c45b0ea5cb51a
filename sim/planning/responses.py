"""A coupling's response given by a small trained network."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np


class NetworkResponse:
    """y = network(x), cell by cell; loaded when first used.

    Args:
        weights: safetensors file of kind "network".
    """

    def __init__(self, weights: Path):
        self.weights = weights
        self.label = f"network {weights.name}"

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return self.network(x)

    @cached_property
    def network(self):
        """The loaded network."""
        from neural.response import ResponseNetwork

        return ResponseNetwork.load(self.weights)
