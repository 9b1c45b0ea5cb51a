"""The scenario file, key by key. Attributes have the names of the keys, but for `from`, `to` and `with`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, Strict

from sim.scenario.cells import CellType
from sim.scenario.couplings import Coupling
from sim.scenario.dynamics import Manipulator, Pathway, RepresentationSpace, Tissue
from sim.scenario.instruments import Instruments
from sim.scenario.outputs import Measurements, Outputs
from sim.scenario.perturbations import Perturbation
from sim.scenario.rules import Rules
from sim.scenario.space import Space, Time
from sim.scenario.values import Name, Part, Reads, Text, fault, whole

VERSION = 1
LARGEST_SEED = 2**64 - 1


def _version(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value != VERSION:
        raise fault(f"must be {VERSION}, the version of the form that this cellweave reads")
    return value


class ScenarioSpec(Part):
    """A cellweave scenario: a tissue, what its cells do, what is done to them and what is read out."""

    scenario: Annotated[int, Reads(_version, {"const": VERSION})] = Field(
        description="Version of this form: 1."
    )
    name: Text = Field(description="What this scenario is about, in a line.")
    seed: Annotated[int, whole(0, LARGEST_SEED)] | None = Field(
        default=None, description="Seed of all random numbers; drawn and stored if left out."
    )
    time: Time = Field(description="The clock.")
    space: Space = Field(description="The domain and its fields.")
    cells: dict[Name, CellType] = Field(default_factory=dict, description="The cell types, by name.")
    pathways: dict[Name, Pathway] = Field(default_factory=dict, description="Pathway models, by name.")
    manipulators: dict[Name, Manipulator] = Field(
        default_factory=dict, description="Learned dynamics, by name."
    )
    representations: dict[Name, RepresentationSpace] = Field(
        default_factory=dict, description="Spaces of representations with encoders and decoders, by name."
    )
    tissue: Tissue | None = Field(default=None, description="Neighbours and messages between cells.")
    couplings: Annotated[tuple[Coupling, ...], Strict(False)] = Field(
        default=(), description="What acts on what, through which response."
    )
    rules: Rules = Field(
        default=(), description="Hypotheses on what cells do: a signal increases or decreases a behaviour."
    )
    perturbations: Annotated[tuple[Perturbation, ...], Strict(False)] = Field(
        default=(), description="What is done to the system, when."
    )
    instruments: Instruments = Field(
        default_factory=dict,
        description="Virtual instruments, by name; the kind is the name unless `kind` says otherwise.",
    )
    measurements: Measurements | None = Field(
        default=None, description="Measured curves to lay over simulated ones."
    )
    on_failure: Literal["stop", "remove-cell"] = Field(
        default="stop",
        description="What follows when a cell's pathway cannot be integrated: the run stops, or the cell is removed.",
    )
    outputs: Outputs = Field(default_factory=Outputs, description="What is stored.")
