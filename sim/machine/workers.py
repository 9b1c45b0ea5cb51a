"""Many jobs on the processes of this machine, or of a Dask scheduler: results as they come, a stop that waits for none.

with pool("local", 4) as workers:
    for name, result in workers.run(function, orders):    # orders: (name, argument), taken as workers become free
        ...
    if interrupts.requested(): ...                     # the loop ends at a signal, and running jobs are killed
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import queue
import signal
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from sim.errors import Interrupted, ScenarioError, StoreError, escaped
from sim.machine import interrupts

if TYPE_CHECKING:
    from distributed import Client, Future, LocalCluster

_log = logging.getLogger("cellweave")
#: a job whose worker dies is given to another one so often
RETRIES = 2
#: seconds between two looks at the signals
_PATIENCE = 0.25
#: seconds for the processes of this machine to come, and for a scheduler elsewhere to answer
_START, _ANSWER = 60, 5
#: jobs that wait at the scheduler for each worker, and seconds between two looks at how many there are
_AHEAD, _COUNT_EVERY = 4, 5.0


_LEFT = "ignore:resource_tracker:UserWarning"


class Workers:
    """Runs jobs; made by `pool`."""

    def __init__(self, client: Client, cluster: Any):
        self._client = client
        self._cluster = cluster
        self._done: queue.Queue[tuple[str, Future]] = queue.Queue()
        self._pending: dict[str, Future] = {}
        self._room, self._counted = 0, -float("inf")
        # others may use the same scheduler, with names like ours
        self._mark = uuid.uuid4().hex

    def run(
        self, function: Callable[[Any], dict[str, Any]], orders: Iterable[tuple[str, Any]]
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """Names and what `function` gave, in the order in which they come.

        A job that fails, or kills its workers, comes as {"status": "failed", "log": why}. Where a signal asks to
        stop, the iteration ends at once.
        """
        waiting = iter(orders)
        while True:
            free = max(self._most() - len(self._pending), 0)
            for name, order in itertools.islice(waiting, free):
                self._submit(name, function, order)
            if interrupts.requested():
                self.abandon()
                return
            if not self._pending:
                return
            with contextlib.suppress(queue.Empty):
                name, future = self._done.get(timeout=_PATIENCE)
                if self._pending.pop(name, None) is not None:
                    yield name, _result(future)

    def abandon(self) -> None:
        """Let go of everything that is not finished; processes of this machine are killed."""
        if self._cluster is not None:
            for nanny in self._cluster.workers.values():
                nanny.close_gracefully("stopped")  # else it starts another one
                with contextlib.suppress(ProcessLookupError, TypeError):
                    os.kill(nanny.pid, signal.SIGKILL)
        else:
            self._client.cancel(list(self._pending.values()), force=True)
        self._pending.clear()

    # ---- parts

    def _submit(self, name: str, function: Callable, order: Any) -> None:
        future = self._client.submit(
            function, order, key=f"cellweave-{self._mark}-{name}", pure=False, retries=RETRIES
        )
        self._pending[name] = future
        future.add_done_callback(lambda f, name=name: self._done.put((name, f)))

    def _most(self) -> int:
        """How many jobs may be under way; workers of a scheduler come and go."""
        now = time.monotonic()
        if now - self._counted > _COUNT_EVERY:
            self._counted = now
            threads: Any = self._client.nthreads()
            self._room = _AHEAD * max(sum(threads.values()), 1)
        return self._room


def _result(future: Future) -> dict[str, Any]:
    try:
        return future.result()
    except Exception as error:
        return {"status": "failed", "log": f"{type(error).__name__}: {error}"}


@contextlib.contextmanager
def pool(scheduler: str = "local", count: int | None = None) -> Iterator[Workers]:
    """Processes to run jobs on.

    Args:
        scheduler: `local`, or the address of a Dask scheduler (tcp://host:port) whose workers see the same files.
        count: processes of `local`; all cores by default.

    Raises:
        ScenarioError: the scheduler is none.
        StoreError: none answers at the address.
    """
    import dask
    from distributed import Client

    settings = {
        "distributed.scheduler.allowed-failures": RETRIES,
        "distributed.admin.log-format": "%(message)s",
    }
    # connections that end as workers are let go are no news, and a cluster is silent only until it closes
    for handler in logging.getLogger("distributed").handlers:
        handler.setLevel(logging.CRITICAL)
    with dask.config.set(settings):
        if scheduler != "local":
            with _client(scheduler) as client:
                if not client.nthreads():
                    _log.warning("%s has no workers yet; the runs wait for them", escaped(scheduler))
                yield Workers(client, None)
            return
        with _local(count or cores()) as cluster, Client(cluster, timeout=_START) as client:
            yield Workers(client, cluster)


def _local(count: int) -> LocalCluster:
    """Processes of this machine.

    Raises:
        Interrupted: a signal, which processes that begin hear too, ended them.
    """
    from distributed import LocalCluster

    # when a signal ends us, what tracks the workers' semaphores would tell that they are left: it removes them
    if _LEFT not in sys.warnoptions:
        sys.warnoptions.append(_LEFT)
    # Ctrl-C is for us alone: what is started while it is blocked here never hears of it
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        return LocalCluster(
            n_workers=count,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            # no page, and no port that another sweep may have
            scheduler_kwargs={"dashboard": False, "dashboard_address": "127.0.0.1:0"},
            silence_logs=logging.CRITICAL,  # in the workers
            memory_limit=0,
        )
    except RuntimeError:
        if interrupts.requested():
            said = "stopped while its workers began"
            raise Interrupted(interrupts.requested(), said, kept=interrupts.guarded()) from None
        raise
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def check_scheduler(scheduler: str) -> None:
    """Looks, before anything is computed, whether there is such a scheduler.

    Raises:
        ScenarioError: neither `local` nor an address.
        StoreError: none answers there.
    """
    if scheduler != "local":
        _client(scheduler).close()


def _client(address: str) -> Client:
    """A connection to the scheduler at `address`; raises as `check_scheduler` does."""
    said = f"--scheduler {escaped(address)}"
    if not _is_address(address):
        raise ScenarioError(f"{said}: must be local or an address like tcp://host:8786")
    from distributed import Client

    try:
        return Client(address, timeout=_ANSWER)
    except Exception as error:
        # whoever listens there may answer anything, and what its bytes are taken for is no news to the user
        why = f" ({error})" if isinstance(error, TypeError) else ""  # tls:// without certificates
        raise StoreError(f"{said}: no Dask scheduler answers there within {_ANSWER} s{why}") from None


def _is_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in ("tcp", "tls") and bool(parts.hostname) and bool(parts.port)
    except ValueError:
        return False


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))
