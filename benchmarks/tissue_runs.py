"""Whole simulated hours for benchmarks/tissue.py: cells that grow, divide, die and draw on oxygen, layer by layer."""

from __future__ import annotations

import math
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mechanistic.fields import DiffusionSolver, Grid
from sim.build import plan
from sim.controller import simulate
from sim.scenario import Scenario
from sim.simulation import Simulation

_ROOT = Path(__file__).resolve().parents[1]
_WEIGHTS = _ROOT / "scenarios" / "weights"
_BIOMODELS = _ROOT.parent / "shared" / "data" / "sbml" / "biomodels.tar.gz"
_SPACING, _STEP, _LAYERS_STEP = 15.12, 6.0, 30.0
#: layers in the order in which they are switched on
LAYERS = ("", "pathway (BioModels 9)", "manipulator", "tissue layer")
#: what half of the cells do in one step, and when that step ends [min]
_WAVES = {"divide": 24.0, "die": 48.0, "are cleared away": 66.0}


def simulation(n: int, dims: int, pathway: Path | None = None, layers: int = 0) -> Simulation:
    """The cells of `scenario`, ready to step."""
    ready = Simulation(plan(scenario(n, dims, pathway=pathway, layers=layers)))
    ready.populate()
    return ready


def scenario(
    n: int,
    dims: int,
    time: str = "stop: 24 h, save_every: 1 h",
    pathway: Path | None = None,
    layers: int = 0,
) -> Scenario:
    """n cells of PhysiCell's spacing in a ball or disc, in a box that leaves them some room."""
    if dims == 2:
        half = math.sqrt(n * _SPACING**2 * 0.866 / math.pi)
    else:
        half = (n * _SPACING**3 / math.sqrt(2) * 0.75 / math.pi) ** (1 / 3)
    half = 20 * math.ceil(1.25 * half / 20)
    box = ", ".join(f"{axis}: [-{half} um, {half} um]" for axis in "xyz"[:dims])
    drug = ", erlotinib: {diffusion: 3e4 um^2/min, initial: 0.3 uM}" if layers else ""
    own, parts = "", ""
    if layers >= 1:
        own += "\n    pathways: [mapk]"
        parts += f"pathways: {{mapk: {{model: {pathway}, time_unit: min, step: {_LAYERS_STEP} min}}}}\n"
    if layers >= 2:
        own += "\n    representation: {space: pc9_drug, manipulators: [drugs]}"
        parts += (
            f"manipulators: {{drugs: {{weights: {_WEIGHTS / 'pc9_drugs.safetensors'}, "
            f"conditions: {{erlotinib: field.erlotinib}}, step: {_LAYERS_STEP} min}}}}\n"
        )
    if layers >= 3:
        parts += f"tissue: {{weights: {_WEIGHTS / 'contact.safetensors'}, neighbours: {{radius: 25 um}}}}\n"
    text = f"""scenario: 1
name: {n} cells
seed: 1
time: {{{time}, step: {_STEP} min}}
space:
  domain: {{{box}}}
  voxel: 20 um
  fields:
    {{oxygen: {{diffusion: 1e5 um^2/min, decay: 0.1 /min, initial: 38 mmHg, boundary: 38 mmHg}}{drug}}}
cells:
  a:
    count: {n}
    place: {{hexagonal: {{spacing: {_SPACING} um, shape: disc}}}}
    volume: 2494 um^3
    growth: 0.02 /min
    cycle: {{division: 7e-4 /min}}
    death: {{apoptosis: 5e-5 /min}}
    mechanics: {{adhesion: 0.4 um/min, repulsion: 10 um/min}}
    exchange: {{oxygen: {{uptake: 10 /min}}}}{own}
{parts}"""
    return Scenario.parse(text, allow_outside=True)


def hour(n: int, dims: int, blocks: int, pathway: Path | None = None, layers: int = 0) -> float:
    """Wall seconds for a simulated hour, from `blocks` steps after a first one that is not counted.

    Nine make an hour of steps; the field is then on its way from where it started to where it rests, as it is for
    any number of cells.
    """
    ready = simulation(n, dims, pathway, layers)
    steps = ready.blocks(0.0, 24 * 60.0)
    ready.step(steps[0][1])
    start, minutes = time.perf_counter(), 0.0
    for _, length in steps[1 : 1 + blocks]:
        ready.step(length)
        minutes += length
    return (time.perf_counter() - start) * 60.0 / minutes


