"""Runs: verify them, draw them, ask them why."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from sim.commands.common import Outside, Quiet, RunStore, Sets, app, load_or_open, say
from sim.errors import ScenarioError


@app.command()
def digest(run_store: RunStore) -> None:
    """Verify a run's checksums; print one sha256 of all its results."""
    from sim.store.verify import digest as digest_of

    typer.echo(digest_of(run_store))


@app.command(epilog="For example: cellweave report run.zarr")
def report(run_store: RunStore) -> None:
    """Write the self-contained HTML report of a run."""
    from sim.report import write_report
    from sim.store.verify import verify

    # what is missing would be read as empty, and drawn so
    verify(run_store)
    typer.echo(write_report(run_store))


@app.command(epilog='For example: cellweave explain run.zarr --outcome "count(pc9) @ 9 h" -o why.zarr')
def explain(
    scenario: Annotated[
        str, typer.Argument(metavar="SCENARIO|RUN.zarr", help="A scenario, or a run whose scenario is taken.")
    ],
    outcome: Annotated[
        str | None, typer.Option(help="For example 'count(pc9) @ 72 h'; by default what --reach is about.")
    ] = None,
    method: Annotated[
        list[str],
        typer.Option(
            help="How, as often as wanted: ablation, clamp, scaling, direct, share, gradients, "
            "integrated_gradients, distil, control, local, morris, sobol, counterfactual, reach."
        ),
    ] = [],  # noqa: B006
    over: Annotated[
        list[str],
        typer.Option(metavar="KEY=LOW..HIGH", help="A parameter and its range; as often as wanted."),
    ] = [],  # noqa: B006
    threshold: Annotated[
        float | None, typer.Option(help="For counterfactual: the value that the outcome is to pass.")
    ] = None,
    reach: Annotated[
        list[str],
        typer.Option(metavar="OUTCOME=VALUE", help="What changes of --over are to bring about."),
    ] = [],  # noqa: B006
    samples: Annotated[int, typer.Option(min=2, help="Points of the designs of morris and sobol.")] = 16,
    seeds: Annotated[int, typer.Option(min=2, help="Paired runs of each variant.")] = 3,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="EXPLAIN.zarr", help="Store it, and draw a page.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the ranking as JSON.")] = False,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes; by default all cores, where it takes long.")
    ] = None,
    scheduler: Annotated[
        str, typer.Option(metavar="local|tcp://…", help="Processes here, or a Dask scheduler's address.")
    ] = "local",
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with an explanation that was stopped; needs -o.")
    ] = False,
    sets: Sets = [],  # noqa: B006
    quiet: Quiet = False,
    allow_outside: Outside = False,
) -> None:
    """Rank what drives an outcome. Total and direct effects with intervals, and what networks follow."""
    from sim.interpret.explain import DEFAULT
    from sim.interpret.keeping import explain_into
    from sim.interpret.outcome import split_wanted
    from sim.interpret.show import as_table, to_json
    from sim.machine.workers import check_scheduler
    from sim.progress import shown

    if threshold is not None and not math.isfinite(threshold):
        raise ScenarioError(f"--threshold: must be finite (got {threshold})")
    if outcome is None:
        if not reach:
            raise ScenarioError("--outcome: say what is to be explained, for example 'count(pc9) @ 72 h'")
        outcome, _ = split_wanted(reach[0])
    chosen = list(method) or ([] if reach else list(DEFAULT))
    if reach and "reach" not in chosen:
        chosen.append("reach")
    loaded = load_or_open(scenario, sets, allow_outside)
    check_scheduler(scheduler)
    found = explain_into(
        output,
        loaded,
        outcome,
        resume=resume,
        progress=shown("", quiet),
        methods=chosen,
        reach=reach,
        seeds=seeds,
        over=over,
        threshold=threshold,
        samples=samples,
        workers=workers,
        scheduler=scheduler,
    )
    if output is not None:
        from sim.report.explanation import write_explanation

        page = write_explanation(output, f"{output}.report")
        if not quiet:
            say(f"page: {page}")
    typer.echo(to_json(found) if as_json else as_table(found))


@app.command(epilog="For example: cellweave view run.zarr")
def view(
    run_store: RunStore,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8765,
) -> None:
    """Look at a run in the browser. An interactive page, for this machine only."""
    from sim.view.server import Server

    server = Server(run_store, port)
    typer.echo(server.url)
    say("Ctrl-C stops")
    server.serve_forever()
