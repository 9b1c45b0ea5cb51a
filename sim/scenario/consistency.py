"""What single values cannot show: units of the quantity acted on, places, times, files and memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path as FilePath

from sim.machine.memory import free_memory
from sim.scenario.cells import CellType
from sim.scenario.files import CSV, MODELS, TABLES, WEIGHTS, FileProblem
from sim.scenario.instruments import Fluorescence, image_fault
from sim.scenario.names import Fault
from sim.scenario.schema import ScenarioSpec
from sim.scenario.space import MOST_STEPS, FieldSpec, PermeableFace
from sim.scenario.units import (
    NUMBER,
    RATE,
    SPEED,
    TIME,
    VOLUME,
    Dimension,
    Quantity,
    UnitError,
    dimension_of,
    same_dimension,
)
from sim.scenario.yaml_text import Path

_BYTES_PER_CELL = 1024  # state, lineage, neighbours and one row of results
_BYTES_PER_VOXEL = 32  # two states, a right-hand side and one stored copy of a field, 8 bytes each
_BYTES_PER_PAIR = 4  # of cells that feel each other: the number of one in the list of the other
_REACH = 1.25  # radii of a cell to which adhesion reaches
_MOST_REPEATS = 100_000
_GIB = float(1 << 30)

_KNOWN: dict[str, Dimension] = {
    "cell.volume": VOLUME,
    "clock.time": TIME,
    "motility.speed": SPEED,
    "motility.persistence": TIME,
    "mechanics.adhesion": SPEED,
    "mechanics.repulsion": SPEED,
    "follow": SPEED,
    **dict.fromkeys(
        ("rate", "exit", "attack", "phagocytosis", "fusion", "transform", "uptake", "secretion"), RATE
    ),
}


def consistency_faults(spec: ScenarioSpec) -> Iterator[Fault]:
    """Faults between values, once every name is known. Puts values into their fields' units."""
    yield from _steps(spec)
    yield from _boundaries(spec)
    yield from _placed(spec)
    yield from _saturations(spec)
    yield from _half_maxima(spec)
    yield from _perturbed(spec)
    yield from _seen(spec)
    yield from _memory(spec)


def _steps(spec: ScenarioSpec) -> Iterator[Fault]:
    for key, parts in (("pathways", spec.pathways), ("manipulators", spec.manipulators)):
        for name, part in parts.items():
            if part.step is not None and spec.time.stop / part.step > MOST_STEPS:
                message = f"would take more than {MOST_STEPS} steps until {spec.time.stop}"
                yield Fault((key, name, "step"), message)


def file_faults(spec: ScenarioSpec, find: Callable[[str, tuple[str, ...]], FilePath]) -> Iterator[Fault]:
    """Faults of the files that the scenario names; `find` raises FileProblem."""
    for path, value, extensions in named_files(spec):
        try:
            find(value, extensions)
        except FileProblem as problem:
            yield Fault(path, str(problem))


def named_files(spec: ScenarioSpec) -> Iterator[tuple[Path, str, tuple[str, ...]]]:
    """(key path, file as written, accepted extensions) of every file that the scenario names."""
    for name, pathway in spec.pathways.items():
        yield ("pathways", name, "model"), pathway.model, MODELS
    for name, manipulator in spec.manipulators.items():
        yield ("manipulators", name, "weights"), manipulator.weights, WEIGHTS
    for name, space in spec.representations.items():
        yield ("representations", name, "weights"), space.weights, WEIGHTS
    if spec.tissue is not None and spec.tissue.weights is not None:
        yield ("tissue", "weights"), spec.tissue.weights, WEIGHTS
    for i, coupling in enumerate(spec.couplings):
        if coupling.network is not None:
            yield ("couplings", i, "network", "weights"), coupling.network.weights, WEIGHTS
    for i, rule in enumerate(spec.rules):
        if rule.file is not None:
            yield ("rules", i, "file"), rule.file, CSV
    for name, cell in spec.cells.items():
        if cell.place.file is not None:
            yield ("cells", name, "place", "file"), cell.place.file, CSV
    if spec.measurements is not None:
        yield ("measurements", "file"), spec.measurements.file, TABLES


def _boundaries(spec: ScenarioSpec) -> Iterator[Fault]:
    for name, field in spec.space.fields.items():
        if spec.space.dimensions == 2 and len({str(field.boundary[f]) for f in ("z_min", "z_max")}) == 2:
            yield Fault(
                ("space", "fields", name, "boundary"), "names a face along z, but the domain has no z"
            )
        if (
            field.solve == "steady"
            and field.decay == 0
            and not any(isinstance(v, (Quantity, PermeableFace)) for v in field.boundary.values())
            and not any(passing.permeability > 0 for passing in field.vessels.values())
        ):
            message = "a steady field needs decay, a vessel or a face that holds or lets through to determine its level"
            yield Fault(("space", "fields", name, "solve"), message)


