"""One name for every quantity: what a process owns, takes and shows."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Role = Literal["state", "input", "readout"]

_AGGREGATE = re.compile(r"(neighbours|tissue)\.(count|mean|sd|sum)\((.+)\)\Z")
_COMPONENT = re.compile(r"(.+)\[(\d{1,6})\]\Z")


@dataclass(frozen=True)
class Quantity:
    """A declared quantity.

    Attributes:
        name: the one name, as in YAML, results and explanations (`rate.division`).
        unit: unit text, for example "1/min"; "1" where it has no dimension.
        meaning: a short noun phrase for people.
        role: `state` (a column that its process owns), `input` (what a coupling may drive) or
            `readout` (computed from the state when somebody asks).
        width: columns of a block, 0 for a scalar per cell.
        labels: names of the block's columns, empty for a scalar.
        default: value of an input that nothing drives, and of a state before it is initialised.
        by_type: defaults that differ between cell types, by the type's code.
        shared: True where division shares the value between the daughters (amounts); for a block one for each
            of its columns, where they differ.
        integer: True for ids and counters.
        code: True for integers that stand for one of some names.
        stored: True for an input whose base value differs from cell to cell and has a column of its own.
    """

    name: str
    unit: str
    meaning: str
    role: Role = "state"
    width: int = 0
    labels: tuple[str, ...] = ()
    default: float = 0.0
    by_type: Mapping[int, float] = field(default_factory=dict)
    shared: bool | tuple[bool, ...] = False
    integer: bool = False
    code: bool = False
    stored: bool = False


@dataclass(frozen=True)
class Aggregate:
    """`neighbours.mean(pathway.dn.D)` taken apart: over each cell's neighbours, or over all living cells (`tissue`)."""

    how: str
    of: str
    over: str = "neighbours"


def aggregate_of(name: str) -> Aggregate | None:
    """The aggregate that `name` asks for, or None if it is a plain name."""
    found = _AGGREGATE.match(name)
    return Aggregate(found[2], found[3].strip(), found[1]) if found else None


def component_of(name: str) -> tuple[str, int] | None:
    """`ur.drug[3]` as ("ur.drug", 3), or None if `name` has no index."""
    found = _COMPONENT.match(name)
    return (found[1], int(found[2])) if found else None
