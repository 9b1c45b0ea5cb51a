"""From a scenario to processes, couplings and a clock: the composition root.

`plan` is light: it reads declarations, model files (in their guarded child) and the cards of weights, and checks
the wiring completely, before anything heavy is imported and anything is written.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sim.core import wiring
from sim.core.coupling import Coupling, Hill, Identity, Linear, Response, Table
from sim.core.process import Process
from sim.core.quantity import Quantity, component_of
from sim.errors import CouplingError, Problem, ScenarioError
from sim.instruments import Incucyte
from sim.outputs import Outputs, chosen_outputs
from sim.perturbations import Perturbation
from sim.processes.fields import BoxSettings, FieldProcess, FieldSettings
from sim.processes.life import Cycle, Growth, Life, LifeSettings
from sim.processes.manipulator import ManipulatorProcess, ManipulatorSettings
from sim.processes.motion import Mechanics, Motility, MotionSettings
from sim.processes.pathway import Membrane, PathwayProcess, PathwaySettings
from sim.processes.tissue import Neighbourhood, TissueProcess, TissueSettings
from sim.model_units import any_unit
from sim.scenario.units import UnitError, unit

if TYPE_CHECKING:
    from sim.scenario import Scenario

KeyPath = tuple[str | int, ...]

#: longest coupling step that is chosen where the scenario gives none [min]
DEFAULT_STEP = 6.0
#: neighbours of cells in a scenario without `tissue`: this many typical radii apart
_CONTACT_RADII = 2.5
#: phases in which a cell has begun to double its volume
_DOUBLED = {"S", "G2", "M", "G2M", "cycling", "Ki67_positive", "Ki67_positive_premitotic"}


@dataclass
class Plan:
    """A checked scenario, ready to run.

    Attributes:
        couplings: those of the scenario, then the implied ones (conditions, messages).
        keys: key path in the scenario of each coupling, by its index.
        notes: explicit conversions and choices made, for `describe` and the log.
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
    instruments: list[Incucyte]
    outputs: Outputs
    hashes: dict[str, str]
    notes: list[str] = field(default_factory=list)

    @property
    def wiring(self) -> dict[str, Any]:
        """Nodes and edges of the graph that `describe` draws."""
        return wiring.graph(self.processes, self.couplings)


def plan(scenario: Scenario) -> Plan:
    """Build and check everything a run of `scenario` needs, without running it.

    Raises:
        ScenarioError, CouplingError: every fault found, with file, line and key.
    """
    return _Planner(scenario).plan()


