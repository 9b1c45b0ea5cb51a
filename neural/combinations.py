"""Curves of drug combinations foretold from control and single-drug wells of the same plate.

Each channel is a sum of logarithms, S = log2(signal + eps), relative to the well's own first frame:

    S(well, t) = plate(t) + sum_d effect_d(dose, t) + noise

`effect_d` is zero without the drug and a random walk over its doses (a Gaussian process whose increments from
one dose to the next are alike), so that neighbouring doses lend each other strength and the control well is
not the only witness of the plate. How rough each drug's walk is beside the noise is the most probable value for
each channel of each plate; where wells were run more than once, their differences say how large the noise is at
least. Few wells cannot tell noise from effect; beforehand a drug's highest dose does what stands out of the noise.
Effects that point the same way are joined by a power mean between Bliss (power 1: logarithms add) and HSA (power
infinity: the strongest alone); opposite effects add.

No foretold curve is learned from combination wells. `POWER` is fixed at 2: independent effects of equal size give
sqrt(2) of one, half-way between the two rules in the logarithm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from neural.population import EPSILON
from neural.uncertainty import conformal_quantile

POWER = 2.0
# how far measured pairs lay from what singles and rules say, over the size of single drugs' effects: the only figure
# here that comes from pairs (five experiments, four pairs of drugs; any three gave 0.13 to 0.39). Intervals use it.
INTERPLAY = 0.22
# ratios of a walk's variance per dose step to the noise's
_ROUGHNESS = np.array([0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 30.0, 100.0, 300.0, 1000.0])
# that of the highest dose's effect beforehand, within a decade: five standard deviations of the noise
_STANDS_OUT = 25.0
_DECADE = float(np.log(10.0))
# how many independent frames the strongly correlated ones of a curve are worth
_FRAMES_WORTH = 4.0
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
        roughness: (drug,) variance of one dose step over that of the noise.
        given: (well, drug) places of the fitted wells on the drugs' ladders of doses.
        contrast: (well, well) inverse covariance over the noise's variance, the plate's level taken out.
        weights: (well, F) of the fitted wells in the posterior mean.
    """

    doses: list[np.ndarray]
    roughness: np.ndarray
    given: np.ndarray
    contrast: np.ndarray
    weights: np.ndarray

    @classmethod
    def fit(cls, dose: np.ndarray, values: np.ndarray, noise: float = 0.0) -> DoseWalk:
        """Fit values (well, F) at doses (well, drug); the plate's own level is left free.

        `noise` is the least variance of the noise, where something else tells it.
        """
        ladders = [np.unique(column[column > 0]) for column in dose.T]
        given = np.stack([_place(column, ladder) for column, ladder in zip(dose.T, ladders, strict=True)], 1)
        rungs = np.array([max(len(ladder), 1) for ladder in ladders])
        kernels = np.moveaxis(np.minimum(given[:, None], given[None]), 2, 0)

        def tried(roughness: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
            cost, contrast = _cost(np.tensordot(roughness, kernels, 1), values, noise)
            away = np.log(roughness * rungs / _STANDS_OUT) / _DECADE
            return cost + float((away**2).sum()), contrast, roughness

        # the same for all drugs, then each drug's own
        best = min((tried(np.full(len(kernels), r)) for r in _ROUGHNESS), key=lambda t: t[0])
        for drug in [*range(len(kernels))] * 2:
            own = np.where(np.arange(len(kernels)) == drug, _ROUGHNESS[:, None], best[2])
            best = min((best, *map(tried, own)), key=lambda t: t[0])
        return cls(ladders, best[2], given, best[1], best[1] @ values)

    def effect(self, drug: int, dose: np.ndarray) -> np.ndarray:
        """Posterior mean effect (n, F) of one drug at doses (n,), between and beyond those fitted too."""
        place = _place(np.asarray(dose, float), self.doses[drug])
        shared = np.minimum(place[:, None], self.given[None, :, drug])
        return self.roughness[drug] * shared @ self.weights

    def unsure(self, dose: np.ndarray) -> np.ndarray:
        """(n,) variance of the summed effects at doses (n, drug) that the fit leaves, over the noise's."""
        at = np.stack([_place(column, self.doses[d]) for d, column in enumerate(dose.T)], 1)
        shared = np.minimum(at[:, None], self.given[None]) @ self.roughness
        known = np.einsum("ij,jk,ik->i", shared, self.contrast, shared)
        return np.maximum(at @ self.roughness - known, 0.0)

    def left_out(self) -> tuple[np.ndarray, np.ndarray]:
        """Errors (well, F) of each well foretold from the others, and their variances (well,)."""
        own = np.maximum(np.diag(self.contrast), 1e-9)
        return self.weights / own[:, None], 1.0 / own


def _cost(kernel: np.ndarray, values: np.ndarray, noise: float) -> tuple[float, np.ndarray]:
    """Minus twice the log probability of values (well, F), and `DoseWalk.contrast`.

    `kernel` (well, well) is the covariance of the effects over the noise's variance, which is at least `noise`.
    """
    wells = len(values)
    covariance = kernel + np.eye(wells)
    inverse = np.linalg.inv(covariance)
    level = inverse.sum(1)
    contrast = inverse - np.outer(level, level) / level.sum()
    found = float((values * (contrast @ values)).sum()) / max(wells - 1, 1) / values.shape[1]
    variance = max(found, noise, 1e-12)
    misfit = np.linalg.slogdet(covariance)[1] + np.log(level.sum())
    misfit += (wells - 1) * (np.log(variance) + found / variance)
    return float(_FRAMES_WORTH * misfit), contrast


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
    dose: np.ndarray,
    signal: np.ndarray,
    query: np.ndarray,
    level: float = 0.9,
    power: float = POWER,
    count: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Curves of wells that got `query`, as log2((signal + eps) / (signal at the first frame + eps)).

    Args:
        dose: (n, drug) of the plate's wells, any unit. Without an untreated well the lowest doses tell of one.
        signal: (n, T, 3) live area, annexin V and dead DNA [% of the image]; NaN, where a frame was not measured, is
            read off the frames before and after it.
        query: (m, drug).
        level: of the intervals, conformal over wells left out in turn, and widened by how far Bliss and HSA
            are away (no single-drug well can tell which is right) and by `INTERPLAY`, in squares.
        power: of `joined`.
        count: of courses laid end to end, where known; `courses` looks for them otherwise.

    Returns:
        mean (m, T, 3) and half-width (m, T, 3). Frames of further courses are relative to the first course's
        start, as measured curves are. NaN of a channel that was never measured.

    Raises:
        ValueError: no well, doses that are not numbers, or arrays that do not fit each other.
    """
    dose, query = np.asarray(dose, float), np.atleast_2d(np.asarray(query, float))
    signal = np.asarray(signal, float)
    if (
        not len(dose)
        or signal.shape[:1] != dose.shape[:1]
        or signal.shape[2:] != (3,)
        or query.shape[1] != dose.shape[1]
    ):
        raise ValueError(f"doses {dose.shape}, signals {signal.shape} and query {query.shape} do not fit")
    if not (np.isfinite(dose).all() and np.isfinite(query).all()):
        raise ValueError("doses must be finite numbers; where a drug was not given its dose is 0")
    frames, channels = signal.shape[1:]
    signal = _gaps_filled(signal)
    whole = np.isfinite(signal).all(axis=1).reshape(len(dose), channels)
    count = courses(signal[whole[:, 0], :, 0]) if count is None else count
    mean, width = np.full((2, len(query), count, frames // count, channels), np.nan)
    drugs = range(dose.shape[1])
    plates_dose = dose
    for c in range(channels):
        dose = plates_dose[whole[:, c]]
        if not len(dose):
            continue
        logs = np.log2(np.maximum(signal[whole[:, c], :, c], 0.0) + EPSILON[c]).reshape(len(dose), count, -1)
        start = logs[:, :, 0].mean(0)
        own = logs - logs[:, :, :1] + start[:, None]
        measured = own.mean(1)
        noise, apart = _between_courses(own)
        walk = DoseWalk.fit(dose, measured, noise)
        explained = np.sum([walk.effect(d, dose[:, d]) for d in drugs], 0)
        plate = (own - explained[:, None]).mean(0)
        alone = [walk.effect(d, query[:, d]) for d in drugs]
        together = joined(alone, power)
        mean[..., c] = plate - start[0] + together[:, None]
        disagree = np.maximum(*(np.abs(joined(alone, rule) - together) for rule in (1.0, np.inf)))
        error, variance = walk.left_out()
        # a frame of one course is off by what its well is, and by what courses of one well differ
        off = np.abs(error[:, None] + apart)
        typical = np.sqrt((off**2).mean((0, 1)) + 1e-12)
        quantile = conformal_quantile(off / np.sqrt(variance)[:, None, None] / typical, level)
        single = quantile * typical * np.sqrt(1.0 + walk.unsure(query))[:, None]
        treated = explained[dose.any(1)]
        effects = float((treated**2).mean()) if len(treated) else 0.0
        width[..., c] = np.sqrt(single**2 + disagree**2 + INTERPLAY**2 * effects)[:, None]
    return mean.reshape(len(query), frames, channels), width.reshape(len(query), frames, channels)


def _gaps_filled(signal: np.ndarray) -> np.ndarray:
    """Signals (n, T, channel) with frames that were not measured on the line between their neighbours.

    A well without any measured frame stays as it is.
    """
    out, frames = signal.copy(), np.arange(signal.shape[1])
    for well, channel in np.argwhere(~np.isfinite(signal).all(1)):
        seen = np.isfinite(signal[well, :, channel])
        if seen.any():
            out[well, :, channel] = np.interp(frames, frames[seen], signal[well, seen, channel])
    return out


def _between_courses(own: np.ndarray) -> tuple[float, np.ndarray]:
    """Variance of a well's mean over its courses (well, course, F), and how far each course is from it.

    The variance is that of what neither the well nor the course explains; 0 where there is one course.
    """
    wells, count, frames = own.shape
    apart = own - own.mean(1, keepdims=True)
    apart = apart - apart.mean(0)
    if count == 1 or wells == 1:
        return 0.0, apart
    return float((apart**2).sum() / ((wells - 1) * (count - 1) * frames * count)), apart
