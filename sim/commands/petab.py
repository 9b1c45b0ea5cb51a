"""Parameter estimation problems in PEtab."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sim.commands.common import Quiet, app, say


@app.command(epilog="For example: cellweave petab problem.yaml --fit --profiles -o fit")
def petab(
    problem: Annotated[Path, typer.Argument(metavar="PROBLEM.yaml", help="A problem in PEtab 1 or 2.")],
    evaluate: Annotated[
        bool, typer.Option("--evaluate", help="At the nominal parameters; also where nothing else is asked.")
    ] = False,
    gradient: Annotated[bool, typer.Option("--gradient", help="With derivatives by the parameters.")] = False,
    fit: Annotated[bool, typer.Option("--fit", help="Find the best parameters.")] = False,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="DIR", help="Where simulations and the fitted problem go."),
    ] = None,
    starts: Annotated[int, typer.Option(min=1, help="Of a fit: from how many points.")] = 10,
    seed: Annotated[int, typer.Option(min=0, help="Of a fit: of the points.")] = 0,
    explore: Annotated[
        int, typer.Option(min=0, help="Of a fit: steps of looking beyond each local optimum.")
    ] = 5000,
    profiles: Annotated[
        bool, typer.Option("--profiles", help="Of a fit: how far each parameter can go.")
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the fit in DIR.")] = False,
    quiet: Quiet = False,
) -> None:
    """Evaluate or fit a PEtab problem. Likelihood, gradient, simulations, parameters and a page of pictures."""
    from sim.petab.run import FitRequest, evaluated, fitted

    if not fit:
        typer.echo(evaluated(problem, gradient=gradient, output=output))
        return
    del evaluate  # a fit ends with an evaluation
    request = FitRequest(starts, seed, explore, resume, profiles)
    typer.echo(fitted(problem, request, output, (lambda _: None) if quiet else say))
