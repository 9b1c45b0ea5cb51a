"""The types of single values: quantities by dimension, strict numbers, names, name lists.

Every type checks one YAML value and gives the plain value used inside. A fault is a `PydanticCustomError`
whose message is for the user; sim.scenario.problems adds file, line, key and the value got.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, Strict, WithJsonSchema
from pydantic_core import PydanticCustomError, core_schema

from sim.scenario.units import (
    DIFFUSIVITY,
    FIELD_DIMENSIONS,
    FLOWS,
    LENGTH,
    QUANTITY_PATTERN,
    RATE,
    SPEED,
    TIME,
    VOLUME,
    Dimension,
    Quantity,
    UnitError,
    quantity,
    unit,
)

LONGEST_NAME = 64
LONGEST_TEXT = 200
_IDENTIFIER = r"[A-Za-z_][A-Za-z0-9_]*"


def fault(message: str, *below: str | int) -> PydanticCustomError:
    """The error that a validator raises; `message` is what follows the key in the line printed.

    `below` is the path of the key at fault inside the mapping that is being checked.
    """
    return PydanticCustomError("cellweave", "{message}", {"message": message, "below": below})


class Part(BaseModel):
    """A mapping of the scenario: no unknown keys, no coercion, not changed after it is made."""

    model_config = ConfigDict(
        extra="forbid",
        defer_build=True,  # the models are built once, as parts of the scenario
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        populate_by_name=True,
        arbitrary_types_allowed=True,
    )


@dataclass(frozen=True, eq=False)
class Reads:
    """Annotation of a value: `read` checks it and gives what is used inside; `json` is its JSON Schema."""

    read: Callable[[object], Any]
    json: dict[str, Any]

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(self.read)

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        return dict(self.json)


@dataclass(frozen=True)
class OrText:
    """Annotation for the JSON Schema of a mapping that may also be one word."""

    word: str

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        return {"anyOf": [{"const": self.word}, handler(schema)]}


def _sign(number: Quantity, sign: str) -> None:
    if number == 0 and math.copysign(1, number.written) < 0:
        raise fault("is a negative zero; write 0")
    if sign == "positive" and not number > 0:
        raise fault("must be greater than 0")
    if sign == "not negative" and number < 0:
        raise fault("must not be negative")


def _reader(sign: str, *dimensions: Dimension) -> Callable[[object], Quantity]:
    def read(value: object) -> Quantity:
        if isinstance(value, Quantity):
            return value
        try:
            found = quantity(value, *dimensions)
        except UnitError as error:
            raise fault(str(error)) from None
        _sign(found, sign)
        return found

    return read


def _quantity(sign: str, *dimensions: Dimension) -> Reads:
    pattern = {
        "type": "string",
        "pattern": QUANTITY_PATTERN,
        "examples": [d.example for d in dimensions if d.unit != "dimensionless"],
    }
    schema: dict[str, Any] = (
        pattern if dimensions != FIELD_DIMENSIONS else {"anyOf": [pattern, {"type": "number"}]}
    )
    return Reads(_reader(sign, *dimensions), schema)


def value_at(read: Callable[[object], Any], values: Any, key: str | int) -> Any:
    """`read(values[key])`, a fault of which names the key or the position in the list."""
    try:
        return read(values[key])
    except PydanticCustomError as error:
        raise fault((error.context or {})["message"], key) from None


def default(text: str, dimension: Dimension) -> Quantity:
    """A default value, written as a user would."""
    return quantity(text, dimension)


#: Quantities, named after what they measure. [min], [um], [um^3], [1/min], [um/min], [um^2/min].
Time = Annotated[Quantity, _quantity("not negative", TIME)]
Duration = Annotated[Quantity, _quantity("positive", TIME)]
Position = Annotated[Quantity, _quantity("any", LENGTH)]
Point = Annotated[tuple[Position, ...], Strict(False), Field(min_length=2, max_length=3)]
Length = Annotated[Quantity, _quantity("positive", LENGTH)]
Volume = Annotated[Quantity, _quantity("positive", VOLUME)]
Rate = Annotated[Quantity, _quantity("not negative", RATE)]
Speed = Annotated[Quantity, _quantity("not negative", SPEED)]
Velocity = Annotated[Quantity, _quantity("any", SPEED)]
Diffusivity = Annotated[Quantity, _quantity("not negative", DIFFUSIVITY)]
#: A value of a field, in the field's own unit once the field is known.
FieldValue = Annotated[Quantity, _quantity("not negative", *FIELD_DIMENSIONS)]
#: A number, or a quantity of any dimension that a quantity of the simulation can have.
AnyQuantity = Annotated[
    Quantity, _quantity("any", *FIELD_DIMENSIONS, TIME, LENGTH, VOLUME, RATE, SPEED, *FLOWS)
]
#: An amount that enters a field per time, in the field's own unit times um^3/min once the field is known.
Flow = Annotated[Quantity, _quantity("not negative", *FLOWS)]


def _field_unit(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise fault("must be a unit of concentration or pressure, such as uM or mmHg")
    try:
        exponents = unit(value).exponents
    except UnitError as error:
        raise fault(str(error)) from None
    if all(unit(d.unit).exponents != exponents for d in FIELD_DIMENSIONS):
        raise fault(
            "must be a unit of concentration, mass concentration or pressure, such as uM, ng/mL or mmHg"
        )
    return value


FieldUnit = Annotated[str, Reads(_field_unit, {"type": "string", "minLength": 1})]


def identifier(value: object) -> str:
    """A name that the user chose: a letter or underscore, then letters, digits, underscores; at most 64."""
    if not isinstance(value, str):
        raise fault("must be a name such as pc9")
    if not value:
        raise fault("must not be empty")
    if len(value) > LONGEST_NAME:
        raise fault(f"is longer than {LONGEST_NAME} characters")
    if not re.fullmatch(_IDENTIFIER, value):
        raise fault("is not a name; use letters, digits and _, a letter first")
    return value


Name = Annotated[str, Reads(identifier, {"type": "string", "pattern": f"^{_IDENTIFIER}$"})]


def _free_text(value: object) -> str:
    if not isinstance(value, str):
        raise fault("must be text")
    if not value.strip():
        raise fault("must not be empty")
    if len(value) > LONGEST_TEXT:
        raise fault(f"is longer than {LONGEST_TEXT} characters")
    if not value.isprintable():
        raise fault("has characters that cannot be printed")
    return value


#: Free text on one line, 1 to 200 printable characters.
Text = Annotated[str, Reads(_free_text, {"type": "string", "minLength": 1, "maxLength": LONGEST_TEXT})]

_QUANTITY_NAME = re.compile(
    r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*(\[[0-9]{1,6}\]|\([A-Za-z0-9_.\[\]]+\))?"
)


def _quantity_name(value: object) -> str:
    value = _free_text(value)
    if not _QUANTITY_NAME.fullmatch(value):
        raise fault("is not the name of a quantity, such as field.oxygen, pathway.egfr.ppERK or ur.drug[3]")
    return value


#: The name of a quantity: field.oxygen, pathway.egfr.ppERK, ur.drug[3], neighbours.count(pc9).
QuantityName = Annotated[str, Reads(_quantity_name, {"type": "string", "examples": ["field.oxygen"]})]


def _path_text(value: object) -> str:
    if not isinstance(value, str):
        raise fault("must be the path of a file")
    if not value.strip():
        raise fault("must not be empty")
    return value


#: The path of a file, relative to the scenario's folder; sim.scenario.files says what is accepted.
FilePath = Annotated[str, Reads(_path_text, {"type": "string", "minLength": 1})]


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise fault("must be a number")
    number = float(value)
    if number != number or abs(number) == float("inf"):
        raise fault("must be a finite number")
    return number


def number(*, low: float | None = None, high: float | None = None, above: float | None = None) -> Reads:
    """A strict finite number, within [low, high], or greater than `above`."""

    def read(value: object) -> float:
        found = _number(value)
        if above is not None and not found > above:
            raise fault(f"must be greater than {above:g}")
        if low is not None and high is not None and not low <= found <= high:
            raise fault(f"must be between {low:g} and {high:g}")
        if low is not None and found < low:
            raise fault(f"must be at least {low:g}")
        if high is not None and found > high:
            raise fault(f"must be at most {high:g}")
        return found

    schema: dict[str, Any] = {"type": "number"}
    schema |= {
        k: v for k, v in (("minimum", low), ("maximum", high), ("exclusiveMinimum", above)) if v is not None
    }
    return Reads(read, schema)


Number = Annotated[float, number()]
Fraction01 = Annotated[float, number(low=0, high=1)]


def whole(low: int, high: int) -> Reads:
    """A strict whole number within [low, high]."""

    def read(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise fault("must be a whole number")
        if not low <= value <= high:
            raise fault(f"must be between {low} and {high}")
        return value

    return Reads(read, {"type": "integer", "minimum": low, "maximum": high})


def _one_or_many(value: object) -> object:
    return [value] if isinstance(value, str) else value


#: A name or a list of names; always a tuple inside.
Names = Annotated[
    tuple[Name, ...],
    Strict(False),
    Field(min_length=1),
    BeforeValidator(_one_or_many),
    WithJsonSchema(
        {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}
    ),
]
