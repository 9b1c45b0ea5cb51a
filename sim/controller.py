"""One loop for every run: step to the next stop, do and read what is due, commit now and then."""

from __future__ import annotations

import json
import shutil
import tempfile
import time as wall
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sim.build import Plan, plan
from sim.errors import Interrupted, SimulationError
from sim.instruments import Instrument
from sim.machine import interrupts
from sim.machine.loading import loading
from sim.perturbations import Perturbation
from sim.progress import Progress, Silent

if TYPE_CHECKING:
    import numpy as np
    import xarray as xr

    from sim.scenario import Scenario
    from sim.simulation import Simulation
    from sim.trackers import Recorder

#: seconds of wall time between two commits
_COMMIT_EVERY = 2.0
#: how many times along a run the splitting error is measured
_ERROR_PROBES = 4
#: bytes of state up to which a stop is remembered, to be stored if the run fails; a larger one is stored at once
_REMEMBERED = 32 * 2**20
#: times closer than this are one stop [min]
SAME_TIME = 1e-7


@dataclass(frozen=True)
class Stop:
    """A time [min] at which something is due: perturbations first, then readings, then the saved frame."""

    time: float
    perturbations: tuple[Perturbation, ...] = ()
    instruments: tuple[Instrument, ...] = ()
    frame: bool = False
    probe: bool = False


@dataclass
class Result:
    """Where a run ended.

    Attributes:
        path: its store.
        status: complete or interrupted.
        seconds: wall time by process.
        splitting_error: largest relative error by quantity that the probes found.
    """

    path: Path
    status: str
    seconds: Mapping[str, float]
    splitting_error: Mapping[str, float] = field(default_factory=dict)


def run(
    scenario: Scenario, output: str | Path | None = None, *, resume: bool = False, force: bool = False
) -> xr.DataTree:
    """Simulate `scenario` and give its results.

    Args:
        output: the store to write (`RUN.zarr`); without one the results are kept in memory only.
        resume: go on with an interrupted run at `output`.
        force: replace a run at `output`.

    Raises:
        ScenarioError: the scenario is wrong, or the output exists.
        SimulationError: it failed numerically; what was saved before is readable.
        StoreError: disk, memory or lock.
    """
    from sim.store.reader import open_run

    if output is not None:
        if resume:
            scenario = as_begun(scenario, Path(output))
        simulate(plan(scenario), Path(output), resume=resume, force=force)
        return open_run(output)
    folder = Path(tempfile.mkdtemp(prefix="cellweave-"))
    try:
        simulate(plan(scenario), folder / "run.zarr")
        return open_run(folder / "run.zarr").load()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def as_begun(scenario: Scenario, output: Path) -> Scenario:
    """The scenario of the run at `output` that is gone on with: a seed that was drawn is not drawn again.

    Raises:
        ScenarioError: there is no run.
    """
    from sim.store.record import read_record

    if not scenario.seed_was_drawn:
        return scenario
    return scenario.begun_with(int(read_record(output).attrs["seed"]))


def simulate(
    planned: Plan,
    output: Path,
    *,
    resume: bool = False,
    force: bool = False,
    progress: Progress | None = None,
) -> Result:
    """Run a plan into the store at `output`; see `run`.

    Raises:
        Interrupted: a signal asked to stop; everything up to now is committed.
    """
    from sim.store.place import check_output
    from sim.store.writer import RunWriter
    from sim.trackers import Recorder, bytes_needed, layout_of

    check_output(output, force=force, resume=resume, needed=0 if resume else bytes_needed(planned))
    progress = progress or Silent()
    progress.phase("loading models and compiling kernels")
    with loading():
        from sim.simulation import Simulation

        simulation = Simulation(planned)
    identity = _identity(planned)
    if resume:
        writer, checkpoint = RunWriter.resume(output, expect=identity)
    else:
        writer, checkpoint = (
            RunWriter.create(
                output, layout=layout_of(planned), attrs=_attributes(planned), identity=identity, force=force
            ),
            None,
        )
    try:
        if writer.status == "complete" and checkpoint is not None:
            return Result(output, "complete", {})
        controller = _Controller(simulation, Recorder(writer, simulation), progress)
        if checkpoint is not None:
            controller.resume(checkpoint)
            checkpoint = None  # its arrays may be as large as the state, which has copies
        return controller.run(output)
    finally:
        interrupts.guard(False)
        progress.done()
        writer.close()


