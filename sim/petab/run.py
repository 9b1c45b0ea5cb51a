"""What `cellweave petab` does."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mechanistic.errors import IntegrationError, ModelError
from sim.errors import Interrupted, Problem, ScenarioError, SimulationError, StoreError
from sim.fitting import scales
from sim.fitting.candidates import species_to_measure, what_to_measure
from sim.fitting.identifiability import Identifiability, identifiability
from sim.fitting.multistart import Fits, fit_many
from sim.fitting.objective import Evaluation, Objective
from sim.fitting.optimize import Fit
from sim.fitting.profiles import Profile, profile
from sim.machine import interrupts
from sim.petab.problem import PetabProblem, load
from sim.petab.report import told
from sim.petab.writing import write_problem


@dataclass(frozen=True)
class FitRequest:
    """How to fit: from how many starts, of which seed, with how many steps of exploring each; profiles after it."""

    starts: int = 10
    seed: int = 0
    explore: int = 5000
    resume: bool = False
    profiles: bool = False


def evaluated(file: Path, *, gradient: bool, output: Path | None) -> str:
    """The evaluation at the nominal parameters as JSON; simulations go to `output`.

    Raises:
        ScenarioError: the problem is wrong.
        SimulationError: an experiment could not be simulated.
        StoreError: `output` cannot be written.
    """
    problem = load(file)
    with _in_words(file):
        found = problem.objective(slopes=gradient, back=gradient)
    if output is not None:
        write(output / "simulations.tsv", problem.simulations(found))
    return json.dumps(told(problem, found))


def fitted(file: Path, request: FitRequest, output: Path | None, say: Callable[[str], None]) -> str:
    """The best fit as JSON, evaluated; `output` gets all starts, simulations and the problem as fitted.

    Raises:
        ScenarioError: the problem is wrong; an earlier fit is there.
        SimulationError: no start could be simulated.
        StoreError: `output` cannot be written.
        Interrupted: by a signal; what has ended is kept where there is an output.
    """
    problem = load(file)
    objective = problem.objective
    if not objective.names:
        raise ScenarioError(f"{file}: no parameter is to be estimated")

    def report(start: int, found: Fit) -> None:
        say(
            f"start {start + 1} of {request.starts}: log-posterior {found.log_posterior:.6g} ({found.reason})"
        )

    interrupts.guard(output is not None)
    kept = None if output is None else output / "fit.jsonl"
    try:
        with _in_words(file):
            fits = fit_many(
                objective, request.starts, request.seed,
                steps=request.explore, file=kept, resume=request.resume,
                go_on=lambda: not interrupts.requested(), report=report,
            )  # fmt: skip
    finally:
        interrupts.guard(False)
    if interrupts.requested() and len(fits.fits) < request.starts:
        ended = f"stopped: {len(fits.fits)} of {request.starts} starts ended"
        raise Interrupted(interrupts.requested(), ended, kept=output is not None)
    best = fits.best
    if best.reason == "failed":
        raise SimulationError(f"{file}: none of {request.starts} starts could be simulated")
    found = objective(best.x, slopes=True)
    seen = _seen(problem, best.x, found)
    warnings = [] if seen is None else [*seen.warnings(), *_advice(problem, best.x, found, seen)]
    for line in warnings:
        say(line)
    values = dict(zip(objective.names, scales.unscaled(best.x, objective.scales)))
    result = {
        **told(problem, found, best.x),
        "starts": len(fits.fits),
        "at_best": fits.at_best,
        "parameters": {name: float(v) for name, v in values.items()},
        "hardly_determined": warnings,
    }
    if seen is not None:
        result["intervals"] = _intervals(problem, best.x, seen)
    profiles = _profiles(problem, best.x, say) if request.profiles else []
    if profiles:
        result["profiles"] = {p.name: _interval(problem, p) for p in profiles}
        if output is not None:
            write(output / "profiles.tsv", _profile_table(problem, profiles))
    if output is not None:
        write(output / "simulations.tsv", problem.simulations(found))
        write(output / "fit.tsv", table_of(problem, fits))
        write_problem(problem.files, values, output / "fitted")
        problem.write_networks(best.x, output / "fitted")
        _write_page(problem, output, found, result, fits, profiles)
        say(f"report: {output / 'fit.html'}")
    return json.dumps(result)


@contextmanager
def _in_words(file: Path) -> Iterator[None]:
    """Errors of the engine as those of the command."""
    try:
        yield
    except IntegrationError as error:
        raise SimulationError(f"{file}: {error}") from None
    except ModelError as error:
        where = str(file) if error.file.startswith("<") else error.file
        raise ScenarioError(Problem(where, p.message, p.line, p.key) for p in error.problems) from None


def _seen(problem: PetabProblem, x: np.ndarray, found: Evaluation) -> Identifiability | None:
    if found.root is None:
        return None
    objective = problem.objective
    return identifiability(objective, x, found, objective.prior_curvature(x))


def _advice(problem: PetabProblem, x: np.ndarray, found: Evaluation, seen: Identifiability) -> list[str]:
    """What to measure, where parameters can change together unseen."""
    objective = problem.objective
    if not seen.poor or not isinstance(objective, Objective):
        return []
    try:
        studies = [species_to_measure(study) for study in objective.studies]
        ranked = what_to_measure(objective, x, seen, found, studies)
    except IntegrationError:
        return []
    better = [h for h in ranked[:1] if h.gain > 0 and math.isfinite(h.sd)]
    return [f"to measure {h.candidate} would help most (relative sd {h.sd:.3g} then)" for h in better]


def _intervals(problem: PetabProblem, x: np.ndarray, seen: Identifiability) -> dict[str, list[float | None]]:
    """Of 95 % by Laplace's approximation, by value, cut at the bounds; null where nothing is known."""
    objective = problem.objective
    low, high = seen.interval(x)
    ends = (
        np.where(np.isfinite(low), np.maximum(low, objective.lower), low),
        np.where(np.isfinite(high), np.minimum(high, objective.upper), high),
    )
    return {
        name: [_by_value(problem, name, float(end[k])) for end in ends]
        for k, name in enumerate(objective.names)
    }


