"""All runs that an explanation needs, each done once: seed by seed, here or on workers, kept as they finish."""

from __future__ import annotations

import itertools
import time as wall
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from sim.errors import Interrupted, SimulationError
from sim.interpret.forks import Forks, can_fork
from sim.interpret.journal import Journal
from sim.interpret.observe import Fork, Watcher
from sim.interpret.variants import INTACT, Bench, Order, Variant, run_order
from sim.machine import interrupts
from sim.progress import Progress

Job = tuple[Variant, int]

#: seconds of work below which no workers are called: they need some to come
_WORTH = 30.0
#: bytes of a state that is still sent to a worker to begin from
_MOST_SENT = 32 << 20


class Runs:
    """Outcomes by variant and seed.

    Args:
        workers: how many processes; None: as many as there are cores, once the first run shows that it is worth it.
        scheduler: `local`, or the address of a Dask scheduler.
    """

    def __init__(
        self,
        bench: Bench,
        progress: Progress,
        workers: int | None = 1,
        scheduler: str = "local",
        journal: Journal | None = None,
    ):
        self.bench = bench
        self.watchers: list[Watcher] = []
        self._progress = progress
        self._workers, self._scheduler, self._journal = workers, scheduler, journal
        self._values: dict[Job, float] = {}
        self._forks: dict[Job, Fork | None] = {}
        self._seconds = 0.0

    def __getitem__(self, job: Job) -> float:
        """The outcome of one run, which is done if it was not yet."""
        self.fulfil([job])
        return self._values[job]

    def fulfil(self, jobs: Sequence[Job], seed_done: Callable[[int], None] | None = None) -> None:
        """Do what of `jobs` was not done yet, in the order of their seeds.

        Args:
            seed_done: hears how many seeds are complete.

        Raises:
            SimulationError: a run failed; names the variant and the seed.
            Interrupted: a signal asked to stop; what is finished is kept where there is a journal.
        """
        wanted = [j for j in dict.fromkeys(jobs) if not self._known(j)]
        if not wanted:
            return
        tally = _Tally(list(dict.fromkeys(jobs)), self._values, seed_done)
        self._done, self._total = 0, len(wanted)
        left = self._orders(wanted)
        # the intact run comes before the first that is not, and says how long one takes
        first = next(left, None)
        if first is not None and self._worth(len(wanted)):
            self._elsewhere(itertools.chain([first], left), tally)
        elif first is not None:
            for job in itertools.chain([first], left):
                self._tell(job)
                self._keep(job, self._here(job))
                tally.look()
        tally.look()

    # ---- one after another

    def _orders(self, wanted: list[Job]) -> Iterator[Job]:
        """What is to be run beside the intact runs, which are done on the way: they are watched, and forked."""
        for seed in dict.fromkeys(seed for _, seed in wanted):
            variants = [v for v, s in wanted if s == seed and v != INTACT]
            if (INTACT, seed) in wanted:
                self._intact(seed, [v for v in variants if can_fork(v, self.bench.plan)])
            for variant in variants:
                if self._forks.get((variant, seed), ...) is None:
                    self._tell((variant, seed))
                    self._keep((variant, seed), self._values[INTACT, seed])
                else:
                    yield variant, seed

    def _intact(self, seed: int, variants: list[Variant]) -> None:
        forks = Forks(variants, self.bench.outcome)
        self._tell((INTACT, seed))
        _ = self.bench.simulation
        began = wall.monotonic()
        value = self.bench.run(INTACT, seed, [*self.watchers, *([forks] if variants else [])])
        self._seconds = wall.monotonic() - began
        self._keep((INTACT, seed), value)
        self._forks |= {(v, seed): f for v, f in forks.found.items()}

    def _here(self, job: Job) -> float:
        variant, seed = job
        return self.bench.run(variant, seed, fork=self._forks.pop(job, None))

    # ---- on workers

    def _worth(self, count: int) -> bool:
        if self._scheduler != "local":
            return True
        if self._workers is not None:
            return self._workers > 1 and count > 1
        from sim.machine.workers import cores

        return cores() > 1 and self._seconds * count > _WORTH

    def _elsewhere(self, jobs: Iterator[Job], tally: _Tally) -> None:
        from sim.machine.workers import pool

        self._progress.phase("starting workers")
        sent: dict[str, Job] = {}

        def orders() -> Iterator[tuple[str, Order]]:
            for number, job in enumerate(jobs):
                sent[str(number)] = job
                yield str(number), self._order(job)

        with pool(self._scheduler, self._workers) as crowd:
            try:
                for name, result in crowd.run(run_order, orders()):
                    job = sent.pop(name)
                    if result["status"] == "failed":
                        told = f"{job[0].name}, seed {job[1]}: "
                        raise SimulationError(told + result["log"].removeprefix(told))
                    self._tell(job)
                    self._keep(job, result["outcome"])
                    tally.look()
            except (Interrupted, SimulationError):
                crowd.abandon()
                raise
        if interrupts.requested():
            raise Interrupted(interrupts.requested())

    def _order(self, job: Job) -> Order:
        scenario = self.bench.scenario
        fork = self._forks.pop(job, None)
        if fork is not None and sum(a.nbytes for a in fork.arrays.values()) > _MOST_SENT:
            fork = None
        return Order(
            scenario.text,
            str(Path(scenario.file).absolute()),
            self.bench.outcome.text,
            *job,
            fork,
            scenario._allow_outside,
        )

    # ---- remembering

    def _known(self, job: Job) -> bool:
        if job in self._values:
            return True
        # who watches the intact run needs to see it
        if self._journal is None or (job[0] == INTACT and self.watchers):
            return False
        kept = self._journal.get(*job)
        if kept is not None:
            self._values[job] = kept
        return kept is not None

    def _keep(self, job: Job, outcome: float) -> None:
        self._values[job] = outcome
        self._done += 1
        if self._journal is not None:
            self._journal.keep(*job, outcome)
            # from the first run that is kept on a stop may say how to go on
            interrupts.guard(True)

    # ---- telling

    def _tell(self, job: Job) -> None:
        variant, seed = job
        self._progress.count(self._done, self._total, f"seed {seed}: {variant.name}")


class _Tally:
    """Says when all that is asked of a seed is there."""

    def __init__(self, jobs: list[Job], values: dict[Job, float], say: Callable[[int], None] | None):
        self._by_seed = {s: [j for j in jobs if j[1] == s] for s in dict.fromkeys(s for _, s in jobs)}
        self._values, self._say, self._told = values, say, 0

    def look(self) -> None:
        if self._say is None:
            return
        complete = 0
        for jobs in self._by_seed.values():
            if not all(j in self._values for j in jobs):
                break
            complete += 1
        if complete > self._told:
            self._told = complete
            self._say(complete)