class _Controller:
    """The loop and what it must remember: which stop, which block, seconds spent, errors probed."""

    def __init__(self, simulation: Simulation, recorder: Recorder, progress: Progress):
        from sim.trackers import minutes_per_time_unit

        self.simulation = simulation
        self.recorder = recorder
        self.progress = progress
        self.stops = stops_of(simulation.plan)
        self.position = {"stop": 0, "block": 0}
        self.errors: dict[str, float] = {}
        self._per_unit = minutes_per_time_unit(simulation.plan)
        self._last_commit = -float("inf")
        self._resumed = False
        self._saved: tuple[Mapping[str, np.ndarray], Mapping[str, Any]] | None = None

    def resume(self, checkpoint) -> None:
        self.simulation.state.restore(checkpoint.arrays)
        self.recorder.remember(checkpoint.meta["recorder"])
        self.position = dict(checkpoint.meta["position"])
        self.errors = dict(checkpoint.meta["errors"])
        self.simulation.schedule.seconds.update(checkpoint.meta["seconds"])
        self._saved = (checkpoint.arrays, checkpoint.meta) if _is_small(checkpoint.arrays) else None
        self._resumed = True

    def run(self, output: Path) -> Result:
        simulation, state = self.simulation, self.simulation.state
        if not self._resumed:
            simulation.populate()
        interrupts.guard(self._resumed)
        stop_time = self.stops[-1].time
        while self.position["stop"] < len(self.stops):
            index = self.position["stop"]
            stop = self.stops[index]
            if index:
                self._step_to(self.stops[index - 1].time, stop)
                state.time = stop.time
            self._attend(stop)
            self.position = {"stop": index + 1, "block": 0}
            self.progress.update(state.time / self._per_unit, stop_time / self._per_unit, len(state))
            self._commit_if_due()
        self._commit("complete")
        return Result(output, "complete", dict(simulation.schedule.seconds), self.errors)

    # ---- parts

    def _step_to(self, start: float, stop: Stop) -> None:
        blocks = self.simulation.blocks(start, stop.time)
        for number, (_, length) in enumerate(blocks):
            if number < self.position["block"]:
                continue
            try:
                if stop.probe and number == 0:
                    self._probe(length)
                self.simulation.step(length)
            except SimulationError:
                self._keep_what_is_saved()
                raise
            self.position["block"] = number + 1
            now = self.simulation.state.time / self._per_unit
            self.progress.update(now, self.stops[-1].time / self._per_unit, len(self.simulation.state))
            self._commit_if_due()

    def _attend(self, stop: Stop) -> None:
        simulation = self.simulation
        for p in stop.perturbations:
            reached = p.apply(simulation.state, simulation.actors, simulation.streams)
            self.recorder.event(p.text, p.verb, p.target, reached)
        self.recorder.instruments(stop.instruments)
        if stop.frame:
            self.recorder.frame()
        self._remember()

    def _remember(self) -> None:
        """See that the run can be taken back to this stop."""
        content, meta = self.simulation.state.content(), self._meta(stop_done=True)
        self._saved = None
        if _is_small(content):
            self._saved = ({name: values.copy() for name, values in content.items()}, meta)
        else:
            self._store(content, meta, "running")

    def _probe(self, length: float) -> None:
        for name, error in self.simulation.splitting_error(length).items():
            self.errors[name] = max(error, self.errors.get(name, 0.0))

    def _meta(self, stop_done: bool = False) -> dict[str, Any]:
        position = dict(self.position)
        if stop_done:
            position = {"stop": position["stop"] + 1, "block": 0}
        return {
            "position": position,
            "recorder": self.recorder.memory(),
            "errors": dict(self.errors),
            "seconds": dict(self.simulation.schedule.seconds),
        }

    def _commit_if_due(self) -> None:
        asked = interrupts.requested()
        if asked:
            self._commit("interrupted")
            at = self.simulation.state.time / self._per_unit
            raise Interrupted(asked, f"stopped at t = {at:g} after a checkpoint", kept=True)
        if wall.monotonic() - self._last_commit >= _COMMIT_EVERY:
            self._commit("running")

    def _commit(self, status: str) -> None:
        self._store(self.simulation.state.content(), self._meta(), status)

    def _store(self, content: Mapping[str, np.ndarray], meta: Mapping[str, Any], status: str) -> None:
        self.recorder.writer.commit(content, meta, status=status, attrs=self._findings())
        self._last_commit = wall.monotonic()
        # from the first commit on there is something to lose
        interrupts.guard(True)

    def _keep_what_is_saved(self) -> None:
        """After a failure: everything up to the last stop becomes readable, and a resume starts there.

        Where the stop was stored and not remembered, it starts at the last commit, which is that stop or a step after.
        """
        if self._saved is None:
            self.recorder.writer.stop("interrupted")
        else:
            arrays, meta = self._saved
            self.recorder.writer.commit(arrays, meta, status="interrupted", attrs=self._findings())

    def _findings(self) -> dict[str, str]:
        return {
            "splitting_error": json.dumps(self.errors),
            "cleared_amounts": json.dumps({k: v.tolist() for k, v in self.simulation.state.cleared.items()}),
            "seconds_by_process": json.dumps(
                {k: round(v, 3) for k, v in self.simulation.schedule.seconds.items()}
            ),
        }


