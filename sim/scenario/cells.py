"""Cell types: how many, where, and what a cell does by itself."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, Strict, model_validator

from sim.scenario.units import RATE, SPEED, VOLUME
from sim.scenario.values import (
    Duration,
    FieldValue,
    Length,
    Name,
    Part,
    Position,
    QuantityName,
    Rate,
    Reads,
    Speed,
    Text,
    Volume,
    default,
    fault,
    number,
    whole,
)
from sim.spelling import did_you_mean

MOST_CELLS = 10**12

PHASES = (
    "G0", "G0G1", "G1", "S", "G2", "G2M", "M", "quiescent", "cycling",
    "Ki67_negative", "Ki67_positive", "Ki67_positive_premitotic", "Ki67_positive_postmitotic",
)  # fmt: skip


_ONE_KEY: dict[str, Any] = {"minProperties": 1, "maxProperties": 1}


def exactly_one(part: Part, keys: tuple[str, ...], what: str) -> None:
    """Raises a fault unless one of `keys` is given in `part`."""
    given = [k for k in keys if k in part.model_fields_set]
    if len(given) != 1:
        raise fault(
            f"needs exactly one {what}: {', '.join(keys)}" + (f"; it has {', '.join(given)}" if given else "")
        )


class Empty(Part):
    """Written `{}`: there is nothing to choose."""


class Disc(Part):
    """A disc (a ball in 3-D) around the centre of the domain."""

    radius: Length = Field(description="Radius of the disc.")


class Hexagonal(Part):
    """A hexagonal lattice."""

    spacing: Length = Field(description="Distance of neighbouring cells.")
    shape: Literal["disc", "lattice"] = Field(
        default="disc",
        description="disc: the nodes nearest the domain's centre; lattice: by row from its lower corner.",
    )


Point = Annotated[tuple[Position, ...], Strict(False), Field(min_length=2, max_length=3)]


class Place(Part):
    """Where the cells of a type are at time 0: exactly one of random, disc, hexagonal, points."""

    model_config = ConfigDict(json_schema_extra=_ONE_KEY)

    random: Empty | None = Field(default=None, description="Uniformly in the whole domain.")
    disc: Disc | None = Field(default=None, description="Uniformly in a disc.")
    hexagonal: Hexagonal | None = Field(default=None, description="On a hexagonal lattice.")
    points: Annotated[tuple[Point, ...], Strict(False), Field(min_length=1)] | None = Field(
        default=None, description="At these points.", examples=[[["0 um", "0 um"], ["15 um", "0 um"]]]
    )

    @model_validator(mode="after")
    def _one(self) -> Place:
        exactly_one(self, ("random", "disc", "hexagonal", "points"), "way to place cells")
        return self

    @property
    def kind(self) -> str:
        """random, disc, hexagonal or points."""
        return next(iter(self.model_fields_set))


class Phase(Part):
    """A phase of the cell cycle: of random length with a mean, or of fixed length."""

    model_config = ConfigDict(json_schema_extra=_ONE_KEY)

    mean: Duration | None = Field(
        default=None, description="Mean length; the length is exponentially distributed."
    )
    fixed: Duration | None = Field(default=None, description="Length, the same for every cell.")

    @model_validator(mode="after")
    def _one(self) -> Phase:
        exactly_one(self, ("mean", "fixed"), "length")
        return self


def _phase(value: object) -> str:
    if value not in PHASES:
        raise fault(f"unknown phase; use {', '.join(PHASES)}{did_you_mean(str(value), PHASES)}")
    return str(value)


PhaseName = Annotated[str, Reads(_phase, {"type": "string", "enum": list(PHASES)})]


class Cycle(Part):
    """The cell cycle: a division rate, or phases in order, the last of which ends with division."""

    model_config = ConfigDict(json_schema_extra=_ONE_KEY)

    division: Rate | None = Field(
        default=None, description="Rate of division of a cell with one phase, live."
    )
    phases: dict[PhaseName, Phase] | None = Field(
        default=None, description="Phases in order, by name.", min_length=1
    )

    @model_validator(mode="after")
    def _one(self) -> Cycle:
        exactly_one(self, ("division", "phases"), "kind of cycle")
        return self


class Death(Part):
    """Alive -> apoptotic -> lysed (debris) -> gone."""

    apoptosis: Rate = Field(
        default=default("0 /min", RATE), description="Rate at which live cells enter apoptosis."
    )
    lysis: Rate = Field(default=default("2e-3 /min", RATE), description="Rate at which apoptotic cells lyse.")
    clearance: Rate = Field(
        default=default("3e-4 /min", RATE), description="Rate at which debris disappears."
    )


class Mechanics(Part):
    """Forces between cells (Macklin et al. 2012) in overdamped motion."""

    adhesion: Speed = Field(default=default("0.4 um/min", SPEED), description="Strength of adhesion.")
    repulsion: Speed = Field(default=default("10 um/min", SPEED), description="Strength of repulsion.")
    fixed: bool = Field(default=False, description="Whether the cells stay where they are.")


class Chemotaxis(Part):
    """Movement along the gradient of a field."""

    field: Name = Field(description="The field that is followed.")
    bias: Annotated[float, number(low=-1, high=1)] = Field(
        description="From 0 (random direction) to 1 (straight up the gradient); negative: away."
    )


class Motility(Part):
    """Active movement: straight at a speed, with a new direction after a random time."""

    speed: Speed = Field(description="Speed of the movement.")
    persistence: Duration = Field(description="Mean time in one direction.")
    chemotaxis: Chemotaxis | None = Field(default=None, description="Bias of the direction along a gradient.")


class Exchange(Part):
    """What a cell takes from and gives to a field in its voxel."""

    uptake: Rate | None = Field(default=None, description="First-order uptake by the cell's volume.")
    secretion: Rate | None = Field(
        default=None, description="Rate at which the cell's place relaxes to saturation."
    )
    saturation: FieldValue | None = Field(
        default=None, description="Value of the field at which secretion ends."
    )
    permeability: Rate | None = Field(
        default=None, description="Rate at which the field and the pathway's species (with) even out."
    )
    partner: QuantityName | None = Field(
        default=None,
        alias="with",
        description="The pathway's species that is exchanged.",
        examples=["pathway.egfr.EGF_in"],
    )

    @model_validator(mode="after")
    def _complete(self) -> Exchange:
        if self.uptake is None and self.secretion is None and self.permeability is None:
            raise fault("needs uptake, secretion or permeability")
        pairs = (("secretion", self.secretion, "saturation", self.saturation),)
        pairs += (("permeability", self.permeability, "with", self.partner),)
        for one, first, other, second in pairs:
            if (first is None) != (second is None):
                raise fault(f"{one} and {other} go together; '{other if second is None else one}' is missing")
        return self


class Representation(Part):
    """The cell's learned state (universal representation)."""

    space: Name = Field(description="Name of the latent space, as in the weights.")
    initial: Text | None = Field(
        default=None, description="Named state of the weights to start from, for example untreated."
    )
    manipulators: Annotated[tuple[Name, ...], Strict(False)] | None = Field(
        default=None, description="Manipulators that act on these cells; all of this space if left out."
    )


