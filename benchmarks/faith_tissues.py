"""Families (d) and (e) of FAITH-Hybrid: signals between neighbours, and forces that are not mutual."""

from __future__ import annotations

import numpy as np
from faith_problem import Field, Problem, Tracks, courses, noisy, wandering


def tissue(rng: np.random.Generator, noise: float, count: int, off: bool) -> Problem:
    """A ring of cells; hidden: how Notch answers to neighbours. Signals: their Delta, their Notch, an inert mark."""
    cells, times = 12, np.linspace(0, 10, 51)
    near = np.roll(np.eye(cells), 1, 1) / 2 + np.roll(np.eye(cells), -1, 1) / 2
    # a trajectory here is a tissue; some are enough, each has many cells
    count = max(2, count // 4)

    def answer(v):
        return (0.4 + 0.0 * v[:, 0]) if off else v[:, 0] ** 2 / (0.1 + v[:, 0] ** 2)

    def slope(_t: float, state: np.ndarray) -> np.ndarray:
        notch, delta = state[:, :cells], state[:, cells:]
        hidden = answer((delta @ near).reshape(-1, 1)).reshape(notch.shape)
        return np.concatenate([hidden - notch, 1 / (1 + 10 * notch**2) - delta], 1)

    truth = courses(slope, rng.uniform(0, 1, (count, 2 * cells)), times, 4)
    marks = np.moveaxis(wandering(rng, times, count, 2 * cells), 1, 2)
    tracks = Tracks(times, noisy(rng, np.concatenate([truth, marks], 2), noise))

    def known(level: np.ndarray, slope: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        signals = [level[..., k * cells : (k + 1) * cells] @ near for k in (1, 0, 2, 3)]
        pushed = slope[..., :cells] + level[..., :cells]
        return np.stack(signals, -1).reshape(count, -1, 4), pushed.reshape(count, -1)

    z, y, group = tracks.rows(known)
    baseline = z.mean(0)

    def rerun(function: Field, held: int | None) -> float:
        state, total = truth[0, 0].copy(), 0.0
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
        z,
        y,
        group,
        lambda rng: tracks.again(rng).rows(known)[:2],
        answer,
        baseline,
        rerun,
    )


def forces(rng: np.random.Generator, noise: float, count: int, off: bool) -> Problem:
    """Predators chase, prey flee, on a line; hidden: the velocity of a predator by what is near it on either side.

    A cell hears each type as the sum of r exp(-r² / 2) over its cells at distance r, ahead counted against behind.
    Prey draw a predator, other predators push it off a little, the third type does nothing, and neither do
    companions, which stay close to the prey. The prey flee from predators alone, with another strength.
    """
    each, times = 5, np.linspace(0, 6, 41)
    pull, push = (0.0, 0.0) if off else (1.0, -0.7)

    def heard(me: np.ndarray, others: np.ndarray) -> np.ndarray:
        gap = others[..., None, :] - me[..., :, None]
        return (gap * np.exp(-(gap**2) / 2)).sum(-1)

    def speed(v):
        return pull * v[:, 0] + push * v[:, 1] + 0.0 * v[:, 2]

    # each cell is also carried about by something of its own that is known, as in a flow
    rates, phases = rng.uniform(0.5, 1.5, (2, 1, 2 * each)), rng.uniform(0, 2 * np.pi, (2, count, 2 * each))

    def carried(t: np.ndarray | float) -> np.ndarray:
        return 0.6 * np.sin(rates * t + phases).sum(0)

    def slope(t: float, x: np.ndarray) -> np.ndarray:
        hunter, prey = x[:, :each], x[:, each:]
        chase = pull * heard(hunter, prey) + push * heard(hunter, hunter)
        return np.concatenate([chase, -0.4 * heard(prey, hunter)], 1) + carried(t)

    truth = courses(slope, rng.uniform(-3, 3, (count, 2 * each)), times, 4)
    inert = rng.uniform(-3, 3, (count, 1, each)) + np.moveaxis(wandering(rng, times, count, each), 1, 2)
    close = truth[..., each:] + 0.6 * (np.moveaxis(wandering(rng, times, count, each), 1, 2) - 1)
    tracks = Tracks(times, noisy(rng, np.concatenate([truth, inert, close], 2), noise))
    flow = np.stack([carried(t) for t in times], 1)[:, 3:-3, :each]

    def known(level: np.ndarray, slope: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        me = level[..., :each]
        types = [level[..., k * each : (k + 1) * each] for k in (1, 0, 2, 3)]
        z = np.stack([heard(me, other) for other in types], -1)
        return z.reshape(count, -1, 4), (slope[..., :each] - flow).reshape(count, -1)

    z, y, group = tracks.rows(known)
    few = z[:: max(1, len(z) // 200)]

    def rerun(function: Field, held: int | None) -> float:
        seen = few.copy()
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
        group,
        lambda rng: tracks.again(rng).rows(known)[:2],
        speed,
        np.zeros(4),
        rerun,
    )
