"""One pathway model, or an experiment with models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sim.commands.common import app, say


@app.command(epilog="For example: cellweave simulate model.xml --end 24 --select ERK,pERK -o out.csv")
def simulate(
    model: Annotated[
        Path,
        typer.Argument(metavar="MODEL.xml|.ant|.sedml|.omex", help="A model, or an experiment with models."),
    ],
    end: Annotated[
        float | None, typer.Option(help="End time, in the model's unit; an experiment says its own.")
    ] = None,
    start: Annotated[float, typer.Option(help="Start time.")] = 0.0,
    steps: Annotated[int, typer.Option(min=1, help="Intervals of the output grid.")] = 100,
    rtol: Annotated[float, typer.Option(help="Relative tolerance.")] = 1e-6,
    atol: Annotated[float, typer.Option(help="Absolute tolerance.")] = 1e-9,
    method: Annotated[
        str, typer.Option(help="auto, native, roadrunner, radau, ssa, tau-leaping, langevin or fba.")
    ] = "auto",
    sets: Annotated[
        list[str], typer.Option("--set", metavar="ID=VALUE", help="Set an initial value or parameter.")
    ] = [],  # noqa: B006
    vary: Annotated[
        list[str], typer.Option(metavar="ID=DIST", help="Vary over cells, e.g. k=lognormal(cv=0.2).")
    ] = [],  # noqa: B006
    cells: Annotated[int | None, typer.Option(min=1, help="How many cells.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed.")] = 0,
    amounts: Annotated[bool, typer.Option("--amounts", help="Amounts in place of concentrations.")] = False,
    select: Annotated[
        str | None, typer.Option(metavar="ID,...", help="Which ids; all species by default.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", metavar="OUT.csv|.nc|.zarr|DIR", help="Where to; DIR of an experiment."
        ),
    ] = None,
) -> None:
    """Simulate one pathway model. A time course, a flux balance, or an experiment in SED-ML."""
    from sim.one_model import simulated
    from sim.one_model.time_course import Request

    request = Request(
        model, start, end, steps, rtol, atol, method, tuple(sets), tuple(vary), cells, seed, amounts, select
    )
    simulated(request, output, say)
