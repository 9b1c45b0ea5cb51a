"""Families (d) and (e) of FAITH-Hybrid: signals between neighbours, and forces that are not mutual."""

from __future__ import annotations

import numpy as np
from faith_problem import Field, Problem, inner, noisy, smoothed, wandering
from scipy.integrate import solve_ivp


def tissue(rng: np.random.Generator, noise: float, count: int, off: bool) -> Problem:
    """A ring of cells; hidden: how Notch answers to neighbours. Signals: their Delta, their Notch, an inert mark."""
    cells, times = 12, np.linspace(0, 10, 51)
    near = np.roll(np.eye(cells), 1, 1) / 2 + np.roll(np.eye(cells), -1, 1) / 2

    def answer(v):
        return (0.4 + 0.0 * v[:, 0]) if off else v[:, 0] ** 2 / (0.1 + v[:, 0] ** 2)

    def slope(_t, state):
        notch, delta = state[:cells], state[cells:]
        hidden = answer((near @ delta)[:, None])
        return np.concatenate([hidden - notch, 1 / (1 + 10 * notch**2) - delta])

    rows, starts = [], []
    # a trajectory here is a tissue; some are enough, each has many cells
    for _ in range(max(2, count // 4)):
        start = rng.uniform(0, 1, 2 * cells)
        course = solve_ivp(slope, (0, times[-1]), start, t_eval=times, rtol=1e-7, atol=1e-9).y.T
        mark = np.stack([wandering(rng, times) for _ in range(cells)], 1)
        other = np.stack([wandering(rng, times) for _ in range(cells)], 1)
        whole = np.concatenate([course, mark, other], 1)
        level, change = smoothed(times, noisy(rng, whole, noise))

        def heard(w: np.ndarray) -> np.ndarray:
            parts = [w[:, k * cells : (k + 1) * cells] @ near.T for k in (1, 0, 2, 3)]
            return np.stack(parts, 2).reshape(-1, 4)

        notch = change[:, :cells] + level[:, :cells]
        rows.append((heard(inner(level)), inner(notch).ravel(), heard(whole)))
        starts.append(start)
    states = np.concatenate([r[2] for r in rows])
    baseline = states.mean(0)

    def rerun(function: Field, held: int | None) -> float:
        state, total = starts[0].copy(), 0.0
        for _ in range(100):
            notch, delta = state[:cells], state[cells:]
            seen = np.stack([near @ delta, near @ notch, np.ones(cells), np.ones(cells)], 1)
            if held is not None:
                seen[:, held] = baseline[held]
            push = np.concatenate([function(seen) - notch, 1 / (1 + 10 * notch**2) - delta])
            state = np.clip(state + 0.1 * push, 0, 10)
            total += 0.1 * state[:cells].mean()
        return total

    return Problem(
        "tissue",
        ["neighbours' Delta", "neighbours' Notch", "neighbours' mark", "neighbours of the inert type"],
        np.array([not off, False, False, False]),
        np.array([False, True, True, True]),
        np.concatenate([r[0] for r in rows]),
        np.concatenate([r[1] for r in rows]),
        np.repeat(np.arange(len(rows)), len(rows[0][0])),
        answer,
        states,
        baseline,
        rerun,
        "tissue",
    )


def forces(rng: np.random.Generator, noise: float, count: int, off: bool) -> Problem:
    """Predators chase, prey flee; hidden: the speed of a predator along x by what is near it on either side.

    A cell hears each type as the sum of exp(-r) over its neighbours, ahead minus behind. Prey draw it, other
    predators push it off a little, the third type does nothing, and so does what stays close to the prey.
    """
    rows = []
    for _ in range(count):
        place = rng.uniform(-4, 4, (4, 10))
        place[3] = place[0] + 0.5 * rng.normal(size=10)  # companions of the prey
        me = rng.uniform(-3, 3, 40)
        gap = place[:, None, :] - me[None, :, None]
        heard = (np.sign(gap) * np.exp(-np.abs(gap))).sum(2).T
        rows.append(heard)
    states = np.concatenate(rows)
    pull, push = (0.0, 0.0) if off else (1.0, -0.7)

    def speed(v):
        return pull * v[:, 0] + push * v[:, 1] + 0.0 * v[:, 2]

    truth = speed(states)
    spread = truth.std() or 1.0
    z = states + noise * states.std(0) * rng.normal(size=states.shape)
    y = truth + noise * spread * rng.normal(size=len(truth))
    baseline = np.zeros(4)

    def rerun(function: Field, held: int | None) -> float:
        seen = states[:200].copy()
        if held is not None:
            seen[:, held] = 0.0
        return float(np.mean(np.abs(function(seen))))

    return Problem(
        "forces",
        ["prey", "predators", "inert type", "companions of the prey"],
        np.array([not off, not off, False, False]),
        np.array([False, False, True, True]),
        z,
        y,
        np.repeat(np.arange(count), 40),
        speed,
        states,
        baseline,
        rerun,
        "forces",
    )
