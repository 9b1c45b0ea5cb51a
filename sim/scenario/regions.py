"""Regions of the domain in which a field spreads otherwise, or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, Strict, model_validator

from sim.scenario.perturbations import DiscAt
from sim.scenario.values import Part, Position, fault

if TYPE_CHECKING:
    from sim.scenario.space import Domain

_Interval = Annotated[tuple[Position, Position], Strict(False)]


class BoxAt(Part):
    """A box along the axes; an axis that is left out is covered whole."""

    x: _Interval | None = Field(
        default=None, description="From and to along x.", examples=[["-10 um", "10 um"]]
    )
    y: _Interval | None = Field(default=None, description="From and to along y.")
    z: _Interval | None = Field(default=None, description="From and to along z.")

    @model_validator(mode="after")
    def _ordered(self) -> BoxAt:
        given = {axis: ends for axis in "xyz" if (ends := getattr(self, axis)) is not None}
        if not given:
            raise fault("needs an axis, such as x: [-10 um, 10 um]")
        for axis, (low, high) in given.items():
            if not low < high:
                raise fault(f"the lower end ({low}) must lie below the upper end ({high})", axis)
        return self


class Region(Part):
    """A disc (a ball in 3-D) or a box: the voxels whose middles lie in it."""

    disc: DiscAt | None = Field(default=None, description="A disc, or a ball.")
    box: BoxAt | None = Field(default=None, description="A box along the axes.")

    @model_validator(mode="after")
    def _one(self) -> Region:
        if (self.disc is None) == (self.box is None):
            raise fault("must be a disc or a box, one of the two")
        return self


def check_regions(domain: Domain, regions: Mapping[str, Region]) -> None:
    """Regions have the axes of the domain; a fault otherwise."""
    axes = len(domain.axes)
    for name, region in regions.items():
        if region.disc is not None and len(region.disc.center) != axes:
            message = f"has {len(region.disc.center)} coordinates; the domain has {axes} axes"
            raise fault(message, "regions", name, "disc", "center")
        if region.box is not None and region.box.z is not None and axes == 2:
            raise fault("the domain has no z", "regions", name, "box", "z")
