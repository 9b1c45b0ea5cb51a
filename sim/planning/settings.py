"""Sections of a scenario as the settings of processes: plain numbers by cell type code, in min and um."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from sim.perturbations import Perturbation, lots
from sim.planning.measurements import MeasurementsError, read_table, series
from sim.processes.box import BoxSettings
from sim.processes.fields import FieldSettings, Patch, Wall
from sim.processes.life_interactions import InteractionSettings
from sim.processes.life_settings import Composition, Cycle, Daughters, LifeSettings
from sim.processes.motion import MotionSettings, SpringSettings
from sim.processes.tissue import NeighbourRule
from sim.scenario.instruments import INCUCYTE
from sim.scenario.space import Face, InflowFace, PermeableFace
from sim.scenario.units import unit

if TYPE_CHECKING:
    from sim.planning.findings import Findings
    from sim.scenario import Scenario
    from sim.scenario.cells import CellType
    from sim.scenario.cycle import Phase
    from sim.scenario.regions import Region
    from sim.scenario.vessels import Passing

#: longest coupling step that is chosen where the scenario gives none [min]
DEFAULT_STEP = 6.0
#: without a section `tissue`, neighbours are at most this many radii of the largest cell type apart
_CONTACT_RADII = 2.5
#: beginnings of names that belong to what happens between cells
_BETWEEN = ("attack.", "phagocytosis.", "fusion.", "transform.", "cell.damage", "rate.damage", "rate.repair")
#: parts of names that belong to crawling
_CRAWLING = ("motility.", "chemotaxis.", "cell.direction")
#: phases in which a cell has begun to double its volume
_DOUBLED = {"S", "G2", "M", "G2M", "cycling", "Ki67_positive", "Ki67_positive_premitotic"}


def box_of(scenario: Scenario) -> BoxSettings:
    """The domain; a 2-D one is a layer one voxel thick."""
    space = scenario.space
    ends = [space.domain.x, space.domain.y, space.domain.z or (0.0, float(space.voxel))]
    return BoxSettings(
        lower=tuple(float(a) for a, _ in ends),  # type: ignore[arg-type]
        upper=tuple(float(b) for _, b in ends),  # type: ignore[arg-type]
        voxel=float(space.voxel),
        periodic=space.periodic,
        dims=3 if space.domain.z is not None else 2,
    )


def step_of(scenario: Scenario) -> float:
    """The coupling step [min]: as given, or the longest up to 6 min that divides `save_every`."""
    time = scenario.time
    if time.step is not None:
        return float(time.step)
    own = [
        float(p.step)
        for p in (*scenario.pathways.values(), *scenario.manipulators.values())
        if p.step is not None
    ]
    return float(time.save_every) / max(math.ceil(float(time.save_every) / min([DEFAULT_STEP, *own])), 1)


def pace_of(part, step: float) -> float:
    """A part's own step [min], or the coupling step."""
    return float(part.step) if part is not None and part.step is not None else step


def neighbours_of(scenario: Scenario) -> NeighbourRule:
    """Who is whose neighbour: as `tissue` says, or within a distance of the size of cells."""
    if scenario.tissue is not None:
        said = scenario.tissue.neighbours
        if said.delaunay is not None:
            longest = said.delaunay.longest
            return NeighbourRule("delaunay", longest=math.inf if longest is None else float(longest))
        if said.contact is not None:
            return NeighbourRule("contact", reach=float(said.contact.reach))
        if said.radius is not None:
            return NeighbourRule(radius=float(said.radius))
        either = said.nearest_either_way
        return NeighbourRule("nearest", count=int(either or said.nearest or 0), either_way=either is not None)
    largest = max((float(c.volume) for c in scenario.cells.values()), default=2494.0)
    return NeighbourRule(radius=_CONTACT_RADII * math.cbrt(3 * largest / (4 * math.pi)))


