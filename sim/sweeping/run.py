"""Runs a sweep on Dask: members go to workers as they become free, and are kept as they finish."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sim import interrupts
from sim.build import plan
from sim.errors import Interrupted, ScenarioError, SimulationError, StoreError, escaped
from sim.store.disk import require_space
from sim.store.lock import Lock
from sim.sweeping.form import Sweep
from sim.sweeping.member import Order, run_member
from sim.sweeping.parts import Parts, gathered, write_dataset

if TYPE_CHECKING:
    from distributed import Client

#: a member whose worker dies is given to another one so often
RETRIES = 2
#: seconds between two looks at the signals
_PATIENCE = 0.5
#: seconds for workers to come
_START = 60


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
    if scheduler != "local" and not scheduler.startswith(("tcp://", "tls://")):
        raise ScenarioError(
            f"--scheduler {escaped(scheduler)}: must be local or an address like tcp://host:8786"
        )
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
    stopped = 0
    interrupts.guard(True)
    if waiting:
        orders = {
            m.name: Order(
                wanted.scenario.text,
                str(Path(wanted.scenario.file).absolute()),
                m.values,
                m.seed,
                wanted.outcomes,
                allow_outside,
            )
            for m in waiting
        }
        with _client(scheduler, min(workers or os.cpu_count() or 1, len(waiting))) as client:
            for name, result in _results(client, orders):
                if name is None:
                    stopped = interrupts.requested()
                    break
                parts.keep(name, result)
                if result["status"] == "failed":
                    failed[name] = result["log"].splitlines()[0] if result["log"] else "failed"
                    say(f"run {name} failed: {failed[name]}")
                else:
                    finished += 1
                say(f"{finished + len(failed)} of {len(members)} runs")
    complete = not stopped and not failed
    status = "complete" if complete else "interrupted" if stopped else "failed members"
    write_dataset(gathered(wanted, parts, {**attrs, "status": status}), output)
    if stopped:
        raise Interrupted(stopped, f"stopped with {finished} of {len(members)} runs finished; they are kept")
    if complete:
        parts.remove()
    return Swept(output, finished - earlier, failed, earlier)


def _results(client: Client, orders: dict[str, Order]) -> Iterator[tuple[str | None, dict[str, Any]]]:
    """Names and results as they come; (None, {}) where a signal asks to stop."""
    from distributed import TimeoutError as NothingYet
    from distributed import as_completed

    futures = {
        name: client.submit(run_member, order, key=f"member-{name}", pure=False, retries=RETRIES)
        for name, order in orders.items()
    }
    names = {f.key: n for n, f in futures.items()}
    left = set(names)
    while left:
        if interrupts.requested():
            client.cancel(list(futures.values()), force=True)
            yield None, {}
            return
        batch = [f for n, f in futures.items() if f.key in left]
        waiting = as_completed(batch, timeout=_PATIENCE)
        with contextlib.suppress(NothingYet, TimeoutError):
            for future in waiting:
                left.discard(future.key)
                yield names[future.key], _result(future)
                if interrupts.requested():
                    break


def _result(future: Any) -> dict[str, Any]:
    """What a worker gave back; a member that killed its workers has failed."""
    try:
        return future.result()
    except Exception as error:
        return {"status": "failed", "log": f"{type(error).__name__}: {error}"}


@contextlib.contextmanager
def _client(scheduler: str, workers: int) -> Iterator[Client]:
    import logging

    import dask
    from distributed import Client, LocalCluster

    settings = {
        "distributed.scheduler.allowed-failures": RETRIES,
        "distributed.admin.log-format": "%(message)s",
    }
    with dask.config.set(settings):
        if scheduler != "local":
            try:
                client = Client(scheduler, timeout=_START)
            except (OSError, TimeoutError) as error:
                raise StoreError(
                    f"--scheduler {escaped(scheduler)}: no Dask scheduler answers ({error})"
                ) from None
            with client:
                yield client
            return
        with (
            LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                processes=True,
                dashboard_address=None,  # pyright: ignore[reportArgumentType]
                host="127.0.0.1",
                silence_logs=logging.CRITICAL,
                memory_limit=0,
            ) as cluster,
            Client(cluster, timeout=_START) as client,
        ):
            yield client


def _require_same(output: Path, identity: dict[str, str]) -> None:
    """A finished dataset may only be taken for the sweep that is asked for."""
    import xarray as xr

    try:
        with xr.open_zarr(output) as there:
            found = json.loads(there.attrs.get("identity", "{}"))
    except (OSError, ValueError, KeyError) as error:
        raise ScenarioError(f"{output}: is no sweep of cellweave ({type(error).__name__})") from None
    if found != identity:
        raise ScenarioError(f"{output}: is of another sweep; give another -o")


def _attributes(wanted: Sweep) -> dict[str, Any]:
    """Provenance, and what a resumed sweep must share."""
    import hashlib

    from sim.version import VERSION, versions

    planned = plan(wanted.scenario)
    identity = {
        "sweep": hashlib.sha256(wanted.text.encode()).hexdigest(),
        "scenario": wanted.scenario.sha256,
        "version": VERSION,
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
