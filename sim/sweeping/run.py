"""Runs a sweep on Dask: members go to workers as they become free, and are kept as they finish."""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sim.build import plan
from sim.errors import Interrupted, ScenarioError, SimulationError, StoreError
from sim.machine import interrupts
from sim.machine.workers import check_scheduler, cores, pool
from sim.store.disk import require_space
from sim.store.lock import Lock
from sim.store.place import check_name
from sim.sweeping.form import Sweep
from sim.sweeping.member import Order, run_member
from sim.sweeping.parts import Parts, gathered, identity_at, identity_in, write_dataset


@dataclass(frozen=True)
class Swept:
    """How a sweep ended: its dataset, and how many members were done, failed, and done before."""

    path: Path
    done: int
    failed: dict[str, str]
    earlier: int


def sweep(
    wanted: Sweep,
    output: Path,
    *,
    scheduler: str = "local",
    workers: int | None = None,
    resume: bool = False,
    allow_outside: bool = False,
    say: Callable[[str], None] | None = None,
) -> Swept:
    """Run every member that is not finished, and write the dataset.

    The numbers do not depend on the scheduler, the number of workers, or interruptions.

    Args:
        scheduler: `local` for processes on this machine, or the address of a Dask scheduler (tcp://host:port)
            whose workers see the same files.
        workers: how many processes of `local`; all cores by default.
        resume: go on with an interrupted sweep; failed members are tried again.

    Raises:
        ScenarioError: the output exists, or the scheduler is none.
        StoreError: disk, lock, or no scheduler at the address.
        Interrupted: by a signal; finished members are kept and the dataset has them.
    """
    check_name(output)
    check_scheduler(scheduler)
    say = say or (lambda _text: None)
    if os.path.lexists(output) and not resume:
        raise ScenarioError(f"{output}: exists; use --resume, or another -o")
    folder = output.absolute().parent
    if not folder.is_dir():
        raise ScenarioError(f"{output}: {folder} is not a folder")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise StoreError(f"{folder}: is read-only")
    require_space(folder, 1 << 20)
    lock = Lock(output)
    try:
        return _locked(wanted, output, scheduler, workers, resume, allow_outside, say)
    finally:
        interrupts.guard(False)
        lock.release()


def _locked(
    wanted: Sweep,
    output: Path,
    scheduler: str,
    workers: int | None,
    resume: bool,
    allow_outside: bool,
    say: Callable[[str], None],
) -> Swept:
    begun = identity_at(output) or _identity_of_dataset(output)
    if "seed" in begun:
        wanted = wanted.begun_with(int(begun["seed"]))
    attrs = _attributes(wanted)
    parts = Parts(output, wanted, json.loads(attrs["identity"]))
    members = wanted.members()
    if os.path.lexists(output) and not parts.folder.exists():
        _require_same(output, parts.identity)
        say(f"{output} is whole; nothing is left to run")
        return Swept(output, 0, {}, len(members))
    parts.begin(resume)
    known = {m.name: parts.read(m.name) for m in members}
    waiting = [m for m in members if (known[m.name] or {}).get("status") != "done"]
    earlier = len(members) - len(waiting)
    say(f"{len(members)} runs, {earlier} of them finished before")
    failed: dict[str, str] = {}
    finished = earlier
    if waiting:
        # from the first finished member on there is something to tell of
        interrupts.guard(earlier > 0)
        file = str(Path(wanted.scenario.file).absolute())
        orders = (
            (m.name, Order(wanted.scenario.text, file, m.values, m.seed, wanted.outcomes, allow_outside))
            for m in waiting
        )
        with pool(scheduler, min(workers or cores(), len(waiting))) as crowd:
            # what the dataset is written with is loaded while the workers start: no stop waits for it
            importlib.import_module("zarr")
            for name, result in crowd.run(run_member, orders):
                parts.keep(name, result)
                interrupts.guard(True)
                if result["status"] == "failed":
                    failed[name] = result["log"].splitlines()[0] if result["log"] else "failed"
                    say(f"run {name} failed: {failed[name]}")
                else:
                    finished += 1
                say(f"{finished + len(failed)} of {len(members)} runs")
    # a signal after the last member has nothing to stop
    stopped = interrupts.requested() if finished + len(failed) < len(members) else 0
    complete = not stopped and not failed
    status = "complete" if complete else "interrupted" if stopped else "failed members"
    write_dataset(gathered(wanted, parts, {**attrs, "status": status}), output)
    if stopped:
        done = f"{finished} of {len(members)} runs finished"
        raise Interrupted(stopped, f"stopped with {done}; they are kept", kept=True)
    if complete:
        parts.remove()
    return Swept(output, finished - earlier, failed, earlier)


def _require_same(output: Path, identity: dict[str, str]) -> None:
    """A finished dataset may only be taken for the sweep that is asked for."""
    found = _identity_of_dataset(output)
    if not found:
        raise ScenarioError(f"{output}: is no sweep of cellweave")
    if found != identity:
        raise ScenarioError(f"{output}: is of another sweep; give another -o")


def _identity_of_dataset(output: Path) -> dict[str, str]:
    """What a dataset was made with; nothing where there is none."""
    try:
        return identity_in(json.loads((output / "zarr.json").read_bytes())["attributes"]["identity"])
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _attributes(wanted: Sweep) -> dict[str, Any]:
    """Provenance, and what a resumed sweep must share."""
    import hashlib

    from sim.version import made_by, versions

    planned = plan(wanted.scenario)
    identity = {
        "seed": str(wanted.scenario.seed),
        "sweep": hashlib.sha256(wanted.text.encode()).hexdigest(),
        "scenario": wanted.scenario.sha256,
        **made_by(),
        **{f"sha256 of {n}": v for n, v in planned.hashes.items()},
    }
    return {
        "title": wanted.scenario.name,
        "sweep": wanted.text,
        "scenario": wanted.scenario.text,
        "identity": json.dumps(identity),
        "versions": json.dumps(versions()),
    }


def failures(result: Swept) -> SimulationError:
    """The error that a sweep with failed members ends with."""
    lines = "; ".join(f"{n}: {why}" for n, why in list(result.failed.items())[:5])
    return SimulationError(f"{len(result.failed)} runs failed ({lines}); all others are in {result.path}")
