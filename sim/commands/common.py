"""What the commands share: the application, its options, and how a scenario is opened."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from sim.errors import CellweaveError, ScenarioError, escaped

app = typer.Typer(
    name="cellweave",
    help="Hybrid mechanistic-neural simulation of cells in tissue.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

ScenarioFile = Annotated[
    str, typer.Argument(metavar="SCENARIO", help="A scenario file, or the name of a shipped one.")
]
RunStore = Annotated[Path, typer.Argument(metavar="RUN.zarr", help="A run.")]
Sets = Annotated[
    list[str],
    typer.Option("--set", metavar="KEY=VALUE", help="Replace a value of the scenario, e.g. time.stop=12h."),
]
Seed = Annotated[int | None, typer.Option(help="Replace the scenario's seed.")]
Outside = Annotated[
    bool, typer.Option("--allow-outside", help="Let the scenario name files outside its folder.")
]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress, no summary.")]


def load(scenario: str, sets: list[str], seed: int | None, allow_outside: bool):
    """The scenario of a file or of a shipped name, its values replaced as asked."""
    from sim.library import find
    from sim.scenario import Scenario

    return Scenario.load(
        find(scenario), overrides=assignments(sets, "--set"), seed=seed, allow_outside=allow_outside
    )


def load_or_open(scenario: str, sets: list[str], allow_outside: bool):
    """A scenario, or that of a run."""
    from sim.scenario import Scenario

    if not (Path(scenario) / "zarr.json").exists():
        return load(scenario, sets, None, allow_outside)
    from sim.store.record import read_record

    text = str(read_record(Path(scenario)).attrs["scenario"])
    folder = Path(scenario).absolute().parent
    return Scenario.parse(
        text,
        folder / f"{Path(scenario).stem}.yaml",
        overrides=assignments(sets, "--set"),
        allow_outside=allow_outside,
    )


def assignments(texts: list[str], option: str) -> dict[str, str]:
    """`KEY=VALUE` of a repeatable option."""
    pairs = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise ScenarioError(
                f"{option} {escaped(text)}: write it as KEY=VALUE, for example {option} time.stop='12 h'"
            )
        pairs[key.strip()] = value.strip()
    return pairs


def again() -> str:
    """The command, as a shell reads it, that goes on where this one was stopped."""
    command, *rest = [word for word in sys.argv[1:] if word not in ("--force", "--resume")]
    return shlex.join(["cellweave", command, "--resume", *rest])


def say(text: str) -> None:
    """A message, on stderr."""
    print(f"cellweave: {text}", file=sys.stderr, flush=True)


def print_error(error: CellweaveError, command: str, *words: str) -> None:
    """Its lines, on stderr; one line where the file at fault, one of `words`, is for another command."""
    from sim.forms import told_misplaced

    problem = told_misplaced(error, command, words) if error.exit_code == 2 else None
    for line in (ScenarioError(problem) if problem else error).lines():
        print(line, file=sys.stderr)
