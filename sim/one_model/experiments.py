"""Experiments in SED-ML, from the options of `cellweave simulate` to tables and pictures."""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from sim import tables
from sim.errors import ScenarioError, escaped
from sim.one_model.files import told
from sim.one_model.time_course import Request, refuse_options

if TYPE_CHECKING:
    from mechanistic.sedml import Experiment, Results
    from mechanistic.sedml.run import Column, Picture, Table

_OWN = ("start", "end", "steps", "rtol", "atol", "method", "sets", "vary", "cells", "amounts", "select")


def run_file(request: Request, output: Path | None, say: Callable[[str], None]) -> None:
    """Run every experiment of a SED-ML file or an archive.

    One report goes to stdout, or to `output` where that ends in .csv; several, and plots, go to the folder
    `output`, as `<report>.csv` and `<plot>.png` (in folders of their own where an archive holds several experiments).

    Raises:
        ScenarioError: every fault of the file, or of the options; nothing has been run.
        SimulationError: a task could not be integrated.
    """
    from mechanistic.sedml import read_experiments, run
    from mechanistic.sedml.run import check

    refuse_options(request, _OWN, "the experiment says this itself")
    name = escaped(request.model, 200)
    with told(request.model):
        experiments = read_experiments(request.model)
        if not experiments:
            raise ScenarioError(f"{name}: holds no SED-ML; --end gives a time course of its model")
        for experiment in experiments:
            check(experiment)
    _check_output(experiments, output, name)
    for experiment in experiments:
        for note in experiment.notes:
            say(f"{escaped(experiment.file, 200)}: {note}")
        with told(request.model):
            results = run(experiment, seed=request.seed)
        _write(results, _folder(output, experiment, len(experiments)), output, say)


def notes(file: Path) -> list[str]:
    """Check a file that holds experiments; what to tell of a good one.

    Raises:
        ScenarioError: with every problem found.
    """
    from mechanistic.sbml import read_network
    from mechanistic.sedml import read_experiments
    from mechanistic.sedml.run import check

    with told(file):
        experiments = read_experiments(file)
        for experiment in experiments:
            check(experiment)
        if not experiments:
            read_network(file)
    return [f"{e.file}: {note}" for e in experiments for note in e.notes]


# ---- where to


def _check_output(experiments: list[Experiment], output: Path | None, name: str) -> None:
    reports = sum(len(e.reports) for e in experiments)
    plots = sum(len(e.plots) for e in experiments)
    single = output is None or output.suffix.lower() == ".csv"
    if single and reports != 1:
        told_of = f"{reports} reports and {plots} plots"
        raise ScenarioError(f"{name}: gives {told_of}; name a folder for them with -o DIR")
    if output is None:
        return
    if single:
        tables.check_output(output)
    elif output.suffix.lower() in tables.SUFFIXES:
        raise ScenarioError(f"{escaped(output, 200)}: reports are written as CSV; name a folder with -o DIR")
    elif output.exists() and not output.is_dir():
        raise ScenarioError(f"{escaped(output, 200)}: is a file; name a folder")
    elif not output.absolute().parent.is_dir():
        raise ScenarioError(f"{escaped(output, 200)}: there is no folder {escaped(output.parent, 200)}")


def _folder(output: Path | None, experiment: Experiment, count: int) -> Path | None:
    if output is None or output.suffix.lower() == ".csv":
        return None
    return output if count == 1 else output / Path(experiment.file).stem


def _write(results: Results, folder: Path | None, output: Path | None, say: Callable[[str], None]) -> None:
    if folder is None:
        if results.pictures:
            say(f"{len(results.pictures)} plots are not drawn; name a folder for them with -o DIR")
        for table in results.tables:
            tables.write_text(_rows(table), output)
        return
    folder.mkdir(parents=True, exist_ok=True)
    for table in results.tables:
        tables.write_text(_rows(table), folder / f"{table.id}.csv")
        say(f"report: {folder / f'{table.id}.csv'}")
    for picture in results.pictures:
        _draw(picture, folder / f"{picture.id}.png")
        say(f"plot: {folder / f'{picture.id}.png'}")


# ---- what


def _rows(table: Table) -> Iterator[str]:
    """CSV: the iteration of every repeated task, then the columns; blank where a column has ended."""
    longest = max((len(c.values) for _, c in table.columns), default=0)
    index: dict[str, list[int]] = {}
    for _, column in table.columns:
        if len(column.values) == longest:
            index |= {name: values.tolist() for name, values in column.index.items()}
    columns = [column.values.tolist() for _, column in table.columns]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*index, *(label for label, _ in table.columns)])
    for i in range(longest):
        values = (repr(column[i]) if i < len(column) else "" for column in columns)
        writer.writerow([*(str(values[i]) for values in index.values()), *values])
        yield text.getvalue()
        text.seek(0)
        text.truncate()
    yield text.getvalue()


def _draw(picture: Picture, file: Path) -> None:
    """One line for each curve, and in a repeated task for each iteration of it."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for k, (curve, x, y) in enumerate(picture.curves):
        label = curve.name or picture.labels[curve.y]
        for start, end in _pieces(y):
            xs = x.values[start:end] if len(x.values) == len(y.values) else x.values[: end - start]
            axes.plot(xs, y.values[start:end][: len(xs)], color=f"C{k % 10}", label=label)
            label = "_"
    if any(curve.log_x for curve, _, _ in picture.curves):
        axes.set_xscale("log")
    if any(curve.log_y for curve, _, _ in picture.curves):
        axes.set_yscale("log")
    names = {picture.labels[curve.x] for curve, _, _ in picture.curves}
    # labels are text, and never formulas
    axes.set_xlabel(", ".join(sorted(names)), parse_math=False)
    axes.set_title(picture.name, parse_math=False)
    for text in axes.legend(frameon=False).get_texts():
        text.set_parse_math(False)
    with tables.whole(file) as part:
        figure.savefig(part, format="png", dpi=150)


def _pieces(column: Column) -> Iterator[tuple[int, int]]:
    """Where each iteration starts and ends."""
    import numpy as np

    size = len(column.values)
    changed = np.zeros(max(size - 1, 0), dtype=bool)
    for values in column.index.values():
        changed |= np.diff(values) != 0
    cuts = [0, *(np.flatnonzero(changed) + 1).tolist(), size]
    yield from itertools.pairwise(cuts)
