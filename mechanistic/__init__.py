"""Biology in equations: SBML pathways, diffusing fields. Usable alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mechanistic.model import PathwayModel, load_model
    from mechanistic.pathway_state import PathwayState

__all__ = ["PathwayModel", "PathwayState", "load_model"]


def __getattr__(name: str) -> Any:
    # loaded when first asked for: reading and checking a model must not import numpy
    if name in __all__:
        from mechanistic import model

        return getattr(model, name)
    raise AttributeError(f"module 'mechanistic' has no attribute '{name}'")
