"""The command line: thin commands over the Python face. One error is one line, and one exit code."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from sim.errors import CellweaveError, Interrupted, ScenarioError, StoreError, escaped

#: typer carries its own copy of click from 0.26 on, so the class is reached through typer
UsageError: Any = typer.BadParameter.__mro__[1]

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
    list[str], typer.Option("--set", metavar="KEY=VALUE", help="Replace a value of the scenario.")
]
Seed = Annotated[int | None, typer.Option(help="Replace the scenario's seed.")]
Outside = Annotated[
    bool, typer.Option("--allow-outside", help="Let the scenario name files outside its folder.")
]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress, no summary.")]


@app.callback()
def _options(debug: Debug = False) -> None:
    """Accepted before the command here; `main` takes it from anywhere."""


@app.command()
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
    from sim.build import plan
    from sim.controller import simulate
    from sim.progress import shown
    from sim.threads import use

    loaded = _load(scenario, sets, seed, allow_outside)
    output = output or Path(f"{Path(loaded.file).stem}.zarr")
    progress = shown(loaded.time.stop.unit, quiet)
    try:
        planned = plan(loaded)
        if loaded.seed_was_drawn:
            progress.phase(f"seed {loaded.seed} was drawn; it is stored with the run")
        use(threads, device)
        result = simulate(planned, output, resume=resume, force=force, progress=progress)
    except Interrupted:
        progress.done()
        _say(f"stopped after a checkpoint; go on with: cellweave run {scenario} -o {output} --resume")
        raise
    finally:
        progress.done()
    page = _report(output, quiet) if report else None
    if not quiet:
        _summarise(result, page)


@app.command()
def scenarios() -> None:
    """List the shipped scenarios."""
    from sim.library import shipped

    width = max(map(len, shipped()))
    for s in shipped().values():
        typer.echo(f"{s.name:<{width}}  {s.about}")


@app.command()
def new(
    name: Annotated[str, typer.Argument(help="A shipped scenario.")],
    folder: Annotated[
        Path | None,
        typer.Argument(metavar="DIR", help="Where to; a folder of the scenario's name by default."),
    ] = None,
) -> None:
    """Copy a shipped scenario with its models and weights, to edit."""
    from sim.library import copy

    made = copy(name, folder or Path(name))
    typer.echo("\n".join(map(str, made)))


@app.command()
def validate(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="Scenarios, SBML, Antimony or training files.")
    ],
    allow_outside: Outside = False,
) -> None:
    """Find every problem of the files at once; run nothing."""
    from sim.validation import validated

    wrong = False
    for file in files:
        try:
            for note in validated(file, allow_outside=allow_outside):
                typer.echo(note)
        except CellweaveError as error:
            _print(error)
            wrong = True
    if wrong:
        raise typer.Exit(2)


@app.command()
def schema() -> None:
    """The JSON Schema of scenarios, for editors."""
    from sim.scenario.json_schema import schema_text

    typer.echo(schema_text(), nl=False)


@app.command()
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

    planned = plan(_load(scenario, sets, None, allow_outside))
    typer.echo(described(planned))
    if output is not None:
        from sim.report.graph import draw_wiring

        draw_wiring(planned.wiring, output)


@app.command()
def digest(run_store: RunStore) -> None:
    """Verify a run's checksums; print one sha256 of all its results."""
    from sim.store.verify import digest as digest_of

    typer.echo(digest_of(run_store))


@app.command()
def report(run_store: RunStore) -> None:
    """Write the self-contained HTML report of a run."""
    typer.echo(_report(run_store, quiet=True))


@app.command()
def explain(
    scenario: Annotated[
        str, typer.Argument(metavar="SCENARIO|RUN.zarr", help="A scenario, or a run whose scenario is taken.")
    ],
    outcome: Annotated[str, typer.Option(help="For example 'count(pc9) @ 72 h'.")],
    method: Annotated[list[str], typer.Option(help="How: ablation.")] = ["ablation"],  # noqa: B006
    seeds: Annotated[int, typer.Option(min=2, help="Paired runs for each coupling.")] = 5,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="EXPLAIN.zarr", help="Store the ranking.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the ranking as JSON.")] = False,
    sets: Sets = [],  # noqa: B006
    quiet: Quiet = False,
    allow_outside: Outside = False,
) -> None:
    """Rank what drives an outcome: each coupling cut, with paired random numbers."""
    from sim.interpret.explain import explain as explained
    from sim.interpret.show import as_table, require_free, to_json, write

    loaded = _load_or_open(scenario, sets, allow_outside)
    if output is not None:
        require_free(output)
    ranking = explained(loaded, outcome, methods=tuple(method), seeds=seeds, say=None if quiet else _say)
    if output is not None:
        write(ranking, output)
    typer.echo(to_json(ranking) if as_json else as_table(ranking))