def _is_small(content: Mapping[str, np.ndarray]) -> bool:
    return sum(values.nbytes for values in content.values()) <= _REMEMBERED


def stops_of(planned: Plan) -> list[Stop]:
    """All times at which something is due, in order; 0 and the end among them."""
    time = planned.scenario.time
    stop, every = float(time.stop), float(time.save_every)
    frames = [every * k for k in range(round(stop / every) + 1)]
    due: list[tuple[float, str, Any]] = [(t, "frame", None) for t in frames]
    due += [(t, "perturbation", p) for p in planned.perturbations for t in p.times if t <= stop + SAME_TIME]
    for i in planned.instruments:
        due += [(i.every * k, "instrument", i) for k in range(int(stop / i.every + SAME_TIME) + 1)]
    probed = {round(len(frames) * (k + 1) / (_ERROR_PROBES + 1)) for k in range(_ERROR_PROBES)}
    groups: list[tuple[float, list]] = []
    for t, kind, what in sorted(due, key=lambda d: d[0]):
        if not groups or t - groups[-1][0] > SAME_TIME:
            groups.append((t, []))
        groups[-1][1].append((kind, what))
    return [
        Stop(
            time=t,
            perturbations=tuple(sorted((w for k, w in items if k == "perturbation"), key=lambda p: p.index)),
            instruments=tuple(w for k, w in items if k == "instrument"),
            frame=any(k == "frame" for k, _ in items),
            probe=any(k == "frame" for k, _ in items) and round(t / every) in probed,
        )
        for t, items in groups
    ]


def _identity(planned: Plan) -> dict[str, str]:
    """What a resumed run must share with the one it goes on from."""
    from sim.version import made_by

    hashes = {f"sha256 of {name}": value for name, value in planned.hashes.items()}
    return {"scenario_sha256": planned.scenario.sha256, **made_by(), **hashes}


def _attributes(planned: Plan) -> dict[str, Any]:
    """Provenance and what the report draws."""
    from sim.version import versions

    scenario = planned.scenario
    return {
        "title": scenario.name,
        "scenario": scenario.text,
        "scenario_file": Path(scenario.file).name,
        "seed": str(scenario.seed),
        "versions": json.dumps(versions()),
        "hashes": json.dumps(planned.hashes),
        "wiring": json.dumps(planned.wiring),
        "notes": json.dumps(planned.notes),
        "measurements": json.dumps({"series": planned.measured}),
        "splitting": scenario.time.splitting,
        "coupling_step_min": planned.step,
    }
