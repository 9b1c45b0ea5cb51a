"""From a scenario to processes, couplings and a clock: the composition root.

`plan` is light: it reads declarations, model files (in their guarded child) and the cards of weights, and checks
the wiring completely, before anything heavy is imported and anything is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from sim.core import wiring
from sim.core.coupling import Coupling
from sim.core.process import Process
from sim.errors import CouplingError
from sim.instruments import Instrument
from sim.perturbations import Perturbation
from sim.planning import parts, settings
from sim.planning.costs import costs_of
from sim.planning.couple import Coupler
from sim.planning.findings import Findings, KeyPath
from sim.planning.instruments import instruments_of
from sim.planning.outputs import Outputs, chosen_outputs
from sim.planning.representations import check_reads, representations_of
from sim.processes.box import BoxSettings
from sim.processes.contacts import Contacts
from sim.processes.fields import FieldProcess
from sim.processes.growth import Growth
from sim.processes.life import Life
from sim.processes.life_interactions import Interactions
from sim.processes.motion import Mechanics, Motility
from sim.processes.pathway import PathwayProcess
from sim.processes.springs import Springs
from sim.processes.tissue import Neighbourhood

if TYPE_CHECKING:
    from sim.scenario import Scenario


@dataclass(frozen=True)
class Plan:
    """A checked scenario, ready to run.

    Attributes:
        step: the coupling step [min].
        couplings: those of the scenario, then the implied ones (conditions, messages).
        keys: key path in the scenario of each coupling, by its index.
        measured: curves to lay over the instruments' in the report.
        hashes: sha256 of each model and weights file by its name in the scenario.
        notes: explicit conversions and choices made, for `describe` and `validate`.
        places: where the cells of a type start [um], for the types whose places are in a file.
    """

    scenario: Scenario
    type_names: tuple[str, ...]
    box: BoxSettings
    step: float
    processes: list[Process]
    couplings: list[Coupling]
    keys: list[KeyPath]
    neighbourhood: Neighbourhood
    life: Life
    fields: list[FieldProcess]
    pathways: list[PathwayProcess]
    perturbations: list[Perturbation]
    instruments: list[Instrument]
    measured: list[dict[str, Any]]
    outputs: Outputs
    hashes: dict[str, str]
    notes: list[str]
    places: dict[str, list[tuple[float, float, float]]]

    @property
    def seed(self) -> int:
        """Seed of all random numbers; a loaded scenario always has one."""
        assert self.scenario.seed is not None
        return self.scenario.seed

    @property
    def wiring(self) -> dict[str, Any]:
        """Nodes and edges of the graph that `describe` draws."""
        return wiring.graph(self.processes, self.couplings)


def plan(scenario: Scenario) -> Plan:
    """Build and check everything a run of `scenario` needs, without running it.

    Raises:
        ScenarioError, CouplingError: every fault found, with file, line and key.
    """
    findings = Findings(scenario)
    box, step = settings.box_of(scenario), settings.step_of(scenario)
    networks = {name: findings.network(name) for name in scenario.pathways}
    cards = {
        name: findings.card(("manipulators", name, "weights"), m.weights, "manipulator", "transport")
        for name, m in scenario.manipulators.items()
    }
    tissue = scenario.tissue
    tissue_card = findings.card(("tissue", "weights"), tissue.weights, "tissue") if tissue else None
    findings.stop_at_faults()
    places = settings.places_of(findings, box)
    findings.notes += costs_of(scenario)

    perturbations = settings.perturbations_of(findings)
    life_settings, motion = settings.life_of(scenario), settings.motion_of(scenario)
    fields = [FieldProcess(settings.field_of(scenario, name), box, step) for name in scenario.space.fields]
    life = Life(life_settings, box, step, motion.crawling)
    pathways = [
        parts.pathway_of(findings, name, n, perturbations, step)
        for name, n in networks.items()
        if n is not None
    ]
    manipulators = [
        parts.manipulator_of(findings, name, card, step) for name, card in cards.items() if card is not None
    ]
    moved = {m.space for m in manipulators if m is not None}
    spaces = representations_of(findings, moved, step)
    neighbourhood = Neighbourhood(box, settings.neighbours_of(scenario))
    processes: list[Process] = [
        *fields,
        Growth(life_settings, step),
        life,
        Mechanics(motion, box, step, findings.types),
        Motility(motion, {f.settings.name: f for f in fields}, box.dims, step),
        *pathways,
        *parts.membranes_of(findings, fields, pathways, step),
        *(m for m in manipulators if m is not None),
        *spaces,
    ]
    if tissue_card is not None:
        network = parts.tissue_of(findings, tissue_card, neighbourhood, step)
        processes += [network] if network is not None else []
    between = settings.interactions_of(scenario)
    contacts = Contacts(box, findings.types)
    if between is not None:
        processes.append(Interactions(between, life, contacts, findings.types, step))
    if motion.springs:
        processes.append(Springs(motion, contacts, step))
    findings.stop_at_faults()

    _remember_perturbed(processes, perturbations)
    known = {q.name: q for p in processes for q in p.quantities}
    check_reads(findings, known)
    findings.stop_at_faults()
    coupler = Coupler(findings, processes)
    coupler.couple(tissue_card)
    coupler.check(perturbations)
    findings.stop_at_faults(CouplingError)
    measured = settings.measured_curves(findings)
    instruments = instruments_of(findings, life_settings, box, known)
    findings.stop_at_faults()
    return Plan(
        scenario=scenario,
        type_names=findings.types,
        box=box,
        step=step,
        processes=processes,
        couplings=coupler.couplings,
        keys=coupler.keys,
        neighbourhood=neighbourhood,
        life=life,
        fields=fields,
        pathways=pathways,
        perturbations=perturbations,
        instruments=instruments,
        measured=measured,
        outputs=chosen_outputs(scenario.outputs, processes, scenario),
        hashes=findings.hashes,
        notes=findings.notes,
        places=places,
    )


def _remember_perturbed(processes: Sequence[Process], perturbations: Sequence[Perturbation]) -> None:
    """Inputs that a perturbation changes get a column, so that each cell remembers its own."""
    targets = {p.target for p in perturbations}
    for process in processes:
        process.inputs = tuple(replace(q, stored=True) if q.name in targets else q for q in process.inputs)
