"""What runs inside and between cells: pathways, manipulators and the tissue network."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from mechanistic.distributions import Distribution, parse
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


class Neighbours(Part):
    """Which cells are neighbours."""

    radius: Length = Field(description="Largest distance of the centres of two neighbours.")


class Tissue(Part):
    """Who is whose neighbour, and the network that passes messages between them."""

    neighbours: Neighbours = Field(description="What makes two cells neighbours.")
    weights: FilePath | None = Field(
        default=None,
        description="Weights (.safetensors) of the network; without them there is no message.*.",
    )
