"""What a reaction network is made of, as plain data: species, reactions, rules, events, bounds of fluxes.

Expression trees are numbers, ids or lists [operator, argument, ...]; `mechanistic.reading.mathml` lists the
operators.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

Tree = Any  # float | str | list


@dataclass(frozen=True)
class Compartment:
    """A well-mixed space. `size` is None where a rule or an initial assignment sets it."""

    id: str
    name: str
    size: float | None
    dimensions: float
    constant: bool
    unit: str | None
    line: int


@dataclass(frozen=True)
class Species:
    """A pool of entities. `substance_only`: in math its id stands for the amount, else for amount / size."""

    id: str
    name: str
    compartment: str
    amount: float | None
    concentration: float | None
    substance_only: bool
    boundary: bool
    constant: bool
    unit: str | None
    conversion_factor: str | None
    line: int


@dataclass(frozen=True)
class Parameter:
    """A named number. `local`: it was declared inside a reaction."""

    id: str
    name: str
    value: float | None
    constant: bool
    unit: str | None
    local: bool
    line: int


@dataclass(frozen=True)
class Reference:
    """A species in a reaction, with its stoichiometry (a number or an expression tree)."""

    id: str
    species: str
    stoichiometry: Tree
    constant: bool
    line: int


class Ids(tuple[str, ...]):
    """Ids in document order, that know what is among them without going through them."""

    def __contains__(self, name: object) -> bool:
        return name in self._set

    @cached_property
    def _set(self) -> frozenset[str]:
        return frozenset(self)


@dataclass(frozen=True)
class Reaction:
    """`rate` is an extent per time [extent unit / time unit]; None where a flux balance alone determines it.

    `fast`: it is at its equilibrium at all times, as other reactions see it.
    """

    id: str
    name: str
    reversible: bool
    rate: Tree
    reactants: tuple[Reference, ...]
    products: tuple[Reference, ...]
    modifiers: tuple[str, ...]
    line: int
    fast: bool = False


@dataclass(frozen=True)
class Rule:
    """`variable` = math ("assignment") or d(variable)/dt = math ("rate"), at all times."""

    kind: str
    variable: str
    math: Tree
    line: int


@dataclass(frozen=True)
class Assignment:
    """`variable` takes the value of `math`, at the start or when an event fires."""

    variable: str
    math: Tree
    line: int


@dataclass(frozen=True)
class Event:
    """Fires when `trigger` turns from false to true; `initial_value` is its value before the start."""

    id: str
    named: bool
    name: str
    trigger: Tree
    initial_value: bool
    persistent: bool
    from_trigger_time: bool
    delay: Tree
    priority: Tree
    assignments: tuple[Assignment, ...]
    line: int


@dataclass(frozen=True)
class Objective:
    """What a flux balance optimises: the sum of coefficient times flux over `terms`."""

    id: str
    maximize: bool
    terms: tuple[tuple[str, float], ...]
    line: int


@dataclass(frozen=True)
class FluxBound:
    """lower <= flux <= upper; each end a number, a parameter's id, or None where it is open."""

    reaction: str
    lower: float | str | None
    upper: float | str | None
    line: int


@dataclass(frozen=True)
class FluxConstraint:
    """lower <= sum of coefficient times flux <= upper; ends and coefficients are ids of parameters."""

    id: str
    lower: str | None
    upper: str | None
    terms: tuple[tuple[str, str], ...]
    line: int


@dataclass(frozen=True)
class GeneProduct:
    """What a gene makes; `label` is its name in the source of the model."""

    id: str
    label: str
    name: str
    line: int


@dataclass(frozen=True)
class FluxBalance:
    """What SBML's package "fbc" says of a model.

    Attributes:
        active: id of the objective that is meant, or "".
        associations: by reaction, which gene products it needs: an id, or ["and" | "or", ...] of them.
    """

    strict: bool
    active: str
    objectives: tuple[Objective, ...]
    bounds: tuple[FluxBound, ...]
    constraints: tuple[FluxConstraint, ...]
    genes: tuple[GeneProduct, ...]
    associations: Mapping[str, Tree]