def _placed(spec: ScenarioSpec) -> Iterator[Fault]:
    ends = list(spec.space.domain.axes.items())
    points = [
        (("cells", name, "place", "points", i), point)
        for name, cell in spec.cells.items()
        for i, point in enumerate(cell.place.points or ())
    ]
    points += [
        (("perturbations", i, "where", "disc", "center"), p.where.disc.center)
        for i, p in enumerate(spec.perturbations)
        if p.where.disc is not None
    ]
    for path, point in points:
        if len(point) != len(ends):
            yield Fault(path, f"has {len(point)} coordinates; the domain has {len(ends)} axes")
            continue
        for i, (value, (axis, (low, high))) in enumerate(zip(point, ends)):
            if not low <= value <= high:
                yield Fault((*path, i), f"lies outside the domain along {axis} ({low} to {high})")
    widest = min(high - low for _, (low, high) in ends)
    for name, cell in spec.cells.items():
        if cell.place.disc is not None and 2 * cell.place.disc.radius > widest * (1 + 1e-9):
            yield Fault(
                ("cells", name, "place", "disc", "radius"),
                f"does not fit into the domain, {widest:g} um wide",
            )


def _saturations(spec: ScenarioSpec) -> Iterator[Fault]:
    for name, cell in spec.cells.items():
        for field_name, exchange in cell.exchange.items():
            at: Path = ("cells", name, "exchange", field_name)
            for key in ("saturation", "export"):
                given = getattr(exchange, key)
                if given is None:
                    continue
                value, message = _in_unit_of(spec, f"{key}.{field_name}", given)
                if message:
                    yield Fault((*at, key), message)
                else:
                    _replace(exchange, key, value)


def _half_maxima(spec: ScenarioSpec) -> Iterator[Fault]:
    for i, coupling in enumerate(spec.couplings):
        if coupling.hill is None:
            continue
        value, message = _in_unit_of(spec, coupling.source, coupling.hill.half_max)
        if message:
            yield Fault(("couplings", i, "hill", "half_max"), message)
        _replace(coupling.hill, "half_max", value)
    for i, rule in enumerate(spec.rules):
        for key, name, given in (("half_max", rule.signal, rule.half_max), ("to", rule.behaviour, rule.to)):
            if name is None or given is None or name.startswith("pathway."):
                continue
            value, message = _in_unit_of(spec, name, given)
            if message:
                yield Fault(("rules", i, key), message)
            _replace(rule, key, value)


def _perturbed(spec: ScenarioSpec) -> Iterator[Fault]:
    for i, p in enumerate(spec.perturbations):
        at: Path = ("perturbations", i)
        if p.at > spec.time.stop:
            yield Fault((*at, "at"), f"is after the end of the run ({spec.time.stop})")
        if p.until is not None and p.until > spec.time.stop:
            yield Fault((*at, "until"), f"is after the end of the run ({spec.time.stop})")
        if p.every is not None and (spec.time.stop - p.at) / p.every > _MOST_REPEATS:
            yield Fault((*at, "every"), f"would repeat more than {_MOST_REPEATS} times")
        yield from _perturbed_value(spec, i)


def _perturbed_value(spec: ScenarioSpec, i: int) -> Iterator[Fault]:
    p = spec.perturbations[i]
    if p.quantity is None or p.value is None:
        return
    key = "to" if p.verb == "set" else "by"
    path: Path = ("perturbations", i, key)
    if p.verb == "scale":
        if not same_dimension(p.value.unit, NUMBER.unit):
            yield Fault(path, "is a factor and must be a number without unit")
        elif p.value < 0:
            yield Fault(path, "is a factor and must not be negative")
        return
    value, message = _in_unit_of(spec, p.quantity, p.value)
    if message is None and value < 0 and p.quantity.startswith(("field.", "rate.", "cell.")):
        message = "must not be negative" + ("; lower it with scale" if p.verb == "add" else "")
    if message:
        yield Fault(path, message)
    _replace(p, key, value)
    if p.quantity.startswith("field.") and (p.cells is not None or p.fraction < 1):
        wrong = "cells" if p.cells is not None else "fraction"
        yield Fault(("perturbations", i, wrong), "a field has no cells; choose a region with where")


def _in_unit_of(spec: ScenarioSpec, name: str, value: Quantity) -> tuple[Quantity, str | None]:
    """`value` in the unit that the quantity `name` has inside, or what is wrong with it."""
    if name.startswith(("field.", "saturation.", "inside.")):
        field = spec.space.fields[name.partition(".")[2]]
        message = _not_in_field(value, field)
        return (value, message) if message else (value.to(field.unit), None)
    if name.startswith("export."):
        return _as_flow(value, name, spec.space.fields[name.partition(".")[2]])
    wanted = _KNOWN.get(name) or _KNOWN.get(name.partition(".")[0])
    unit = wanted.unit if wanted else NUMBER.unit
    try:
        return value.to(unit), None
    except UnitError:
        if wanted:
            return value, f"is {dimension_of(value.unit)}; {name} is {wanted}"
        return value, f"is {dimension_of(value.unit)}; {name} is a number in its own unit, so write none"


