"""FAITH-Hybrid: can explanations of a hybrid be believed? Attribution on systems whose truth is known.

    python benchmarks/faith.py [--json] [--quick] [--seed N] [--family NAME]...

Five families (benchmarks/faith_families.py) with decoys, ten seeds each, at several levels of noise and numbers of
trajectories. A network learns the hidden term; every method of `cellweave explain` that applies says which input
drives it; and what it says is held against the truth. The table of docs/faith-hybrid.md is this script's.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from faith_families import Problem, problems
from faith_networks import Ensemble, fitted
from scipy.stats import spearmanr
from scipy.stats import t as student

from sim.interpret.attribution import integrated, sloped
from sim.interpret.distil import distil
from sim.interpret.networks import Term

METHODS = ("integrated_gradients", "gradients", "distil", "ablation")
FAMILIES = ("dynamics", "network", "pathway", "tissue", "forces")
#: the tool's threshold: an input matters if the lower end of its share's interval is above this
THRESHOLD = 0.05
#: a term that explains less than this of unseen trajectories has learned nothing that could be explained
LEARNED = 0.2
_ROWS = 64
_LEVEL = 0.9


@dataclass(frozen=True)
class Verdict:
    """What one method says of one problem, input by input: strength, signed effect with interval, and claim."""

    strength: np.ndarray
    signed: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    claimed: np.ndarray


def attributed(
    problem: Problem, network: Ensemble, method: str, rows: np.ndarray, rng: np.random.Generator
) -> Verdict:
    """What a method says of a fitted term at `rows` (row, input)."""
    if method in ("integrated_gradients", "gradients"):
        explain = integrated if method == "integrated_gradients" else sloped
        found = [explain(_term(problem, network.member(m)), rows)[0][:, 0] for m in range(network.members)]
        signed = np.array([_slope(f, rows, problem.baseline) for f in found])
        sizes = np.array([np.abs(f).mean(0) for f in found])
    elif method == "distil":
        signed, sizes = _by_formula(problem, network, rows, rng)
    else:
        signed = _knocked_out(problem, network.mean)[None]
        sizes = np.abs(signed)
    share = sizes / np.maximum(sizes.sum(1, keepdims=True), 1e-300)
    learned = network.held_out < 1 - LEARNED
    low, _ = _interval(share)
    lower, upper = _interval(signed)
    return Verdict(sizes.mean(0), signed.mean(0), lower, upper, (low > THRESHOLD) & learned)


def _slope(shares: np.ndarray, rows: np.ndarray, baseline: np.ndarray) -> np.ndarray:
    """Signed effect (input,) for one unit of each input: slope of its share over its distance from the baseline."""
    away = rows - baseline
    return (shares * away).sum(0) / np.maximum((away**2).sum(0), 1e-300)


def _term(problem: Problem, function) -> Term:
    return Term(
        problem.name,
        problem.inputs,
        ["term"],
        ["1"],
        problem.baseline,
        lambda x: function(x)[:, None],
    )


def _by_formula(
    problem: Problem, network: Ensemble, rows: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """What the distilled formula loses with each input at its baseline: slope and size."""
    with torch.no_grad():
        said = network.mean(torch.tensor(problem.z)).numpy()
    few = rng.choice(len(said), min(250, len(said)), replace=False)
    used = np.flatnonzero(network.kept)
    formula = distil(problem.z[few][:, used], said[few], [problem.inputs[k] for k in used], floor=0.05)
    lost = np.zeros((len(rows), len(problem.inputs)))
    for k in used:
        without = rows.copy()
        without[:, k] = problem.baseline[k]
        lost[:, k] = formula.predict(rows[:, used]) - formula.predict(without[:, used])
    return _slope(lost, rows, problem.baseline)[None], np.abs(lost).mean(0)[None]


def _knocked_out(problem: Problem, function) -> np.ndarray:
    """Change of the system's outcome by each input held at its baseline, run again with the learned term."""

    def plain(z: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return function(torch.tensor(z)).numpy()

    intact = problem.rerun(plain, None)
    return np.array([intact - problem.rerun(plain, k) for k in range(len(problem.inputs))])


def _interval(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Interval of each column by the spread over members drawn from resampled trajectories."""
    mean = values.mean(0)
    if len(values) < 2:
        return mean, mean
    half = student.ppf((1 + _LEVEL) / 2, len(values) - 1) * values.std(0, ddof=1)
    return mean - half, mean + half


# ---- scores


def average_precision(labels: np.ndarray, scores: np.ndarray) -> float:
    """Area under the precision-recall curve as the mean precision at each true one."""
    order = np.argsort(-scores, kind="stable")
    hits = labels[order]
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    return float(precision[hits].mean()) if hits.any() else float("nan")


class Scores:
    """Gathers what one method said in one condition."""

    def __init__(self) -> None:
        self.labels: list[np.ndarray] = []
        self.strengths: list[np.ndarray] = []
        self.first: list[bool] = []
        self.sign: list[bool] = []
        self.spearman: list[float] = []
        self.decoys: list[bool] = []
        self.covered: list[bool] = []
        self.causal: list[bool] = []
        self.null_first: list[float] = []
        self.null_claimed: list[bool] = []

    def add(self, problem: Problem, said: Verdict, method: str, effect: np.ndarray, size: np.ndarray) -> None:
        """One problem whose hidden edge is on; `effect` and `size` (input,) are the analytic ones."""
        share = said.strength / max(said.strength.sum(), 1e-300)
        self.labels.append(problem.active)
        self.strengths.append(share)
        top = int(np.argmax(share))
        self.first.append(bool(problem.active[top]))
        clear = problem.active & (effect != 0)
        # a knock-out moves the outcome of the whole system, whose sign is not the term's
        if method != "ablation":
            self.sign += list((np.sign(said.signed) == np.sign(effect))[clear])
        if np.ptp(said.strength) > 0:
            self.spearman.append(float(spearmanr(said.strength, size).statistic))
        self.decoys += list(said.claimed[problem.decoys])
        if method in ("integrated_gradients", "gradients"):
            self.covered += list(((said.lower <= effect) & (effect <= said.upper))[clear])
        truth = _truth(problem)
        intact = problem.rerun(truth, None)
        moved = abs(intact - problem.rerun(truth, top))
        self.causal.append(moved > 1e-6 * max(abs(intact), 1e-9))

    def add_null(self, said: Verdict, was: np.ndarray) -> None:
        """One problem whose edges, formerly `was` (input,), are switched off."""
        top = int(np.argmax(said.strength))
        self.null_first.append(float(was[top]) / was.mean())
        self.null_claimed += list(said.claimed[was])

    def values(self) -> Iterator[tuple[str, float]]:
        """Names and numbers; all between 0 and 1 but the null test's ratio to chance."""
        yield "AUPRC", average_precision(np.concatenate(self.labels), np.concatenate(self.strengths))
        yield "active ranked first", float(np.mean(self.first))
        if self.sign:
            yield "sign", float(np.mean(self.sign))
        if self.spearman:
            yield "Spearman with the analytic effect", float(np.mean(self.spearman))
        yield "decoys kept below threshold", 1 - float(np.mean(self.decoys))
        yield "top-ranked acts in the truth simulator", float(np.mean(self.causal))
        if self.null_claimed:
            yield "null: edge not claimed", 1 - float(np.mean(self.null_claimed))
            yield "null: first, over chance", float(np.mean(self.null_first))
        if self.covered:
            yield "coverage of 90 % intervals", float(np.mean(self.covered))


def _truth(problem: Problem):
    return lambda z: np.asarray(problem.truth(z), float)


def analytic(problem: Problem, rows: np.ndarray, method: str) -> tuple[np.ndarray, np.ndarray]:
    """Signed effect for one unit and mean size (input,) of the truth at `rows`, by the method's own definition."""
    explain = sloped if method == "gradients" else integrated
    found = explain(_term(problem, problem.truth), rows)[0][:, 0]
    return _slope(found, rows, problem.baseline), np.abs(found).mean(0)


def _sample(problem: Problem, rng: np.random.Generator) -> np.ndarray:
    return problem.z[rng.choice(len(problem.z), min(_ROWS, len(problem.z)), replace=False)]


def judged(
    family: str, size: int, noise: float, trajectories: int, seeds: range, methods: tuple[str, ...] = METHODS
) -> dict[str, Scores]:
    """Scores of every method over the seeds of one condition."""
    scores = {m: Scores() for m in methods}
    for seed in seeds:
        rng = np.random.default_rng([seed, 7])
        on = problems(family, seed, noise, trajectories, size)
        off = problems(family, seed, noise, trajectories, size, off=True)
        for problem, silent in zip(on, off):
            network = fitted(problem.z, problem.y, problem.group, seed)
            still = fitted(silent.z, silent.y, silent.group, seed)
            seen, quiet = _sample(problem, rng), _sample(silent, rng)
            for m in methods:
                effect, amount = analytic(problem, seen, m)
                scores[m].add(problem, attributed(problem, network, m, seen, rng), m, effect, amount)
                scores[m].add_null(attributed(silent, still, m, quiet, rng), problem.active)
    return scores


def rows(quick: bool, seed: int, families: tuple[str, ...], count: int = 10) -> Iterator[dict]:
    """One row a number; the peer of attribution is knocking out and running again."""
    conditions = [(0.05, 24)] if quick else [(0.05, 48), (0.10, 24), (0.02, 48)]
    seeds = range(seed, seed + (1 if quick else count))
    for noise, trajectories in conditions:
        for family in families:
            sizes = (10, 30, 100) if family == "network" and not quick else (10,)
            for size in sizes:
                label = f"{family} of {size}" if family == "network" else family
                found = judged(family, size, noise, trajectories, seeds)
                peer = dict(found["ablation"].values())["AUPRC"]
                for method, scores in found.items():
                    for what, value in scores.values():
                        if not np.isfinite(value):
                            continue
                        name = f"{label}, {noise:.0%} noise, {trajectories} trajectories, {method}: {what}"
                        row = {"name": name, "value": float(value), "unit": "1"}
                        if what == "AUPRC" and method != "ablation" and peer > 0:
                            row |= {
                                "peer": "knock-out and rerun",
                                "peer_value": float(peer),
                                "ratio": float(value / peer),
                            }
                        yield row


def main() -> None:
    """Print the rows."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--quick", action="store_true", help="one seed, one condition")
    parser.add_argument("--seed", type=int, default=0, help="first seed")
    parser.add_argument("--family", action="append", choices=FAMILIES, help="only this one")
    parser.add_argument("--seeds", type=int, default=10, help="how many seeds, without --quick")
    options = parser.parse_args()
    torch.set_num_threads(1)
    began = time.perf_counter()
    found = []
    for row in rows(options.quick, options.seed, tuple(options.family or FAMILIES), options.seeds):
        found.append(row)
        if not options.json:
            peer = f"   (knock-out and rerun {row['peer_value']:.3f})" if "peer" in row else ""
            print(f"{row['value']:8.3f}  {row['name']}{peer}", flush=True)
    if options.json:
        print(json.dumps(found, indent=1))
    else:
        print(f"{time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
