"""What each method says of a problem of FAITH-Hybrid, and how it is held against the truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from faith_networks import Fit, fitted
from faith_problem import Problem
from scipy.spatial.distance import cdist
from scipy.stats import rankdata, spearmanr

from neural.threads import one_thread
from sim.interpret.distil import distil
from sim.interpret.methods.attribution import integrated, sloped
from sim.interpret.networks import Term
from sim.interpret.refits import refit_interval

METHODS = ("integrated_gradients", "gradients", "distil", "ablation")
#: methods whose effects have intervals
INTERVALS = METHODS[:2]
#: the tool's threshold: an input matters if the lower end of its share's interval is above this
THRESHOLD = 0.05
_ROWS = 40
_DISTILLED_ROWS = 100
#: rows that are looked at for neighbours, points on the way, and how near a neighbour is [standard deviations]
_LOOKED_AT, _CUTS, _NEAR = 1000, 6, 0.35


@dataclass(frozen=True)
class Verdict:
    """What one method says of one problem, input by input.

    Attributes:
        strength, signed: (input,) size and signed effect for one unit. claimed: (input,) whether it is said to matter.
        without, starts, again: (fit, input) the signed effect by fits to other data, for its interval.
    """

    strength: np.ndarray
    signed: np.ndarray
    claimed: np.ndarray
    without: np.ndarray | None = None
    starts: np.ndarray | None = None
    again: np.ndarray | None = None


def judged(problem: Problem, silent: Problem, seed: int) -> dict[str, dict]:
    """Records by method of one problem, and of the same with its edges switched off: plain data for `faith_scores`."""
    # simulators set the number of threads too, and small products are faster on one
    with one_thread():
        return _judged(problem, silent, seed)


def _judged(problem: Problem, silent: Problem, seed: int) -> dict[str, dict]:
    rng = np.random.default_rng([seed, 7])
    network, still = fitted(problem, seed), fitted(silent, seed)
    seen, quiet = _sample(problem, network, rng), _sample(silent, still, rng)
    truth = _numpy(problem.truth)
    intact = problem.rerun(truth, None)
    moved = np.array([abs(intact - problem.rerun(truth, k)) for k in range(len(problem.inputs))])
    acts = moved > 1e-6 * max(abs(intact), 1e-9)
    found = {}
    for method in METHODS:
        effect, size = _analytic(problem, seen, method)
        said = _attributed(problem, network, method, seen, rng)
        null = _attributed(silent, still, method, quiet, rng)
        found[method] = _record(problem, method, said, null, effect, size, acts)
    return found


def _record(
    problem: Problem,
    method: str,
    said: Verdict,
    null: Verdict,
    effect: np.ndarray,
    size: np.ndarray,
    acts: np.ndarray,
) -> dict:
    active = problem.active
    top = _first(said.strength)
    clear = active & (effect != 0)
    record = {
        "active": active.astype(int).tolist(),
        "share": (said.strength / max(said.strength.sum(), 1e-300)).round(5).tolist(),
        "first": float(active[top].mean()),
        "causal": float(acts[top].mean()),
        "decoys": said.claimed[problem.decoys].astype(int).tolist(),
        "null_first": float(active[_first(null.strength)].mean()),
        "null_chance": float(active.mean()),
        "null_claimed": null.claimed[active].astype(int).tolist(),
    }
    # a knock-out moves the outcome of the whole system, whose sign is not the term's
    if method != "ablation":
        record["sign"] = (np.sign(said.signed) == np.sign(effect))[clear].astype(int).tolist()
    if np.ptp(rankdata(said.strength)) > 0:
        record["spearman"] = float(spearmanr(said.strength, size).statistic)
    if said.without is not None:
        # of the active inputs, so that intervals can be made and held against the truth
        parts = {"effect": effect, "whole": said.signed}
        parts |= {"without": said.without, "starts": said.starts, "again": said.again}
        record["fits"] = {name: _short(values[..., clear]) for name, values in parts.items()}
    return record


def _short(values: np.ndarray) -> list:
    """Six digits are enough to keep."""
    return [_short(v) if np.ndim(v) else float(f"{v:.6g}") for v in values]


def _first(strength: np.ndarray) -> np.ndarray:
    """The strongest; all of them where several are equally strong."""
    return np.flatnonzero(strength >= strength.max() * (1 - 1e-12))


def _sample(problem: Problem, network: Fit, rng: np.random.Generator) -> np.ndarray:
    """Rows (row, input) to explain: such that there are data on the way to them from the baseline.

    All along the way some row lies near by, by the inputs that the network sees. What
    a term says where no trajectory went can be neither learned nor checked.
    """
    z = problem.z[rng.permutation(len(problem.z))[:_LOOKED_AT]]
    scale = problem.z.std(0) + 1e-12
    used = network.used.numpy()
    rows, near = z[: 3 * _ROWS], (z / scale)[:, used]
    cuts = np.linspace(0, 1, _CUTS)[:, None, None]
    way = ((problem.baseline + cuts * (rows - problem.baseline)) / scale)[..., used]
    far = np.max([cdist(points, near).min(1) for points in way], 0)
    # where data are so few that nothing is near, the nearest have to do
    enough = max(_NEAR * np.sqrt(len(used)), float(np.sort(far)[0]))
    return rows[far <= enough][:_ROWS]


def _attributed(
    problem: Problem, network: Fit, method: str, rows: np.ndarray, rng: np.random.Generator
) -> Verdict:
    """What a method says of a fitted term at `rows` (row, input)."""
    if method in INTERVALS:
        signed, sizes = _of_fits(problem, network, method, rows)
        strength = sizes[0]
        if not network.learned:
            return Verdict(strength, signed[0], np.zeros(len(strength), bool))
        shares = sizes / np.maximum(sizes.sum(1, keepdims=True), 1e-300)
        kinds = (network.without, network.starts, network.again)
        _, low, _ = refit_interval(shares[0], *(shares[list(k)] for k in kinds))
        return Verdict(strength, signed[0], low > THRESHOLD, *(signed[list(k)] for k in kinds))
    if method == "distil":
        signed, strength = _by_formula(problem, network, rows, rng)
    else:
        signed = _knocked_out(problem, network)
        strength = np.abs(signed)
    share = strength / max(strength.sum(), 1e-300)
    return Verdict(strength, signed, (share > THRESHOLD) & network.learned)


def _of_fits(problem: Problem, network: Fit, method: str, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Signed effect for one unit and mean size, each (function, input), of every function of a fit at once.

    The function's number goes in as one more input, which is the same at the baseline and so takes no share.
    """
    count = len(network.networks)
    number = np.repeat(np.arange(float(count)), len(rows))[:, None]
    values = np.hstack([np.tile(rows, (count, 1)), number])
    baseline = np.hstack([np.tile(problem.baseline, (len(values), 1)), number])
    shares = _shares(
        problem, lambda x: network.each(x[:, :-1], x[:, -1].detach().round().long()), method, values, baseline
    )
    shares = shares[:, :-1].reshape(count, len(rows), -1)
    return np.array([_slope(s, rows, problem.baseline) for s in shares]), np.abs(shares).mean(1)