def field_of(scenario: Scenario, name: str) -> FieldSettings:
    f = scenario.space.fields[name]
    exchange = {
        code: c.exchange[name] for code, c in enumerate(scenario.cells.values()) if name in c.exchange
    }

    def by_type(key: str) -> dict[int, float]:
        return {code: float(getattr(e, key)) for code, e in exchange.items() if getattr(e, key) is not None}

    return FieldSettings(
        name=name,
        unit=f.unit,
        diffusion=float(f.diffusion),
        decay=float(f.decay),
        initial=float(f.initial) if f.initial is not None else 0.0,
        boundary={face: _plain_face(v) for face, v in f.boundary.items()},
        steady=f.solve == "steady",
        uptake=by_type("uptake"),
        secretion=by_type("secretion"),
        saturation=by_type("saturation"),
        export=by_type("export"),
        vessels=tuple(_wall(scenario, vessel, passing) for vessel, passing in f.vessels.items()),
        patches=tuple(_patch(scenario.space.regions[r], float(d)) for r, d in f.diffusion_in.items()),
        advection=_three(f.advection) if f.advection is not None else None,
    )


def _three(velocity: Sequence[float]) -> tuple[float, float, float]:
    x, y, *z = map(float, velocity)
    return x, y, z[0] if z else 0.0


def _patch(region: Region, diffusion: float) -> Patch:
    if region.disc is not None:
        centre = tuple(map(float, region.disc.center))
        return Patch(centre, float(region.disc.radius), (), diffusion)
    assert region.box is not None
    ends = (region.box.x, region.box.y, region.box.z)
    return Patch(
        None, 0.0, tuple((float(e[0]), float(e[1])) if e is not None else None for e in ends), diffusion
    )


def _wall(scenario: Scenario, name: str, passing: Passing) -> Wall:
    vessel = scenario.space.vessels[name]
    start, end = vessel.start, vessel.end
    return Wall(
        start=tuple(map(float, start)),
        end=tuple(map(float, end)) if end is not None else None,
        radius=float(vessel.radius),
        permeability=float(passing.permeability),
        value=float(passing.value),
    )


def _plain_face(face: Face) -> str | float | tuple[str, float, float]:
    if isinstance(face, PermeableFace):
        return "permeable", float(face.permeability), float(face.value)
    if isinstance(face, InflowFace):
        return "inflow", float(face.speed), float(face.value)
    return face if isinstance(face, str) else float(face)


def life_of(scenario: Scenario) -> LifeSettings:
    cells = dict(enumerate(scenario.cells.values()))
    cycling = {code: c.cycle for code, c in cells.items() if c.cycle is not None}
    resting = {code: c.quiescence for code, c in cycling.items() if c.quiescence is not None}
    phases = ["live"]
    for cycle in cycling.values():
        phases += [p for p in cycle.programme if p not in phases]
    composed = {code: c for code, c in cells.items() if c.composition is not None}
    necrotic = any(c.death.necrosis > 0 for c in composed.values()) or any(
        r.behaviour == "rate.necrosis" or r.file is not None for r in scenario.rules
    )
    dying = ("apoptotic", "necrotic", "lysed") if necrotic and composed else ("apoptotic", "lysed")
    names = (*phases, *(["G0"] if resting and "G0" not in phases else []), *dying)

    def rates(pick: Callable[[CellType], float]) -> dict[int, float]:
        return {code: float(pick(c)) for code, c in cells.items()}

    return LifeSettings(
        volume=rates(lambda c: c.volume),
        growth=rates(lambda c: c.growth if c.composition is None else 1.0),
        cycles={code: _cycle(c.programme, names) for code, c in cycling.items() if c.programme},
        division={code: c.division_rate for code, c in cycling.items()},
        death=rates(lambda c: c.death.apoptosis),
        lysis=rates(lambda c: c.death.lysis if c.death.remains is None else 0.0),
        clearance=rates(lambda c: c.death.clearance),
        phase_names=names,
        arrest={code: float(q.enter) for code, q in resting.items()},
        release={code: float(q.leave) for code, q in resting.items()},
        composition={code: _composition(c) for code, c in composed.items()},
        necrosis={code: float(c.death.necrosis) for code, c in composed.items()} if necrotic else {},
        remains={code: float(c.death.remains) for code, c in cells.items() if c.death.remains is not None},
        daughters={
            code: Daughters(
                c.division.share,
                {list(scenario.cells).index(t): p for t, p in c.division.types.items()},
                c.division.polarity,
                (c.division.axis[0], c.division.axis[1], c.division.axis[2]),
            )
            for code, c in cells.items()
            if c.division is not None
        },
    )


