"""What runs inside and between cells: pathways, manipulators and the tissue network."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, model_validator

from mechanistic.distributions import Distribution, parse
from sim.scenario.cycle import ONE_KEY, exactly_one
from sim.scenario.values import (
    Duration,
    FilePath,
    Length,
    Name,
    Names,
    Number,
    Part,
    QuantityName,
    Reads,
    fault,
    number,
    whole,
)

_LONGEST_DISTRIBUTION = 120


def distribution(text: object) -> Distribution:
    """Reads `lognormal(cv=0.2)`, `normal(cv=0.2)` or `uniform(low=1, high=2)`; never evaluates it."""
    if isinstance(text, Distribution):
        return text
    if not isinstance(text, str) or len(text) > _LONGEST_DISTRIBUTION:
        raise fault(
            "is not a distribution; write lognormal(cv=0.2), normal(cv=0.2) or uniform(low=0.5, high=2)"
        )
    try:
        return parse(text)
    except ValueError as error:
        raise fault(str(error)) from None


_READS = Reads(
    distribution, {"type": "string", "examples": ["lognormal(cv=0.2)", "uniform(low=0.5, high=2)"]}
)

TimeUnit = Literal["ms", "s", "min", "h", "d"]


class Pathway(Part):
    """A pathway model (SBML or Antimony) that runs in each cell that lists it."""

    model: FilePath = Field(
        description="SBML (.xml) or Antimony (.ant) file.", examples=["models/egfr_mapk.xml"]
    )
    time_unit: TimeUnit | None = Field(
        default=None, description="The model's unit of time; needed where the model does not say."
    )
    step: Duration | None = Field(
        default=None, description="Step of the pathway; the coupling step if left out."
    )
    growth: Literal["dilutes", "keeps_concentration"] = Field(
        default="dilutes",
        description="What a growing volume does: dilutes species, or they are made along with it.",
    )
    set: dict[str, Number] = Field(
        default_factory=dict, description="Values that replace those of the model, by id."
    )
    vary: dict[str, Annotated[Distribution, _READS]] = Field(
        default_factory=dict,
        description="Variation from cell to cell by id: lognormal(cv=), normal(cv=), uniform(low=, high=).",
    )


class Manipulator(Part):
    """A learned vector field on the cells' representations."""

    weights: FilePath = Field(
        description="Weights (.safetensors) of the network.", examples=["weights/drugs.safetensors"]
    )
    conditions: dict[Name, QuantityName] = Field(
        default_factory=dict,
        description="Condition of the network -> the quantity that sets it.",
        examples=[{"erlotinib": "field.erlotinib"}],
    )
    step: Duration | None = Field(
        default=None, description="Step of the manipulator; the coupling step if left out."
    )


class RepresentationSpace(Part):
    """A space of representations from weights: what its cells lie in, and what is read off it."""

    weights: FilePath = Field(
        description="Weights (.safetensors) of the space.", examples=["weights/pathways.safetensors"]
    )
    reads: dict[Name, dict[str, QuantityName]] = Field(
        default_factory=dict,
        description="Modality -> feature -> the quantity that it is; encoded anew whenever somebody asks.",
        examples=[{"pathway": {"ppERK": "pathway.egfr.ppERK"}}],
    )
    built_on: dict[Name, Name] = Field(
        default_factory=dict, description="Modality -> the space below that it is made of."
    )
    cells: Names | None = Field(
        default=None, description="Cell types that lie in it; those whose representation it is, else all."
    )


class Delaunay(Part):
    """Cells that share an edge of the Delaunay triangulation of the centres."""

    longest: Length | None = Field(
        default=None,
        description="Leaves out longer edges, as there are at the rim; none is left out by default.",
    )


class Touching(Part):
    """Cells whose spheres touch."""

    reach: Annotated[float, number(above=0, high=10)] = Field(
        default=1.0, description="Touching is to be at most this many times the sum of both radii apart."
    )


class Neighbours(Part):
    """Which cells are neighbours: exactly one of radius, nearest, nearest_either_way, delaunay, contact."""

    model_config = ConfigDict(json_schema_extra=ONE_KEY)

    radius: Length | None = Field(
        default=None, description="Largest distance of the centres of two neighbours."
    )
    nearest: Annotated[int, whole(1, 100)] | None = Field(
        default=None,
        description="As many of the nearest cells; a cell may hear one that does not hear it.",
        examples=[6],
    )
    nearest_either_way: Annotated[int, whole(1, 100)] | None = Field(
        default=None, description="Two cells where one is among as many nearest of the other.", examples=[6]
    )
    delaunay: Delaunay | None = Field(
        default=None, description="Neighbours in the Delaunay triangulation.", examples=[{"longest": "40 um"}]
    )
    contact: Touching | None = Field(
        default=None, description="Cells that touch, by their radii.", examples=[{"reach": 1.25}]
    )

    @model_validator(mode="after")
    def _one(self) -> Neighbours:
        exactly_one(self, tuple(type(self).model_fields), "way to be neighbours")
        return self


class Tissue(Part):
    """Who is whose neighbour, and the network that passes messages between them."""

    neighbours: Neighbours = Field(description="What makes two cells neighbours.")
    weights: FilePath | None = Field(
        default=None,
        description="Weights (.safetensors) of the network; without them there is no message.*.",
    )
