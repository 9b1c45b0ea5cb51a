"""What is read out: measured curves to lay beside simulated ones, and what is stored."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import Field, Strict

from sim.scenario.values import (
    FilePath,
    Name,
    Part,
    Reads,
    Text,
    fault,
    identifier,
    value_at,
    whole,
)

_PATTERN = re.compile(r"[A-Za-z_*][A-Za-z0-9_.*]*(\[[0-9]{1,6}\]|\([A-Za-z0-9_.\[\]*]+\))?")


def _pattern(value: object) -> str:
    if not isinstance(value, str):
        raise fault("must be the name of a quantity, such as volume or pathway.egfr.*")
    if not value:
        raise fault("must not be empty")
    if len(value) > 200 or not _PATTERN.fullmatch(value):
        raise fault("is not the name of a quantity, such as volume or pathway.egfr.*")
    return value


Pattern = Annotated[str, Reads(_pattern, {"type": "string", "examples": ["pathway.egfr.*"]})]


class Measurements(Part):
    """Measured curves that the report lays over those of a simulated instrument."""

    file: FilePath = Field(description="Table of measurements, .npz or .csv.")
    instrument: Name | None = Field(default=None, description="The instrument; the only one if left out.")
    condition: Text = Field(
        description="Rows of the table, by its condition column; of 'A + B' also what Bliss and HSA make of A and B."
    )
    replicates: whole(1, 1000) = Field(  # type: ignore[valid-type]
        default=1, description="How many replicates follow each other in the frames of one row (.npz)."
    )
    channels: dict[Name, Text] = Field(
        default_factory=dict,
        description="Channel of the instrument -> column of the table; equal names if left out.",
    )


def _fields(value: object) -> str | tuple[str, ...]:
    if value == "all":
        return "all"
    if not isinstance(value, list | tuple):
        raise fault("must be all or a list of fields")
    return tuple(value_at(identifier, value, i) for i in range(len(value)))


FieldList = Annotated[
    str | tuple[str, ...],
    Reads(_fields, {"anyOf": [{"const": "all"}, {"type": "array", "items": {"type": "string"}}]}),
]


class Outputs(Part):
    """What is stored at every saved time."""

    cells: Annotated[tuple[Pattern, ...], Strict(False)] = Field(
        default=("type", "position", "volume"), description="Quantities of each cell; * stands for any."
    )
    fields: FieldList = Field(default="all", description="Fields that are stored: all, or a list of names.")
