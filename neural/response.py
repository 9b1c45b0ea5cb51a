"""A small network as the response of a coupling: k numbers in, one out.

    y = unit_out * (w2 . tanh(w1 x / unit_in + b1) + b2)

Plain numpy: a coupling is evaluated for every cell at every step, and needs no torch.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from neural import weights
from neural.errors import WeightsError

if TYPE_CHECKING:
    import torch


class ResponseNetwork:
    """Response of a coupling, with weights of kind "network".

    Attributes:
        inputs: number of inputs k.

    Args:
        w1: (k, h), b1: (h,), w2: (h,), b2: () of the formula above.
        unit_in: (k,) and unit_out: (), what one network unit is.
    """

    def __init__(
        self,
        w1: np.ndarray,
        b1: np.ndarray,
        w2: np.ndarray,
        b2: np.ndarray | float = 0.0,
        unit_in: np.ndarray | float = 1.0,
        unit_out: np.ndarray | float = 1.0,
    ):
        self._w1, self._b1, self._w2 = (np.asarray(a, float) for a in (w1, b1, w2))
        self._b2, self._unit_out = np.asarray(b2, float), np.asarray(unit_out, float)
        if self._w1.ndim != 2 or self._b1.shape != self._w1.shape[1:] or self._w2.shape != self._b1.shape:
            raise ValueError(
                f"w1 must be (k, h), b1 and w2 (h,); got {self._w1.shape}, {self._b1.shape}, {self._w2.shape}"
            )
        self.inputs = len(self._w1)
        self._unit_in = np.broadcast_to(np.asarray(unit_in, float), (self.inputs,)).copy()

    @classmethod
    def load(cls, path: str | os.PathLike) -> ResponseNetwork:
        """Read weights of kind "network".

        Raises:
            WeightsError: the file fails a check of `neural.weights.read_card`, or is of another kind or
                shape.
        """
        _, t = weights.load(path, "network")
        return cls.from_tensors(t, path)

    @classmethod
    def from_tensors(cls, t: Mapping[str, np.ndarray], file: object = "<memory>") -> ResponseNetwork:
        """A response from the tensors of a weights file."""
        try:
            return cls(t["w1"], t["b1"], t["w2"], t["b2"], t["unit_in"], t["unit_out"])
        except (KeyError, ValueError, TypeError) as error:
            raise WeightsError(file, f"the tensors do not make a response network ({error})") from None

    def save(self, path: str | os.PathLike, name: str = "response") -> str:
        """Write the weights; returns their sha256."""
        tensors = {
            "w1": self._w1,
            "b1": self._b1,
            "w2": self._w2,
            "b2": self._b2,
            "unit_in": self._unit_in,
            "unit_out": self._unit_out,
        }
        card = {
            "kind": "network",
            "name": name,
            "architecture": {"inputs": self.inputs, "hidden": len(self._b1), "activation": "tanh"},
        }
        return weights.save(path, tensors, card)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Response (n,) to x (n,) or (n, k). Each element's result depends on that element alone."""
        values = np.asarray(x, float)
        if values.ndim == 1:
            values = values[:, None]
        if values.shape[1] != self.inputs:
            raise ValueError(f"the response takes {self.inputs} inputs, got an array of shape {values.shape}")
        scaled = values / self._unit_in
        # sums written out unit by unit: a matrix product could round a row by its place in the block
        out = np.full(len(values), float(self._b2))
        for j in range(len(self._b1)):
            inner = np.full(len(values), self._b1[j])
            for k in range(self.inputs):
                inner = inner + scaled[:, k] * self._w1[k, j]
            out = out + self._w2[j] * np.tanh(inner)
        return float(self._unit_out) * out

    def with_gradient(self, x: torch.Tensor) -> torch.Tensor:
        """The same formula on a float64 tensor (n, k), (n,), for gradients."""
        import torch

        w1, b1, w2 = (torch.as_tensor(a) for a in (self._w1, self._b1, self._w2))
        raised = torch.tanh((x / torch.as_tensor(self._unit_in)) @ w1 + b1)
        return float(self._unit_out) * (raised @ w2 + float(self._b2))
