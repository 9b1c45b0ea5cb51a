"""Pathway models in many cells: time a cell and error beside RoadRunner in the same process.

    python benchmarks/pathways.py [--json] [--quick]

Published models come from ../shared/data/sbml and are skipped, with a line on stderr, where that is missing;
a shipped model runs anywhere. Cells start from the model's own state, each amount times its own factor (log
normal, 10 %). RoadRunner runs its CVODE, selections off, states set and read in bulk, at its default tolerances
(1e-6 and 1e-12) and, for the tolerance-work curve, at four relative tolerances with absolute ones a millionth of
them. Beside each of these ours runs at the loosest relative tolerance of a ladder of quarter decades whose measured
error is no larger; where none is, the row has no peer. Error: largest |x - reference| over species and cells, over
the larger of |reference| and a thousandth of the cell's largest amount; the reference is CVODE at 1e-12. Times are
CPU times of this process, the least of several taken in turn, unless a row says wall.
"""

from __future__ import annotations

import copy
import math
import os
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from table import parser, show

from mechanistic import load_model
from mechanistic.model import PathwayModel
from mechanistic.threads import set_threads

Array = NDArray[np.float64]
_ROOT = Path(__file__).resolve().parents[1]
_BIOMODELS = _ROOT.parent / "shared" / "data" / "sbml" / "biomodels.tar.gz"
_SHIPPED = _ROOT / "scenarios" / "models" / "egfr_mapk.xml"
# whole course and six minutes [the model's unit of time: 12 counts minutes, the others seconds]
_PUBLISHED = {
    12: (200.0, 6.0),
    10: (3600.0, 360.0),
    9: (100.0, 360.0),
    220: (3600.0, 360.0),
    19: (3600.0, 360.0),
}
_LADDER = tuple(10.0 ** -(k / 4) for k in range(8, 43))
_PEER_LADDER, _PEER_DEFAULT = (1e-4, 1e-5, 1e-6, 1e-7), 1e-6
_REPEATS = 3
_CALLS = 10
_BUSY, _MOST_CELLS = 0.5, 1_000_000  # seconds at least, for what two threads are measured by


class _RoadRunner:
    """RoadRunner as its manual advises for many runs: one instance, no selections, bulk set and get."""

    def __init__(self, model: PathwayModel):
        import roadrunner

        roadrunner.Logger.setLevel(roadrunner.Logger.LOG_FATAL)
        self.runner = roadrunner.RoadRunner(model.network.source)
        self.runner.setIntegrator("cvode")
        self.runner.timeCourseSelections = []
        inner, states = self.runner.model, model.network.state_ids
        self.parts = []  # how to set and get some states, where they are there, and which of ours they are
        for ids, put, take in (
            (inner.getFloatingSpeciesIds(), inner.setFloatingSpeciesAmounts, inner.getFloatingSpeciesAmounts),
            (inner.getGlobalParameterIds(), inner.setGlobalParameterValues, inner.getGlobalParameterValues),
        ):
            ours = [k for k, name in enumerate(states) if name in ids]
            there = np.array([ids.index(states[k]) for k in ours], dtype=np.int32)
            if ours:
                self.parts.append((put, take, there, ours))

    def run(self, start: Array, dt: float, calls: int, rtol: float = 1e-6, atol: float = 1e-12) -> Array:
        """The amounts (cell, state) after `calls` calls of `dt`."""
        runner, model, end = self.runner, self.runner.model, start.copy()
        integrator = runner.getIntegrator()
        integrator.setValue("relative_tolerance", rtol)
        integrator.setValue("absolute_tolerance", atol)
        integrator.setValue("maximum_num_steps", 1_000_000)
        for row in end:
            for call in range(calls):
                model.setTime(call * dt)
                for put, _, there, ours in self.parts:
                    put(there, row[ours])
                runner.simulate(call * dt, (call + 1) * dt, 2)
                for _, take, there, ours in self.parts:
                    row[ours] = take()[there]
        return end


def _ours(model: PathwayModel, start: Array, dt: float, calls: int, rtol: float) -> Array:
    model.rtol, model.atol, model.method = rtol, rtol * 1e-3, "native"
    state = model.initial_state(len(start))
    state.amounts[:] = start
    for _ in range(calls):
        model.advance(state, dt)
    return state.amounts


