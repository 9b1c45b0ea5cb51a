"""When and where: the clock, the domain and the fields that diffuse in it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from pydantic import Field, Strict, model_validator

from sim.scenario.regions import Region, check_regions
from sim.scenario.units import (
    FIELD_DIMENSIONS,
    LENGTH,
    RATE,
    SPEED,
    Dimension,
    Quantity,
    UnitError,
    dimension_of,
    quantity,
    same_dimension,
)
from sim.scenario.values import (
    Diffusivity,
    Duration,
    FieldUnit,
    FieldValue,
    Length,
    Name,
    Part,
    Position,
    Rate,
    Reads,
    Velocity,
    default,
    fault,
    value_at,
)
from sim.scenario.vessels import Passing, Vessel, check_vessels
from sim.spelling import did_you_mean, one_of

WORDS = ("no_flux", "periodic")
FACES = ("x_min", "x_max", "y_min", "y_max", "z_min", "z_max")
_ROUNDING = 1e-9
_MOST_PARTS = 1e12
MOST_SAVES = 1_000_000
MOST_STEPS = 1_000_000_000

Interval = Annotated[tuple[Position, Position], Strict(False)]


def is_multiple(whole: float, part: float) -> bool:
    """True where `whole` is `part` taken a whole number of times, but for rounding."""
    ratio = whole / part
    if not ratio < _MOST_PARTS:
        return False
    return round(ratio) >= 1 and abs(ratio - round(ratio)) <= _ROUNDING * max(1.0, ratio)


def voxels_along(extent: float, voxel: float) -> int:
    """The whole number of voxels nearest to `extent`, at least one."""
    return max(1, round(min(extent / voxel, 1e18)))


class Time(Part):
    """The clock of the simulation."""

    stop: Duration = Field(description="Simulated time at which the run ends; a multiple of save_every.")
    save_every: Duration = Field(description="Time between two saved states.")
    step: Duration | None = Field(
        default=None,
        description="Coupling step, after which processes exchange; divides save_every. Chosen if left out.",
    )
    splitting: Literal["strang", "lie"] = Field(
        default="strang",
        description="How a step is composed of processes: strang (second order) or lie (first).",
    )

    @model_validator(mode="after")
    def _fit(self) -> Time:
        if self.stop / self.save_every > MOST_SAVES:
            raise fault(f"would save more than {MOST_SAVES} times until {self.stop}", "save_every")
        if not is_multiple(self.stop, self.save_every):
            raise fault(f"must be a multiple of save_every ({self.save_every})", "stop")
        if self.step is not None and self.stop / self.step > MOST_STEPS:
            raise fault(f"would take more than {MOST_STEPS} steps until {self.stop}", "step")
        if self.step is not None and not is_multiple(self.save_every, self.step):
            raise fault(f"must divide save_every ({self.save_every}) into whole steps", "step")
        return self


class Domain(Part):
    """The box that holds cells and fields; without z it is two-dimensional."""

    x: Interval = Field(description="Lower and upper end along x.", examples=[["-400 um", "400 um"]])
    y: Interval = Field(description="Lower and upper end along y.", examples=[["-400 um", "400 um"]])
    z: Interval | None = Field(
        default=None, description="Lower and upper end along z; leave out for a 2-D tissue."
    )

    @model_validator(mode="after")
    def _ordered(self) -> Domain:
        for axis, (low, high) in self.axes.items():
            if not low < high:
                raise fault(f"the lower end ({low}) must lie below the upper end ({high})", axis)
        return self

    @property
    def axes(self) -> dict[str, tuple[Quantity, Quantity]]:
        """(lower, upper) [um] by axis, x first."""
        ends = {"x": self.x, "y": self.y, "z": self.z}
        return {axis: pair for axis, pair in ends.items() if pair is not None}


@dataclass(frozen=True)
class PermeableFace:
    """A face through which a substance passes at `permeability` [um/min] times (outside − value at the face)."""

    value: Quantity
    permeability: Quantity


@dataclass(frozen=True)
class InflowFace:
    """A face through which a medium with the given value comes in at `speed` [um/min], at whatever value inside."""

    value: Quantity
    speed: Quantity


#: Keys of a face that is written as a mapping: what it holds, and how fast that passes.
_OPEN_FACES = {"outside": ("permeability", PermeableFace), "inflow": ("speed", InflowFace)}

Face = str | Quantity | PermeableFace | InflowFace
#: Face ("x_min", ... all six) -> what happens there; values in the field's unit.
Boundary = dict[str, Face]


def _face(value: object) -> Face:
    if isinstance(value, (PermeableFace, InflowFace)) or (isinstance(value, str) and value in WORDS):
        return value
    if isinstance(value, dict):
        return _open_face(value)
    if isinstance(value, str) and value[:1].isalpha():
        raise fault(f"must be no_flux, periodic or a value such as 38 mmHg{did_you_mean(value, WORDS)}")
    return _not_negative(value, "no_flux or periodic", *FIELD_DIMENSIONS)


def _open_face(value: dict) -> Face:
    for held, (pace, kind) in _OPEN_FACES.items():
        if set(value) == {held, pace}:
            return kind(
                value_at(lambda v: _not_negative(v, "", *FIELD_DIMENSIONS), value, held),
                value_at(lambda v: _not_negative(v, "", SPEED), value, pace),
            )
    raise fault("a face that lets through is {permeability, outside} or {inflow, speed}")


def _not_negative(value: object, alternative: str, *dimensions: Dimension) -> Quantity:
    try:
        found = quantity(value, *dimensions)
    except UnitError as error:
        raise fault(f"{error}, or {alternative}" if alternative else str(error)) from None
    if found < 0:
        raise fault("must not be negative")
    return found


def _boundary(value: object) -> Boundary:
    if not isinstance(value, dict) or any(held in value for held in _OPEN_FACES):
        return dict.fromkeys(FACES, _face(value))
    for face in value:
        if face not in FACES:
            raise fault(f"unknown face; use {one_of(FACES)}{did_you_mean(face, FACES)}", face)
    faces = {face: value_at(_face, value, face) if face in value else "no_flux" for face in FACES}
    for axis in "xyz":
        if (faces[f"{axis}_min"] == "periodic") != (faces[f"{axis}_max"] == "periodic"):
            raise fault(f"{axis}_min and {axis}_max must both be periodic, or neither")
    return faces


def _boundary_json() -> dict[str, Any]:
    held = {"type": ["string", "number"], "examples": ["no_flux", "periodic", "38 mmHg"]}
    passing = [
        {
            "type": "object",
            "properties": {key: {"type": ["string", "number"]} for key in (held_key, pace)},
            "required": [held_key, pace],
            "additionalProperties": False,
        }
        for held_key, (pace, _) in _OPEN_FACES.items()
    ]
    one = {"anyOf": [held, *passing]}
    return {
        "anyOf": [
            one,
            {"type": "object", "properties": dict.fromkeys(FACES, one), "additionalProperties": False},
        ]
    }


def value_of(face: Quantity | PermeableFace | InflowFace) -> Quantity:
    """The value that a face holds, or that lies or comes from beyond it."""
    return face if isinstance(face, Quantity) else face.value


class FieldSpec(Part):
    """A substance that diffuses: du/dt = diffusion * laplacian(u) - decay * u + what cells exchange.

    Once read, `unit` is set and all values are in it.
    """

    diffusion: Diffusivity = Field(description="Diffusion coefficient.")
    diffusion_in: dict[Name, Diffusivity] = Field(
        default_factory=dict,
        description="Another diffusion coefficient in regions of space.regions, by name; 0 where nothing enters. Where "
        "regions overlap the last counts.",
    )
    advection: Annotated[tuple[Velocity, ...], Strict(False), Field(min_length=2, max_length=3)] | None = (
        Field(
            default=None,
            description="Velocity of a flow that carries the substance, along x, y (and z).",
            examples=[["10 um/min", "0 um/min"]],
        )
    )
    decay: Rate = Field(default=default("0 /min", RATE), description="First-order decay.")
    unit: FieldUnit = Field(
        default="",
        description="Unit of the field's values: that of initial or boundary if left out, else uM.",
        examples=["uM"],
    )
    initial: FieldValue | None = Field(default=None, description="Value everywhere at time 0; 0 if left out.")
    boundary: Annotated[Boundary, Reads(_boundary, _boundary_json())] = Field(
        default_factory=lambda: dict.fromkeys(FACES, "no_flux"),
        description="no_flux (default), periodic, a value held at all faces, {permeability, outside} for a face "
        "that lets through, {inflow, speed} for one that brings; or one of these for each face.",
    )
    vessels: dict[Name, Passing] = Field(
        default_factory=dict, description="What passes the walls of the vessels of space.vessels, by name."
    )
    solve: Literal["transient", "steady"] = Field(
        default="transient",
        description="transient follows the equation in time; steady takes it to be in balance.",
    )

    @model_validator(mode="after")
    def _carried(self) -> FieldSpec:
        if self.advection is not None and self.solve == "steady":
            raise fault("is for transient fields; a steady one follows no flow", "advection")
        if self.advection is not None and self.diffusion_in:
            raise fault("is the same everywhere, and cannot go with regions (diffusion_in)", "advection")
        return self

    @model_validator(mode="after")
    def _in_one_unit(self) -> FieldSpec:
        held = {face: value_of(value) for face, value in self.boundary.items() if not isinstance(value, str)}
        inside = [passing.value for passing in self.vessels.values()]
        written = [q.unit for q in (self.initial, *held.values(), *inside) if q is not None]
        unit = self.unit or (written[0] if written else "uM")

        def convert(value: Quantity, *key: str) -> Quantity:
            if not same_dimension(value.unit, unit):
                raise fault(
                    f"is {dimension_of(value.unit)}; this field is in {unit or 'plain numbers'}", *key
                )
            return value.to(unit)

        initial = (
            convert(self.initial, "initial") if self.initial is not None else Quantity(0.0, unit, unit, 0.0)
        )
        by_face = len(set(map(str, self.boundary.values()))) > 1

        def converted(face: str, v: Face) -> Face:
            if isinstance(v, str):
                return v
            value = convert(value_of(v), "boundary", *[face] * by_face)
            return value if isinstance(v, Quantity) else replace(v, value=value)

        boundary = {face: converted(face, v) for face, v in self.boundary.items()}
        vessels = {
            name: passing.model_copy(update={"value": convert(passing.value, "vessels", name, "value")})
            for name, passing in self.vessels.items()
        }
        fitted = {"unit": unit, "initial": initial, "boundary": boundary, "vessels": vessels}
        for name, value in fitted.items():
            object.__setattr__(self, name, value)
        return self


class Space(Part):
    """The domain, its grid and the fields on it."""

    domain: Domain = Field(description="The box that holds cells and fields.")
    periodic: bool = Field(
        default=False, description="Whether cells and fields that leave on one side return on the other."
    )
    voxel: Length = Field(
        default=default("20 um", LENGTH), description="Edge of a voxel of the fields' grid."
    )
    fields: dict[Name, FieldSpec] = Field(
        default_factory=dict, description="The substances that diffuse, by name."
    )
    vessels: dict[Name, Vessel] = Field(
        default_factory=dict, description="Tubes through whose walls fields pass, by name."
    )
    regions: dict[Name, Region] = Field(
        default_factory=dict, description="Regions in which fields spread otherwise, by name."
    )

    @property
    def dimensions(self) -> int:
        """2 or 3."""
        return len(self.domain.axes)

    @property
    def shape(self) -> tuple[int, ...]:
        """Voxels along x, y (and z)."""
        return tuple(voxels_along(high - low, self.voxel) for low, high in self.domain.axes.values())

    @model_validator(mode="after")
    def _fit(self) -> Space:
        for axis, (low, high) in self.domain.axes.items():
            if self.fields and not is_multiple(high - low, self.voxel):
                extent, count = high - low, voxels_along(high - low, self.voxel)
                fits = f"{count} voxels of {extent / count:.6g} um would"
                raise fault(
                    f"{extent:g} um along {axis} is not a whole number of voxels of {self.voxel}; {fits} fit",
                    "voxel",
                )
        check_vessels(self.domain, self.vessels)
        check_regions(self.domain, self.regions)
        for name, field in self.fields.items():
            self._check_faces(name, field)
        return self

    def _check_faces(self, name: str, field: FieldSpec) -> None:
        if field.advection is not None and len(field.advection) != self.dimensions:
            message = f"has {len(field.advection)} components; the domain has {self.dimensions} axes"
            raise fault(message, "fields", name, "advection")
        if not self.periodic:
            return
        if "boundary" in field.model_fields_set and set(field.boundary.values()) != {"periodic"}:
            raise fault("must be periodic, because space.periodic is true", "fields", name, "boundary")
        object.__setattr__(field, "boundary", dict.fromkeys(FACES, "periodic"))
