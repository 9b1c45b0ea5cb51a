"""Is everything that is read owned, and everything that is driven drivable? Checked before anything runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from sim.core.coupling import Coupling
from sim.core.process import Process
from sim.core.quantity import Quantity, aggregate_of, component_of
from sim.spelling import did_you_mean


@dataclass(frozen=True)
class Fault:
    """One fault of the wiring. `coupling` is the index of the coupling at fault, or None."""

    message: str
    coupling: int | None = None
    side: str | None = None


def check(
    processes: Sequence[Process], couplings: Sequence[Coupling], type_names: Sequence[str]
) -> list[Fault]:
    """Every fault: two owners, no owner, a target that nothing takes, two couplings on one target, a cycle."""
    faults: list[Fault] = []
    owners: dict[str, Process] = {}
    known: dict[str, Quantity] = {}
    for process in processes:
        for q in process.quantities:
            if q.name in owners:
                faults.append(
                    Fault(f"'{q.name}' has two owners, {owners[q.name].name} and {process.name}; remove one")
                )
            owners[q.name], known[q.name] = process, q
    for process in processes:
        for name in process.reads:
            if name not in known:
                faults.append(Fault(f"{process.name} reads {_named(name, known)}, which no process shows"))
    setters: dict[str, Coupling] = {}
    for c in couplings:
        fault = _unknown(c.source, known, type_names)
        if fault:
            faults.append(Fault(f"no process shows {fault}", c.index, "from"))
        target = known.get(c.target)
        if target is None:
            faults.append(Fault(f"no process takes {_named(c.target, _inputs(known))}", c.index, "to"))
            continue
        if target.role != "input":
            faults.append(
                Fault(
                    f"'{c.target}' is owned by {owners[c.target].name} and cannot be driven{_try(_inputs(known))}",
                    c.index,
                    "to",
                )
            )
            continue
        other = setters.get(c.target)
        if c.mode == "set" and other is not None and overlap(c.types, other.types):
            faults.append(
                Fault(
                    f"'{c.target}' is already set by '{other.name}'; use mode: add or scale for one of them",
                    c.index,
                    "to",
                )
            )
        if c.mode == "set":
            setters.setdefault(c.target, c)
    if not faults:
        faults += _cycles(processes, couplings)
    return faults


def graph(processes: Sequence[Process], couplings: Sequence[Coupling]) -> dict:
    """The wiring as plain data: nodes are processes, edges what passes between them."""
    owners = {q.name: p.name for p in processes for q in p.quantities}
    nodes = [
        {
            "name": p.name,
            "kind": p.kind,
            "step": p.step,
            "states": [q.name for q in p.states],
            "inputs": [q.name for q in p.inputs if any(c.target == q.name for c in couplings)],
            "readouts": [q.name for q in p.readouts],
        }
        for p in processes
    ]
    edges = [
        {
            "source": owners[_plain(c.source, owners)],
            "target": owners[c.target],
            "from": c.source,
            "to": c.target,
            "label": c.response.label,
            "mode": c.mode,
            "kind": "coupling",
        }
        for c in couplings
    ]
    for p in processes:
        for name in p.reads:
            source = owners[_plain(name, owners)]
            if source != p.name:
                edges.append(
                    {
                        "source": source,
                        "target": p.name,
                        "from": name,
                        "to": p.name,
                        "label": "",
                        "mode": "",
                        "kind": "read",
                    }
                )
    return {"nodes": nodes, "edges": edges}


def _plain(name: str, owners: Iterable[str]) -> str:
    """The owned name behind a component or an aggregate."""
    aggregate = aggregate_of(name)
    if aggregate:
        return "cell.position" if aggregate.how == "count" else _plain(aggregate.of, owners)
    part = component_of(name)
    return part[0] if part and name not in owners else name


def _unknown(name: str, known: dict[str, Quantity], type_names: Sequence[str]) -> str | None:
    """What is wrong with reading `name`, or None."""
    aggregate = aggregate_of(name)
    if aggregate:
        if aggregate.how == "count":
            return None if aggregate.of in type_names else f"cells of type {_named(aggregate.of, type_names)}"
        return _unknown(aggregate.of, known, type_names)
    part = component_of(name)
    if part:
        block = known.get(part[0])
        if block is None:
            return _named(part[0], known)
        return (
            None if part[1] < block.width else f"'{name}': the last index of {part[0]} is {block.width - 1}"
        )
    quantity = known.get(name)
    if quantity is None:
        return _named(name, known)
    if quantity.width:
        return f"'{name}', which has {quantity.width} parts: name one, such as {name}[0]"
    return None


def _named(name: str, choices: Iterable[str]) -> str:
    return f"'{name}'{did_you_mean(name, choices)}"


def _inputs(known: dict[str, Quantity]) -> list[str]:
    return [n for n, q in known.items() if q.role == "input"]


def _try(inputs: Sequence[str]) -> str:
    return f"; such as {inputs[0]} can" if inputs else ""


def overlap(a: frozenset[int] | None, b: frozenset[int] | None) -> bool:
    """Whether two sets of cell types, None for all, have one in common."""
    return a is None or b is None or bool(a & b)


def _cycles(processes: Sequence[Process], couplings: Sequence[Coupling]) -> list[Fault]:
    """A quantity that would need its own value at the same instant, through couplings and readouts."""
    owners = {q.name: p for p in processes for q in p.quantities}
    readouts = {q.name for p in processes for q in p.readouts}
    driven: dict[str, list[Coupling]] = {}
    for c in couplings:
        driven.setdefault(c.target, []).append(c)

    def needs(name: str) -> list[str]:
        sources = [_plain(c.source, owners) for c in driven.get(name, ())]
        return sources + (list(owners[name].follows(name)) if name in readouts else [])

    settled: set[str] = set()
    for start in driven:
        loop = _loop_from(start, needs, settled)
        if loop:
            culprit = next(c for name in loop for c in driven.get(name, ()))
            shown = " → ".join(reversed(loop))
            return [
                Fault(
                    f"the couplings form a cycle within one step: {shown}; cut one of them",
                    culprit.index,
                    "to",
                )
            ]
    return []


def _loop_from(start: str, needs: Callable[[str], list[str]], settled: set[str]) -> list[str] | None:
    """The first loop met walking from `start`, as a list that begins and ends with the same name."""
    path: list[str] = []

    def walk(name: str) -> list[str] | None:
        if name in path:
            return [*path[path.index(name) :], name]
        if name in settled:
            return None
        path.append(name)
        for needed in needs(name):
            loop = walk(needed)
            if loop:
                return loop
        path.pop()
        settled.add(name)
        return None

    return walk(start)