def _as_flow(value: Quantity, name: str, field: FieldSpec) -> tuple[Quantity, str | None]:
    flow = f"{field.unit}*{VOLUME.unit}/{TIME.unit}" if field.unit else f"{VOLUME.unit}/{TIME.unit}"
    if same_dimension(value.unit, flow):
        return value.to(flow), None
    return value, f"is {dimension_of(value.unit)}; {name} is an amount per time such as 10 {flow}"


def _not_in_field(value: Quantity, field: FieldSpec) -> str | None:
    if same_dimension(value.unit, field.unit):
        return None
    if same_dimension(value.unit, NUMBER.unit):
        return f"has no unit; the field is in {field.unit}, so write {value.written:g} {field.unit}"
    return f"is {dimension_of(value.unit)}; the field is in {field.unit or 'plain numbers'}"


def _seen(spec: ScenarioSpec) -> Iterator[Fault]:
    """Faults of images: what they show of the domain and how large they are."""
    ends = spec.space.domain.axes
    (x, y) = ends["x"], ends["y"]
    for name, instrument in spec.instruments.items():
        if not isinstance(instrument, Fluorescence):
            continue
        at: Path = ("instruments", name)
        view = instrument.view
        if view is not None:
            if len(view.center) != 2:
                yield Fault(
                    (*at, "view", "center"), f"has {len(view.center)} coordinates; an image has x and y"
                )
                continue
            for i, (middle, width, (low, high)) in enumerate(zip(view.center, view.size, (x, y))):
                if middle + width / 2 <= low or middle - width / 2 >= high:
                    message = f"shows nothing of the domain along {'xy'[i]} ({low} to {high})"
                    yield Fault((*at, "view", "center", i), message)
        message = image_fault(instrument, (x[1] - x[0], y[1] - y[0]))
        if message:
            yield Fault((*at, "view") if view is not None else at, message, at_key=True)
        if instrument.section is not None and spec.space.dimensions == 2:
            yield Fault((*at, "section"), "needs height, but the domain has no z; remove it")
        if (
            instrument.focus is not None
            and "z" in ends
            and not ends["z"][0] <= instrument.focus <= ends["z"][1]
        ):
            yield Fault((*at, "focus"), f"lies outside the domain along z ({ends['z'][0]} to {ends['z'][1]})")


def _memory(spec: ScenarioSpec) -> Iterator[Fault]:
    free = free_memory()
    voxels = 1
    for count in spec.space.shape:
        voxels *= count
    grid = voxels * _BYTES_PER_VOXEL * len(spec.space.fields)
    if grid > free:
        shape = " x ".join(map(str, spec.space.shape))
        yield Fault(("space", "voxel"), f"a grid of {shape} voxels {_too_much(grid, free)}")
    total = 0
    for name, cell in spec.cells.items():
        total += cell.number * _BYTES_PER_CELL
        if total > free:
            yield Fault(("cells", name, "count"), f"so many cells: {_too_much(total, free)}")
            return
        touched = _touched(spec, cell)
        if cell.number * touched * _BYTES_PER_PAIR > free:
            much = _too_much(cell.number * touched * _BYTES_PER_PAIR, free)
            message = f"so many cells in so little space, each on {touched:.2g} others: {much}"
            yield Fault(("cells", name, "count"), message)


def _touched(spec: ScenarioSpec, cell: CellType) -> float:
    """Other cells of its type that a cell feels at time 0, where they are placed by chance; at least these."""
    dims = spec.space.dimensions
    ball = math.pi if dims == 2 else 4 / 3 * math.pi
    if cell.place.disc is not None:
        room = ball * float(cell.place.disc.radius) ** dims
    elif cell.place.random is not None:
        domain = spec.space.domain
        room = math.prod(
            float(ends[1] - ends[0]) for ends in (domain.x, domain.y, domain.z) if ends is not None
        )
    else:
        return 0.0
    reach = 2 * _REACH * math.cbrt(3 * float(cell.volume) / (4 * math.pi))
    return cell.number * min(ball * reach**dims / room, 1.0)


def _too_much(needed: float, free: float) -> str:
    return f"needs {needed / _GIB:.1f} GiB, {free / _GIB:.1f} GiB free"


def _replace(part: object, key: str, value: object) -> None:
    """Sets an attribute of a frozen model, before anyone has seen it."""
    object.__setattr__(part, key, value)
