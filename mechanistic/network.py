"""A reaction network as plain data: what a model file says, and nothing that runs.

`mechanistic.parts` says what it is made of. Functions are inlined, local parameters promoted to
`<reaction>_<parameter>`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from mechanistic.draws import draws_in
from mechanistic.errors import ModelError, ModelProblem
from mechanistic.parts import (
    Assignment,
    Compartment,
    Event,
    FluxBalance,
    FluxBound,
    FluxConstraint,
    GeneProduct,
    Ids,
    Objective,
    Parameter,
    Reaction,
    Reference,
    Rule,
    Species,
    Tree,
)


@dataclass(frozen=True)
class ReactionNetwork:
    """A model of reactions, rules and events. Immutable; made by `mechanistic.sbml.read_network`.

    Attributes:
        time_unit, substance_unit, volume_unit, extent_unit: text such as "second" or "micromole", or None
            where the model says nothing.
        lines: line of every id in its file (empty for Antimony).
        source: the model as SBML text.
        file: where it was read from, or "<text>".
        flux_balance: objectives and bounds of fluxes, or None.
    """

    id: str
    name: str
    level: int
    version: int
    time_unit: str | None
    substance_unit: str | None
    volume_unit: str | None
    extent_unit: str | None
    conversion_factor: str | None
    compartments: tuple[Compartment, ...]
    species: tuple[Species, ...]
    parameters: tuple[Parameter, ...]
    reactions: tuple[Reaction, ...]
    rules: tuple[Rule, ...]
    initial_assignments: tuple[Assignment, ...]
    events: tuple[Event, ...]
    lines: Mapping[str, int] = field(repr=False)
    source: str = field(repr=False)
    file: str = "<text>"
    flux_balance: FluxBalance | None = None

    @property
    def has_rate_laws(self) -> bool:
        """Whether every reaction says how fast it runs, as a time course needs."""
        return all(r.rate is not None for r in self.reactions)

    def rate_law(self, reaction: str) -> Tree:
        """The rate of a reaction; ModelError where it has none."""
        law = self[reaction].rate
        if law is None:
            message = f"'{reaction}' has no kinetic law: this model has a flux balance, and no time course"
            raise ModelError(self.file, [ModelProblem(message, self[reaction].line, reaction)])
        return law

    @cached_property
    def assignment_rules(self) -> dict[str, Rule]:
        return {r.variable: r for r in self.rules if r.kind == "assignment"}

    @cached_property
    def rate_rules(self) -> dict[str, Rule]:
        return {r.variable: r for r in self.rules if r.kind == "rate"}

    @cached_property
    def delays(self) -> tuple[tuple[Tree, int, str], ...]:
        """Every ["delay", x, lag] of the math, once, the inner ones of it too; with its line and whose math it is."""
        found: dict[str, tuple[Tree, int, str]] = {}
        for tree, line, key in self._math():
            waiting = [tree]
            while waiting:
                part = waiting.pop()
                if isinstance(part, list):
                    if part[0] == "delay":
                        found.setdefault(repr(part), (part, line, key))
                    waiting.extend(part[1:])
        return tuple(found.values())

    @cached_property
    def fast_reactions(self) -> tuple[Reaction, ...]:
        return tuple(r for r in self.reactions if r.fast)

    @cached_property
    def draws(self) -> tuple[tuple[Tree, int, str], ...]:
        """Every draw of the math, once; with its line and whose math it is."""
        found = {d[1]: (d, line, key) for tree, line, key in self._math() for d in draws_in(tree)}
        return tuple(found.values())

    @cached_property
    def event_draws(self) -> tuple[tuple[Tree, int, str], ...]:
        """Those of `draws` that an event makes when it fires."""
        names = {e.id for e in self.events}
        return tuple(d for d in self.draws if d[2] in names)

    def refuse_draws(self, what: str, only_events: bool = False) -> None:
        """ModelError with the line of each draw from a distribution, which `what` does not make."""
        problems = [
            ModelProblem(f"{what} makes no draws from distributions ({tree[0]})", line, f"{key}.{tree[0]}")
            for tree, line, key in (self.event_draws if only_events else self.draws)
        ]
        if problems:
            raise ModelError(self.file, problems)

    def refuse_delays(self, what: str) -> None:
        """ModelError with the line of each delay in math and fast reaction, which `what` does not take."""
        problems = [
            ModelProblem(f"{what} cannot run a delay in math", line, f"{key}.delay")
            for _, line, key in self.delays
        ]
        problems += [
            ModelProblem(f"{what} cannot run a fast reaction", r.line, f"{r.id}.fast")
            for r in self.fast_reactions
        ]
        if problems:
            raise ModelError(self.file, problems)

    def _math(self) -> Iterator[tuple[Tree, int, str]]:
        for r in self.reactions:
            yield r.rate, r.line, r.id
            for q in (*r.reactants, *r.products):
                yield q.stoichiometry, q.line, r.id
        for rule in self.rules:
            yield rule.math, rule.line, rule.variable
        for a in self.initial_assignments:
            yield a.math, a.line, a.variable
        for e in self.events:
            for tree in (e.trigger, e.delay, e.priority, *(a.math for a in e.assignments)):
                yield tree, e.line, e.id

    @cached_property
    def compartment_ids(self) -> Ids:
        return Ids(c.id for c in self.compartments)

    @cached_property
    def species_ids(self) -> Ids:
        return Ids(s.id for s in self.species)

    @cached_property
    def parameter_ids(self) -> Ids:
        return Ids(p.id for p in self.parameters)

    @cached_property
    def reaction_ids(self) -> Ids:
        return Ids(r.id for r in self.reactions)

    @cached_property
    def references(self) -> dict[str, Reference]:
        """The species references that have an id."""
        return {q.id: q for r in self.reactions for q in (*r.reactants, *r.products) if q.id}

    @property
    def stoichiometry_ids(self) -> tuple[str, ...]:
        """Ids of species references, in document order."""
        return tuple(self.references)

    @cached_property
    def state_ids(self) -> Ids:
        """What a cell must remember: what reactions, rate rules and events change, in document order.

        Floating species (neither boundary, constant nor given by an assignment rule) come first, then every
        other target of a rate rule or an event.
        """
        floating = [
            s.id
            for s in self.species
            if not s.boundary and not s.constant and s.id not in self.assignment_rules
        ]
        changed = set(self.rate_rules) | {a.variable for e in self.events for a in e.assignments}
        changed -= set(floating)
        others = (*self.species_ids, *self.compartment_ids, *self.parameter_ids)
        return Ids((*floating, *(i for i in others if i in changed)))

    @cached_property
    def settable_ids(self) -> Ids:
        """Ids of a cell's constants: parameters, boundary species, compartments that nothing else determines.

        And the stoichiometries that an initial assignment sets.
        """
        determined = set(self.assignment_rules) | set(self.state_ids)
        computed = tuple(a.variable for a in self.initial_assignments if a.variable in self.references)
        ids = (*self.parameter_ids, *self.species_ids, *self.compartment_ids, *computed)
        return Ids(i for i in ids if i not in determined)

    @cached_property
    def _by_id(self) -> dict[str, Any]:
        things = (*self.compartments, *self.species, *self.parameters, *self.reactions)
        return {t.id: t for t in things}

    def __contains__(self, name: str) -> bool:
        return name in self._by_id or name in self.references

    def __getitem__(self, name: str) -> Any:
        """The compartment, species, parameter or reaction called `name`; KeyError where there is none."""
        return self._by_id[name]

    def units(self, name: str) -> str:
        """The unit of an id as text: of a species the concentration (amount where it counts in amounts).

        "" where the model declares none.
        """
        thing = self._by_id.get(name)
        if isinstance(thing, Species):
            size = self._by_id[thing.compartment].unit
            if thing.substance_only:
                return thing.unit or ""
            return f"{thing.unit} / {size}" if thing.unit and size else ""
        if isinstance(thing, Reaction):
            extent = self.extent_unit or self.substance_unit
            return f"{extent} / {self.time_unit}" if extent and self.time_unit else ""
        return getattr(thing, "unit", None) or ""

    def line_of(self, name: str) -> int | None:
        """The line of the file on which `name` is declared, where known."""
        return self.lines.get(name)


def from_data(data: dict, source: str, file: str) -> ReactionNetwork:
    """The network of the plain data that the guarded child hands back."""

    def references(items: list[dict]) -> tuple[Reference, ...]:
        return tuple(Reference(**q) for q in items)

    def assignments(items: list[dict], key: str) -> tuple[Assignment, ...]:
        return tuple(Assignment(a[key], a["math"], a["line"]) for a in items)

    scalars = ("id", "name", "level", "version", "conversion_factor")
    units = ("time_unit", "substance_unit", "volume_unit", "extent_unit")
    return ReactionNetwork(
        **{k: data[k] for k in scalars + units},
        compartments=tuple(Compartment(**c) for c in data["compartments"]),
        species=tuple(Species(**s) for s in data["species"]),
        parameters=tuple(Parameter(**p) for p in data["parameters"]),
        reactions=tuple(
            Reaction(
                **{k: r[k] for k in ("id", "name", "reversible", "rate", "line", "fast")},
                reactants=references(r["reactants"]),
                products=references(r["products"]),
                modifiers=tuple(r["modifiers"]),
            )
            for r in data["reactions"]
        ),
        rules=tuple(Rule(**r) for r in data["rules"]),
        initial_assignments=assignments(data["initial_assignments"], "symbol"),
        events=tuple(
            Event(**{**e, "assignments": assignments(e["assignments"], "variable")}) for e in data["events"]
        ),
        lines=data["lines"],
        source=source,
        file=file,
        flux_balance=_flux_balance(data["flux_balance"]) if data["flux_balance"] else None,
    )


def _flux_balance(data: dict) -> FluxBalance:
    def with_terms(made: type, item: dict):
        terms = tuple((t["reaction"], t["coefficient"]) for t in item["terms"])
        return made(**{**item, "terms": terms})

    return FluxBalance(
        strict=data["strict"],
        active=data["active"],
        objectives=tuple(with_terms(Objective, o) for o in data["objectives"]),
        bounds=tuple(FluxBound(**b) for b in data["bounds"]),
        constraints=tuple(with_terms(FluxConstraint, c) for c in data["constraints"]),
        genes=tuple(GeneProduct(**g) for g in data["genes"]),
        associations={a["reaction"]: a["rule"] for a in data["associations"]},
    )
