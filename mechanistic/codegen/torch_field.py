"""The equations of a network as a torch module: double precision, differentiable."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from mechanistic.codegen.system import System
from mechanistic.network import ReactionNetwork

FUNCTIONS: dict[str, Callable] = {
    "+": torch.add, "-": torch.sub, "*": torch.mul, "/": torch.div, "^": torch.pow, "max": torch.maximum,
    "min": torch.minimum, "neg": torch.neg, "abs": torch.abs, "exp": torch.exp, "ln": torch.log,
    "log10": torch.log10, "sqrt": torch.sqrt, "floor": torch.floor, "ceil": torch.ceil,
    "factorial": lambda x: torch.exp(torch.lgamma(x + 1.0)), "sin": torch.sin, "cos": torch.cos,
    "tan": torch.tan, "sinh": torch.sinh, "cosh": torch.cosh, "tanh": torch.tanh, "arcsin": torch.arcsin,
    "arccos": torch.arccos, "arctan": torch.arctan,
    "arcsinh": torch.arcsinh, "arccosh": torch.arccosh, "arctanh": torch.arctanh,
    "<": torch.lt, "<=": torch.le, "==": torch.eq, "!=": torch.ne, "and": torch.logical_and,
    "or": torch.logical_or, "xor": torch.logical_xor, "not": torch.logical_not, "select": torch.where,
}  # fmt: skip


class PathwayField(torch.nn.Module):
    """d(state)/dt of one network; events are not part of it.

    Attributes:
        state_ids: ids of the state's columns (species as amounts).
        constant_ids: ids of the constants' columns.
        constants: (constant_ids,) the model's own values, a buffer.
    """

    constants: torch.Tensor

    def __init__(self, network: ReactionNetwork, system: System, constants: np.ndarray):
        super().__init__()
        self.state_ids, self.constant_ids = network.state_ids, network.settable_ids
        self._nodes = [(node, *system.graph.nodes[node]) for node in system.graph.needed(system.derivative)]
        self._outputs = list(system.derivative)
        self.register_buffer("constants", torch.as_tensor(constants, dtype=torch.float64))

    def forward(
        self,
        time: torch.Tensor | float,
        state: torch.Tensor,
        constants: torch.Tensor | None = None,
        scale: torch.Tensor | float = 1.0,
    ) -> torch.Tensor:
        """d(state)/dt, (..., state_ids).

        Args:
            time, scale: scalars or (...,).
            state: (..., state_ids), double precision.
            constants: (..., constant_ids), or None for the model's own.
        """
        fixed = self.constants if constants is None else constants
        inputs = [
            torch.as_tensor(time, dtype=state.dtype, device=state.device),
            torch.as_tensor(scale, dtype=state.dtype, device=state.device),
            *state.unbind(-1),
            *fixed.unbind(-1),
        ]
        values: dict[int, torch.Tensor] = {}
        for node, operation, *operands in self._nodes:
            if operation == "const":
                values[node] = torch.tensor(operands[0], dtype=state.dtype, device=state.device)
            elif operation == "input":
                values[node] = inputs[operands[0]]
            else:
                values[node] = FUNCTIONS[operation](*(values[o] for o in operands))
        shape = state.shape[:-1]
        return torch.stack([values[o].expand(shape) for o in self._outputs], -1)
