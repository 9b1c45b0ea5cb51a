"""Virtual instruments as a scenario asks for them, by kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Strict, Tag, model_validator

from sim.errors import escaped
from sim.scenario.units import LENGTH
from sim.scenario.values import (
    Duration,
    Length,
    Name,
    Names,
    Number,
    Part,
    Point,
    Position,
    QuantityName,
    Reads,
    default,
    fault,
    number,
    whole,
)
from sim.spelling import did_you_mean, nearest, one_of

INCUCYTE = ("live_area", "annexin_v", "dead_dna")
_PARTS = Literal["body", "nucleus", "cytoplasm", "membrane", "medium"]
_PIXELS = 4096  # along a side of an image
_MOST_EVENTS = 1_000_000

Whatever = Annotated[float, number(low=0)]
Positive = Annotated[float, number(above=0)]
Share = Annotated[float, number(low=0, high=1)]


class Incucyte(Part):
    """A live-cell imager: areas covered by living, apoptotic and lysed cells."""

    kind: Literal["incucyte"] = Field(default="incucyte", description="Kind of instrument.")
    every: Duration = Field(description="Time between two readings.")
    channels: Annotated[tuple[Name, ...], Strict(False), Field(min_length=1)] | None = Field(
        default=None, description="What it reads; all its channels if left out."
    )


class Objective(Part):
    """The lens: it decides how sharp a point can be."""

    na: Annotated[float, number(above=0, high=1.7)] = Field(
        default=0.3, description="Numerical aperture; smaller than the index."
    )
    magnification: Positive = Field(default=10.0, description="Size on the chip by size in the tissue.")
    index: Annotated[float, number(low=1, high=2)] = Field(
        default=1.0, description="Refractive index between lens and tissue: 1 air, 1.33 water, 1.52 oil."
    )

    @model_validator(mode="after")
    def _gathers(self) -> Objective:
        if not self.na < self.index:
            raise fault(f"must be smaller than the refractive index {self.index:g}", "na")
        return self


class Camera(Part):
    """What makes counts of photons."""

    pixel: Length = Field(default=default("6.5 um", LENGTH), description="Edge of a pixel on the chip.")
    binning: Annotated[int, whole(1, 16)] = Field(
        default=1, description="Pixels along each side that are read as one."
    )
    efficiency: Annotated[float, number(above=0, high=1)] = Field(
        default=0.8, description="Electrons per photon."
    )
    dark: Whatever = Field(default=0.1, description="Electrons in a pixel and exposure without light.")
    read_noise: Whatever = Field(default=1.5, description="Standard deviation of reading out, in electrons.")
    gain: Positive = Field(default=2.0, description="Counts per electron.")
    offset: Whatever = Field(default=100.0, description="Counts without an electron.")
    full_well: Positive = Field(default=30000.0, description="Electrons that a pixel can hold.")
    bits: Annotated[int, whole(8, 16)] = Field(default=16, description="Counts end at 2^bits - 1.")


class View(Part):
    """The part of the plane that is seen."""

    center: Point = Field(description="Middle of the image, x and y.")
    size: Annotated[tuple[Length, ...], Strict(False), Field(min_length=2, max_length=2)] = Field(
        description="Width and height of the image."
    )


class Stain(Part):
    """A channel of the microscope: what shines, where, how brightly."""

    shows: QuantityName | None = Field(
        default=None,
        description="The quantity whose value the light is proportional to; left out, all stained cells shine alike.",
        examples=["pathway.egfr.ppERK"],
    )
    part: _PARTS = Field(default="body", description="Where it shines; the medium shows a field.")
    cells: Names | None = Field(default=None, description="Cell types that it stains; all if left out.")
    phases: Names | None = Field(
        default=None,
        description="Phases in which cells are stained, such as [S, G2] or apoptotic; all but lysed if left out.",
    )
    emission: Length = Field(description="Wavelength of the light.", examples=["520 nm"])
    brightness: Whatever = Field(
        description="Photons that 1 um^3 of the part at value 1 sends to the camera in an exposure."
    )
    background: Whatever = Field(default=0.0, description="Photons in each pixel from elsewhere.")
    bleaching: Share = Field(default=0.0, description="Share of the dye that each exposure destroys.")

    @model_validator(mode="after")
    def _of_the_medium(self) -> Stain:
        if self.part == "medium":
            if self.shows is None or not self.shows.startswith("field."):
                raise fault("must be a field such as field.oxygen, as part is medium", "shows")
            for key in ("cells", "phases"):
                if getattr(self, key) is not None:
                    raise fault("does not go with part: medium; remove it", key)
        return self


class Fluorescence(Part):
    """A fluorescence microscope: images through a point-spread function, with the camera's noise."""

    kind: Literal["fluorescence"] = Field(default="fluorescence", description="Kind of instrument.")
    every: Duration = Field(description="Time between two exposures.")
    channels: Annotated[dict[Name, Stain], Field(min_length=1)] = Field(
        description="What is stained, by name of the channel."
    )
    objective: Objective = Field(default_factory=Objective, description="The lens.")
    camera: Camera = Field(default_factory=Camera, description="The camera.")
    view: View | None = Field(default=None, description="What is seen; the whole domain if left out.")
    focus: Position | None = Field(
        default=None,
        description="Height of the plane in focus; the middle of the domain if left out. A 2-D tissue lies at 0.",
    )
    section: Length | None = Field(
        default=None, description="Thickness of the optical section seen; light of all heights if left out."
    )
    nucleus: Annotated[float, number(above=0, high=1)] = Field(
        default=0.2, description="Share of a cell's volume that its nucleus has."
    )
    sampling: Annotated[int, whole(1, 8)] = Field(
        default=2, description="Samples along the edge of a pixel in which light is drawn."
    )


