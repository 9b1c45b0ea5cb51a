"""Vessels: straight tubes inside the domain, and what passes their walls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pydantic import Field

from sim.scenario.values import FieldValue, Length, Part, Point, Speed, fault

if TYPE_CHECKING:
    from sim.scenario.space import Domain


class Vessel(Part):
    """A straight tube. Without `to`, in a 2-D domain, it passes the layer at right angles."""

    start: Point = Field(alias="from", description="Where its axis begins.", examples=[["0 um", "-200 um"]])
    end: Point | None = Field(
        default=None,
        alias="to",
        description="Where its axis ends; left out, in a 2-D domain, for a vessel across the layer.",
        examples=[["0 um", "200 um"]],
    )
    radius: Length = Field(description="Radius of its wall.")


class Passing(Part):
    """How a field passes the wall of a vessel: flow = permeability * area * (value - field)."""

    value: FieldValue = Field(description="Value inside the vessel.")
    permeability: Speed = Field(description="Amount through the wall per area, time and difference.")


def check_vessels(domain: Domain, vessels: Mapping[str, Vessel]) -> None:
    """Every vessel lies in the domain and has a length; a fault otherwise."""
    for name, vessel in vessels.items():
        for key, point in (("from", vessel.start), ("to", vessel.end)):
            if point is None:
                continue
            if len(point) != len(domain.axes):
                raise fault(
                    f"has {len(point)} coordinates; the domain has {len(domain.axes)} axes",
                    "vessels",
                    name,
                    key,
                )
            for i, (value, (axis, (low, high))) in enumerate(zip(point, domain.axes.items())):
                if not low <= value <= high:
                    raise fault(
                        f"lies outside the domain along {axis} ({low} to {high})", "vessels", name, key, i
                    )
        if vessel.end is None and len(domain.axes) == 3:
            raise fault("'to' is missing; in three dimensions a vessel has two ends", "vessels", name)
        if vessel.end == vessel.start:
            raise fault("must differ from 'from'", "vessels", name, "to")
