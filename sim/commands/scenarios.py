"""Scenarios: run them, list them, copy them, check them, draw them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sim.commands.common import Outside, Quiet, ScenarioFile, Seed, Sets, app, load, print_error, say
from sim.errors import CellweaveError
from sim.machine.loading import loading

#: how a picture may be written, by its suffix
_PICTURES = (".svg", ".png", ".pdf")


@app.command(epilog='For example: cellweave run quickstart -o run.zarr --set time.stop="9 h"')
def run(
    scenario: ScenarioFile,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="RUN.zarr", help="The store to write.")
    ] = None,
    sets: Sets = [],  # noqa: B006 (typer's way to a repeatable option)
    seed: Seed = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an interrupted run.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing run.")] = False,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads; all cores by default. Results do not depend on it.")
    ] = None,
    device: Annotated[str, typer.Option(help="Where networks run: cpu (cuda is refused so far).")] = "cpu",
    report: Annotated[bool, typer.Option("--report/--no-report", help="Write the report at the end.")] = True,
    quiet: Quiet = False,
    allow_outside: Outside = False,
) -> None:
    """Simulate a scenario: a Zarr store, and a report beside it."""
    with loading():
        from sim.build import plan
        from sim.controller import as_begun, simulate
        from sim.machine.threads import use
        from sim.planning.costs import costs_of
        from sim.progress import shown

        loaded = load(scenario, sets, seed, allow_outside)
    output = output or Path(f"{Path(loaded.file).stem}.zarr")
    progress = shown(loaded.time.stop.unit, quiet)
    try:
        if resume:
            loaded = as_begun(loaded, output)
        with loading():
            planned = plan(loaded)
        if not quiet:
            for text in costs_of(loaded):
                say(f"warning: {text}")
        if loaded.seed_was_drawn and not resume:
            progress.phase(f"seed {loaded.seed} was drawn; it is stored with the run")
        use(threads, device)
        result = simulate(planned, output, resume=resume, force=force, progress=progress)
    finally:
        progress.done()
    page = None
    if report:
        from sim.report import write_report

        if not quiet:
            say("drawing the report")
        page = write_report(output)
    if not quiet:
        _summarise(result, page)


@app.command()
def scenarios() -> None:
    """List the shipped scenarios."""
    from sim.library import shipped

    width = max(map(len, shipped()))
    for s in shipped().values():
        typer.echo(f"{s.name:<{width}}  {s.about}")


@app.command(epilog="For example: cellweave new quickstart colony")
def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A shipped scenario.")],
    folder: Annotated[
        Path | None,
        typer.Argument(metavar="DIR", help="Where to; a folder of the scenario's name by default."),
    ] = None,
) -> None:
    """Copy a shipped scenario with its models and weights, to edit."""
    from sim.library import copy

    made = copy(name, folder or Path(name))
    typer.echo("\n".join(map(str, made)))


@app.command(epilog="For example: cellweave validate colony/quickstart.yaml")
def validate(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE...",
            help="Scenarios (or names of shipped ones), models, experiments, training or sweep files.",
        ),
    ],
    allow_outside: Outside = False,
) -> None:
    """Find every problem of the files at once; run nothing."""
    from sim.library import find
    from sim.validation import validated

    wrong = False
    for file in files:
        try:
            for note in validated(Path(find(file)), allow_outside=allow_outside):
                typer.echo(note)
        except CellweaveError as error:
            print_error(error, "validate", file)
            wrong = True
    if wrong:
        raise typer.Exit(2)


@app.command()
def schema() -> None:
    """The JSON Schema of scenarios, for editors."""
    from sim.scenario.json_schema import schema_text

    typer.echo(schema_text(), nl=False)


@app.command(epilog="For example: cellweave describe quickstart -o graph.svg")
def describe(
    scenario: ScenarioFile,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="graph.svg", help="Draw the graph.")
    ] = None,
    sets: Sets = [],  # noqa: B006
    allow_outside: Outside = False,
) -> None:
    """Processes, quantities and couplings, as text and picture."""
    from sim.build import plan
    from sim.describe import described
    from sim.tables import check_output

    check_output(output, _PICTURES)
    planned = plan(load(scenario, sets, None, allow_outside))
    typer.echo(described(planned))
    if output is not None:
        from sim.report.graph import draw_wiring

        draw_wiring(planned.wiring, output)


def _summarise(result, page: Path | None) -> None:
    total = sum(result.seconds.values())
    say(f"{result.status}: {result.path}")
    if page is not None:
        say(f"report: {page}")
    for name, seconds in sorted(result.seconds.items(), key=lambda item: -item[1]):
        if seconds >= 0.01 * total:
            say(f"  {name:<28} {seconds:8.2f} s")
    if result.splitting_error:
        worst = max(result.splitting_error, key=lambda name: result.splitting_error[name])
        say(f"coupling error: at most {result.splitting_error[worst]:.1e} relative ({worst}) for one step")