class Probe(Part):
    """A channel of the reporter: signal = background + gain * quantity, with its noise."""

    shows: QuantityName = Field(description="The quantity that is reported.", examples=["pathway.egfr.ppERK"])
    gain: Number = Field(default=1.0, description="Signal per unit of the quantity.")
    background: Number = Field(default=0.0, description="Signal without the quantity.")
    variation: Whatever = Field(
        default=0.0, description="Relative standard deviation of the gain between readings of a cell."
    )
    noise: Whatever = Field(default=0.0, description="Standard deviation of the detector's noise.")


class Reporter(Part):
    """A live reporter: the mean signal of the living cells, or tracks of single cells."""

    kind: Literal["reporter"] = Field(default="reporter", description="Kind of instrument.")
    every: Duration = Field(description="Time between two readings.")
    channels: Annotated[dict[Name, Probe], Field(min_length=1)] = Field(
        description="What is reported, by name of the channel."
    )
    cells: Names | None = Field(default=None, description="Cell types that carry it; all if left out.")
    tracks: Annotated[int, whole(0, 100_000)] = Field(
        default=0, description="Number of cells followed one by one; 0 reads their mean."
    )


class Label(Part):
    """A channel of the cytometer: photons of one colour."""

    shows: QuantityName | None = Field(
        default=None, description="The quantity that is labelled; left out, all cells hold the same dye."
    )
    brightness: Whatever = Field(description="Photons per unit of the quantity.")
    background: Whatever = Field(default=0.0, description="Photons of a cell without it.")
    variation: Whatever = Field(
        default=0.0, description="Relative standard deviation of the labelling from cell to cell."
    )
    spills: dict[Name, Share] = Field(
        default_factory=dict,
        description="Other channel -> photons that it counts of this label, for each that this channel counts.",
        examples=[{"pe": 0.15}],
    )


