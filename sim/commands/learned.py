"""Weights: fit them, ask them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sim.commands.common import Quiet, again, app, say


@app.command(epilog="For example: cellweave train training.yaml -o weights.safetensors")
def train(
    training: Annotated[Path, typer.Argument(metavar="TRAINING.yaml", help="A training file.")],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="WEIGHTS.safetensors", help="Where to.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint.")] = False,
    quiet: Quiet = False,
) -> None:
    """Fit weights to data. A model card, and a page, show held-out scores beside their controls."""
    from neural.checkpoints import any_kept
    from sim.learning import trained
    from sim.machine import interrupts
    from sim.report.scores import write_scores_page

    interrupts.last_words(
        lambda: (
            f"cellweave: stopped; {f'go on with: {again()}' if any_kept() else 'nothing is kept, it begins again'}"
        )
    )
    told = trained(training, output, resume=resume, say=None if quiet else say)
    typer.echo(told)
    if (page := write_scores_page(told.partition("\n")[0])) and not quiet:
        say(f"report: {page}")


@app.command(epilog="For example: cellweave predict weights.safetensors --conditions table.csv -o out.csv")
def predict(
    weights: Annotated[Path, typer.Argument(metavar="WEIGHTS", help="Weights (.safetensors).")],
    conditions: Annotated[Path, typer.Option(metavar="TABLE.csv", help="A row for each condition, or cell.")],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="OUT.csv", help="Where to; stdout by default.")
    ] = None,
) -> None:
    """Ask weights for predictions. A row for each condition and time, with 90 % intervals."""
    from sim.learning import predicted
    from sim.tables import check_output, write_text

    check_output(output, ())
    write_text([predicted(weights, conditions)], output)