@app.command()
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
    """Time course or flux balance of one pathway model, or an experiment in SED-ML."""
    from sim.one_model import simulated
    from sim.time_course import Request

    request = Request(
        model, start, end, steps, rtol, atol, method, tuple(sets), tuple(vary), cells, seed, amounts, select
    )
    simulated(request, output, _say)


@app.command()
def train(
    training: Annotated[Path, typer.Argument(metavar="TRAINING.yaml", help="A training file.")],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="WEIGHTS.safetensors", help="Where to.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint.")] = False,
    quiet: Quiet = False,
) -> None:
    """Fit weights to data: a model card with held-out scores beside their controls."""
    from sim.learning import trained

    typer.echo(trained(training, output, resume=resume, say=None if quiet else _say))


@app.command()
def predict(
    weights: Annotated[Path, typer.Argument(help="Weights of a manipulator.")],
    conditions: Annotated[Path, typer.Option(metavar="TABLE.csv", help="A row for each condition.")],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="OUT.csv", help="Where to; stdout by default.")
    ] = None,
) -> None:
    """Predictions with 90 % intervals, a row for each condition and time."""
    from sim.learning import predicted

    text = predicted(weights, conditions)
    if output is None:
        typer.echo(text, nl=False)
    else:
        output.write_text(text)


# ---- parts


def _load(scenario: str, sets: list[str], seed: int | None, allow_outside: bool):
    from sim.library import find
    from sim.scenario import Scenario

    return Scenario.load(
        find(scenario), overrides=_assignments(sets, "--set"), seed=seed, allow_outside=allow_outside
    )


def _load_or_open(scenario: str, sets: list[str], allow_outside: bool):
    from sim.scenario import Scenario

    if not (Path(scenario) / "zarr.json").exists():
        return _load(scenario, sets, None, allow_outside)
    from sim.store.record import read_record

    text = str(read_record(Path(scenario)).attrs["scenario"])
    folder = Path(scenario).absolute().parent
    return Scenario.parse(
        text,
        folder / f"{Path(scenario).stem}.yaml",
        overrides=_assignments(sets, "--set"),
        allow_outside=allow_outside,
    )


def _assignments(texts: list[str], option: str) -> dict[str, str]:
    pairs = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise ScenarioError(
                f"{option} {escaped(text)}: write it as KEY=VALUE, for example {option} time.stop='12 h'"
            )
        pairs[key.strip()] = value.strip()
    return pairs


def _report(run_store: Path, quiet: bool) -> Path:
    from sim.report import write_report

    if not quiet:
        _say("drawing the report")
    return write_report(run_store)


def _summarise(result, page: Path | None) -> None:
    total = sum(result.seconds.values())
    _say(f"{result.status}: {result.path}")
    if page is not None:
        _say(f"report: {page}")
    for name, seconds in sorted(result.seconds.items(), key=lambda item: -item[1]):
        if seconds >= 0.01 * total:
            _say(f"  {name:<28} {seconds:8.2f} s")
    if result.splitting_error:
        worst = max(result.splitting_error, key=lambda name: result.splitting_error[name])
        _say(f"coupling error: at most {result.splitting_error[worst]:.1e} relative ({worst}) for one step")


def _say(text: str) -> None:
    print(f"cellweave: {text}", file=sys.stderr, flush=True)


def _print(error: CellweaveError) -> None:
    for line in error.lines():
        print(line, file=sys.stderr)


def _fail(text: str, code: int) -> NoReturn:
    print(f"cellweave: error: {text}", file=sys.stderr)
    raise SystemExit(code)


def main() -> None:
    """Run the command; every error becomes one line and an exit code."""
    debug = "--debug" in sys.argv[1:]
    sys.argv = [word for word in sys.argv if word != "--debug"]
    try:
        code = app(standalone_mode=False)
    except Interrupted as error:
        raise SystemExit(error.exit_code) from None
    except CellweaveError as error:
        if debug:
            raise
        _print(error)
        raise SystemExit(error.exit_code) from None
    except UsageError as error:
        _fail(f"{error.format_message()} (cellweave --help lists what there is)", 2)
    except typer.Abort:
        raise SystemExit(130) from None
    except BrokenPipeError:
        raise SystemExit(141) from None
    except (OSError, MemoryError) as error:
        if debug:
            raise
        _fail(str(StoreError(f"{type(error).__name__}: {error}")), StoreError.exit_code)
    except Exception as error:
        if debug:
            raise
        what = escaped(f"{type(error).__name__}: {error}", 300)
        _fail(f"a fault of cellweave itself, please report it: {what} (--debug shows where)", 1)
    raise SystemExit(code if isinstance(code, int) else 0)