class CellType(Part):
    """A type of cell."""

    count: Annotated[int, whole(0, MOST_CELLS)] | None = Field(
        default=None, description="Number of cells at time 0; with place.points it may be left out."
    )
    place: Place = Field(description="Where they are at time 0.")
    volume: Volume = Field(
        default=default("2494 um^3", VOLUME), description="Volume of a cell at birth's end, its target."
    )
    growth: Rate = Field(
        default=default("4.5e-3 /min", RATE), description="Rate at which the volume relaxes to its target."
    )
    cycle: Cycle | None = Field(default=None, description="The cell cycle; without it cells do not divide.")
    death: Death = Field(default_factory=Death, description="Rates of death and what follows.")
    mechanics: Mechanics = Field(default_factory=Mechanics, description="Forces between cells.")
    motility: Motility | None = Field(default=None, description="Active movement.")
    exchange: dict[Name, Exchange] = Field(
        default_factory=dict, description="Exchange with fields, by the field's name."
    )
    pathways: Annotated[tuple[Name, ...], Strict(False)] = Field(
        default=(), description="Pathways that run in each cell."
    )
    representation: Representation | None = Field(default=None, description="The cell's learned state.")

    @model_validator(mode="after")
    def _counted(self) -> CellType:
        points = self.place.points
        if points is None and self.count is None:
            raise fault("is missing; add it", "count")
        if points is not None and self.count not in (None, len(points)):
            raise fault(f"differs from the {len(points)} places given in place.points", "count")
        return self

    @property
    def number(self) -> int:
        """Cells at time 0."""
        return self.count if self.count is not None else len(self.place.points or ())