def waves(n: int, dims: int) -> Iterator[tuple[str, float, float, float]]:
    """What half of n cells do in one step; wall seconds of that step, of the one after it and of one before it."""
    # by what remains after half of them did it; those that died lyse all at once, and then all of them go
    chance = math.log(2.0) / _STEP
    acts = [
        ("division", _WAVES["divide"], chance),
        ("death", _WAVES["die"], chance),
        ("lysis", _WAVES["are cleared away"] - _STEP, 100.0),
        ("clearance", _WAVES["are cleared away"], 100.0),
    ]
    pulses = "".join(
        f"  - {{from: clock.time, to: rate.{what}, cells: a, "
        f"table: {{x: [{at - 1}, {at}, {at + 1}], y: [0, {rate}, 0]}}}}\n"
        for what, at, rate in acts
    )
    text = scenario(n, dims).text.replace("division: 7e-4 /min", "division: 0 /min")
    text = text.replace("apoptosis: 5e-5 /min", "apoptosis: 0 /min, lysis: 0 /min, clearance: 0 /min")
    ready = Simulation(plan(Scenario.parse(f"{text}couplings:\n{pulses}", allow_outside=True)))
    ready.populate()
    seconds, cells = [], []
    for _, length in ready.blocks(0.0, max(_WAVES.values()) + _STEP):
        start = time.perf_counter()
        ready.step(length)
        seconds.append(time.perf_counter() - start)
        cells.append(len(ready.state))
    assert 1.4 * n < cells[-3] < 1.6 * n and 0.45 * cells[-3] < cells[-1] < 0.55 * cells[-3], cells
    for what, at in _WAVES.items():
        k = round(at / _STEP) - 1
        yield what, seconds[k], seconds[k + 1], min(seconds[k - 2 : k])


def bytes_per_cell(n: int, dims: int, stored: bool) -> float:
    """By how much memory in use grows at most while n cells and one field are laid out and advanced by two steps.

    Stored: it is a whole run, with a frame and a checkpoint at both ends and its splitting error measured.

    In a process of its own, which first runs a few cells: what is loaded and compiled once is not the cells'. Pages
    that were asked for and never touched take no memory and do not count.
    """
    words = [sys.executable, __file__, str(n), str(dims), "stored" if stored else "stepped"]
    return float(subprocess.run(words, check=True, capture_output=True, text=True).stdout) / n


def _growth(n: int, dims: int, stored: bool) -> int:
    """Bytes, see `bytes_per_cell`."""
    most, large = [], Grid((0.0, 0.0, 0.0), 20.0, (36, 36, 36))
    # a field of this size, and no smaller one, is swept line by line, by code that brings a library of its own
    DiffusionSolver(large, 1e5).step(np.zeros(large.shape), 1.0)
    with tempfile.TemporaryDirectory() as folder:
        for count in (2_000, n):
            time = f"stop: {2 * _STEP} min, save_every: {2 * _STEP} min"
            if stored:
                simulate(plan(scenario(count, dims, time)), Path(folder) / f"{count}.zarr")
            else:
                ready = simulation(count, dims)
                for _ in range(2):
                    ready.step(_STEP)
            most.append(_most_in_use())
    return most[1] - most[0]


def _most_in_use() -> int:
    """Bytes that this process has had in use at most."""
    import resource

    status = Path("/proc/self/status")
    if status.exists():  # what getrusage says on Linux begins with what the parent had
        (line,) = (w for w in status.read_text().splitlines() if w.startswith("VmHWM:"))
        return 1024 * int(line.split()[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def by_layer(n: int) -> Iterator[tuple[str, float]]:
    """What was switched on last and the seconds for a simulated hour of n cells in two dimensions."""
    if not _BIOMODELS.is_file():
        print(f"skipped the layers: no {_BIOMODELS.name}", file=sys.stderr)
        return
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(_BIOMODELS) as archive:
            archive.extractall(folder, filter="data")
        model = Path(folder) / "biomodels" / f"BIOMD{9:010d}.xml"
        for layers, name in enumerate(LAYERS):
            yield name, hour(n, 2, 1 if layers else 5, model, layers)


if __name__ == "__main__":
    print(_growth(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "stored"))
