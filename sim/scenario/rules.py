"""Rules: hypotheses on what cells do, `signal increases or decreases behaviour`, in YAML or in PhysiCell's table."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, Strict, model_validator

from sim.scenario.values import AnyQuantity, FilePath, Names, Part, QuantityName, fault, number


class Rule(Part):
    """A signal moves a behaviour from its base value towards another, along a Hill curve; or a file of such rules."""

    file: FilePath | None = Field(
        default=None,
        description="PhysiCell's rules as CSV, instead of all other keys.",
        examples=["cell_rules.csv"],
    )
    cells: Names | None = Field(default=None, description="Cell types that follow the rule; all if left out.")
    signal: QuantityName | None = Field(
        default=None, description="The quantity that acts.", examples=["field.oxygen", "contact.live"]
    )
    increases: QuantityName | None = Field(
        default=None, description="The behaviour that rises with the signal."
    )
    decreases: QuantityName | None = Field(
        default=None, description="The behaviour that falls with the signal."
    )
    to: AnyQuantity | None = Field(
        default=None, description="Value of the behaviour where the signal saturates.", examples=["1e-3 /min"]
    )
    half_max: AnyQuantity | None = Field(
        default=None, description="Value of the signal at half of the response, in the signal's unit."
    )
    power: Annotated[float, number(above=0, high=100)] = Field(default=4.0, description="Hill coefficient.")
    dead: bool = Field(default=False, description="Whether dying and dead cells follow the rule too.")

    @model_validator(mode="after")
    def _complete(self) -> Rule:
        given = self.model_fields_set
        if self.file is not None:
            if len(given) > 1:
                raise fault("stands alone; a rule is in the file or here", "file")
            return self
        if (self.increases is None) == (self.decreases is None):
            raise fault("needs exactly one of increases, decreases")
        for key in ("signal", "to", "half_max"):
            if getattr(self, key) is None:
                raise fault(f"'{key}' is missing; add it", key)
        if self.half_max is not None and not self.half_max > 0:
            raise fault("must be greater than 0", "half_max")
        return self

    @property
    def behaviour(self) -> str:
        """The quantity that the rule moves."""
        return self.increases or self.decreases or ""

    @property
    def verb(self) -> str:
        """increases or decreases."""
        return "increases" if self.increases is not None else "decreases"


def _listed(value: object) -> object:
    return [value] if isinstance(value, dict) else value


class _OrOne:
    """Annotation for the JSON Schema of a list that may also be one of its items."""

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        many = handler(schema)
        return {"anyOf": [many, many["items"]]}


#: A list of rules, or one mapping such as {file: cell_rules.csv}; always a tuple inside.
Rules = Annotated[tuple[Rule, ...], Strict(False), BeforeValidator(_listed), _OrOne()]
