"""Couplings: one quantity acts on another through a response."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, Strict, model_validator

from sim.scenario.values import AnyQuantity, FilePath, Names, Number, Part, QuantityName, fault, number

RESPONSES = ("linear", "hill", "table", "network")


class Linear(Part):
    """slope * x + intercept."""

    slope: Number = Field(description="Change of the target by unit of the source.")
    intercept: Number = Field(default=0.0, description="Value at 0.")


class Hill(Part):
    """low + (high - low) * x^power / (half_max^power + x^power); falling: from high to low."""

    half_max: AnyQuantity = Field(
        description="Value of the source at half of the response, in the source's unit."
    )
    power: Annotated[float, number(above=0, high=100)] = Field(default=1.0, description="Hill coefficient.")
    low: Number = Field(default=0.0, description="Lower end of the response.")
    high: Number = Field(default=1.0, description="Upper end of the response.")
    falling: bool = Field(default=False, description="Whether the response falls as the source rises.")

    @model_validator(mode="after")
    def _positive(self) -> Hill:
        if not self.half_max > 0:
            raise fault("must be greater than 0", "half_max")
        return self


class Table(Part):
    """Linear interpolation between points, constant beyond the first and the last."""

    x: Annotated[tuple[Number, ...], Strict(False), Field(min_length=2)] = Field(
        description="Values of the source, rising."
    )
    y: Annotated[tuple[Number, ...], Strict(False), Field(min_length=2)] = Field(
        description="Values of the response."
    )

    @model_validator(mode="after")
    def _paired(self) -> Table:
        if len(self.x) != len(self.y):
            raise fault(f"has {len(self.y)} values but x has {len(self.x)}", "y")
        for i, (a, b) in enumerate(zip(self.x, self.x[1:])):
            if not a < b:
                raise fault("must rise from value to value", "x", i + 1)
        return self


class Network(Part):
    """A small network from weights."""

    weights: FilePath = Field(description="Weights (.safetensors) of the network.")


class Coupling(Part):
    """`from` acts on `to` through a response; identity if no response is given."""

    source: QuantityName = Field(
        alias="from", description="The quantity that acts.", examples=["pathway.egfr.ppERK"]
    )
    target: QuantityName = Field(
        alias="to", description="The quantity that is acted on.", examples=["rate.division"]
    )
    linear: Linear | None = Field(default=None, description="Response slope * x + intercept.")
    hill: Hill | None = Field(default=None, description="Response that saturates.")
    table: Table | None = Field(default=None, description="Response by interpolation.")
    network: Network | None = Field(default=None, description="Response by a network.")
    mode: Literal["set", "add", "scale"] = Field(
        default="set",
        description="Whether the response replaces the target, is added to it or multiplies it.",
    )
    cells: Names | None = Field(default=None, description="Cell types it applies to; all if left out.")

    @model_validator(mode="after")
    def _one_response(self) -> Coupling:
        given = [r for r in RESPONSES if getattr(self, r) is not None]
        if len(given) > 1:
            raise fault(f"has {len(given)} responses ({', '.join(given)}); give one", given[1])
        return self

    @property
    def response(self) -> str:
        """identity, linear, hill, table or network."""
        return next((r for r in RESPONSES if getattr(self, r) is not None), "identity")
