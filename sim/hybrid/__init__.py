"""Pathway and network as one system of equations, one stiff integrator, one gradient.

from sim.hybrid import Hybrid, Joint, Rate

hybrid = Hybrid("glycolysis.xml", [Joint("consumption", inputs=("A_3",), to=Rate({"A_3": -1}), positive=True)])
hybrid.simulate([0, 1, 2])
layer = hybrid.layer([0, 1, 2], outputs=("N_2", "A_3"))     # a torch module
layer().square().sum().backward()
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sim.hybrid.inline import CannotInline
    from sim.hybrid.joint import Changes, Gives, Joint, Rate, Sets, Starts
    from sim.hybrid.system import Hybrid
    from sim.hybrid.term import Term

_HOMES = {
    "CannotInline": "inline",
    "Changes": "joint",
    "Gives": "joint",
    "Hybrid": "system",
    "Joint": "joint",
    "Rate": "joint",
    "Sets": "joint",
    "Starts": "joint",
    "Term": "term",
}
__all__ = ["CannotInline", "Changes", "Gives", "Hybrid", "Joint", "Rate", "Sets", "Starts", "Term"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(f"sim.hybrid.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'sim.hybrid' has no attribute {name!r}")
