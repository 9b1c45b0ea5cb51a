"""Many runs as one dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sim.commands.common import Outside, Quiet, app, say


@app.command(epilog="For example: cellweave sweep doses.yaml -o doses.zarr --workers 4")
def sweep(
    file: Annotated[Path, typer.Argument(metavar="SWEEP.yaml", help="A sweep file.")],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="SWEEP.zarr", help="The dataset to write.")
    ] = None,
    scheduler: Annotated[
        str, typer.Option(metavar="local|tcp://…", help="Processes here, or a Dask scheduler's address.")
    ] = "local",
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes of 'local'; all cores by default.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an interrupted sweep.")] = False,
    quiet: Quiet = False,
    allow_outside: Outside = False,
) -> None:
    """Run a scenario over many values. Every combination of them gives one dataset, on Dask."""
    from sim.sweeping.form import load_sweep
    from sim.sweeping.run import failures
    from sim.sweeping.run import sweep as swept

    wanted = load_sweep(file, allow_outside=allow_outside)
    output = output or Path(f"{file.stem}.zarr")
    result = swept(
        wanted,
        output,
        scheduler=scheduler,
        workers=workers,
        resume=resume,
        allow_outside=allow_outside,
        say=None if quiet else say,
    )
    from sim.report.sweep import write_sweep_page

    page = write_sweep_page(result.path, f"{result.path}.report")
    if result.failed:
        raise failures(result)
    if not quiet:
        say(f"complete: {result.path} ({result.done} runs, {result.earlier} before)")
        say(f"page: {page}")