class Cytometer(Part):
    """A flow cytometer: labels of single cells drawn from the tissue."""

    kind: Literal["cytometer"] = Field(default="cytometer", description="Kind of instrument.")
    every: Duration = Field(description="Time between two readings, each of a dish of its own.")
    channels: Annotated[dict[Name, Label], Field(min_length=1)] = Field(
        description="What is labelled, by name of the channel."
    )
    events: Annotated[int, whole(1, _MOST_EVENTS)] = Field(
        default=2000, description="Cells drawn at each reading."
    )
    cells: Names | None = Field(default=None, description="Cell types that pass; all if left out.")
    phases: Names | None = Field(
        default=None, description="Phases in which cells pass; all but lysed if left out."
    )
    doublets: Share = Field(default=0.0, description="Share of events in which two cells pass as one.")

    @model_validator(mode="after")
    def _spills_into_others(self) -> Cytometer:
        for name, label in self.channels.items():
            for other in label.spills:
                if other == name or other not in self.channels:
                    there = [c for c in self.channels if c != name]
                    said = "is this channel itself" if other == name else "is no channel of this instrument"
                    raise fault(said + did_you_mean(other, there), "channels", name, "spills", other)
        return self


KINDS: dict[str, type[Part]] = {
    "incucyte": Incucyte,
    "fluorescence": Fluorescence,
    "reporter": Reporter,
    "cytometer": Cytometer,
}
#: mark of a part of an error's place that is no key of the file; sim.scenario.problems leaves it out
TAG = "kind="


class _FromName(str):
    """A kind that the file does not say: it is the instrument's name."""


def _named_kinds(value: object) -> object:
    """Each instrument with its kind: what it says, else its name."""
    if not isinstance(value, Mapping):
        return value
    return {
        name: {"kind": name if name in KINDS else _FromName(name), **one}
        if isinstance(one, Mapping) and "kind" not in one
        else one
        for name, one in value.items()
    }


def _kind(value: Any) -> str:
    kind = value.get("kind") if isinstance(value, Mapping) else getattr(value, "kind", None)
    return TAG + kind if isinstance(kind, str) and kind in KINDS else TAG + "unknown"


def _unknown(value: object) -> Any:
    if not isinstance(value, Mapping):
        raise fault("must be a mapping")
    kind = value.get("kind")
    if not isinstance(kind, str):
        raise fault("must be text", "kind")
    misspelt = nearest("kind", [str(k) for k in value if k != "kind"])
    if isinstance(kind, _FromName) and misspelt:
        raise fault(f"unknown key '{escaped(misspelt)}'; did you mean 'kind'?", misspelt, "[key]")
    message = f"unknown instrument '{escaped(kind)}'; use {one_of(KINDS)}{did_you_mean(kind, KINDS)}"
    raise fault(message, "[key]" if isinstance(kind, _FromName) else "kind")


Instrument = Annotated[
    Annotated[Incucyte, Tag(TAG + "incucyte")]
    | Annotated[Fluorescence, Tag(TAG + "fluorescence")]
    | Annotated[Reporter, Tag(TAG + "reporter")]
    | Annotated[Cytometer, Tag(TAG + "cytometer")]
    | Annotated[Any, Reads(_unknown, {}), Tag(TAG + "unknown")],
    Discriminator(_kind),
]
Instruments = Annotated[dict[Name, Instrument], BeforeValidator(_named_kinds)]


def pixels_of(
    camera: Camera, objective: Objective, size: tuple[float, float]
) -> tuple[tuple[int, int], float]:
    """Pixels along (y, x) of an image of this width and height [um], and their edge in the tissue [um]."""
    edge = float(camera.pixel) * camera.binning / objective.magnification
    return (max(round(size[1] / edge), 1), max(round(size[0] / edge), 1)), edge


def image_fault(instrument: Fluorescence, domain: tuple[float, float]) -> str | None:
    """What is wrong with the size of the image; `domain` is the width and height of the whole [um]."""
    size = (float(instrument.view.size[0]), float(instrument.view.size[1])) if instrument.view else domain
    (rows, columns), edge = pixels_of(instrument.camera, instrument.objective, size)
    if max(rows, columns) <= _PIXELS:
        return None
    return (
        f"gives an image of {columns} x {rows} pixels of {edge:g} um, at most {_PIXELS} a side are drawn; "
        "choose a smaller view, a lower magnification or binning"
    )
