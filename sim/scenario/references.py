"""Names: what couplings, cells and outputs name must be declared, and what is declared must be used.

A name that is not declared is reported with the nearest declared one and its line, so that a misspelt
declaration is found from its uses. Ids inside models and weights are not known here; sim.build checks them.
"""

from __future__ import annotations

from collections.abc import Iterator

from sim.scenario.cells import CellType
from sim.scenario.dynamics import RepresentationSpace
from sim.scenario.instruments import INCUCYTE, Cytometer, Fluorescence, Incucyte, Instrument, Stain
from sim.scenario.names import COLUMNS, FAMILIES, Fault, Names, Where, nearest_hint, unknown_family
from sim.scenario.schema import ScenarioSpec
from sim.scenario.yaml_text import Path
from sim.spelling import nearest, one_of


def reference_faults(spec: ScenarioSpec, key_line: Where) -> Iterator[Fault]:
    """Every name that is used but not declared, then every pathway or manipulator that nothing uses."""
    names = Names(spec, key_line)
    for name, field in spec.space.fields.items():
        for vessel in field.vessels:
            path = ("space", "fields", name, "vessels", vessel)
            yield from names.check("vessel", vessel, path, at_key=True)
        for region in field.diffusion_in:
            path = ("space", "fields", name, "diffusion_in", region)
            yield from names.check("region", region, path, at_key=True)
    for name, cell in spec.cells.items():
        yield from _cell(names, name, cell)
    for name, manipulator in spec.manipulators.items():
        for drug, quantity in manipulator.conditions.items():
            yield from names.quantity(quantity, ("manipulators", name, "conditions", drug))
    for name, space in spec.representations.items():
        yield from _space(names, ("representations", name), space)
    yield from _actions(names)
    yield from _readings(names)
    yield from _unused(names)


def _becoming(names: Names, name: str, cell: CellType) -> Iterator[Fault]:
    """Types that a cell meets or turns into: declared, and with the same contents where it turns into them."""
    at: Path = ("cells", name)
    for key in ("affinity", "follows"):
        for other in getattr(cell.mechanics, key):
            yield from names.check("cell type", other, (*at, "mechanics", key, other), at_key=True)
    met = cell.interactions
    for verb in ("attack", "phagocytosis", "fusion") if met else ():
        for other in getattr(met, verb):
            if verb != "phagocytosis" or other != "dead":
                yield from names.check("cell type", other, (*at, "interactions", verb, other), at_key=True)
    turns = [((*at, "interactions", "transform", t), t) for t in (met.transform if met else ())]
    turns += [((*at, "division", "types", t), t) for t in (cell.division.types if cell.division else ())]
    for path, other in turns:
        message = names.missing("cell type", other)
        if message:
            yield Fault(path, message, at_key=True)
            continue
        into = names.spec.cells[other]
        for what in ("pathways", "representation", "composition"):
            mine, theirs = getattr(cell, what), getattr(into, what)
            if (mine is None) != (theirs is None) or (what == "pathways" and set(mine) != set(theirs)):
                yield Fault(
                    path, f"'{other}' has other {what}, so no cell can turn into it; give both the same", True
                )


def _cell(names: Names, name: str, cell: CellType) -> Iterator[Fault]:
    at: Path = ("cells", name)
    yield from _becoming(names, name, cell)
    if cell.motility and cell.motility.chemotaxis:
        here: Path = (*at, "motility", "chemotaxis")
        if cell.motility.chemotaxis.field is not None:
            yield from names.check("field", cell.motility.chemotaxis.field, (*here, "field"))
        for field in cell.motility.chemotaxis.fields or ():
            yield from names.check("field", field, (*here, "fields", field), at_key=True)
    for field, exchange in cell.exchange.items():
        yield from names.check("field", field, (*at, "exchange", field), at_key=True)
        if exchange.partner is not None:
            path = (*at, "exchange", field, "with")
            if not exchange.partner.startswith("pathway."):
                yield Fault(path, "must name a species of a pathway, such as pathway.egfr.EGF_in")
            else:
                yield from names.quantity(exchange.partner, path, (name,))
    for i, pathway in enumerate(cell.pathways):
        yield from names.check("pathway", pathway, (*at, "pathways", i))
        if pathway in cell.pathways[:i]:
            yield Fault((*at, "pathways", i), "is listed twice")
    if cell.representation is not None:
        here = (*at, "representation")
        space, declared = cell.representation.space, names.spec.representations
        if not names.spec.manipulators and space not in declared:
            meant = nearest(space, declared)
            hint = (
                f"; did you mean '{meant}' (line {names.key_line(('representations', meant))})?"
                if meant
                else ""
            )
            yield Fault(
                (*here, "space"),
                "needs a manipulator whose weights have this space, or an entry in representations; "
                f"none is declared{hint}",
            )
        for i, manipulator in enumerate(cell.representation.manipulators or ()):
            yield from names.check("manipulator", manipulator, (*here, "manipulators", i))


def _space(names: Names, at: Path, space: RepresentationSpace) -> Iterator[Fault]:
    yield from _types(names, space.cells, (*at, "cells"))
    for modality, features in space.reads.items():
        for feature, quantity in features.items():
            yield from names.quantity(quantity, (*at, "reads", modality, feature))
    for modality, below in space.built_on.items():
        yield from names.check("space", below, (*at, "built_on", modality))
        if below == at[-1]:
            yield Fault((*at, "built_on", modality), "is the space itself; name the one below")
        if modality in space.reads:
            yield Fault((*at, "built_on", modality), "is given in reads too; remove one", at_key=True)


