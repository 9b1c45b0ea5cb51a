"""Direct effects: what each coupling does to the quantity that it drives, at the same state.

Where several couplings act on one target, they share what they do together by Shapley's rule (1953): each gets the
mean of what it adds over all orders of adding them. The shares sum up to the target's value minus its base value,
cell by cell, exactly. They are means over the living cells, and over time up to the outcome.
"""

from __future__ import annotations

from itertools import combinations
from math import factorial

import numpy as np

from sim.core.coupling import Coupling
from sim.core.signals import Signals
from sim.interpret.effects import interval, judged
from sim.interpret.question import Answer, Question
from sim.simulation import Simulation

#: of more couplings on one target than this, each is only cut alone
_MOST_TOGETHER = 8


class Direct:
    """Shares of the couplings in what they drive."""

    def __init__(self, question: Question, method: str = "direct"):
        self.question = question
        self.courses: list[list[tuple[float, np.ndarray, np.ndarray]]] = []
        question.watch(self)

    # ---- watching

    def begin(self, simulation: Simulation) -> None:
        self.courses.append([])

    def look(self, simulation: Simulation) -> None:
        couplings = self.question.plan.couplings
        shares = np.full(len(couplings), np.nan)
        driven = np.full(len(couplings), np.nan)
        living = simulation.signals["cell.living"] > 0
        for target in dict.fromkeys(c.target for c in couplings):
            found = shapley(simulation.signals, target)
            acting = simulation.signals.driving(target)
            for c in acting:
                where = living & _reached(simulation, c)
                place = _place(couplings, c)
                shares[place] = _mean(found[c.index][where])
                driven[place] = _mean(simulation.signals[target][where])
        self.courses[-1].append((simulation.state.time, shares, driven))

    # ---- answering

    def answer(self) -> Answer:
        q = self.question
        _ = q.intact
        times = np.array([t for t, _, _ in self.courses[0]])
        shares = np.array([[s for _, s, _ in course] for course in self.courses])  # (seed, time, coupling)
        driven = np.array([[d for _, _, d in course] for course in self.courses])
        rows = []
        mean_share, mean_driven = _over_time(shares, times), _over_time(driven, times)
        for k, (c, name) in enumerate(zip(q.plan.couplings, q.coupling_names)):
            e = interval(mean_share[:, k])
            size = abs(float(np.mean(mean_driven[:, k])))
            told = judged(e, mean_share[:, k])
            unit = q.unit_of(c.target)
            rows.append(
                q.row("direct", name, e, told, on=c.target, kind="direct", unit=unit, size=size, upto=True)
            )
        return Answer(rows, self._data(times, shares, driven))

    def _data(self, times: np.ndarray, shares: np.ndarray, driven: np.ndarray):
        import xarray as xr

        q = self.question
        dims = ("seed", "time", "coupling")
        return xr.Dataset(
            {
                "effect": (
                    dims,
                    shares,
                    {
                        "units": "unit of the target",
                        "long_name": "direct effect on the target, mean over cells",
                    },
                ),
                "driven": (
                    dims,
                    driven,
                    {"units": "unit of the target", "long_name": "value of the target, mean over cells"},
                ),
            },
            coords={
                "coupling": np.array(q.coupling_names, object),
                "target": ("coupling", np.array([c.target for c in q.plan.couplings], object)),
                "unit": ("coupling", np.array([q.unit_of(c.target) for c in q.plan.couplings], object)),
                "time": ("time", times, {"units": "min", "long_name": "time"}),
                "seed": np.array(q.seeds, np.uint64),
            },
            attrs={"kind": "direct", "method": "direct"},
        )


def shapley(signals: Signals, target: str) -> dict[int, np.ndarray]:
    """By index of each coupling on `target`: its share (cell,) of the driven value minus the base value."""
    players = [c.index for c in signals.driving(target)]
    if len(players) > _MOST_TOGETHER:
        return {p: signals[target] - signals.without(target, (p,)) for p in players}
    n = len(players)
    value = {
        frozenset(chosen): signals.without(target, [p for p in players if p not in chosen])
        for size in range(n + 1)
        for chosen in combinations(players, size)
    }
    shares = {}
    for p in players:
        others = [o for o in players if o != p]
        total = np.zeros_like(signals[target])
        for size in range(n):
            weight = factorial(size) * factorial(n - size - 1) / factorial(n)
            for chosen in combinations(others, size):
                total = total + weight * (value[frozenset((*chosen, p))] - value[frozenset(chosen)])
        shares[p] = total
    return shares


def _reached(simulation: Simulation, coupling: Coupling) -> np.ndarray:
    """Mask (cell,) of the cells in which the coupling acts."""
    signals = simulation.signals
    where = signals.members_of(coupling.source) & signals.members_of(coupling.target)
    if coupling.types is not None:
        where &= np.isin(simulation.state["cell.type"], list(coupling.types))
    return where


def _place(couplings: list[Coupling], coupling: Coupling) -> int:
    return next(k for k, c in enumerate(couplings) if c.index == coupling.index)


def _mean(values: np.ndarray) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")


def _over_time(values: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Mean over time (seed, coupling) of (seed, time, coupling) by the trapezoidal rule, gaps left out."""
    out = np.full((values.shape[0], values.shape[2]), np.nan)
    for s in range(values.shape[0]):
        for c in range(values.shape[2]):
            known = ~np.isnan(values[s, :, c])
            if known.sum() == 1:
                out[s, c] = values[s, known, c][0]
            elif known.any():
                t, v = times[known], values[s, known, c]
                out[s, c] = np.trapezoid(v, t) / (t[-1] - t[0])
    return out