def _composition(c: CellType) -> Composition:
    assert c.composition is not None
    p, solid = c.composition, 1 - float(c.composition.fluid)
    return Composition(
        fluid=float(p.fluid),
        nuclear=float(p.nuclear) * solid,
        cytoplasm=float(c.volume - p.nuclear) * solid,
        fluid_rate=float(p.fluid_rate),
        nuclear_rate=float(p.nuclear_rate),
        cytoplasm_rate=float(p.cytoplasm_rate),
    )


def interactions_of(scenario: Scenario) -> InteractionSettings | None:
    """What cells do to each other; None where nothing in the scenario speaks of it."""
    cells = {
        code: c.interactions for code, c in enumerate(scenario.cells.values()) if c.interactions is not None
    }
    spoken = [r.behaviour for r in scenario.rules] + [r.signal or "" for r in scenario.rules]
    spoken += [c.target for c in scenario.couplings] + [c.source for c in scenario.couplings]
    spoken += list(scenario.outputs.cells)
    files = any(r.file is not None for r in scenario.rules)
    if not cells and not files and not any(n.startswith(_BETWEEN) for n in spoken):
        return None

    def rates(verb: str) -> dict[str, dict[int, float]]:
        found: dict[str, dict[int, float]] = {}
        for code, i in cells.items():
            for other, rate in getattr(i, verb).items():
                found.setdefault(other, {})[code] = float(rate)
        return found

    every = range(len(scenario.cells))
    return InteractionSettings(
        attack=rates("attack"),
        phagocytosis=rates("phagocytosis"),
        fusion=rates("fusion"),
        transform=rates("transform"),
        damage={code: float(cells[code].damage) if code in cells else 1.0 for code in every},
        repair={code: float(i.repair) for code, i in cells.items()},
        duration={code: float(cells[code].attack_duration) if code in cells else 30.0 for code in every},
    )


def _cycle(phases: Mapping[str, Phase], names: tuple[str, ...]) -> Cycle:
    return Cycle(
        codes=tuple(names.index(p) for p in phases),
        durations=tuple(p.length for p in phases.values()),
        fixed=tuple(p.fixed is not None for p in phases.values()),
        doubled=tuple(names.index(p) for p in phases if p in _DOUBLED),
    )


def motion_of(scenario: Scenario) -> MotionSettings:
    cells = dict(enumerate(scenario.cells.values()))
    moving = {code: c.motility for code, c in cells.items() if c.motility is not None}
    chasing = {code: m.chemotaxis for code, m in moving.items() if m.chemotaxis is not None}
    return MotionSettings(
        repulsion={code: float(c.mechanics.repulsion) for code, c in cells.items()},
        adhesion={code: float(c.mechanics.adhesion) for code, c in cells.items()},
        fixed=frozenset(code for code, c in cells.items() if c.mechanics.fixed),
        speed={code: float(m.speed) for code, m in moving.items()},
        persistence={code: float(m.persistence) for code, m in moving.items()},
        bias={code: float(c.bias) for code, c in chasing.items()},
        towards={code: c.weights for code, c in chasing.items()},
        affinity={
            (code, list(scenario.cells).index(other)): value
            for code, c in cells.items()
            for other, value in c.mechanics.affinity.items()
        },
        follows={
            (code, list(scenario.cells).index(other)): (float(f.speed), float(f.reach))
            for code, c in cells.items()
            for other, f in c.mechanics.follows.items()
        },
        springs={
            code: SpringSettings(float(s.attach), float(s.detach), s.most, float(s.elasticity))
            for code, c in cells.items()
            if (s := c.mechanics.springs) is not None
        },
        walls={code: float(c.mechanics.walls) for code, c in cells.items() if c.mechanics.walls is not None},
        raw=frozenset(code for code, c in chasing.items() if not c.normalised),
        crawling=bool(moving)
        or any(r.file is not None for r in scenario.rules)
        or _crawls(scenario.to_plain()),
    )


