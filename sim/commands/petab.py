"""Parameter estimation problems in PEtab."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sim.commands.common import app


@app.command()
def petab(
    problem: Annotated[Path, typer.Argument(metavar="PROBLEM.yaml", help="A problem in PEtab 1 or 2.")],
    evaluate: Annotated[
        bool, typer.Option("--evaluate", help="At the nominal parameters; also where nothing else is asked.")
    ] = False,
    gradient: Annotated[bool, typer.Option("--gradient", help="With derivatives by the parameters.")] = False,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="DIR", help="Where simulations.tsv goes.")
    ] = None,
) -> None:
    """Evaluate a PEtab problem: likelihood, its gradient, simulations."""
    del evaluate  # what happens in any case
    from sim.petab.run import evaluated

    typer.echo(evaluated(problem, gradient=gradient, output=output))
