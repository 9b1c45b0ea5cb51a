"""What a run, or many, tell on stderr while they work: simulated time, cells, runs, time left."""

from __future__ import annotations

import sys
import time
from typing import Protocol

#: seconds between two lines where stderr is no terminal
_QUIET_SECONDS = 10.0


class Progress(Protocol):
    """Hears of a run's progress. Times in the scenario's unit."""

    def phase(self, text: str) -> None:
        """A stage before or after the stepping, such as compiling."""

    def update(self, now: float, stop: float, cells: int) -> None:
        """The run has come to `now` of `stop` with so many cells."""

    def count(self, done: int, total: int, what: str) -> None:
        """Of so many runs so many are done; `what` is next."""

    def note(self, text: str) -> None:
        """Something to keep in sight."""

    def done(self) -> None:
        """The stepping is over."""


class Silent:
    """Says nothing."""

    def phase(self, text: str) -> None: ...

    def update(self, now: float, stop: float, cells: int) -> None: ...

    def count(self, done: int, total: int, what: str) -> None: ...

    def note(self, text: str) -> None: ...

    def done(self) -> None: ...


class Lines:
    """A line now and then, for logs."""

    def __init__(self, unit: str):
        self.unit = unit
        self._began: float | None = None
        self._start = 0.0
        self._next = 0.0

    def phase(self, text: str) -> None:
        print(f"cellweave: {text}", file=sys.stderr, flush=True)

    def update(self, now: float, stop: float, cells: int) -> None:
        left = self._left(now, stop)
        if left is not None:
            self.phase(f"{now:g} of {stop:g} {self.unit}, {cells} cells{left}")

    def count(self, done: int, total: int, what: str) -> None:
        left = self._left(done, total)
        if left is not None:
            self.phase(f"{done} of {total} runs{left}{f'; now {what}' if what else ''}")

    def _left(self, done: float, total: float) -> str | None:
        """How long it will still take, in words; None while it is too early for another line."""
        clock = time.monotonic()
        if self._began is None or done < self._start:
            self._began, self._start = clock, done
        if clock < self._next and done < total:
            return None
        self._next = clock + _QUIET_SECONDS
        return remaining(clock - self._began, done - self._start, total - done)

    def note(self, text: str) -> None:
        self.phase(text)

    def done(self) -> None: ...


class Bar:
    """A live bar on a terminal (rich)."""

    def __init__(self, unit: str):
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        self.unit = unit
        self._bar = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[where]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self._bar.add_task("starting", total=None, where="")
        self._bar.start()

    def phase(self, text: str) -> None:
        self._bar.update(self._task, description=text)

    def update(self, now: float, stop: float, cells: int) -> None:
        where = f"{now:g} of {stop:g} {self.unit}, {cells} cells"
        self._bar.update(self._task, description="simulating", completed=now, total=stop, where=where)

    def count(self, done: int, total: int, what: str) -> None:
        self._bar.update(
            self._task,
            description=what or "done",
            completed=done,
            total=total,
            where=f"{done} of {total} runs",
        )

    def note(self, text: str) -> None:
        self._bar.console.print(f"cellweave: {text}", markup=False, highlight=False)

    def done(self) -> None:
        self._bar.stop()


def remaining(spent: float, advanced: float, left: float) -> str:
    """`, about 3 min left`, or nothing while it cannot be told."""
    if advanced <= 0 or left <= 0:
        return ""
    seconds = spent / advanced * left
    return f", about {seconds / 60:.0f} min left" if seconds >= 90 else f", about {seconds:.0f} s left"


def shown(unit: str, quiet: bool) -> Progress:
    """The progress that suits this stderr."""
    if quiet:
        return Silent()
    return Bar(unit) if sys.stderr.isatty() else Lines(unit)
