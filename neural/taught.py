"""Combination wells that nobody measured, as the plate's own single-drug wells foretell them (`neural.combinations`).

A manipulator that sees single drugs only must guess how they join. The rule that foretells combinations best is no
vector field, but its curves can be fitted like measured ones: the manipulator takes the rule's word for how drugs join,
and gives it a form that a tissue can step. Every dose given alone on a plate is paired with every one of another drug.
A member of an ensemble is taught from the wells that it may see.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from neural.combinations import POWER, predict_combinations
from neural.population import EPSILON
from neural.wells import Wells


@dataclass(frozen=True)
class Taught:
    """Foretold wells.

    Attributes:
        dose: (k, drug); plate, experiment: (k,) as of `Wells`.
        first: (k, 3) log2(channel + eps) at the first frame: the plate's mean.
        logs: (member, k, T, 3) log2(channel + eps).
    """

    dose: np.ndarray
    plate: np.ndarray
    experiment: np.ndarray
    first: np.ndarray
    logs: np.ndarray


def teach(wells: Wells, rows: np.ndarray, seen: np.ndarray, power: float = POWER) -> Taught:
    """Wells foretold from `rows` of single drugs and controls; `seen` (member, row) says who may see which.

    `power` joins the drugs' curves, as of `predict_combinations`.
    """
    doses, plates, experiments, firsts, courses = [], [], [], [], []
    count, frames = wells.curves.shape[1:3]
    for p in np.unique(wells.plate[rows]):
        mine = np.flatnonzero(wells.plate[rows] == p)
        curves = wells.curves[rows[mine]]
        signal = curves.reshape(len(mine), count * frames, -1)
        start = np.log2(np.maximum(curves[:, :, 0], 0.0) + np.array(EPSILON)).mean((0, 1))
        given = wells.dose[rows[mine]]
        for a, b in combinations(np.flatnonzero((given > 0).any(0)), 2):
            pairs = [(x, y) for x in np.unique(given[:, a]) for y in np.unique(given[:, b]) if x and y]
            query = np.zeros((len(pairs), given.shape[1]))
            query[:, [a, b]] = pairs
            by_member = []
            for sees in seen[:, mine]:
                told = predict_combinations(
                    given[sees][:, [a, b]], signal[sees], query[:, [a, b]], power=power, count=count
                )[0]
                told = told.reshape(len(query), count, frames, -1).mean(1)
                by_member.append(start + told - told[:, :1])
            doses.append(query)
            plates += [p] * len(query)
            experiments += [wells.experiment[rows[mine[0]]]] * len(query)
            firsts.append(np.tile(start, (len(query), 1)))
            courses.append(np.stack(by_member))
    if not doses:
        k = wells.dose.shape[1]
        return Taught(
            np.zeros((0, k)), np.zeros(0, int), np.zeros(0, int), np.zeros((0, 3)),
            np.zeros((len(seen), 0, frames, 3)),
        )  # fmt: skip
    return Taught(
        np.concatenate(doses), np.array(plates), np.array(experiments), np.concatenate(firsts),
        np.concatenate(courses, 1),
    )  # fmt: skip
