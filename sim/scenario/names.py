"""The names that a scenario declares, and the look-ups that report what is missing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple, Protocol

from sim.errors import escaped
from sim.scenario.cells import CellType
from sim.scenario.schema import ScenarioSpec
from sim.scenario.yaml_text import Path
from sim.spelling import nearest, one_of


class Fault(NamedTuple):
    """What is wrong at a path of the scenario; `at_key` if the key itself is, not its value."""

    path: Path
    message: str
    at_key: bool = False


#: quantities whose names are fixed, by family
_FIXED = {
    "cell": (
        "volume",
        "pressure",
        "radius",
        "living",
        "dead",
        "apoptotic",
        "necrotic",
        "phase_time",
        "damage",
        "calcified",
    ),
    "clock": ("time",),
    "spring": ("count",),
    "rate": (
        "division",
        "death",
        "lysis",
        "clearance",
        "growth",
        "arrest",
        "release",
        "necrosis",
        "damage",
        "repair",
        "attachment",
        "detachment",
    ),
    "motility": ("speed", "bias", "persistence"),
    "mechanics": ("adhesion", "repulsion", "lure"),
}
#: one quantity of each field
_OF_FIELDS = (
    "field",
    "gradient",
    "internal",
    "inside",
    "uptake",
    "secretion",
    "saturation",
    "export",
    "permeability",
    "chemotaxis",
)
#: one quantity of each cell type, of what happens between two cells
_OF_TYPES = ("contact", "attack", "phagocytosis", "fusion", "transform", "follow")
_OF_ANY_TYPE = {"contact": ("live", "dead"), "phagocytosis": ("dead",)}
_OF_TISSUE = ("neighbours", "tissue", "message")
FAMILIES = (*_OF_FIELDS, "pathway", "ur", "decoder", "condition", "exit", *_OF_TYPES, *_FIXED, *_OF_TISSUE)
COLUMNS = ("type", "position", "volume", "phase")

_PARTS = re.compile(r"([A-Za-z_]\w*)(?:\.(.*))?", re.ASCII | re.DOTALL)
_COUNT = re.compile(r"count\((.*)\)")
_MEAN = re.compile(r"(?:mean|sd|sum)\((.*)\)")


class Where(Protocol):
    """Gives the line of the key at a path."""

    def __call__(self, path: Path) -> int: ...


class Names:
    """The declared names of a scenario and the lookups that report what is missing."""

    def __init__(self, spec: ScenarioSpec, key_line: Where):
        self.spec, self.key_line = spec, key_line
        self.spaces: dict[str, Path] = {name: ("representations", name) for name in spec.representations}
        for name, cell in spec.cells.items():
            if cell.representation is not None:
                self.spaces.setdefault(cell.representation.space, ("cells", name, "representation", "space"))

    def declared(self, kind: str) -> dict[str, Path]:
        """Name -> path of its declaration, for field, cell type, pathway, manipulator, instrument, space."""
        spec = self.spec
        at: dict[str, tuple[Path, Iterable[str]]] = {
            "field": (("space", "fields"), spec.space.fields),
            "cell type": (("cells",), spec.cells),
            "vessel": (("space", "vessels"), spec.space.vessels),
            "region": (("space", "regions"), spec.space.regions),
            "pathway": (("pathways",), spec.pathways),
            "manipulator": (("manipulators",), spec.manipulators),
            "instrument": (("instruments",), spec.instruments),
        }
        if kind == "space":
            return self.spaces
        base, names = at[kind]
        return {name: (*base, name) for name in names}

    def missing(self, kind: str, name: str) -> str | None:
        """None where `name` is declared, else what to say."""
        declared = self.declared(kind)
        if name in declared:
            return None
        message = f"no {kind} '{escaped(name)}' is declared"
        found = nearest(name, declared)
        if found:
            return f"{message}; did you mean '{escaped(found)}' (line {self.key_line(declared[found])})?"
        return f"{message}; there is {', '.join(list(declared)[:8]) or f'no {kind}'}"

    def check(self, kind: str, name: str, path: Path, at_key: bool = False) -> Iterator[Fault]:
        message = self.missing(kind, name)
        if message:
            yield Fault(path, message, at_key=at_key)

    def quantity(self, name: str, path: Path, cells: tuple[str, ...] | None = None) -> Iterator[Fault]:
        """Faults of the name of a quantity, used for these cell types (all if None)."""
        match = _PARTS.fullmatch(name)
        family, rest = match.groups() if match else (name, None)
        if family not in FAMILIES:
            yield Fault(path, unknown_family(family, rest))
        elif not rest:
            yield Fault(path, f"is not complete; write {family}.NAME")
        elif family in _OF_FIELDS:
            yield from self.check("field", rest, path)
        elif family in _OF_TYPES:
            if rest not in _OF_ANY_TYPE.get(family, ()):
                yield from self.check("cell type", rest, path)
        elif family == "exit":
            phases = {p for c in self.spec.cells.values() if c.cycle is not None for p in c.cycle.programme}
            if rest not in phases:
                hint = nearest_hint(rest, phases, before="exit.")
                yield Fault(path, f"no cell type has a phase '{escaped(rest)}'{hint}")
        elif family == "pathway":
            yield from self._pathway(rest, path, cells)
        elif family == "ur":
            yield from self.check("space", rest.partition("[")[0], path)
        elif family in _FIXED:
            allowed = _FIXED[family]
            if rest not in allowed:
                hint = nearest_hint(rest, allowed, before=f"{family}.")
                yield Fault(path, f"no such quantity; {family} has {one_of(allowed)}{hint}")
        elif family in ("decoder", "condition"):
            if not self.spec.manipulators and not (family == "decoder" and self.spec.representations):
                yield Fault(path, f"{family}.* comes from the weights of a manipulator, and none is declared")
        elif family == "tissue" and (_COUNT.fullmatch(rest) or _MEAN.fullmatch(rest)):
            yield from self._neighbours(rest, path)
        elif self.spec.tissue is None:
            yield Fault(path, f"{family}.* needs the section tissue, which says who is a neighbour")
        elif family == "neighbours":
            yield from self._neighbours(rest, path)

    def _pathway(self, rest: str, path: Path, cells: tuple[str, ...] | None) -> Iterator[Fault]:
        pathway, _, species = rest.partition(".")
        message = self.missing("pathway", pathway)
        if message:
            yield Fault(path, message)
        elif not species:
            yield Fault(path, f"is not complete; write pathway.{pathway}.SPECIES")
        else:
            for name in cells or ():
                cell = self.spec.cells.get(name)
                if cell is not None and pathway not in cell.pathways and not self._misspelt(pathway, cell):
                    yield Fault(
                        path,
                        f"cell type '{name}' has no pathway '{pathway}'; add it to cells.{name}.pathways",
                    )

    def _misspelt(self, pathway: str, cell: CellType) -> bool:
        """True where the cell type lists an undeclared name close to `pathway`, which is told of there."""
        return nearest(pathway, [p for p in cell.pathways if p not in self.spec.pathways]) is not None

    def _neighbours(self, rest: str, path: Path) -> Iterator[Fault]:
        count, mean = _COUNT.fullmatch(rest), _MEAN.fullmatch(rest)
        if count:
            yield from self.check("cell type", count.group(1), path)
        elif mean:
            yield from self.quantity(mean.group(1), path)
        else:
            yield Fault(path, "unknown quantity; write neighbours.count(TYPE) or neighbours.mean(QUANTITY)")


def nearest_hint(word: str, allowed: Iterable[str], rest: str | None = None, before: str = "") -> str:
    """`; did you mean '…'?` for the nearest of the allowed words, or nothing."""
    found = nearest(word, allowed)
    return f"; did you mean '{before}{found}{'.' + escaped(rest, 60) if rest else ''}'?" if found else ""


def unknown_family(family: str, rest: str | None) -> str:
    """What to say of a quantity whose name begins as none does."""
    starts = one_of(f + "." for f in FAMILIES)
    return f"unknown quantity; names start with {starts}{nearest_hint(family, FAMILIES, rest)}"
