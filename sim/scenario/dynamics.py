"""What runs inside and between cells: pathways, manipulators and the tissue network."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from sim.scenario.spelling import did_you_mean
from sim.scenario.values import Duration, FilePath, Length, Name, Number, Part, QuantityName, Reads, fault

_CALL = re.compile(r"\s*([A-Za-z_]\w{0,20})\s*\(([^()]{0,80})\)\s*")
_ARGUMENT = re.compile(
    r"\s*([a-z]{1,10})\s*=\s*([-+]?(?:\d{1,30}(?:\.\d{0,30})?|\.\d{1,30})(?:[eE][-+]?\d{1,3})?)\s*"
)
_ARGUMENTS = {"lognormal": ("cv",), "normal": ("cv",), "uniform": ("low", "high")}
_EXAMPLES = "lognormal(cv=0.2), normal(cv=0.2) or uniform(low=0.5, high=2)"


@dataclass(frozen=True)
class Distribution:
    """How a parameter varies from cell to cell.

    lognormal and normal draw a factor of mean 1 and coefficient of variation `cv` on the model's value;
    uniform draws the value itself between `low` and `high`.
    """

    kind: str
    cv: float = 0.0
    low: float = 0.0
    high: float = 0.0

    def __str__(self) -> str:
        if self.kind == "uniform":
            return f"uniform(low={self.low:g}, high={self.high:g})"
        return f"{self.kind}(cv={self.cv:g})"


def distribution(text: object) -> Distribution:
    """Reads `lognormal(cv=0.2)`, `normal(cv=0.2)` or `uniform(low=1, high=2)`; never evaluates it."""
    if isinstance(text, Distribution):
        return text
    call = _CALL.fullmatch(text) if isinstance(text, str) and len(text) < 120 else None
    if call is None:
        raise fault(f"is not a distribution; write {_EXAMPLES}")
    kind, inside = call.groups()
    if kind not in _ARGUMENTS:
        raise fault(f"unknown distribution '{kind}'; write {_EXAMPLES}{did_you_mean(kind, _ARGUMENTS)}")
    pairs = [_ARGUMENT.fullmatch(piece) for piece in inside.split(",")]
    values = {pair.group(1): float(pair.group(2)) for pair in pairs if pair}
    if len(pairs) != len(values) or tuple(sorted(values)) != tuple(sorted(_ARGUMENTS[kind])):
        raise fault(f"{kind} takes {' and '.join(_ARGUMENTS[kind])}; write {_EXAMPLES}")
    if kind == "uniform" and not values["low"] < values["high"] < float("inf"):
        raise fault("low must be less than high")
    if kind != "uniform" and not 0 <= values["cv"] <= 10:
        raise fault("cv must be between 0 and 10")
    return Distribution(kind, **values)


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
    step: Duration | None = Field(
        default=None, description="Step of the network; the coupling step if left out."
    )