def _analytic(problem: Problem, rows: np.ndarray, method: str) -> tuple[np.ndarray, np.ndarray]:
    """Signed effect for one unit and mean size (input,) of the truth at `rows`, by the method's own definition."""
    own = method if method in INTERVALS else "integrated_gradients"
    shares = _shares(problem, problem.truth, own, rows, problem.baseline)
    return _slope(shares, rows, problem.baseline), np.abs(shares).mean(0)


def _shares(problem: Problem, function, method: str, values: np.ndarray, baseline: np.ndarray) -> np.ndarray:
    """(row, input) what each input adds to what the function says of `values` (row, input)."""
    explain = integrated if method == "integrated_gradients" else sloped
    term = Term(problem.name, problem.inputs, ["term"], ["1"], baseline, lambda x: function(x)[:, None])
    return explain(term, values)[0][:, 0]


def _slope(shares: np.ndarray, rows: np.ndarray, baseline: np.ndarray) -> np.ndarray:
    """Signed effect (input,) for one unit of each input: slope of its share over its distance from the baseline."""
    away = rows - baseline
    return (shares * away).sum(0) / np.maximum((away**2).sum(0), 1e-300)


def _numpy(function):
    """A function of tensors as one of arrays."""

    def plain(z: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return np.asarray(function(torch.tensor(z)), float)

    return plain


def _by_formula(
    problem: Problem, network: Fit, rows: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """What the distilled formula loses with each input at its baseline: slope and size."""
    few = problem.z[rng.choice(len(problem.z), min(_DISTILLED_ROWS, len(problem.z)), replace=False)]
    used = network.used.numpy()
    formula = distil(few[:, used], _numpy(network)(few), [problem.inputs[k] for k in used], floor=0.05)
    lost = np.zeros((len(rows), len(problem.inputs)))
    for k in used:
        without = rows.copy()
        without[:, k] = problem.baseline[k]
        lost[:, k] = formula.predict(rows[:, used]) - formula.predict(without[:, used])
    return _slope(lost, rows, problem.baseline), np.abs(lost).mean(0)


def _knocked_out(problem: Problem, network: Fit) -> np.ndarray:
    """Change of the system's outcome by each input held at its baseline, run again with the learned term."""
    function = _numpy(network)
    intact = problem.rerun(function, None)
    return np.array([intact - problem.rerun(function, k) for k in range(len(problem.inputs))])
