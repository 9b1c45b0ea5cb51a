"""The one tree of errors that a user can meet, and the one line each becomes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

_LONGEST_VALUE = 80
_MOST_LINES = 20


def printable(text: str) -> str:
    """`text` with control, ANSI and bidi characters and line ends written as escapes."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def escaped(text: object, limit: int = _LONGEST_VALUE) -> str:
    """`text` made safe for a terminal and at most `limit` characters long."""
    safe = printable(str(text)[: limit + 1])
    return safe if len(safe) <= limit else safe[: limit - 1] + "…"


@dataclass(frozen=True)
class Problem:
    """One fault of an input file.

    Attributes:
        file: path as the user gave it.
        line: 1-based, or None where a file has none.
        key: dotted key path, for example "space.fields.oxygen.diffusion".
        message: what is wrong, the value got, and the fix.
    """

    file: str
    message: str
    line: int | None = None
    key: str | None = None

    def __str__(self) -> str:
        where = f"{escaped(self.file, 200)}:{self.line}" if self.line else escaped(self.file, 200)
        key = f"{escaped(self.key, 200)}: " if self.key else ""
        return f"{where}: {key}{self.message}"


class CellweaveError(Exception):
    """Root of the tree. `exit_code` is what the command line ends with."""

    exit_code = 2

    def __init__(self, problems: Problem | Iterable[Problem] | str):
        if isinstance(problems, str):
            self.problems: list[Problem] = []
            self.text = problems
        else:
            self.problems = [problems] if isinstance(problems, Problem) else list(problems)
            self.text = "\n".join(map(str, self.problems))
        super().__init__(self.text)

    def lines(self) -> list[str]:
        """The lines to print, each starting with `cellweave: error: `, at most 20."""
        texts = [str(p) for p in self.problems] or [self.text]
        if len(texts) > _MOST_LINES:
            texts = [
                *texts[: _MOST_LINES - 1],
                f"{escaped(self.problems[0].file, 200)}: and {len(texts) - _MOST_LINES + 1} more",
            ]
        return [f"cellweave: error: {printable(t)}" for t in texts]


class ScenarioError(CellweaveError):
    """The scenario (or another input file) is wrong. Nothing was run, nothing written."""


class CouplingError(ScenarioError):
    """The wiring is wrong: no owner, two owners, a wrong dimension or a cycle."""


class SimulationError(CellweaveError):
    """The simulation failed numerically; names cell, species and time."""

    exit_code = 3


class StoreError(CellweaveError):
    """Disk, memory or lock."""

    exit_code = 4


class Interrupted(CellweaveError):
    """Stopped by a signal. `kept` says that there is something on disk to go on from."""

    def __init__(self, signal_number: int, text: str = "stopped", *, kept: bool = False):
        super().__init__(text)
        self.exit_code = 128 + signal_number
        self.kept = kept
