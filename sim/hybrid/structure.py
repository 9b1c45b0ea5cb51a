"""What formula a learned term is, judged by the measurements themselves.

A network shows what the term looks like; which terms it is made of is decided where the data are: every candidate
takes part in the equations, all coefficients are fitted to the measurements, and the least certain one goes as long
as the extended Bayesian information criterion falls (Chen & Chen, Biometrika 95, 759, 2008). Errors of the network,
which are alike at neighbouring points, cannot pass for a term that way.

Whether the measurements can tell the candidates apart at all is how much wider a kept coefficient's interval is among
all candidates than among those that were kept: the root of its variance inflation factor (Marquardt, Technometrics
12, 591, 1970), which does not depend on the noise. Along one trajectory it is in the hundreds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations_with_replacement
from math import lgamma, log

import numpy as np

from mechanistic.errors import IntegrationError
from mechanistic.parts import Tree
from sim.fitting.objective import Objective, Study
from sim.fitting.optimize import Fit, Stop, fit
from sim.fitting.parts import Parameter
from sim.fitting.spans import Settings
from sim.hybrid.system import Hybrid

COLLINEAR = 10.0
_STOP = Stop(steps=60)


@dataclass(frozen=True)
class Candidate:
    """One term that may be part of a formula: its text, its tree, and its values over samples."""

    text: str
    tree: Tree
    values: np.ndarray


@dataclass(frozen=True)
class Structure:
    """The formula that was found.

    Attributes:
        terms: for each output the texts of its terms with their coefficients.
        deviations: the coefficients' standard deviations, likewise.
        criterion: extended Bayesian information criterion.
        collinearity: how many times wider the widest interval of a kept coefficient is among all candidates.
        warning: what the measurements cannot tell, in words, or "".
        fitted: the fit of the kept terms; those that went are 0.
    """

    terms: tuple[dict[str, float], ...]
    deviations: tuple[dict[str, float], ...]
    criterion: float
    collinearity: float
    warning: str
    fitted: Fit

    @property
    def text(self) -> tuple[str, ...]:
        """Each output as a formula."""
        return tuple(
            " + ".join(f"{value:.4g} {text}" for text, value in terms.items()).replace("+ -", "- ") or "0"
            for terms in self.terms
        )


def monomials(inputs: Sequence[str], samples: np.ndarray, degree: int = 2) -> list[Candidate]:
    """All products of up to `degree` inputs, without the constant."""
    found = []
    for d in range(1, degree + 1):
        for chosen in combinations_with_replacement(range(len(inputs)), d):
            names = [inputs[k] for k in chosen]
            text = " ".join(
                f"{n}^{names.count(n)}" if names.count(n) > 1 else n for n in dict.fromkeys(names)
            )
            leaves = [["time"] if n == "time" else n for n in names]
            tree: Tree = leaves[0] if d == 1 else ["*", *leaves]
            found.append(Candidate(text, tree, samples[:, list(chosen)].prod(1)))
    return found


def find_structure(
    hybrid: Hybrid,
    name: str,
    study: Study,
    samples: np.ndarray,
    *,
    degree: int = 2,
    also: Sequence[Parameter] = (),
    settings: Settings | None = None,
) -> Structure:
    """The formula of the joint `name` that the measurements of `study` support.

    Args:
        hybrid: fitted to them.
        study: its network is replaced by one with formulas.
        samples: (point, input) of the joint along the fitted courses; the learned values there are where the
            coefficients start.
        degree: of the candidates for each output, the `monomials` of the inputs.
        also: parameters of the pathway that are fitted along.
    """
    term = hybrid.term(name)
    learned = term(samples)
    terms = monomials(term.inputs, samples, degree)
    design = np.stack([c.values for c in terms], 1)
    widths = np.maximum(np.sqrt((design**2).mean(0)), 1e-300)
    start = np.linalg.lstsq(design / widths, learned, rcond=1e-6)[0] / widths[:, None]
    outputs = learned.shape[1]
    ids = [[f"{name}__c{o}__{k}" for k in range(len(terms))] for o in range(outputs)]
    trees = [["+", *(["*", ids[o][k], c.tree] for k, c in enumerate(terms))] for o in range(outputs)]
    network = hybrid.with_formulas(
        {name: trees}, {ids[o][k]: float(start[k, o]) for o in range(outputs) for k in range(len(terms))}
    )
    coefficients = [
        Parameter(ids[o][k], float(start[k, o])) for o in range(outputs) for k in range(len(terms))
    ]
    objective = Objective([*coefficients, *also], [replace(study, network=network)], settings)
    return _pruned(objective, len(coefficients), [c.text for c in terms], outputs)


def _pruned(objective: Objective, count: int, texts: list[str], outputs: int) -> Structure:
    alive = np.ones(len(objective.names), dtype=bool)
    rows = sum(len(s.measurements) for s in objective.studies)

    def criterion(found: Fit) -> float:
        k = int(alive[:count].sum())
        choices = lgamma(count + 1) - lgamma(k + 1) - lgamma(count - k + 1)
        return -2.0 * found.llh + k * log(rows) + 2.0 * choices

    now = fit(objective, objective.nominal, _STOP)
    if now.evaluation is None:
        raise IntegrationError("what was learned cannot be followed as a formula of these candidates")
    among_all = _deviations(now, alive)
    best, kept, score = now, alive.copy(), criterion(now)
    while alive[:count].any():
        certain = np.full(len(alive), np.inf)
        certain[alive] = np.abs(now.x[alive]) / _deviations(now, alive)
        alive[int(np.argmin(certain[:count]))] = False
        now = fit(objective, np.where(alive, now.x, 0.0), _STOP, fixed=~alive)
        if now.evaluation is None:
            # without the term there is no course: it stays
            break
        new = criterion(now)
        if new < score:
            best, kept, score = now, alive.copy(), new
        elif now.chi2 > best.chi2 + 100.0 + 10.0 * log(rows):
            break
    at = np.flatnonzero(kept)
    deviations = _deviations(best, kept)
    terms: list[dict[str, float]] = [{} for _ in range(outputs)]
    spreads: list[dict[str, float]] = [{} for _ in range(outputs)]
    for i, value, deviation in zip(at, best.x[at], deviations):
        if i < count:
            terms[i // len(texts)][texts[i % len(texts)]] = float(value)
            spreads[i // len(texts)][texts[i % len(texts)]] = float(deviation)
    own = at < count
    collinearity = float((among_all[at] / deviations)[own].max(initial=1.0))
    warning = ""
    if collinearity > COLLINEAR:
        warning = (
            f"collinear: the candidate terms look alike along these courses (intervals {collinearity:.0f} times as "
            "wide among all of them); measure from other initial states before trusting which were kept"
        )
    return Structure(tuple(terms), tuple(spreads), score, collinearity, warning, best)


def _deviations(found: Fit, alive: np.ndarray) -> np.ndarray:
    """Standard deviations of the parameters that take part; infinite where the measurements do not determine one."""
    assert found.evaluation is not None and found.evaluation.root is not None
    root = found.evaluation.root
    root = root[:, alive]
    size = np.maximum(np.linalg.norm(root, axis=0), 1e-300)
    _, s, v = np.linalg.svd(root / size, full_matrices=False)
    inverse = np.where(s > 1e-12 * s.max(initial=0.0), 1.0 / np.maximum(s, 1e-300), np.inf)
    with np.errstate(invalid="ignore"):
        spread = np.sqrt(np.nansum((v.T * inverse) ** 2, axis=1))
    return np.where(np.isfinite(spread), spread, np.inf) / size
