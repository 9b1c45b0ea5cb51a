"""Cell types: how many, where, and what a cell does by itself."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, Strict, model_validator

from sim.scenario.cycle import ONE_KEY, Cycle, exactly_one
from sim.scenario.units import RATE, SPEED, TIME, VOLUME
from sim.scenario.values import (
    Duration,
    FieldValue,
    FilePath,
    Flow,
    Fraction01,
    Length,
    Name,
    Number,
    Part,
    Point,
    QuantityName,
    Rate,
    Speed,
    Text,
    Velocity,
    Volume,
    default,
    fault,
    number,
    whole,
)

MOST_CELLS = 10**12


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


class Place(Part):
    """Where the cells of a type are at time 0: exactly one of random, disc, hexagonal, points, file."""

    model_config = ConfigDict(json_schema_extra=ONE_KEY)

    random: Empty | None = Field(default=None, description="Uniformly in the whole domain.")
    disc: Disc | None = Field(default=None, description="Uniformly in a disc.")
    hexagonal: Hexagonal | None = Field(default=None, description="On a hexagonal lattice.")
    points: Annotated[tuple[Point, ...], Strict(False), Field(min_length=1)] | None = Field(
        default=None, description="At these points.", examples=[[["0 um", "0 um"], ["15 um", "0 um"]]]
    )
    file: FilePath | None = Field(
        default=None,
        description="At the places of this type in a table with the columns x, y, z [um] and type (PhysiCell's).",
        examples=["cells.csv"],
    )

    @model_validator(mode="after")
    def _one(self) -> Place:
        exactly_one(self, ("random", "disc", "hexagonal", "points", "file"), "way to place cells")
        return self

    @property
    def kind(self) -> str:
        """random, disc, hexagonal, points or file."""
        return next(iter(self.model_fields_set))


class Composition(Part):
    """Volume in parts: fluid, nucleus and cytoplasm, each with its own rate (Ghaffarizadeh et al. 2018)."""

    fluid: Fraction01 = Field(default=0.75, description="Share of fluid, in nucleus and cytoplasm alike.")
    nuclear: Volume = Field(
        default=default("540 um^3", VOLUME), description="Volume of the nucleus with its fluid."
    )
    fluid_rate: Rate = Field(default=default("3 /h", RATE), description="Rate at which fluid comes and goes.")
    nuclear_rate: Rate = Field(
        default=default("0.33 /h", RATE), description="Rate at which nuclear solid is made."
    )
    cytoplasm_rate: Rate = Field(
        default=default("0.27 /h", RATE), description="Rate at which cytoplasmic solid is made."
    )


class Division(Part):
    """How a cell divides: into unequal daughters, and in which direction."""

    share: Annotated[float, number(above=0, high=0.9999)] = Field(
        default=0.5, description="Share of the mother's volume and contents that the new daughter gets."
    )
    types: dict[Name, Fraction01] = Field(
        default_factory=dict,
        description="Probability that the new daughter is of another type, by type.",
        examples=[{"differentiated": 0.2}],
    )
    polarity: Fraction01 = Field(
        default=0.0,
        description="How far daughters keep to the plane across `axis`: 0 they part in any direction, 1 within it, as "
        "in a layer of epithelium.",
    )
    axis: Annotated[tuple[Number, ...], Strict(False), Field(min_length=3, max_length=3)] = Field(
        default=(0.0, 0.0, 1.0), description="Direction of its polarity, x, y, z; of any length."
    )

    @model_validator(mode="after")
    def _directed(self) -> Division:
        if not any(self.axis):
            raise fault("must point somewhere, such as [0, 0, 1]", "axis")
        return self

    @model_validator(mode="after")
    def _sum(self) -> Division:
        if sum(self.types.values()) > 1 + 1e-12:
            raise fault("must not sum to more than 1", "types")
        return self


class Interactions(Part):
    """What a cell does to cells that it touches, and into what it turns, as rates by the other's type."""

    attack: dict[Name, Rate] = Field(
        default_factory=dict, description="Rate of beginning to attack, by type."
    )
    damage: Rate = Field(default=default("1 /min", RATE), description="Damage that its attack does.")
    attack_duration: Duration = Field(
        default=default("30 min", TIME), description="Mean time that an attack lasts."
    )
    repair: Rate = Field(
        default=default("0 /min", RATE), description="Rate at which its own damage is repaired."
    )
    phagocytosis: dict[Name, Rate] = Field(
        default_factory=dict,
        description="Rate of engulfing, by type; `dead` for dying and dead cells.",
        examples=[{"dead": "0.01 /min"}],
    )
    fusion: dict[Name, Rate] = Field(default_factory=dict, description="Rate of fusing, by type.")
    transform: dict[Name, Rate] = Field(
        default_factory=dict, description="Rate of turning into a type, by type."
    )


class Death(Part):
    """Alive -> apoptotic -> lysed (debris) -> gone; or alive -> necrotic, swelling until it bursts -> lysed -> gone."""

    apoptosis: Rate = Field(
        default=default("0 /min", RATE), description="Rate at which live cells enter apoptosis."
    )
    necrosis: Rate = Field(
        default=default("0 /min", RATE),
        description="Rate at which live cells enter necrosis; needs composition.",
    )
    remains: Duration | None = Field(
        default=None,
        description="Time after which an apoptotic cell is gone, without lysis; 8.6 h in PhysiCell.",
    )
    lysis: Rate = Field(default=default("2e-3 /min", RATE), description="Rate at which apoptotic cells lyse.")
    clearance: Rate = Field(
        default=default("3e-4 /min", RATE), description="Rate at which debris disappears."
    )