def _actions(names: Names) -> Iterator[Fault]:
    spec = names.spec
    for i, coupling in enumerate(spec.couplings):
        at: Path = ("couplings", i)
        yield from names.quantity(coupling.source, (*at, "from"), coupling.cells)
        yield from names.quantity(coupling.target, (*at, "to"), coupling.cells)
        yield from _types(names, coupling.cells, (*at, "cells"))
        if coupling.source == coupling.target:
            yield Fault((*at, "to"), "is the same as from; a quantity cannot be coupled to itself")
    for i, rule in enumerate(spec.rules):
        at = ("rules", i)
        if rule.file is None:
            yield from names.quantity(rule.signal or "", (*at, "signal"), rule.cells)
            yield from names.quantity(rule.behaviour, (*at, rule.verb), rule.cells)
            yield from _types(names, rule.cells, (*at, "cells"))
    for i, perturbation in enumerate(spec.perturbations):
        at = ("perturbations", i)
        if perturbation.quantity is not None:
            yield from names.quantity(perturbation.quantity, (*at, perturbation.verb), perturbation.cells)
        yield from _types(names, perturbation.cells, (*at, "cells"))
        if perturbation.kill is not None:
            yield from _types(names, perturbation.kill.cells, (*at, "kill", "cells"))


def _types(names: Names, cells: tuple[str, ...] | None, path: Path) -> Iterator[Fault]:
    for i, name in enumerate(cells or ()):
        yield from names.check("cell type", name, (*path, i))


def _readings(names: Names) -> Iterator[Fault]:
    spec = names.spec
    for name, instrument in spec.instruments.items():
        yield from _instrument(names, ("instruments", name), instrument)
    yield from _measured(names)
    for i, field in enumerate(spec.outputs.fields if spec.outputs.fields != "all" else ()):
        yield from names.check("field", field, ("outputs", "fields", i))
    for i, pattern in enumerate(spec.outputs.cells):
        yield from _stored(names, pattern, ("outputs", "cells", i))


def _instrument(names: Names, at: Path, instrument: Instrument) -> Iterator[Fault]:
    if isinstance(instrument, Incucyte):
        for i, channel in enumerate(instrument.channels or ()):
            if channel not in INCUCYTE:
                yield Fault(
                    (*at, "channels", i),
                    f"no such channel; {instrument.kind} has {one_of(INCUCYTE)}{nearest_hint(channel, INCUCYTE)}",
                )
        return
    if not isinstance(instrument, Fluorescence):
        yield from _types(names, instrument.cells, (*at, "cells"))
    for name, channel in instrument.channels.items():
        here: Path = (*at, "channels", name)
        if channel.shows is not None:
            yield from names.quantity(channel.shows, (*here, "shows"))
        if isinstance(channel, Stain):
            yield from _types(names, channel.cells, (*here, "cells"))


def _measured(names: Names) -> Iterator[Fault]:
    measurements = names.spec.measurements
    if measurements is None:
        return
    named = measurements.instrument
    if named is not None:
        yield from names.check("instrument", named, ("measurements", "instrument"))
    elif len(names.spec.instruments) != 1:
        yield Fault(("measurements",), "name the instrument whose readings were measured: instrument: NAME")
    chosen = named or next(iter(names.spec.instruments), "")
    instrument = names.spec.instruments.get(chosen)
    if isinstance(instrument, Fluorescence | Cytometer):
        key: Path = ("measurements", "instrument") if named else ("measurements",)
        yield Fault(key, f"'{chosen}' gives no curves; name an instrument of kind incucyte or reporter")
        return
    allowed = (
        INCUCYTE if isinstance(instrument, Incucyte) else tuple(instrument.channels if instrument else ())
    )
    for channel in measurements.channels if allowed else ():
        if channel not in allowed:
            path = ("measurements", "channels", channel)
            yield Fault(
                path,
                f"no such channel; the instrument has {one_of(allowed)}{nearest_hint(channel, allowed)}",
                at_key=True,
            )


def _stored(names: Names, pattern: str, path: Path) -> Iterator[Fault]:
    family, dot, rest = pattern.partition(".")
    if not dot:
        if "*" not in pattern and pattern not in COLUMNS:
            allowed = (*COLUMNS, *(f + ".*" for f in FAMILIES))
            hint = nearest_hint(pattern, COLUMNS)
            yield Fault(path, f"unknown quantity of a cell; use {', '.join(allowed)}{hint}")
    elif "*" not in pattern:
        yield from names.quantity(pattern, path)
    elif family not in FAMILIES and "*" not in family:
        yield Fault(path, unknown_family(family, rest))
    elif family in ("pathway", "ur") and "*" not in rest.split(".")[0]:
        kind = "pathway" if family == "pathway" else "space"
        yield from names.check(kind, rest.split(".")[0].split("[")[0], path)


def _unused(names: Names) -> Iterator[Fault]:
    spec = names.spec
    used = {p for cell in spec.cells.values() for p in cell.pathways}
    for pathway in spec.pathways:
        if pathway not in used and not any(nearest(p, [pathway]) for p in used - set(spec.pathways)):
            yield Fault(
                ("pathways", pathway),
                "no cell type runs this pathway; list it in cells.TYPE.pathways",
                at_key=True,
            )
    shaped = [cell.representation for cell in spec.cells.values() if cell.representation is not None]
    listed = {m for r in shaped for m in r.manipulators or ()}
    for manipulator in spec.manipulators:
        if not shaped:
            yield Fault(
                ("manipulators", manipulator),
                "no cell type has a representation for it to act on",
                at_key=True,
            )
        elif all(r.manipulators is not None for r in shaped) and manipulator not in listed:
            undeclared = listed - set(spec.manipulators)
            if not any(nearest(m, [manipulator]) for m in undeclared):
                yield Fault(
                    ("manipulators", manipulator),
                    "no cell type lists it in representation.manipulators",
                    at_key=True,
                )
