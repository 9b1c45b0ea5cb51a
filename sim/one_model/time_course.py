"""The time course of one pathway model, from the options of `cellweave simulate` to a table.

request = Request(Path("model.xml"), start=0, end=100, vary=("k1=lognormal(cv=0.2)",), cells=50)
write(time_course(request), request, Path("course.csv"))
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sim import tables
from sim.errors import Problem, ScenarioError, escaped
from sim.one_model.files import loaded, told
from sim.spelling import did_you_mean

if TYPE_CHECKING:
    import numpy as np
    import xarray

    from mechanistic import PathwayModel
    from mechanistic.distributions import Distribution

_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
_SEED_END = 1 << 64


@dataclass(frozen=True)
class Request:
    """One time course.

    Attributes:
        model: SBML or Antimony file.
        start, end, steps: the output grid, `steps` equal intervals [model time]; `end` is None where the file says
            its times itself. The model's initial state holds at time 0 (at `start` where that is negative), wherever
            the grid starts.
        rtol, atol, method: see `mechanistic.PathwayModel.simulate`.
        sets: `id=value` each: a species as concentration, `amount.<species>`, a parameter or a compartment.
        vary: `id=distribution` each, see `mechanistic.distributions`; about the value that `sets` or the model
            gives. Cell i draws from the counter-based stream (seed, "vary.<id>", i), so more cells leave the
            first ones as they were.
        cells: how many; None for one without a `cell` column.
        amounts: species as amounts in place of concentrations.
        select: comma-separated ids of anything the model has; all species by default.
    """

    model: Path
    start: float = 0.0
    end: float | None = None
    steps: int = 100
    rtol: float = 1e-6
    atol: float = 1e-9
    method: str = "auto"
    sets: tuple[str, ...] = ()
    vary: tuple[str, ...] = ()
    cells: int | None = None
    seed: int = 0
    amounts: bool = False
    select: str | None = None


def time_course(request: Request, model: PathwayModel | None = None) -> xarray.Dataset:
    """Simulate.

    Args:
        model: that of the request's file, where it has been read before.

    Returns:
        Dims cell and time; a variable for each chosen id, in the order of the document.

    Raises:
        ScenarioError: every fault of the model file, or of the options; nothing has been run.
        SimulationError: a cell could not be integrated; names it, the species and the time.
    """
    import numpy as np

    _check_numbers(request)
    with told(request.model):
        model = model or loaded(request.model)
        values, spreads = _settings(request, model)
        chosen = _chosen(request, model)
        _check_memory(request, model)
        values |= _drawn(request, model, values, spreads)
        times = np.linspace(request.start, _end(request), request.steps + 1)
        course = model.simulate(
            times,
            cells=request.cells or 1,
            parameters=values,
            method=request.method,
            rtol=request.rtol,
            atol=request.atol,
            seed=request.seed,
        )
    course = course[[*chosen, "time", "cell"]]
    return course.rename({name: label for name, label in chosen.items() if name != label})


def write(course: xarray.Dataset, request: Request, output: Path | None) -> None:
    """Write a time course by its output's suffix (see `sim.tables.write`), CSV to stdout without `output`.

    A CSV has `time`, with `cells` then `cell`, then the ids; numbers as Python writes them, which reads back
    to the same bits.

    Raises:
        ScenarioError: see `sim.tables.check_output`.
    """
    tables.write(course, _rows(course, request), output)


def refuse_options(request: Request, names: tuple[str, ...], why: str) -> None:
    """Say that options mean nothing here.

    Raises:
        ScenarioError: one of `names` (fields of `Request`) was given.
    """
    plain = Request(request.model)
    for name in names:
        if getattr(request, name) != getattr(plain, name):
            option = {"sets": "set"}.get(name, name)
            raise ScenarioError(f"--{option}: {why}")


def assigned(request: Request, model: PathwayModel) -> dict[str, float]:
    """What `--set` says, checked against the model.

    Raises:
        ScenarioError: with all faults.
    """
    return _settings(request, model)[0]


# ---- parts


def _check_numbers(request: Request) -> None:
    def fail(option: str, message: str) -> ScenarioError:
        return ScenarioError(f"{option}: {message}")

    end = _end(request)
    for option, value in (("--start", request.start), ("--end", end)):
        if not math.isfinite(value):
            raise fail(option, f"must be finite (got {value})")
    if end <= request.start:
        raise fail("--end", f"must be after the start at {request.start:g} (got {end:g})")
    for option, value in (("--rtol", request.rtol), ("--atol", request.atol)):
        if not (math.isfinite(value) and value > 0):
            raise fail(option, f"must be above 0 (got {value})")
    if request.steps < 1:
        raise fail("--steps", f"must be 1 or more (got {request.steps})")
    if request.cells is not None and request.cells < 1:
        raise fail("--cells", f"must be 1 or more (got {request.cells})")
    if not 0 <= request.seed < _SEED_END:
        raise fail("--seed", f"must lie between 0 and 2^64 - 1 (got {request.seed})")


def _check_memory(request: Request, model: PathwayModel) -> None:
    """Refuse a table that does not fit, before any of it is made."""
    from sim.machine.memory import free_memory

    network = model.network
    columns = 2 * len(network.species_ids) + len(network.state_ids) + len(network.reaction_ids)
    columns += len(network.parameter_ids) + len(network.compartment_ids) + len(network.stoichiometry_ids)
    needed, free = 8.0 * columns * (request.cells or 1) * (request.steps + 1), free_memory()
    if needed > free:
        option = "--cells" if (request.cells or 1) > request.steps else "--steps"
        message = f"the course needs {needed / 2**30:.1f} GiB, {free / 2**30:.1f} GiB free; ask for fewer"
        raise ScenarioError(_wrong(request, option, message))


def _end(request: Request) -> float:
    if request.end is None:
        raise ScenarioError("--end: is missing; a time course needs it, in the model's unit of time")
    return request.end


def _settings(request: Request, model: PathwayModel) -> tuple[dict[str, Any], dict[str, Distribution]]:
    """What `--set` and `--vary` say, checked against the model; all faults at once."""
    from mechanistic.distributions import parse

    network, problems = model.network, []
    known = (*network.species_ids, *network.parameter_ids, *network.compartment_ids)
    values: dict[str, Any] = {}
    spreads: dict[str, Distribution] = {}

    def pairs(option: str, texts: tuple[str, ...], form: str) -> Iterator[tuple[str, str]]:
        seen: set[str] = set()
        for text in texts:
            name, equals, value = (part.strip() for part in text.partition("="))
            if not equals or not name or not value:
                problems.append(_wrong(request, option, f"must be written {form} (got '{escaped(text)}')"))
            elif name.removeprefix("amount.") not in known:
                hint = did_you_mean(name, known)
                problems.append(_wrong(request, option, f"'{escaped(name)}' is not in the model{hint}"))
            elif name in seen:
                problems.append(_wrong(request, option, f"'{name}' is given twice"))
            else:
                seen.add(name)
                yield name, value

    for name, value in pairs("--set", request.sets, "ID=VALUE"):
        if _NUMBER.fullmatch(value) and math.isfinite(float(value)):
            values[name] = float(value)
        else:
            problems.append(_wrong(request, "--set", f"'{name}' needs a number (got '{escaped(value)}')"))
    for name, value in pairs("--vary", request.vary, "ID=DISTRIBUTION, for example k=lognormal(cv=0.2)"):
        try:
            spreads[name] = parse(value)
        except ValueError as error:
            problems.append(_wrong(request, "--vary", f"'{name}' {escaped(error, 200)}"))
    if problems:
        raise ScenarioError(problems)
    return values, spreads


def _drawn(
    request: Request, model: PathwayModel, values: dict[str, Any], spreads: dict[str, Distribution]
) -> dict[str, np.ndarray]:
    """One value a cell for every varied id."""
    import numpy as np

    from mechanistic.distributions import sample
    from mechanistic.random import stream_key, uniforms

    if not spreads:
        return {}
    names = list(spreads)
    bases = model.observe(model.initial_state(1, parameters=values), names)[0]
    cells = np.arange(request.cells or 1)
    drawn = {}
    for name, base in zip(names, bases.tolist()):
        distribution = spreads[name]
        if distribution.kind != "uniform" and not (math.isfinite(base) and base != 0):
            message = f"'{name}' is {base:g} in the model, and {distribution} is a factor on it; use uniform"
            raise ScenarioError(_wrong(request, "--vary", message))
        u = uniforms(stream_key(request.seed, f"vary.{name}"), 0, cells, 1)[:, 0]
        drawn[name] = sample(distribution, base, u)
    return drawn


def _chosen(request: Request, model: PathwayModel) -> dict[str, str]:
    """Variables of the full course that are wanted, in document order, with their names in the result."""
    network = model.network
    species = dict.fromkeys(network.species_ids)
    others = (
        *network.compartment_ids,
        *network.parameter_ids,
        *network.stoichiometry_ids,
        *network.reaction_ids,
    )
    amounts = tuple(f"amount.{s}" for s in species)
    known = (*species, *amounts, *others)
    if request.select is None:
        # a model without species shows what changes in it
        wanted = set(species or network.state_ids)
    else:
        wanted = {name.strip() for name in request.select.split(",")} - {"time"}
        problems = [
            _wrong(request, "--select", f"'{escaped(name)}' is not in the model{did_you_mean(name, known)}")
            for name in sorted(wanted - set(known))
        ]
        if problems:
            raise ScenarioError(problems)
    chosen: dict[str, str] = {}
    for name in (n for n in known if n in wanted):
        if name in species and request.amounts:
            chosen[f"amount.{name}"] = name
        elif not (name in amounts and request.amounts and name.removeprefix("amount.") in wanted):
            chosen[_label(name)] = _label(name)
    return chosen


def _label(name: str) -> str:
    """As the dataset calls it, which keeps `time` and `cell` for its own dimensions."""
    return f"value.{name}" if name in ("time", "cell") else name


def _rows(course: xarray.Dataset, request: Request) -> Iterator[str]:
    names = [str(n) for n in course.data_vars]
    yield ",".join(["time", *(["cell"] if request.cells else []), *names]) + "\n"
    times = course["time"].values.tolist()
    for cell in range(course.sizes["cell"]):
        columns = [course[n].values[cell].tolist() for n in names]
        for i, time in enumerate(times):
            values = (repr(column[i]) for column in columns)
            yield ",".join([repr(time), *([str(cell)] if request.cells else []), *values]) + "\n"


def _wrong(request: Request, option: str, message: str) -> Problem:
    return Problem(str(request.model), message, None, option)
