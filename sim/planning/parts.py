"""Pathways, membranes and manipulators: the parts whose ids live in model files and weights."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sim.perturbations import Perturbation
from sim.planning.model_units import minutes_of, tidy
from sim.planning.settings import pace_of
from sim.processes.fields import FieldProcess
from sim.processes.flow import MINUTES, FlowProcess, FlowSettings
from sim.processes.manipulator import ManipulatorProcess, ManipulatorSettings
from sim.processes.membrane import Membrane
from sim.processes.pathway import PathwayProcess, PathwaySettings
from sim.processes.tissue import EDGE_QUANTITIES, Neighbourhood, TissueProcess, TissueSettings
from sim.scenario.units import unit
from sim.spelling import did_you_mean

if TYPE_CHECKING:
    from mechanistic.network import ReactionNetwork
    from neural.weights import Card
    from sim.planning.findings import Findings


def pathway_of(
    findings: Findings,
    name: str,
    network: ReactionNetwork,
    perturbations: Iterable[Perturbation],
    step: float,
) -> PathwayProcess:
    """The process of pathway `name` in every cell type that lists it."""
    scenario = findings.scenario
    spec = scenario.pathways[name]
    settable = network.settable_ids
    for key in ("set", "vary"):
        for i in getattr(spec, key):
            if i not in settable:
                findings.fault(
                    ("pathways", name, key, i),
                    f"no parameter '{i}' that can be set{did_you_mean(i, settable)}",
                )
    reached = {c.target for c in scenario.couplings} | {p.target for p in perturbations}
    reached |= {f"pathway.{name}.{i}" for i in spec.vary}
    ids = (*network.species_ids, *network.parameter_ids, *network.compartment_ids, *network.reaction_ids)
    settings = PathwaySettings(
        name=name,
        model=scenario.resolve(("pathways", name, "model"), spec.model),
        minutes_per_unit=_minutes_per_unit(findings, name, network),
        dilutes=spec.growth == "dilutes",
        set={i: float(v) for i, v in spec.set.items()},
        vary=dict(spec.vary),
        removes_failed=scenario.on_failure == "remove-cell",
        units={i: tidy(network.units(i)) for i in ids},
        active=tuple(i for i in settable if f"pathway.{name}.{i}" in reached),
    )
    volume = {code: float(c.volume) for code, c in enumerate(scenario.cells.values())}
    users = frozenset(code for code, c in enumerate(scenario.cells.values()) if name in c.pathways)
    return PathwayProcess(settings, network, volume, users, pace_of(spec, step))


def membranes_of(
    findings: Findings, fields: Sequence[FieldProcess], pathways: Sequence[PathwayProcess], step: float
) -> list[Membrane]:
    """One process for each species that passes the membrane between a field and a pathway."""
    by_field = {f.settings.name: f for f in fields}
    by_pathway = {f"pathway.{p.settings.name}": p for p in pathways}
    found: dict[tuple[str, str], dict[int, float]] = {}
    for type_name, c in findings.scenario.cells.items():
        for name, e in c.exchange.items():
            if e.permeability is None or e.partner is None:
                continue
            key = ("cells", type_name, "exchange", name, "with")
            owner, _, species = e.partner.rpartition(".")
            pathway = by_pathway.get(owner)
            if pathway is None or species not in pathway.network.state_ids:
                hint = did_you_mean(species, pathway.network.state_ids) if pathway else ""
                findings.fault(key, f"no species '{e.partner}' that changes{hint}")
            elif not pathway.settings.dilutes:
                findings.fault(
                    key, f"{owner} must have growth: dilutes, or the exchange would not keep the amount"
                )
            else:
                found.setdefault((name, e.partner), {})[findings.code(type_name)] = float(e.permeability)
    made = []
    for (name, partner), permeability in found.items():
        owner, _, species = partner.rpartition(".")
        made.append(Membrane(by_field[name], by_pathway[owner], species, permeability, step))
        findings.notes.append(
            f"field.{name} <-> {partner}: the model's concentration is read in {by_field[name].settings.unit}"
        )
    return made


def manipulator_of(
    findings: Findings, name: str, card: Card, step: float
) -> ManipulatorProcess | FlowProcess | None:
    """The process of manipulator `name` in every cell type that has its space; None with a fault if there is none."""
    scenario = findings.scenario
    spec = scenario.manipulators[name]
    key = ("manipulators", name)
    initial: dict[int, str] = {}
    for type_name, c in scenario.cells.items():
        r = c.representation
        if r is None or r.space != card.space or (r.manipulators is not None and name not in r.manipulators):
            continue
        start = r.initial or card.initial_names[0]
        if start not in card.initial_names:
            hint = did_you_mean(start, card.initial_names)
            findings.fault(
                ("cells", type_name, "representation", "initial"),
                f"space '{card.space}' has no state '{start}'{hint}",
            )
        initial[findings.code(type_name)] = start
    for c in spec.conditions:
        if c not in card.condition_names:
            hint = did_you_mean(c, card.condition_names)
            findings.fault((*key, "conditions", c), f"the weights know no condition '{c}'{hint}")
    if not initial:
        _no_space(findings, name, str(card.space))
        return None
    path = scenario.resolve((*key, "weights"), spec.weights)
    if card.kind == "transport":
        return _flow(findings, name, card, initial, path, pace_of(spec, step))
    return ManipulatorProcess(ManipulatorSettings(name, path, card, initial), pace_of(spec, step))


def _flow(
    findings: Findings, name: str, card: Card, initial: dict[int, str], path: Path, step: float
) -> FlowProcess | None:
    """A flow between snapshots; cells whose start is not said begin as cells of the first snapshot."""
    unit = card.raw.get("time_unit")
    if unit not in MINUTES:
        message = "these weights do not say the unit of their snapshots' times; train them with time_unit"
        findings.fault(("manipulators", name, "weights"), message)
        return None
    said = {findings.code(t): c.representation for t, c in findings.scenario.cells.items()}
    begins = {
        code: at if (r := said[code]) is not None and r.initial else None for code, at in initial.items()
    }
    times = card.raw["data"]["times"]
    if float(findings.scenario.time.stop) > (times[-1] - times[0]) * MINUTES[unit] * (1 + 1e-9):
        findings.notes.append(
            f"manipulator.{name}: beyond the last snapshot ({times[-1] - times[0]:g} {unit} after the first) the last "
            "interval's law is taken to hold"
        )
    return FlowProcess(FlowSettings(name, path, card, begins, MINUTES[unit]), step)


def tissue_of(
    findings: Findings, card: Card, neighbourhood: Neighbourhood, step: float
) -> TissueProcess | None:
    """The process of the tissue network; None with a fault where it asks what edges do not know."""
    tissue, key = findings.scenario.tissue, ("tissue", "weights")
    assert tissue is not None and tissue.weights is not None
    for name in (q["name"] for q in card.architecture["edges"]):
        if name not in EDGE_QUANTITIES:
            known = " or ".join(EDGE_QUANTITIES)
            findings.fault(key, f"the network asks for '{name}' of each edge; there is {known}")
            return None
    rule, radius = neighbourhood.rule, float(card.architecture["radius"])
    if (rule.kind, rule.radius) != ("radius", radius):
        findings.notes.append(
            f"tissue: the network was taught on neighbours within {radius:g} um and hears others here"
        )
    return TissueProcess(
        TissueSettings(findings.scenario.resolve(key, tissue.weights), card), neighbourhood, step
    )


def _no_space(findings: Findings, name: str, space: str) -> None:
    users = [
        (t, c.representation.space)
        for t, c in findings.scenario.cells.items()
        if c.representation is not None
    ]
    if not users:
        findings.fault(
            ("manipulators", name),
            f"no cell type has a representation in the space '{space}' of these weights",
        )
    for type_name, wanted in users:
        findings.fault(
            ("cells", type_name, "representation", "space"),
            f"no manipulator acts on a space '{wanted}'; '{name}' acts on '{space}'{did_you_mean(wanted, [space])}",
        )


def _minutes_per_unit(findings: Findings, name: str, network: ReactionNetwork) -> float:
    spec = findings.scenario.pathways[name]
    declared = minutes_of(network.time_unit)
    if spec.time_unit is not None:
        given = float(unit(spec.time_unit).factor) / 60
        if declared is not None and abs(declared - given) > 1e-9 * given:
            findings.notes.append(
                f"pathway.{name}: the model says its time is in {network.time_unit}; read as {spec.time_unit}"
            )
        return given
    if declared is None:
        said = network.time_unit or "nothing"
        findings.fault(
            ("pathways", name),
            f"the model does not say its unit of time (it says {said}); add time_unit: min",
        )
        return 1.0
    findings.notes.append(f"pathway.{name}: model time is in {network.time_unit}, {declared:g} min")
    return declared
