"""The functions that a network file may call: activations, and arithmetic on arrays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any


@dataclass(frozen=True)
class Function:
    """One function: where torch has it, and the options it takes."""

    home: str
    name: str
    options: tuple[str, ...] = ()

    @cached_property
    def call(self) -> Callable[..., Any]:
        from importlib import import_module

        return getattr(import_module(self.home), self.name)


_ACTIVATIONS: dict[str, tuple[str, ...]] = {
    "relu": (), "relu6": (), "hardswish": (), "selu": (), "silu": (), "logsigmoid": (), "tanhshrink": (),
    "softsign": (), "hardsigmoid": (), "mish": (), "hardtanh": ("min_val", "max_val"), "elu": ("alpha",),
    "celu": ("alpha",), "leaky_relu": ("negative_slope",), "gelu": ("approximate",),
    "softplus": ("beta", "threshold"), "softmax": ("dim",), "log_softmax": ("dim",),
}  # fmt: skip
_TORCH: dict[str, tuple[str, ...]] = {
    "tanh": (), "sigmoid": (), "exp": (), "log": (), "sqrt": (), "square": (), "abs": (), "neg": (), "sin": (),
    "cos": (), "add": ("alpha",), "sub": ("alpha",), "mul": (), "div": (), "pow": (), "cat": ("dim",),
    "stack": ("dim",), "flatten": ("start_dim", "end_dim"), "squeeze": ("dim",), "unsqueeze": ("dim",),
    "sum": ("dim",), "mean": ("dim",),
}  # fmt: skip

FUNCTIONS: dict[str, Function] = {
    **{name: Function("torch.nn.functional", name, options) for name, options in _ACTIVATIONS.items()},
    **{name: Function("torch", name, options) for name, options in _TORCH.items()},
    # as torch.fx writes the operators of Python
    "truediv": Function("torch", "div"),
    "swish": Function("torch.nn.functional", "silu"),
}


def options_of(given: dict[str, Any]) -> dict[str, Any]:
    """What reaches the function: all but how torch stores its result."""
    return {k: v for k, v in given.items() if k not in ("inplace", "dtype", "_stacklevel")}
