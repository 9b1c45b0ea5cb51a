"""Curves of drug combinations foretold from control and single-drug wells of the same plate.

Each channel is a sum of logarithms, S = log2(signal + eps), relative to the well's own first frame:

    S(well, t) = plate(t) + sum_d effect_d(dose, t) + noise

`effect_d` is zero without the drug and a random walk over its doses (a Gaussian process whose increments from
one dose to the next are alike), so that neighbouring doses lend each other strength and the control well is
not the only witness of the plate. How rough the walk is beside the noise is chosen by marginal likelihood,
for each channel of each plate. Effects that point the same way are joined by a power mean between Bliss
(power 1: logarithms add) and HSA (power infinity: the strongest alone); opposite effects add.

Nothing here is learned from combination wells. `POWER` is fixed at 2: independent effects of equal size give
sqrt(2) of one, half-way between the two rules in the logarithm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from neural.population import EPSILON

POWER = 2.0
# ratios of the walk's variance per dose step to the noise's
_ROUGHNESS = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
# log2 by which live area falls back where a new course begins, and by which starts may differ
_FALLS_BACK = 0.5
_SHORTEST_COURSE = 4


def courses(live: np.ndarray) -> int:
    """How many courses of equal length the frames (well, frame) of live area hold, one after the other.

    Wells of one plate restart together: the mean log2 live area falls by half a doubling or more at every
    seam, back to where the first course began. 1 where no such division exists.
    """
    logs = np.log2(np.maximum(live, 0.0) + EPSILON[0])
    frames = logs.shape[1]
    for count in range(2, frames // _SHORTEST_COURSE + 1):
        if frames % count:
            continue
        start = logs[:, :: frames // count].mean(0)
        before = logs[:, frames // count - 1 :: frames // count].mean(0)
        falls = before[:-1] - start[1:]
        if (falls > _FALLS_BACK).all() and (np.abs(start[1:] - start[0]) < _FALLS_BACK).all():
            return count
    return 1


@dataclass(frozen=True)
class DoseWalk:
    """Effects of drugs over dose as random walks that start at zero without the drug.

    Attributes:
        doses: per drug, the doses fitted (ascending, without 0).
        roughness: variance of one dose step over that of the noise.
        given: (well, drug) places of the fitted wells on the drugs' ladders of doses.
        weights: (well, F) of the fitted wells in the posterior mean.
    """

    doses: list[np.ndarray]
    roughness: float
    given: np.ndarray
    weights: np.ndarray

    @classmethod
    def fit(cls, dose: np.ndarray, values: np.ndarray) -> DoseWalk:
        """Fit values (well, F) at doses (well, drug); the plate's own level is left free."""
        ladders = [np.unique(column[column > 0]) for column in dose.T]
        given = np.stack([_place(column, ladder) for column, ladder in zip(dose.T, ladders, strict=True)], 1)
        kernel = sum(np.minimum(x[:, None], x[None]) for x in given.T)
        n, one = len(dose), np.ones(len(dose))
        best: tuple[float, float, np.ndarray] | None = None
        for ratio in _ROUGHNESS:
            covariance = ratio * kernel + np.eye(n)
            inverse = np.linalg.inv(covariance)
            level = inverse @ one
            contrast = inverse - np.outer(level, level) / (one @ level)
            noise = np.einsum("nf,nm,mf->", values, contrast, values) / max(n - 1, 1) / values.shape[1]
            misfit = np.linalg.slogdet(covariance)[1] + np.log(one @ level)
            misfit += (n - 1) * np.log(max(noise, 1e-12))
            if best is None or misfit < best[0]:
                best = (float(misfit), ratio, contrast @ values)
        assert best is not None
        return cls(ladders, best[1], given, best[2])

    def effect(self, drug: int, dose: np.ndarray) -> np.ndarray:
        """Posterior mean effect (n, F) of one drug at doses (n,), between and beyond those fitted too."""
        place = _place(np.asarray(dose, float), self.doses[drug])
        shared = np.minimum(place[:, None], self.given[None, :, drug])
        return self.roughness * shared @ self.weights


def _place(dose: np.ndarray, ladder: np.ndarray) -> np.ndarray:
    """Places on a ladder of doses: 0 without drug, then 1, 2, …; in proportion of log dose between rungs."""
    if not len(ladder):
        return np.zeros(len(dose))
    rungs = np.arange(1.0, len(ladder) + 1)
    between = np.interp(np.log(np.maximum(dose, ladder[0])), np.log(ladder), rungs)
    return np.where(dose < ladder[0], np.maximum(dose, 0.0) / ladder[0], between)


def joined(effects: Sequence[np.ndarray], power: float = POWER) -> np.ndarray:
    """Effects of drugs given together: power means of those that raise and of those that lower, added.

    `power` 1 is Bliss on a log scale, infinity the highest single agent.
    """
    stack = np.stack(list(effects))
    return _norm(np.maximum(stack, 0.0), power) - _norm(np.maximum(-stack, 0.0), power)


def _norm(parts: np.ndarray, power: float) -> np.ndarray:
    largest = parts.max(0)
    share = parts / np.where(largest > 0, largest, 1.0)
    return largest * (1.0 if np.isinf(power) else (share**power).sum(0) ** (1.0 / power))


def predict_combinations(
    dose: np.ndarray, signal: np.ndarray, query: np.ndarray, power: float = POWER
) -> np.ndarray:
    """Curves of wells that got `query`, as log2((signal + eps) / (signal at the first frame + eps)).

    Args:
        dose: (n, drug) of the plate's wells, any unit; one of them or more must be untreated.
        signal: (n, T, 3) live area, annexin V and dead DNA [% of the image].
        query: (m, drug).
        power: of `joined`.

    Returns:
        (m, T, 3). Frames of further courses are relative to the first course's start, as measured curves are.

    Raises:
        ValueError: no untreated well, or arrays that do not fit each other.
    """
    dose, query = np.asarray(dose, float), np.atleast_2d(np.asarray(query, float))
    if not (dose == 0).all(1).any():
        raise ValueError("the plate has no untreated well to compare with")
    if signal.shape[:1] != dose.shape[:1] or signal.shape[2:] != (3,) or query.shape[1] != dose.shape[1]:
        raise ValueError(f"doses {dose.shape}, signals {signal.shape} and query {query.shape} do not fit")
    wells, frames, channels = signal.shape
    count = courses(signal[..., 0])
    logs = np.log2(np.maximum(signal, 0.0) + np.array(EPSILON)).reshape(wells, count, -1, channels)
    start = logs[:, :, 0].mean(0)
    own = logs - logs[:, :, :1] + start[:, None]
    out = np.empty((len(query), count, frames // count, channels))
    for c in range(channels):
        walk = DoseWalk.fit(dose, own[..., c].mean(1))
        drugs = range(dose.shape[1])
        explained = sum(walk.effect(d, dose[:, d]) for d in drugs)
        plate = (own[..., c] - np.asarray(explained)[:, None]).mean(0)
        together = joined([walk.effect(d, query[:, d]) for d in drugs], power)
        out[..., c] = plate - start[0, c] + together[:, None]
    return out.reshape(len(query), frames, channels)