def _crawls(said: Any) -> bool:
    """Whether a name or pattern anywhere in a section means what only crawling cells need."""
    if isinstance(said, Mapping):
        return any(map(_crawls, said.keys())) or any(map(_crawls, said.values()))
    if isinstance(said, Sequence) and not isinstance(said, str):
        return any(map(_crawls, said))
    if not isinstance(said, str):
        return False
    return any(word in said for word in _CRAWLING) or ("*" in said and fnmatchcase("cell.direction", said))


def places_of(findings: Findings, box: BoxSettings) -> dict[str, list[tuple[float, float, float]]]:
    """Where cells start [um], by type, for the types whose places are in a file."""
    from sim.planning.rules import read_cells

    found = {}
    for name, c in findings.scenario.cells.items():
        if c.place.file is None:
            continue
        key = ("cells", name, "place", "file")
        path = findings.scenario.resolve(key, c.place.file)
        findings.note_file(c.place.file, path)
        found[name] = read_cells(path, findings.shown(c.place.file), findings.types)[name]
        low, high = box.lower[: box.dims], box.upper[: box.dims]
        for point in found[name]:
            if not all(a <= x <= b for a, x, b in zip(low, point, high)):
                findings.fault(key, f"the place {point} of a cell lies outside the domain")
                break
        if not found[name]:
            findings.notes.append(f"cells.{name}: {c.place.file} has no cell of this type")
    findings.stop_at_faults()
    return found


def perturbations_of(findings: Findings) -> list[Perturbation]:
    made, acts = [], []
    for index, p in enumerate(findings.scenario.perturbations):
        names = p.kill.cells if p.kill is not None else p.cells
        target, disc = p.quantity or "", p.where.disc
        value = p.value
        about = ".".join((p.verb, target, *sorted(names or ())))
        acts.append((about, (float(p.at), 0.0 if value is None else float(value), repr(p))))
        made.append(
            Perturbation(
                times=tuple(p.times(float(findings.scenario.time.stop))),
                verb=p.verb,
                target=target,
                value=0.0 if value is None else float(value),
                types=findings.codes(names),
                fraction=float(p.kill.fraction if p.kill is not None else p.fraction),
                centre=tuple(float(x) for x in disc.center) if disc else None,
                radius=float(disc.radius) if disc else None,
                index=index,
                lot="",
                text=" ".join(
                    filter(
                        None, (p.verb, target or ", ".join(names or ()), "" if value is None else str(value))
                    )
                ),
            )
        )
    return [replace(act, lot=lot) for act, lot in zip(made, lots(acts))]


def measured_curves(findings: Findings) -> list[dict[str, Any]]:
    """The curves of `measurements` as the report draws them, in the scenario's unit of time."""
    m = findings.scenario.measurements
    if m is None:
        return []
    name = m.instrument or next(iter(findings.scenario.instruments))
    channels = tuple(findings.scenario.instruments[name].channels or INCUCYTE)
    columns = {c: m.channels.get(c, c) for c in channels}
    hours = float(unit(findings.scenario.time.stop.unit).factor) / 3600
    path = findings.scenario.resolve(("measurements", "file"), m.file)
    try:
        return series(read_table(path, m.replicates), m.condition, columns, hours)
    except MeasurementsError as error:
        findings.fault(("measurements", error.key), str(error))
        return []
