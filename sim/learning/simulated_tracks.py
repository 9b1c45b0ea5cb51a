"""Tracks of a tissue that the simulator runs, for a law to be learned from: a training file's section `simulated`.

    simulated:
      scenario: ../delta_notch.yaml
      set: {couplings: [...], time.stop: 20 h}      # as --set; optional
      seeds: [1, 2]                                 # a tissue each
      held_out: {set: {...}, seeds: [9]}            # judged on, never learned from; set comes on top; optional

A frame is taken at every saved time. Columns are what `quantities` and `truth` name.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from neural.errors import TrainingError
from neural.progress import Progress
from sim.errors import ScenarioError
from sim.scenario.units import UnitError

if TYPE_CHECKING:
    from sim.simulation import Simulation


def train_on_simulated(
    path: str | os.PathLike, output: str | os.PathLike | None, resume: bool, progress: Progress | None
) -> Path:
    """Simulate the tissues that the training file asks for and learn from them; the path of the weights.

    Raises:
        TrainingError: the file is wrong, or its scenario; nothing was written.
    """
    from neural.training import load_training, train

    job = load_training(path)
    asked = job.spec["simulated"]
    scenario, values = job.file.parent / asked["scenario"], asked.get("set", {})
    columns = dict(job.spec["quantities"])
    truth = {q: f"{job.spec.get('unit', '1')}/min" for q in job.spec.get("truth", {}).values()}
    parts = {"data": (values, asked["seeds"])}
    if "held_out" in asked:
        parts["held_out"] = ({**values, **asked["held_out"].get("set", {})}, asked["held_out"]["seeds"])
    with tempfile.TemporaryDirectory() as folder:
        tables = {}
        for key, (given, seeds) in parts.items():
            try:
                arrays = tracks_of_runs(scenario, given, seeds, columns, truth, progress)
            except ScenarioError as error:
                first = error.problems[0]
                said = f"{scenario.name}: {first.key or 'the scenario'}: {first.message}"
                raise TrainingError(path, [(None, "simulated", said)]) from None
            tables[key] = Path(folder) / f"{key}.npz"
            np.savez(tables[key], **cast(Any, arrays))
        return train(path, output, resume, progress, tables=tables)


def tracks_of_runs(
    file: Path,
    values: Mapping[str, Any],
    seeds: Sequence[int],
    columns: Mapping[str, str],
    truth: Mapping[str, str],
    progress: Progress | None,
) -> dict[str, np.ndarray]:
    """Columns `tissue`, `cell`, `type`, `time` [min], `x`, `y`, `z` [um], those of `columns` (name -> quantity), and
    the quantities of `truth` in the units it gives."""
    from sim.build import plan
    from sim.scenario import Scenario
    from sim.simulation import Simulation

    given = as_overrides(values)
    found: dict[str, list[np.ndarray]] = {}
    for number, seed in enumerate(seeds):
        scenario = Scenario.load(file, overrides=given, seed=int(seed))
        planned = plan(scenario)
        units = {q.name: q.unit for p in planned.processes for q in p.quantities}
        for name in (*columns.values(), *truth):
            if name not in units:
                from sim.spelling import did_you_mean

                raise ScenarioError(scenario.problem((), f"no quantity '{name}'{did_you_mean(name, units)}"))
        factors = {}
        for name, unit in truth.items():
            factor = _factor(units[name], unit)
            if factor is None:
                raise ScenarioError(scenario.problem((), f"'{name}' is in {units[name]}, which is no {unit}"))
            factors[name] = factor
        stop, every = float(scenario.time.stop), float(scenario.time.save_every)
        simulation = Simulation(planned)
        simulation.populate()
        frames = round(stop / every)
        for k in range(frames + 1):
            if k:
                for _, length in simulation.blocks((k - 1) * every, k * every):
                    simulation.step(length)
            for name, part in _frame(simulation, columns, factors, number).items():
                found.setdefault(name, []).append(part)
        if progress is not None:
            progress(number + 1, len(seeds), f"tissue of seed {seed} simulated")
    return {name: np.concatenate(parts) for name, parts in found.items()}


def as_overrides(values: Mapping[str, Any]) -> dict[str, str]:
    """What a training file sets in a scenario, as text, as `--set` takes it."""
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in values.items()}


def _frame(
    simulation: Simulation, columns: Mapping[str, str], factors: Mapping[str, float], number: int
) -> dict[str, np.ndarray]:
    state, signals = simulation.state, simulation.signals
    n, places = len(state), state["cell.position"]
    taken = {name: np.array(signals[quantity], float) for name, quantity in columns.items()}
    taken |= {quantity: factor * signals[quantity] for quantity, factor in factors.items()}
    return {
        "type": np.array(simulation.plan.type_names)[state["cell.type"]],
        "tissue": np.full(n, number), "cell": np.array(state["cell.id"]), "time": np.full(n, state.time),
        "x": places[:, 0].copy(), "y": places[:, 1].copy(), "z": places[:, 2].copy(), **taken,
    }  # fmt: skip


def _factor(have: str, want: str) -> float | None:
    """What turns a quantity in unit `have` into one in `want`, 1 where either has no unit that is known; None where
    nothing does."""
    from sim.planning.model_units import any_unit

    try:
        given, wanted = any_unit(have), any_unit(want)
    except UnitError:
        return 1.0
    return float(given.factor / wanted.factor) if given.exponents == wanted.exponents else None
