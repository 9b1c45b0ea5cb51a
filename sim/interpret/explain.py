"""Why did it happen? A ranking of what drives an outcome, by one method or by several."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from sim.errors import ScenarioError, escaped
from sim.interpret.effects import LEVEL, as_dataset, numbered, ranked
from sim.interpret.journal import Journal
from sim.interpret.methods.interventions import Intervention
from sim.interpret.question import Answer, Question
from sim.progress import Progress
from sim.spelling import did_you_mean, one_of

if TYPE_CHECKING:
    import xarray as xr

    from sim.scenario import Scenario

#: every method: what it tells, in the order of the page
METHODS = {
    "ablation": "total effect of each coupling: left out, and run again",
    "clamp": "total effect of what a coupling's source does over time: held as at the start, and run again",
    "scaling": "total effect of making a coupling stronger",
    "direct": "what each coupling does to the quantity it drives, at the same state",
    "share": "what each process, of mechanism or network, contributed to the outcome's change",
    "gradients": "which input a network follows, by its slope",
    "integrated_gradients": "which input a network follows, in shares that sum up",
    "distil": "each learned term as a formula, and the outcome with the formulas in the networks' place",
    "control": "which parameter of a pathway its time course answers to",
    "local": "slope of the outcome by each parameter of --over",
    "morris": "screening of the parameters of --over over their ranges",
    "sobol": "shares of the parameters of --over in the outcome's variance",
    "counterfactual": "smallest change of the parameters of --over that moves the outcome past --threshold",
    "reach": "smallest change of the parameters of --over that brings about what --reach says",
}

#: what is done where nothing is asked: what the outcome would lose, which is not who acts on whom; direct effects
#: beside it; and the inputs that networks follow. How far each finds what truly acts: docs/faith-hybrid.md
DEFAULT = ("ablation", "direct", "integrated_gradients")

#: couplings that are named before the end
_LEADING = 3


class Method(Protocol):
    """Made before the first run, so that it may watch; asked once."""

    def answer(self) -> Answer: ...


def explain(
    scenario: Scenario,
    outcome: str,
    methods: Sequence[str] = DEFAULT,
    seeds: int = 3,
    over: Sequence[str] = (),
    threshold: float | None = None,
    samples: int = 16,
    *,
    progress: Progress | None = None,
    workers: int | None = 1,
    scheduler: str = "local",
    journal: Journal | None = None,
    reach: Sequence[str] = (),
) -> xr.DataTree:
    """Rank what drives an outcome of a scenario.

    Args:
        outcome: see `sim.interpret.outcome`, for example `count(pc9) @ 72 h`.
        methods: of `METHODS`.
        seeds: paired runs, at least 2.
        over: parameters with ranges, `KEY=LOW..HIGH`; see `sim.interpret.over`.
        threshold: the value that a counterfactual is to pass.
        samples: points of Morris' and Sobol's designs.
        progress: hears about the runs, and what the seeds so far say.
        workers: processes that share the runs; None: one for each core where it is worth it (in a script, only under
            `if __name__ == "__main__"`). The numbers do not depend on it.
        scheduler: `local`, or the address of a Dask scheduler.
        journal: keeps the runs that are finished.
        reach: `OUTCOME = VALUE` for what `reach` is to bring about.

    Returns:
        `/ranking` (row): quantity, what it acts on, effect with its 90 % interval, relative effect, unit,
        total or direct, method, time, verdict, and rank within the method. A group for each method
        with what the rows were computed from. Attributes: the outcome and its value, what the coupling step does
        to it, and the sentences that methods add.

    Raises:
        ScenarioError: an unknown method, a wrong outcome or range, or a scenario without couplings.
        SimulationError: a run failed; names the variant.
        Interrupted: a signal asked to stop; what is finished is in the journal.
    """
    import xarray as xr

    from sim.interpret.over import parse_over

    for method in methods:
        if method not in METHODS:
            raise ScenarioError(
                f"--method {escaped(method)}: unknown; use {one_of(METHODS)}{did_you_mean(method, METHODS)}"
            )
    question = Question(
        scenario,
        outcome,
        seeds,
        parse_over(over, scenario),
        threshold,
        samples,
        progress,
        workers,
        scheduler,
        journal,
        reach,
    )
    chosen = {m: _made(m, question) for m in dict.fromkeys(methods)}
    question.prepare(lambda count: _so_far(question, chosen, count))
    answers = {}
    for method, maker in chosen.items():
        question.progress.phase(f"computing {method}")
        answers[method] = maker.answer()
    rows = [r for a in answers.values() for r in (numbered if a.ordered else ranked)(a.rows)]
    tree = xr.DataTree(xr.Dataset(attrs=_attributes(question, answers)))
    tree["ranking"] = xr.DataTree(as_dataset(rows))
    for method, answer in answers.items():
        tree[method] = xr.DataTree(answer.data)
    return tree


def _so_far(question: Question, chosen: dict[str, Method], count: int) -> None:
    """After each seed but the first and the last: what leads, so that a long explanation may be stopped early."""
    ablation = chosen.get("ablation")
    if not isinstance(ablation, Intervention) or not 2 <= count < len(question.seeds):
        return
    first = [f"{name} {effect:+.3g}" for name, effect in ablation.leading(count)[:_LEADING]]
    question.progress.note(f"after {count} of {len(question.seeds)} seeds: {'; '.join(first)}")


def _made(method: str, question: Question) -> Method:
    """Each method's home is imported when it is asked for."""
    if method in ("ablation", "clamp", "scaling"):
        maker = Intervention
    elif method == "direct":
        from sim.interpret.methods.direct import Direct as maker
    elif method == "share":
        from sim.interpret.methods.share import Share as maker
    elif method in ("gradients", "integrated_gradients"):
        from sim.interpret.methods.attribution import Attribution as maker
    elif method == "distil":
        from sim.interpret.methods.formula_in_place import FormulaInPlace as maker
    elif method == "control":
        from sim.interpret.methods.control import Control as maker
    elif method == "counterfactual":
        from sim.interpret.methods.counterfactual import Counterfactual as maker
    elif method == "reach":
        from sim.interpret.methods.reaching import Reaching as maker
    else:
        from sim.interpret.methods.screening import Screening as maker
    return maker(question, method)


def _attributes(question: Question, answers: dict[str, Answer]) -> dict:
    baseline, step = question.baseline, question.step_error
    scenario = question.scenario
    return {
        "outcome": question.outcome.text,
        "time": question.outcome.when,
        "units": question.outcome.unit,
        "level": LEVEL,
        "seeds": len(question.seeds),
        "methods": list(answers),
        "baseline": baseline.mean,
        "baseline_lower": baseline.lower,
        "baseline_upper": baseline.upper,
        "coupling_error": step.mean,
        "coupling_error_lower": step.lower,
        "coupling_error_upper": step.upper,
        "splitting_error": json.dumps(question.splitting_error),
        "notes": [n for a in answers.values() for n in a.sentences],
        "labels": json.dumps(_labels(question)),
        "wiring": json.dumps(question.plan.wiring),
        "scenario": scenario.name,
        "scenario_sha256": scenario.sha256,
    }


def _labels(question: Question) -> dict[str, str]:
    """What the components of representations are called by their weights."""
    return {
        f"{q.name}[{k}]": label
        for p in question.plan.processes
        for q in p.states
        if q.name.startswith("ur.")
        for k, label in enumerate(q.labels)
    }
