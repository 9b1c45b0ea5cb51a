"""What a scenario does that its twin does not."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

from sim.core.coupling import Hill, Identity, Linear
from sim.processes.membrane import Membrane
from sim.processes.motion import Mechanics
from sim.processes.pathway import PathwayProcess
from sim.processes.tissue import TissueProcess

if TYPE_CHECKING:
    from sim.build import Plan

#: what mechanics may be set to do and the twin does too; crawling cells are told by their speed
_MOTION = {"repulsion", "adhesion", "fixed", "speed", "persistence", "bias", "towards", "raw", "crawling"}


def without_gradient(plan: Plan) -> list[str]:
    """What a scenario does that its twin does not."""
    found = []
    for f in plan.fields:
        s = f.settings
        if s.steady or s.vessels or s.patches or s.advection is not None:
            found.append(f"{f.name} is steady, flows, or has vessels or regions")
        if any(s.secretion.values()):
            found.append(f"secretion of {s.name} (export has one)")
    for p in plan.processes:
        if isinstance(p, Membrane):
            found.append(f"{p.name} passes a membrane")
        if isinstance(p, PathwayProcess) and (
            p.network.events or p.network.delays or p.network.fast_reactions
        ):
            found.append(f"{p.name} has events, delays or fast reactions")
        if p.name in ("springs", "interactions") or p.name.startswith("representation."):
            found.append(p.name)
        if isinstance(p, TissueProcess) and [q["name"] for q in p.settings.card.architecture["edges"]] != [
            "distance"
        ]:
            found.append("the tissue network asks more of edges than distance")
        if isinstance(p, Mechanics):
            settings = p.settings
            others = [f.name for f in fields(settings) if f.name not in _MOTION and getattr(settings, f.name)]
            found += [f"mechanics: {name}" for name in others]
            if any(settings.speed.values()):
                found.append("cells crawl, which is drawn")
    for c in plan.couplings:
        if not isinstance(c.response, Identity | Linear | Hill) or c.is_rule:
            found.append(f"{c.name} answers by {c.response.label}")
    if plan.perturbations:
        found.append("perturbations")
    return found
