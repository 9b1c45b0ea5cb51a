"""Measurements that could be made, and which of them would tell most about what is hardly determined."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from sim.fitting.identifiability import Help, Identifiability, what_would_help
from sim.fitting.objective import Evaluation, Objective, Study
from sim.fitting.parts import Measurement, Observable

_ERROR = 0.1  # of a species' size, how exactly it could be measured
_FLOOR = 0.1  # of its largest size, below which the error no longer falls
_MOST = 50  # candidates that are looked at closely


def species_to_measure(study: Study, times: int = 5) -> Study:
    """Every species that changes, in every experiment, at some of the times that were measured."""
    network = study.network
    names = [s for s in network.species_ids if s in network.state_ids]
    observables = tuple(Observable(name, name, 1.0) for name in names)
    points = []
    for e in study.experiments:
        measured = sorted(
            {m.time for m in study.measurements if m.experiment == e.id and np.isfinite(m.time)}
        )
        at = (
            sorted({measured[round(q * (len(measured) - 1))] for q in np.linspace(0, 1, times)})
            if measured
            else []
        )
        points += [Measurement(name, e.id, time, 0.0) for name in names for time in at]
    return replace(study, observables=observables, measurements=tuple(points))


def what_to_measure(
    objective: Objective, x: np.ndarray, now: Identifiability, found: Evaluation, studies: Sequence[Study]
) -> list[Help]:
    """The measurements of `studies` by what they would tell about the combination of parameters known least.

    Args:
        now, found: identifiability and evaluation at `x`.
        studies: their measurements, on scale "lin", are the candidates, each with an error of a tenth of its size,
            whatever they say of noise; see `species_to_measure`.

    Raises:
        IntegrationError: as the objective.
    """
    seen = Objective(objective.parameters, studies)(x, slopes=True, back=False)
    assert seen.root is not None
    points = [m for study in studies for m in study.measurements]
    slopes = seen.root[: len(points)] * seen.noise[:, None]
    kind = np.unique([m.observable for m in points], return_inverse=True)[1]
    largest = np.zeros(kind.max(initial=-1) + 1)
    np.maximum.at(largest, kind, np.abs(seen.simulated))
    size = np.maximum(np.abs(seen.simulated), _FLOOR * largest[kind])
    noise = _ERROR * np.where(size > 0, size, np.inf)
    worst = np.zeros(len(now.names))
    for name, share in now.directions[-1].parts.items():
        worst[now.names.index(name)] = share
    told = np.abs((slopes * now.unit) @ worst) / noise
    chosen = np.argsort(-told, kind="stable")[:_MOST]
    names = [f"{points[i].observable} at {points[i].time:g} in '{points[i].experiment}'" for i in chosen]
    return what_would_help(now, found, names, slopes[chosen], noise[chosen])