class _Planner:
    """One pass over a scenario. Collects faults; raises them together."""

    def __init__(self, scenario: Scenario):
        self.scenario = scenario
        self.spec = scenario
        self.types = tuple(self.spec.cells)
        self.faults: list[Problem] = []
        self.notes: list[str] = []
        self.hashes: dict[str, str] = {}
        self.keys: list[KeyPath] = []

    def plan(self) -> Plan:
        spec = self.spec
        self.box = self._box()
        self.step = self._step()
        networks = {name: self._network(name) for name in spec.pathways}
        cards = {name: self._card(("manipulators", name, "weights"), m.weights, "manipulator") for name, m in spec.manipulators.items()}
        tissue_weights = spec.tissue.weights if spec.tissue else None
        tissue_card = self._card(("tissue", "weights"), tissue_weights, "tissue") if tissue_weights else None
        self._raise()

        perturbations = self._perturbations()
        fields = [self._field(name) for name in spec.space.fields]
        life_settings = self._life()
        life = Life(life_settings, self.box, self.step)
        motion = self._motion()
        pathways = [self._pathway(name, network, perturbations) for name, network in networks.items()]
        manipulators = [p for name, card in cards.items() if (p := self._manipulator(name, card)) is not None]
        neighbourhood = Neighbourhood(self.box, self._reach())
        self._raise()
        processes: list[Process] = [
            *fields,
            Growth(life_settings, self.step),
            life,
            Mechanics(motion, self.box, self.step),
            Motility(motion, {f.settings.name: f for f in fields}, self.box.dims, self.step),
            *pathways,
            *self._membranes(fields, pathways),
            *manipulators,
        ]
        if tissue_card is not None and tissue_weights is not None:
            path = self.scenario.resolve(("tissue", "weights"), tissue_weights)
            processes.append(TissueProcess(TissueSettings(path, tissue_card), neighbourhood, self._pace(spec.tissue)))
        self._store_perturbed(processes, perturbations)
        couplings = self._couplings(processes, manipulators, tissue_card)
        self._check(processes, couplings, perturbations)
        self._raise(CouplingError)
        outputs = chosen_outputs(spec.outputs, processes, self.scenario)
        return Plan(
            scenario=self.scenario,
            type_names=self.types,
            box=self.box,
            step=self.step,
            processes=processes,
            couplings=couplings,
            keys=self.keys,
            neighbourhood=neighbourhood,
            life=life,
            fields=fields,
            pathways=pathways,
            perturbations=perturbations,
            instruments=self._instruments(life_settings, cards),
            outputs=outputs,
            hashes=self.hashes,
            notes=self.notes,
        )

    # ---- faults

    def _fault(self, key: KeyPath, message: str) -> None:
        self.faults.append(self.scenario.problem(key, message))

    def _raise(self, kind: type[ScenarioError] = ScenarioError) -> None:
        if self.faults:
            raise kind(sorted(self.faults, key=lambda p: p.line or 0))

    # ---- the parts, in the order of the scenario

    def _box(self) -> BoxSettings:
        space = self.spec.space
        ends = [space.domain.x, space.domain.y, space.domain.z or (0.0, float(space.voxel))]
        return BoxSettings(
            lower=tuple(float(a) for a, _ in ends),  # type: ignore[arg-type]
            upper=tuple(float(b) for _, b in ends),  # type: ignore[arg-type]
            voxel=float(space.voxel),
            periodic=space.periodic,
            dims=space.dimensions,
        )

    def _step(self) -> float:
        time = self.spec.time
        if time.step is not None:
            return float(time.step)
        own = [float(p.step) for p in (*self.spec.pathways.values(), *self.spec.manipulators.values()) if p.step is not None]
        longest = min([DEFAULT_STEP, *own])
        parts = -(-float(time.save_every) // longest)
        return float(time.save_every) / max(parts, 1)

    def _pace(self, part: Any) -> float:
        return float(part.step) if part is not None and part.step is not None else self.step

    def _network(self, name: str):
        from mechanistic.errors import ModelError
        from mechanistic.sbml import read_network

        key = ("pathways", name, "model")
        path = self.scenario.resolve(key, self.spec.pathways[name].model)
        try:
            network = read_network(path)
        except ModelError as error:
            for p in error.problems:
                where = f"{path.name}:{p.line}: " if p.line else f"{path.name}: "
                self._fault(key, f"{where}{p.key + ': ' if p.key else ''}{p.message}")
            return None
        self._hash(self.spec.pathways[name].model, path.read_bytes())
        return network

    def _card(self, key: KeyPath, weights: str, kind: str):
        from neural.errors import WeightsError
        from neural.weights import read_card

        path = self.scenario.resolve(key, weights)
        try:
            card = read_card(path)
        except WeightsError as error:
            self._fault(key, error.message)
            return None
        if card.kind != kind:
            self._fault(key, f"these are weights of a {card.kind}, a {kind} is needed here (got '{weights}')")
            return None
        self._hash(weights, path.read_bytes())
        return card

    def _hash(self, name: str, content: bytes) -> None:
        import hashlib

        self.hashes[name] = hashlib.sha256(content).hexdigest()

    def _field(self, name: str) -> FieldProcess:
        f = self.spec.space.fields[name]
        exchange = {self.types.index(t): c.exchange[name] for t, c in self.spec.cells.items() if name in c.exchange}
        numbers = {
            key: {code: float(getattr(e, key)) for code, e in exchange.items() if getattr(e, key) is not None}
            for key in ("uptake", "secretion", "saturation")
        }
        settings = FieldSettings(
            name=name,
            unit=f.unit,
            diffusion=float(f.diffusion),
            decay=float(f.decay),
            initial=float(f.initial) if f.initial is not None else 0.0,
            boundary={face: v if isinstance(v, str) and not isinstance(v, float) else float(v) for face, v in f.boundary.items()},
            steady=f.solve == "steady",
            **numbers,
        )
        return FieldProcess(settings, self.box, self.step)

    def _life(self) -> LifeSettings:
        cells = self.spec.cells
        live_phases: list[str] = ["live"]
        for c in cells.values():
            live_phases += [p for p in (c.cycle.phases or {} if c.cycle else {}) if p not in live_phases]
        names = (*live_phases, "apoptotic", "lysed")
        cycles: dict[int, Cycle] = {}
        division: dict[int, float] = {}
        for code, c in enumerate(cells.values()):
            if c.cycle is not None and c.cycle.division is not None:
                division[code] = float(c.cycle.division)
            elif c.cycle is not None:
                phases = c.cycle.phases or {}
                cycles[code] = Cycle(
                    codes=tuple(names.index(p) for p in phases),
                    durations=tuple(float(p.mean if p.mean is not None else p.fixed) for p in phases.values()),  # type: ignore[arg-type]
                    fixed=tuple(p.fixed is not None for p in phases.values()),
                    doubled=tuple(names.index(p) for p in phases if p in _DOUBLED),
                )
                division[code] = cycles[code].rate

        def rates(pick) -> dict[int, float]:
            return {code: float(pick(c)) for code, c in enumerate(cells.values())}

        return LifeSettings(
            volume=rates(lambda c: c.volume),
            growth=rates(lambda c: c.growth),
            cycles=cycles,
            division=division,
            death=rates(lambda c: c.death.apoptosis),
            lysis=rates(lambda c: c.death.lysis),
            clearance=rates(lambda c: c.death.clearance),
            phase_names=names,
        )

    def _motion(self) -> MotionSettings:
        cells = dict(enumerate(self.spec.cells.values()))
        moving = {code: c.motility for code, c in cells.items() if c.motility is not None}
        chasing = {code: m.chemotaxis for code, m in moving.items() if m.chemotaxis is not None}
        return MotionSettings(
            repulsion={code: float(c.mechanics.repulsion) for code, c in cells.items()},
            adhesion={code: float(c.mechanics.adhesion) for code, c in cells.items()},
            fixed=frozenset(code for code, c in cells.items() if c.mechanics.fixed),
            speed={code: float(m.speed) for code, m in moving.items()},
            persistence={code: float(m.persistence) for code, m in moving.items()},
            bias={code: float(c.bias) for code, c in chasing.items()},
            towards={code: c.field for code, c in chasing.items()},
        )

    def _reach(self) -> float:
        if self.spec.tissue is not None:
            return float(self.spec.tissue.neighbours.radius)
        largest = max((float(c.volume) for c in self.spec.cells.values()), default=2494.0)
        return _CONTACT_RADII * (3 * largest / (4 * 3.141592653589793)) ** (1 / 3)

    # ---- pathways

    def _pathway(self, name: str, network, perturbations: Iterable[Perturbation]) -> PathwayProcess:
        from mechanistic.distributions import parse

        spec = self.spec.pathways[name]
        users = frozenset(i for i, c in enumerate(self.spec.cells.values()) if name in c.pathways)
        settable = set(network.settable_ids)
        for key in ("set", "vary"):
            for i in getattr(spec, key):
                if i not in settable:
                    self._fault(("pathways", name, key, i), f"no parameter '{i}' that can be set{_near(i, settable)}")
        prefix = f"pathway.{name}."
        driven = {c.target.removeprefix(prefix) for c in self.spec.couplings if c.target.startswith(prefix)}
        perturbed = {p.target.removeprefix(prefix) for p in perturbations if p.target.startswith(prefix)}
        active = tuple(i for i in network.settable_ids if i in driven | perturbed | set(spec.vary))
        settings = PathwaySettings(
            name=name,
            model=self.scenario.resolve(("pathways", name, "model"), spec.model),
            minutes_per_unit=self._minutes_per_unit(name, network),
            dilutes=spec.growth == "dilutes",
            set={i: float(v) for i, v in spec.set.items()},
            vary={i: parse(str(d)) for i, d in spec.vary.items()},
            active=active,
        )
        volume = {code: float(c.volume) for code, c in enumerate(self.spec.cells.values())}
        return PathwayProcess(settings, network, volume, users, self._pace(spec))

    def _minutes_per_unit(self, name: str, network) -> float:
        spec = self.spec.pathways[name]
        declared = _minutes(network.time_unit)
        if spec.time_unit is not None:
            given = float(unit(spec.time_unit).factor) / 60
            if declared is not None and abs(declared - given) > 1e-9 * given:
                self.notes.append(f"pathway.{name}: the model says its time is in {network.time_unit}; read as {spec.time_unit}")
            return given
        if declared is None:
            self._fault(
                ("pathways", name), f"the model does not say its unit of time (got {network.time_unit or 'none'}); add time_unit: min"
            )
            return 1.0
        self.notes.append(f"pathway.{name}: model time is in {network.time_unit} = {declared:g} min")
        return declared

    def _membranes(self, fields: list[FieldProcess], pathways: list[PathwayProcess]) -> list[Process]:
        found: dict[tuple[str, str], dict[int, float]] = {}
        for code, (t, c) in enumerate(self.spec.cells.items()):
            for name, e in c.exchange.items():
                if e.permeability is None or e.partner is None:
                    continue
                key = ("cells", t, "exchange", name, "with")
                owner, _, species = e.partner.rpartition(".")
                pathway = next((p for p in pathways if f"pathway.{p.settings.name}" == owner), None)
                if pathway is None or species not in pathway.network.state_ids:
                    near = _near(species, pathway.network.state_ids) if pathway else ""
                    self._fault(key, f"no species '{e.partner}' that changes{near}")
                elif not pathway.settings.dilutes:
                    self._fault(key, f"{owner} must have growth: dilutes, or the exchange would not keep the amount")
                else:
                    found.setdefault((name, e.partner), {})[code] = float(e.permeability)
        by_field = {f.settings.name: f for f in fields}
        by_pathway = {f"pathway.{p.settings.name}": p for p in pathways}
        made: list[Process] = []
        for (name, partner), permeability in found.items():
            owner, _, species = partner.rpartition(".")
            made.append(Membrane(by_field[name], by_pathway[owner], species, permeability, self.step))
            self.notes.append(f"field.{name} <-> {partner}: the model's concentration is read in {by_field[name].settings.unit}")
        return made

    # ---- learned parts

    def _manipulator(self, name: str, card) -> ManipulatorProcess | None:
        spec = self.spec.manipulators[name]
        key = ("manipulators", name)
        initial: dict[int, str] = {}
        for code, (t, c) in enumerate(self.spec.cells.items()):
            r = c.representation
            if r is None or r.space != card.space or (r.manipulators is not None and name not in r.manipulators):
                continue
            start = r.initial or card.initial_names[0]
            if start not in card.initial_names:
                self._fault(
                    ("cells", t, "representation", "initial"),
                    f"space '{card.space}' has no state '{start}'{_near(start, card.initial_names)}",
                )
            initial[code] = start
        for c in spec.conditions:
            if c not in card.condition_names:
                self._fault((*key, "conditions", c), f"the weights know no condition '{c}'{_near(c, card.condition_names)}")
        if not initial:
            users = [(t, c.representation.space) for t, c in self.spec.cells.items() if c.representation is not None]
            if users:
                t, space = users[0]
                self._fault(
                    ("cells", t, "representation", "space"),
                    f"no manipulator acts on a space '{space}' (got '{space}'; '{name}' acts on '{card.space}'); "
                    f"did you mean '{card.space}'?",
                )
            else:
                self._fault(key, f"no cell has a representation in the space '{card.space}' of these weights")
            return None
        path = self.scenario.resolve((*key, "weights"), spec.weights)
        return ManipulatorProcess(ManipulatorSettings(name, path, card, initial), self._pace(spec))

    # ---- couplings

    def _couplings(self, processes: list[Process], manipulators: list[ManipulatorProcess], tissue_card) -> list[Coupling]:
        known = {q.name: q for p in processes for q in p.quantities}
        made: list[Coupling] = []
        for index, c in enumerate(self.spec.couplings):
            key: KeyPath = ("couplings", index)
            factor, response = self._response(key, c, known)
            types = frozenset(self.types.index(t) for t in c.cells) if c.cells is not None else None
            made.append(Coupling(c.source, c.target, response, c.mode, types, factor, index))
            self.keys.append(key)
        for m in manipulators:
            conditions = self.spec.manipulators[m.settings.name].conditions
            for condition, source in conditions.items():
                key = ("manipulators", m.settings.name, "conditions", condition)
                target = f"condition.{condition}"
                made.append(Coupling(source, target, factor=self._factor(key, source, target, known), index=len(made)))
                self.keys.append(key)
            for message in m.message_names:
                if tissue_card is not None and message in tissue_card.message_names:
                    made.append(Coupling(f"tissue.{message}", f"message.{message}", index=len(made)))
                    self.keys.append(("tissue",))
                else:
                    self.notes.append(f"manipulator.{m.settings.name}: nobody sends message.{message}; it stays 0")
        return made

    def _response(self, key: KeyPath, c: Any, known: Mapping[str, Quantity]) -> tuple[float, Response]:
        if c.linear is not None:
            return 1.0, Linear(float(c.linear.slope), float(c.linear.intercept))
        if c.hill is not None:
            h = c.hill
            half = self._in_unit_of(key, h.half_max, c.source, known)
            return 1.0, Hill(half, float(h.power), float(h.low), float(h.high), h.falling)
        if c.table is not None:
            return 1.0, Table(tuple(map(float, c.table.x)), tuple(map(float, c.table.y)))
        if c.network is not None:
            from sim.responses import NetworkResponse

            self._card((*key, "network", "weights"), c.network.weights, "network")
            return 1.0, NetworkResponse(self.scenario.resolve((*key, "network", "weights"), c.network.weights))
        factor = self._factor((*key, "to"), c.source, c.target, known) if c.mode != "scale" else 1.0
        return factor, Identity()

    def _in_unit_of(self, key: KeyPath, value: Any, source: str, known: Mapping[str, Quantity]) -> float:
        written = getattr(value, "unit", "")
        wanted = _unit_of(source, known)
        if not written or wanted is None:
            return float(value)
        given = any_unit(written)
        try:
            target = any_unit(wanted)
        except UnitError:
            self.notes.append(f"{source}: half_max {value} is taken as it is, in {wanted}")
            return float(value.written)
        if given.exponents != target.exponents:
            self._fault((*key, "hill", "half_max"), f"{source} is in {wanted}, which {written} cannot be turned into")
        return float(value.written * float(given.factor / target.factor))

    def _factor(self, key: KeyPath, source: str, target: str, known: Mapping[str, Quantity]) -> float:
        """What turns the source's unit into the target's; a fault where the dimensions differ."""
        have, want = _unit_of(source, known), _unit_of(target, known)
        if have is None or want is None or have == want:
            return 1.0
        try:
            source_unit, target_unit = any_unit(have), any_unit(want)
            if source_unit.exponents != target_unit.exponents:
                self._fault(
                    key, f"'{source}' is in {have} but '{target}' takes {want}; give a response (linear, hill) that converts it"
                )
                return 1.0
            factor = float(source_unit.factor / target_unit.factor)
        except UnitError:
            self.notes.append(f"{source} → {target}: units {have} and {want} are taken as they are")
            return 1.0
        if factor != 1.0:
            self.notes.append(f"{source} → {target}: {have} to {want}, times {factor:g}")
        return factor

    def _check(self, processes: list[Process], couplings: list[Coupling], perturbations: list[Perturbation]) -> None:
        for fault in wiring.check(processes, couplings, self.types):
            key: KeyPath = ()
            if fault.coupling is not None:
                key = self.keys[fault.coupling]
                if key[0] == "couplings" and fault.side:
                    key = (*key, fault.side)
            self._fault(key, fault.message)
        known = {q.name: q for p in processes for q in p.quantities}
        for p in perturbations:
            part = component_of(p.target)
            name = part[0] if part else p.target
            if p.verb != "kill" and name not in known:
                self._fault(("perturbations", p.index, p.verb), f"no quantity '{p.target}'{_near(p.target, known)}")
            elif p.verb != "kill" and not self._writable(known[name]):
                self._fault(("perturbations", p.index, p.verb), f"'{p.target}' follows from others and cannot be {p.verb}")

    def _writable(self, q: Quantity) -> bool:
        if q.role != "readout":
            return q.width == 0 or True
        if q.name.startswith("field."):
            return True
        owner, _, species = q.name.rpartition(".")
        return owner.startswith("pathway.") and species in self._state_ids.get(owner, ())

    # ---- what is done and read

    def _perturbations(self) -> list[Perturbation]:
        made = []
        for index, p in enumerate(self.spec.perturbations):
            names = p.kill.cells if p.kill is not None else p.cells
            disc = p.where.disc
            value = float(p.value) if p.value is not None else 0.0
            target = p.quantity or ""
            made.append(
                Perturbation(
                    times=tuple(p.times(float(self.spec.time.stop))),
                    verb=p.verb,
                    target=target,
                    value=value,
                    types=frozenset(self.types.index(t) for t in names) if names is not None else None,
                    fraction=float(p.kill.fraction if p.kill is not None else p.fraction),
                    centre=tuple(float(x) for x in disc.center) if disc else None,
                    radius=float(disc.radius) if disc else None,
                    index=index,
                    text=f"{p.verb} {target or ', '.join(names or ())} {p.value if p.value is not None else ''}".strip(),
                )
            )
        return made

    def _store_perturbed(self, processes: list[Process], perturbations: list[Perturbation]) -> None:
        """Inputs that a perturbation changes get a column, so that each cell remembers its own."""
        from dataclasses import replace

        targets = {p.target for p in perturbations}
        self._state_ids = {
            f"pathway.{p.settings.name}": p.network.state_ids for p in processes if isinstance(p, PathwayProcess)
        }
        for process in processes:
            process.inputs = tuple(replace(q, stored=True) if q.name in targets else q for q in process.inputs)

    def _instruments(self, life: LifeSettings, cards: Mapping[str, Any]) -> list[Incucyte]:
        calibration: dict[str, Any] = {}
        for card in cards.values():
            calibration = card.raw.get("instrument", calibration) if card is not None else calibration
        made = []
        for name, i in self.spec.instruments.items():
            made.append(
                Incucyte(
                    name=name,
                    every=float(i.every),
                    channels=tuple(i.channels or ("live_area", "annexin_v", "dead_dna")),
                    box=self.box,
                    apoptotic=life.apoptotic,
                    lysed=life.lysed,
                    spread=calibration.get("spread", {}),
                    background=calibration.get("background", {}),
                )
            )
        return made


def _unit_of(name: str, known: Mapping[str, Quantity]) -> str | None:
    """Unit text of a quantity or of what an aggregate is over; None where unknown."""
    found = re.match(r"neighbours\.(?:mean|sum)\((.+)\)\Z", name)
    if found:
        return _unit_of(found[1], known)
    if name.startswith("neighbours."):
        return "1"
    part = component_of(name)
    quantity = known.get(part[0] if part else name)
    return quantity.unit if quantity else None


_TIME_UNIT = re.compile(r"(?:([0-9.eE+-]+)\s*\*?\s*)?(second|minute|hour|day|s|min|h|d)s?\Z")
_IN_MINUTES = {"second": 1 / 60, "s": 1 / 60, "minute": 1.0, "min": 1.0, "hour": 60.0, "h": 60.0, "day": 1440.0, "d": 1440.0}


def _minutes(text: str | None) -> float | None:
    """`second`, `60 second`, `hour` in minutes; None where it is none of these."""
    found = _TIME_UNIT.match(text or "")
    return float(found[1] or 1) * _IN_MINUTES[found[2]] if found else None


def _near(name: str, choices: Iterable[str]) -> str:
    from sim.scenario.spelling import did_you_mean

    return did_you_mean(name, choices)
