"""Learned dynamics: representations, manipulators, decoders, tissue networks. Usable alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from neural.encoders import Representation
    from neural.manipulators import Manipulator
    from neural.odes import solve
    from neural.perturbation_model import PerturbationModel
    from neural.response import ResponseNetwork
    from neural.tissue import TissueNetwork
    from neural.traces_model import TracesModel
    from neural.transport_model import TransportModel
    from neural.vector_fields import MLPField

__all__ = [
    "MLPField",
    "Manipulator",
    "PerturbationModel",
    "Representation",
    "ResponseNetwork",
    "TissueNetwork",
    "TracesModel",
    "TransportModel",
    "solve",
]

_HOMES = {
    "MLPField": "neural.vector_fields",
    "Manipulator": "neural.manipulators",
    "PerturbationModel": "neural.perturbation_model",
    "Representation": "neural.encoders",
    "ResponseNetwork": "neural.response",
    "TissueNetwork": "neural.tissue",
    "TracesModel": "neural.traces_model",
    "TransportModel": "neural.transport_model",
    "solve": "neural.odes",
}


def __getattr__(name: str) -> Any:
    """Classes are imported when first asked for, so that `import neural` stays light."""
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'neural' has no attribute {name!r}")