def _start(model: PathwayModel, cells: int) -> Array:
    amounts = model.initial_state(cells).amounts
    return amounts * np.exp(0.1 * np.random.default_rng(0).standard_normal(amounts.shape))


def _error(found: Array, reference: Array) -> float:
    level = np.abs(reference).max(axis=1, keepdims=True)
    return float((np.abs(found - reference) / np.maximum(np.abs(reference), 1e-3 * level)).max())


def _wall(task) -> float:
    begun = time.perf_counter()
    task()
    return time.perf_counter() - begun


def _cpu(task) -> float:
    start = time.process_time()
    task()
    return time.process_time() - start


def _beside(name: str, model: PathwayModel, dt: float, calls: int, cells: int, few: int) -> Iterator[dict]:
    """Time a cell at no larger error than RoadRunner, at its default and along its ladder."""
    peer, start = _RoadRunner(model), _start(model, cells)
    reference = peer.run(start[:few], dt, calls, 1e-12, 1e-18)
    peer_errors = {r: _error(peer.run(start[:few], dt, calls, r, r * 1e-6), reference) for r in _PEER_LADDER}
    errors, chosen = {}, {}
    for rtol in _LADDER:
        errors[rtol] = _error(_ours(model, start[:few], dt, calls, rtol), reference)
        for r, peer_error in peer_errors.items():
            if errors[rtol] <= peer_error:
                chosen.setdefault(r, rtol)
        if len(chosen) == len(peer_errors):
            break
    spent, peer_spent = {}, {}
    for _ in range(_REPEATS):
        for r in _PEER_LADDER:
            rtol = chosen.get(r, min(errors))
            mine = _cpu(lambda rtol=rtol: _ours(model, start, dt, calls, rtol)) / cells / calls
            theirs = _cpu(lambda r=r: peer.run(start[:few], dt, calls, r, r * 1e-6)) / few / calls
            spent[r], peer_spent[r] = min(mine, spent.get(r, mine)), min(theirs, peer_spent.get(r, theirs))
    for r in sorted(_PEER_LADDER, key=lambda r: (r == _PEER_DEFAULT, -r)):
        rtol = chosen.get(r, min(errors))
        named = f"{name}, as exact as CVODE {r:g}: rtol {rtol:.2g}"
        row = {"name": named, "value": spent[r], "unit": "s/cell", "error": errors[rtol]}
        if r in chosen:
            row |= {
                "peer": f"RoadRunner, CVODE {r:g}", "peer_value": peer_spent[r], "peer_error": peer_errors[r],
                "ratio": peer_spent[r] / spent[r],
            }  # fmt: skip
        yield row


def _first_result(name: str, file: Path) -> Iterator[dict]:
    """From SBML to the first result of one cell, imports aside: nothing compiled yet, and cached."""
    before = os.environ.get("CELLWEAVE_CACHE")
    with tempfile.TemporaryDirectory(prefix="cellweave-benchmark-") as folder:
        os.environ["CELLWEAVE_CACHE"] = folder
        try:
            for when in ("cold", "cached"):
                start = time.perf_counter()
                load_model(file).simulate([0.0, 1.0], method="native")
                yield {
                    "name": f"{name}, SBML to first result, {when}",
                    "value": time.perf_counter() - start,
                    "unit": "s wall",
                }
        finally:
            if before is None:
                del os.environ["CELLWEAVE_CACHE"]
            else:
                os.environ["CELLWEAVE_CACHE"] = before


def _scaling(name: str, model: PathwayModel, dt: float, sizes: tuple[int, ...]) -> Iterator[dict]:
    """Time and memory a cell as cells become many; two threads against one."""
    for cells in sizes:
        start = _start(model, cells)
        task = partial(_ours, model, start, dt, 1, 1e-4)
        spent = min(_cpu(task) for _ in range(_REPEATS)) / cells
        yield {"name": f"{name}, {cells} cells, one 6-minute call", "value": spent, "unit": "s/cell"}
    state = model.initial_state(1000)
    assert state.step is not None
    arrays = [state.amounts, state.parameters, state.scale, state.time, state.step]
    arrays += [] if state.memory is None else [state.memory]
    yield {"name": f"{name}, state kept", "value": sum(a.nbytes for a in arrays) / 1000, "unit": "B/cell"}
    yield from _threads(name, model, dt, sizes[-1])


