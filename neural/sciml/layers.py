"""The layers that a network file may name: classes of torch.nn, and what they take."""

from __future__ import annotations

from typing import Any

_BY_DIMENSION = (
    "Conv", "ConvTranspose", "AvgPool", "MaxPool", "LPPool", "AdaptiveMaxPool", "AdaptiveAvgPool", "BatchNorm",
    "InstanceNorm", "Dropout",
)  # fmt: skip
LAYERS = frozenset(
    {f"{kind}{d}d" for kind in _BY_DIMENSION for d in (1, 2, 3)}
    | {"LayerNorm", "Dropout", "AlphaDropout", "Linear", "Bilinear", "Flatten"}
)

# where numbers are stored and how is the importer's business
_OURS = {"self", "device", "dtype"}


def argument_names(kind: str) -> tuple[str, ...]:
    """The arguments of a layer of this kind."""
    import inspect

    import torch

    names = inspect.signature(getattr(torch.nn, kind).__init__).parameters
    return tuple(n for n in names if n not in _OURS)


def make(kind: str, arguments: dict[str, Any]):
    """The torch module of a layer, in double precision.

    Raises:
        TypeError, ValueError, RuntimeError: torch does not take these arguments.
    """
    import torch

    given = {k: tuple(v) if isinstance(v, list) else v for k, v in arguments.items()}
    if "inplace" in given:
        # a step's value may be used again
        given["inplace"] = False
    layer = getattr(torch.nn, kind)(**given)
    return layer.double()
