"""Perturbations: what is done to the system at exact times."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, Strict, model_validator

from sim.scenario.units import Quantity
from sim.scenario.values import (
    AnyQuantity,
    Duration,
    Fraction01,
    Length,
    Names,
    OrText,
    Part,
    Position,
    QuantityName,
    Time,
    fault,
)

_VERBS = {"set": "to", "add": "by", "scale": "by", "kill": None}


class DiscAt(Part):
    """A disc (a ball in 3-D) at a place."""

    center: Annotated[tuple[Position, ...], Strict(False), Field(min_length=2, max_length=3)] = Field(
        description="Centre of the disc.", examples=[["0 um", "0 um"]]
    )
    radius: Length = Field(description="Radius of the disc.")


class Where(Part):
    """The region that is perturbed."""

    disc: DiscAt | None = Field(default=None, description="Only inside this disc; everywhere if left out.")

    @property
    def everywhere(self) -> bool:
        """True where no region is given."""
        return self.disc is None


def _region(value: object) -> object:
    if value == "everywhere":
        return {}
    if isinstance(value, Where) or (isinstance(value, dict) and value):
        return value
    raise fault("must be everywhere or {disc: {center: [0 um, 0 um], radius: 50 um}}")


Region = Annotated[Where, BeforeValidator(_region), OrText("everywhere")]


class Kill(Part):
    """Cells that die at once."""

    cells: Names = Field(description="Cell types that are hit.")
    fraction: Fraction01 = Field(default=1.0, description="Fraction of them.")


class Perturbation(Part):
    """One of set/to, add/by, scale/by or kill, at a time or repeatedly."""

    at: Time = Field(description="When it happens (first).")
    every: Duration | None = Field(default=None, description="Time after which it is repeated.")
    until: Time | None = Field(
        default=None, description="Last time of a repetition; the end of the run if left out."
    )
    set: QuantityName | None = Field(default=None, description="The quantity that gets the value `to`.")
    to: AnyQuantity | None = Field(default=None, description="The new value.")
    add: QuantityName | None = Field(default=None, description="The quantity to which `by` is added.")
    scale: QuantityName | None = Field(default=None, description="The quantity that is multiplied by `by`.")
    by: AnyQuantity | None = Field(default=None, description="What is added, or the factor.")
    kill: Kill | None = Field(default=None, description="Cells that die.")
    cells: Names | None = Field(default=None, description="Cell types it applies to; all if left out.")
    fraction: Fraction01 = Field(
        default=1.0, description="Fraction of these cells, drawn once for each time."
    )
    where: Region = Field(default_factory=Where, description="everywhere (default) or a disc.")

    @model_validator(mode="after")
    def _one_verb(self) -> Perturbation:
        given = [v for v in _VERBS if getattr(self, v) is not None]
        if len(given) != 1:
            raise fault(
                "needs exactly one of set, add, scale, kill"
                + (f"; it has {', '.join(given)}" if given else "")
            )
        verb = given[0]
        for key in ("to", "by"):
            if key == _VERBS[verb] and getattr(self, key) is None:
                raise fault(f"is missing; {verb} needs it", key)
            if key != _VERBS[verb] and getattr(self, key) is not None:
                raise fault(f"does not go with {verb}", key)
        if verb == "kill":
            for key in ("cells", "fraction"):
                if key in self.model_fields_set:
                    raise fault("belongs inside kill: {cells: ..., fraction: ...}", key)
        if self.until is not None and self.every is None:
            raise fault("needs every, the time between repetitions", "until")
        if self.until is not None and self.until < self.at:
            raise fault(f"must not be before at ({self.at})", "until")
        return self

    @property
    def verb(self) -> Literal["set", "add", "scale", "kill"]:
        """What is done."""
        return next(v for v in _VERBS if getattr(self, v) is not None)  # type: ignore[return-value]

    @property
    def quantity(self) -> str | None:
        """The quantity that is perturbed; None for kill."""
        return self.set or self.add or self.scale

    @property
    def value(self) -> Quantity | None:
        """The value of `to` or `by`, in the field's unit where a field is set or added to."""
        return self.to if self.to is not None else self.by

    def times(self, stop: float) -> list[float]:
        """Every time [min] at which it happens, up to and including `stop`."""
        if self.every is None:
            return [float(self.at)]
        last = min(stop, self.until if self.until is not None else stop)
        count = int((last - self.at) / self.every + 1e-9) + 1
        return [float(self.at) + i * float(self.every) for i in range(max(count, 0))]
