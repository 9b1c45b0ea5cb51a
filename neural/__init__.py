"""Learned dynamics: representations, manipulators, decoders, tissue networks. Usable alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from neural.encoders import Representation
    from neural.manipulators import Manipulator
    from neural.response import ResponseNetwork
    from neural.tissue import TissueNetwork

__all__ = ["Manipulator", "Representation", "ResponseNetwork", "TissueNetwork"]

_HOMES = {
    "Manipulator": "neural.manipulators",
    "Representation": "neural.encoders",
    "ResponseNetwork": "neural.response",
    "TissueNetwork": "neural.tissue",
}


def __getattr__(name: str) -> Any:
    """Classes are imported when first asked for, so that `import neural` stays light."""
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'neural' has no attribute {name!r}")