def _profiles(problem: PetabProblem, x: np.ndarray, say: Callable[[str], None]) -> list[Profile]:
    found = []
    for name in problem.objective.names:
        found.append(profile(problem.objective, x, name))
        say(f"profile of {name}: {found[-1].kind}")
    return found


def _by_value(problem: PetabProblem, name: str, scaled: float) -> float | None:
    scale = problem.objective.scales[problem.objective.names.index(name)]
    if not math.isfinite(scaled):
        return None
    return float(scales.unscaled(np.array([scaled]), [scale])[0])


def _interval(problem: PetabProblem, found: Profile) -> dict:
    """By value; null where there is no end within bounds."""
    lower, upper = (_by_value(problem, found.name, v) for v in (found.lower, found.upper))
    return {"lower": lower, "upper": upper, "kind": found.kind}


def _profile_table(problem: PetabProblem, profiles: list[Profile]) -> str:
    lines = ["parameterId\tvalue\tlog_posterior"]
    for p in profiles:
        for value, height in zip(p.values, p.log_posterior):
            lines.append(f"{p.name}\t{_by_value(problem, p.name, value)!r}\t{float(height)!r}")
    return "\n".join(lines) + "\n"


def table_of(problem: PetabProblem, fits: Fits) -> str:
    """A row for each start, the best first; parameters by value."""
    head = ["start", "log_posterior", "llh", "chi2", "reason", "steps", *fits.names]
    lines = ["\t".join(head)]
    order = sorted(range(len(fits.fits)), key=lambda k: -fits.fits[k].log_posterior)
    for k in order:
        f = fits.fits[k]
        values = scales.unscaled(f.x, problem.objective.scales)
        numbers = [f.log_posterior, f.llh, f.chi2]
        fields = [str(k), *(repr(float(n)) for n in numbers), f.reason, str(f.steps)]
        lines.append("\t".join([*fields, *(repr(float(v)) for v in values)]))
    return "\n".join(lines) + "\n"


def _write_page(
    problem: PetabProblem,
    output: Path,
    found: Evaluation,
    result: dict,
    fits: Fits,
    profiles: list[Profile],
) -> None:
    from sim.report.fit import fit_page

    points = []
    for (_, _, row), simulated in zip(problem.measurements, found.simulated):
        where = row.get("experimentId") or row.get("simulationConditionId") or ""
        points.append(
            (row["observableId"], where, float(row["time"]), float(row["measurement"]), float(simulated))
        )
    drawn = {
        p.name: (np.array([_by_value(problem, p.name, v) for v in p.values], float), p.log_posterior)
        for p in profiles
    }
    heights = [f.log_posterior for f in fits.fits]
    write(output / "fit.html", fit_page(problem.files.file.name, points, result, heights, drawn))


def write(file: Path, text: str) -> None:
    """A file in a folder that is made where it is missing."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    except OSError as error:
        raise StoreError(f"{file}: {error.strerror or error}") from None