class Springs(Part):
    """Elastic links to cells that touch."""

    attach: Rate = Field(description="Rate of joining a cell that it touches.")
    detach: Rate = Field(default=default("0 /min", RATE), description="Rate of letting go.")
    most: Annotated[int, whole(1, 64)] = Field(default=12, description="Most springs of a cell.")
    elasticity: Rate = Field(
        default=default("0.01 /min", RATE), description="Speed by which it draws, by distance of the centres."
    )


class Following(Part):
    """What a cell moves by because another is near, whether or not that one answers."""

    speed: Velocity = Field(
        description="Speed towards each of them half-way to `reach`, where it is greatest; negative: away."
    )
    reach: Length = Field(description="Distance of the centres from which on it is nothing.")


class Mechanics(Part):
    """Forces between cells (Macklin et al. 2012) in overdamped motion."""

    adhesion: Speed = Field(default=default("0.4 um/min", SPEED), description="Strength of adhesion.")
    repulsion: Speed = Field(default=default("10 um/min", SPEED), description="Strength of repulsion.")
    fixed: bool = Field(default=False, description="Whether the cells stay where they are.")
    affinity: dict[Name, Annotated[float, number(low=0)]] = Field(
        default_factory=dict,
        description="Factor of adhesion to cells of a type; a pair has the geometric mean of both ways.",
        examples=[{"stroma": 0.1}],
    )
    follows: dict[Name, Following] = Field(
        default_factory=dict,
        description="Cells that it moves towards or away from, by type; not answered in kind.",
        examples=[{"prey": {"speed": "0.35 um/min", "reach": "30 um"}}],
    )
    springs: Springs | None = Field(default=None, description="Elastic links to cells that touch.")
    walls: Speed | None = Field(
        default=None, description="Strength of repulsion by the walls of the domain, within a cell's radius."
    )


class Chemotaxis(Part):
    """Movement along the gradient of a field, or of several by their weights."""

    field: Name | None = Field(default=None, description="The field that is followed.")
    fields: dict[Name, Number] | None = Field(
        default=None,
        description="Several fields, each with its weight; a negative one repels.",
        min_length=1,
        examples=[{"oxygen": 1, "waste": -0.5}],
    )
    normalised: bool = Field(
        default=True,
        description="Whether each gradient counts by its direction alone, or by its steepness too.",
    )
    bias: Annotated[float, number(low=-1, high=1)] = Field(
        description="From 0 (random direction) to 1 (straight up the gradient); negative: away."
    )

    @model_validator(mode="after")
    def _one(self) -> Chemotaxis:
        exactly_one(self, ("field", "fields"), "thing to follow")
        return self

    @property
    def weights(self) -> dict[str, float]:
        """Weight of each field that is followed."""
        return dict(self.fields) if self.fields is not None else {str(self.field): 1.0}


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
    export: Flow | None = Field(
        default=None, description="Amount given per time, whatever the field's value; dead cells give none."
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
        if all(v is None for v in (self.uptake, self.secretion, self.export, self.permeability)):
            raise fault("needs uptake, secretion, export or permeability")
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
        default=None,
        description="Number of cells at time 0; with place.points it may be left out, with place.file it must be.",
    )
    place: Place = Field(description="Where they are at time 0.")
    volume: Volume = Field(
        default=default("2494 um^3", VOLUME), description="Volume of a cell at birth's end, its target."
    )
    growth: Rate = Field(
        default=default("4.5e-3 /min", RATE), description="Rate at which the volume relaxes to its target."
    )
    composition: Composition | None = Field(
        default=None, description="The volume in parts, whose rates then stand for growth."
    )
    cycle: Cycle | None = Field(default=None, description="The cell cycle; without it cells do not divide.")
    division: Division | None = Field(
        default=None, description="How a cell divides; into halves if left out."
    )
    death: Death = Field(default_factory=Death, description="Rates of death and what follows.")
    interactions: Interactions | None = Field(
        default=None, description="What a cell does to those it touches."
    )
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
    def _composed(self) -> CellType:
        if self.composition is None and self.death.necrosis > 0:
            raise fault("needs composition, the parts that swell and shrink", "death", "necrosis")
        if self.composition is not None and not self.composition.nuclear < self.volume:
            raise fault("must be smaller than the volume of the cell", "composition", "nuclear")
        if self.composition is not None and "growth" in self.model_fields_set:
            raise fault("does not go with composition, which has rates of its own; remove it", "growth")
        return self

    @model_validator(mode="after")
    def _counted(self) -> CellType:
        points = self.place.points
        if self.place.file is not None:
            if self.count is not None:
                raise fault("does not go with place.file, which says how many; remove it", "count")
        elif points is None and self.count is None:
            raise fault("is missing; add it", "count")
        if points is not None and self.count not in (None, len(points)):
            raise fault(f"differs from the {len(points)} places given in place.points", "count")
        return self

    @property
    def number(self) -> int:
        """Cells at time 0."""
        return self.count if self.count is not None else len(self.place.points or ())
