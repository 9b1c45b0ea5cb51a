"""What is stored of each cell: patterns such as `pathway.egfr.*` made into names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from sim.core.process import Process
from sim.core.quantity import Quantity, aggregate_of, component_of
from sim.errors import ScenarioError
from sim.processes.pathway import PathwayProcess

if TYPE_CHECKING:
    from sim.scenario import Scenario

#: stored of every cell, always
ALWAYS = ("type", "position", "volume", "phase")


@dataclass(frozen=True)
class Outputs:
    """Names to store.

    Attributes:
        scalars: quantities with one value per cell.
        blocks: quantities with several (`ur.<space>`).
        fields: names of fields.
    """

    scalars: tuple[Quantity, ...]
    blocks: tuple[Quantity, ...]
    fields: tuple[str, ...]


def chosen_outputs(spec, processes: Sequence[Process], scenario: Scenario) -> Outputs:
    """The quantities that the patterns of `outputs` name.

    `pathway.<p>.*` means its species; other ids of the model are stored when named.

    Raises:
        ScenarioError: a pattern that fits nothing.
    """
    known = {q.name: q for p in processes for q in p.quantities}
    starred = [n for n in known if _is_starred(n, processes)]
    scalars: dict[str, Quantity] = {}
    blocks: dict[str, Quantity] = {}
    problems = []
    for index, pattern in enumerate(spec.cells):
        if pattern in ALWAYS:
            continue
        names = [n for n in starred if fnmatchcase(n, pattern)] if "*" in pattern else _parts(pattern, known)
        found = [q for n in names if (q := _quantity(n, known)) is not None]
        if not found:
            from sim.spelling import did_you_mean

            message = f"no quantity fits '{pattern}'{did_you_mean(pattern, (*ALWAYS, *known))}"
            problems.append(scenario.problem(("outputs", "cells", index), message))
        for q in found:
            (blocks if q.width else scalars)[q.name] = q
    if problems:
        raise ScenarioError(problems)
    names = tuple(p.name.removeprefix("field.") for p in processes if p.name.startswith("field."))
    return Outputs(
        tuple(scalars.values()), tuple(blocks.values()), names if spec.fields == "all" else tuple(spec.fields)
    )


def _is_starred(name: str, processes: Sequence[Process]) -> bool:
    for p in processes:
        if isinstance(p, PathwayProcess) and name.startswith(f"pathway.{p.settings.name}."):
            return name.removeprefix(f"pathway.{p.settings.name}.") in p.network.species_ids
    return True


def _parts(name: str, known: dict[str, Quantity]) -> list[str]:
    """`tissue.mean(ur.drug)` as one name for each component of the block; any other name alone."""
    aggregate = aggregate_of(name)
    if aggregate is None or aggregate.of not in known or not known[aggregate.of].width:
        return [name]
    head = f"{aggregate.over}.{aggregate.how}"
    return [f"{head}({aggregate.of}[{k}])" for k in range(known[aggregate.of].width)]


def _quantity(name: str, known: dict[str, Quantity]) -> Quantity | None:
    if name in known:
        return known[name]
    part = component_of(name)
    if part and part[0] in known:
        block = known[part[0]]
        return (
            Quantity(name, block.unit, f"{block.meaning}, component {part[1]}", "readout")
            if part[1] < block.width
            else None
        )
    aggregate = aggregate_of(name)
    if aggregate and aggregate.how == "count":
        return Quantity(name, "1", name, "readout")
    of = _quantity(aggregate.of, known) if aggregate else None
    return Quantity(name, of.unit, name, "readout") if of is not None and not of.width else None