def _threads(name: str, model: PathwayModel, dt: float, cells: int) -> Iterator[dict]:
    """Two threads against one, for so many cells that one thread is busy for a while."""
    model.rtol, model.atol, model.method = 1e-4, 1e-7, "native"

    def taken() -> float:
        state = copy.deepcopy(start)
        return _wall(partial(model.advance, state, dt))

    while True:
        start = model.initial_state(cells)
        start.amounts[:] = _start(model, cells)
        if taken() >= _BUSY or cells >= _MOST_CELLS:
            break
        cells *= 2
    seconds: dict[int, float] = {}
    for _ in range(_REPEATS):
        for threads in (1, 2):
            if set_threads(threads) == threads:
                seconds[threads] = min(taken(), seconds.get(threads, math.inf))
    set_threads(1)
    if 2 in seconds:
        yield {
            "name": f"{name}, {cells} cells, one 6-minute call, 2 threads", "value": seconds[2], "unit": "s wall",
            "peer": "1 thread", "peer_value": seconds[1], "ratio": seconds[1] / seconds[2],
        }  # fmt: skip


def _gradient(name: str, model: PathwayModel, end: float, cells: int) -> Iterator[dict]:
    """A time course and its gradient by all parameters, beside the course alone; error against forward at 1e-11."""
    network = model.network
    parameters = [p.id for p in network.parameters if p.id in network.settable_ids and p.value][:100]
    first = parameters[0]
    spread = {first: network[first].value * np.random.default_rng(1).uniform(0.9, 1.1, cells)}
    times, rtol = np.linspace(0.0, end, 11), 1e-6
    run = model.adjoint(times, parameters, cells=cells, values=spread, rtol=rtol)
    weights = np.random.default_rng(2).normal(size=run.outputs.shape)

    def gradient():
        return model.adjoint(times, parameters, cells=cells, values=spread, rtol=rtol).pull_back(weights)

    def course():
        return model.simulate(times, cells=cells, parameters=spread, rtol=rtol, atol=1e-16)

    found, _ = gradient(), course()
    took = [min(_cpu(task) for _ in range(_REPEATS)) for task in (gradient, course)]
    one = {first: spread[first][0]}
    forward = model.sensitivities(times, parameters, values=one, rtol=1e-11)
    slopes = np.stack([forward[s].values[0] for s in network.species_ids], axis=1)
    expected = np.einsum("ts,tsp->p", weights[0], slopes)
    error = float(np.abs(found.values[0] - expected).max() / np.abs(expected).max())
    yield {
        "name": f"{name}, course and gradient by {len(parameters)} parameters", "value": took[0] / cells,
        "unit": "s CPU/cell", "peer": "our course alone", "peer_value": took[1] / cells,
        "ratio": took[1] / took[0], "error": error,
    }  # fmt: skip


def _model_rows(name: str, file: Path, course: float, six: float, quick: bool) -> Iterator[dict]:
    yield from _first_result(name, file)
    model = load_model(file)
    cells, few = (64, 4) if quick else (1000, 32)
    yield from _beside(f"{name}, course to {course:g}", model, course, 1, cells, few)
    yield from _beside(f"{name}, 6-minute call", model, six, _CALLS, cells, few)
    yield from _gradient(name, model, course, 64)
    many = (64, 256) if quick else (1000, 10_000, 100_000)
    # the large models take minutes for more
    yield from _scaling(name, model, six, many if len(model.network.state_ids) <= 25 else many[:2])


def _rows(quick: bool) -> Iterator[dict]:
    # what every model shares is compiled or loaded before anything is timed
    load_model(_SHIPPED).simulate([0.0, 1.0], method="native")
    yield from _model_rows("shipped EGFR-MAPK", _SHIPPED, 360.0, 6.0, quick)
    if not _BIOMODELS.is_file():
        print(f"skipped BioModels {', '.join(map(str, _PUBLISHED))}: no {_BIOMODELS.name}", file=sys.stderr)
        return
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(_BIOMODELS) as archive:
            archive.extractall(folder, filter="data")
        for number in (12,) if quick else _PUBLISHED:
            file = Path(folder) / "biomodels" / f"BIOMD{number:010d}.xml"
            yield from _model_rows(f"BioModels {number}", file, *_PUBLISHED[number], quick)


def main() -> None:
    options = parser(__doc__, "two models and few cells, under a minute").parse_args()
    set_threads(1)
    show(_rows(options.quick), options.json, 66)


if __name__ == "__main__":
    main()
