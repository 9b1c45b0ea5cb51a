"""Five families of systems with known truth, each with decoys, as problems for attribution.

Of every system one term is hidden and given to a network, which sees what truly drives it and what does not: an
inert input that varies by itself, one that is correlated with the active one and causes nothing, and in tissues a
neighbour type that does nothing. All that a method is given are trajectories with noise.

    dynamics   (a) Lotka-Volterra and glycolysis (Higgins-Selkov) with a hidden term
    network    (b) sigmoidal networks; every node's input is hidden
    pathway    (c) pathway models of which one reaction is hidden
    tissue     (d) Delta-Notch patterning (Collier 1996) with three candidate signals, one of them active
    forces     (e) two types of cells with non-reciprocal forces, and a third that exerts none
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from faith_problem import Field, Problem, inner, noisy, smoothed, wandering
from faith_tissues import forces, tissue
from scipy.integrate import solve_ivp

#: nodes of a network that are asked for
_NODES = 4


def problems(
    family: str, seed: int, noise: float, trajectories: int, size: int = 10, off: bool = False
) -> list[Problem]:
    """The problems of one family. `off` switches the active edge off, for the null test."""
    rng = np.random.default_rng([seed, sum(map(ord, family)), size])
    if family == "dynamics":
        return [_predation(rng, noise, trajectories, off), _glycolysis(rng, noise, trajectories, off)]
    if family == "network":
        return _sigmoidal(rng, noise, trajectories, size, off)
    return [{"pathway": _pathway, "tissue": tissue, "forces": forces}[family](rng, noise, trajectories, off)]


# ---- (a)


def _driven(
    rng: np.random.Generator,
    noise: float,
    count: int,
    times: np.ndarray,
    start: Callable[[], np.ndarray],
    rest: Callable[[np.ndarray, float], np.ndarray],
    names: list[str],
    term: Callable,
    stated: Callable[[np.ndarray], np.ndarray],
    active: list[int],
    decoy_of: int,
    name: str,
    kind: str,
    reached: int,
) -> Problem:
    """Ordinary differential equations x' = rest(x, hidden): one hidden term, an inert and a correlated decoy.

    `stated` takes the slope and the state to the hidden term's value, (time, variable) twice to (time,).
    """
    rows = []
    tracks = []
    for _ in range(count):
        inert, own = wandering(rng, times), wandering(rng, times)

        def slope(t, x):
            return rest(x, float(term(x[None, :])[0]))

        course = solve_ivp(slope, (times[0], times[-1]), start(), t_eval=times, rtol=1e-8, atol=1e-10).y.T
        near = course[:, decoy_of]
        correlated = near + 0.6 * near.std() * (own - own.mean()) / own.std()
        whole = np.column_stack([course, inert, correlated])
        level, change = smoothed(times, noisy(rng, whole, noise))
        value = stated(change[:, : course.shape[1]], level[:, : course.shape[1]])
        rows.append((inner(level), inner(value), whole))
        tracks.append(course[0])
    variables = len(names)
    inputs = [*names, "inert", "correlated"]
    z = np.concatenate([r[0] for r in rows])
    group = np.repeat(np.arange(count), [len(r[0]) for r in rows])
    states = np.concatenate([r[2] for r in rows])
    baseline = states.mean(0)

    def rerun(function: Field, held: int | None) -> float:
        x, (inert, correlated) = tracks[0].copy(), states[0, variables:]
        total, dt = 0.0, (times[1] - times[0]) / 4
        for _ in range(len(times) * 2):
            seen = np.concatenate([x, [inert, correlated]])[None]
            if held is not None:
                seen[0, held] = baseline[held]
            x = np.clip(x + dt * rest(x, float(function(seen)[0])), 0, 1e3)
            total += x[reached] * dt
        return total

    mask = np.isin(np.arange(variables + 2), active)
    decoys = np.isin(np.arange(variables + 2), [variables, variables + 1])
    return Problem(
        name,
        inputs,
        mask,
        decoys,
        z,
        np.concatenate([r[1] for r in rows]),
        group,
        lambda v: term(v[:, :variables]),
        states,
        baseline,
        rerun,
        kind,
    )


def _predation(rng: np.random.Generator, noise: float, count: int, off: bool) -> Problem:
    """Lotka-Volterra; hidden: what the predator takes of each prey."""
    birth, death, gain = 1.0, 1.0, 0.9
    eats = 0.0 if off else 0.9
    return _driven(
        rng,
        noise,
        count,
        np.linspace(0, 8, 61),
        lambda: rng.uniform(0.5, 1.8, 2),
        lambda x, h: np.array([x[0] * (birth - 0.25 * x[0]) - h * x[0], gain * x[0] * x[1] - death * x[1]]),
        ["prey", "predator"],
        lambda v: eats * v[:, 1] + 0.0 * v[:, 0] + (0.3 if off else 0.0),
        lambda d, v: birth - 0.25 * v[:, 0] - d[:, 0] / v[:, 0],
        [] if off else [1],
        1,
        "dynamics",
        "predation",
        0,
    )


def _glycolysis(rng: np.random.Generator, noise: float, count: int, off: bool) -> Problem:
    """Higgins-Selkov; hidden: the rate of phosphofructokinase, which its product activates."""

    def rate(v):
        return (0.5 + 0.0 * v[:, 0]) if off else v[:, 0] * v[:, 1] ** 2 / (0.5 + v[:, 1] ** 2)

    return _driven(
        rng,
        noise,
        count,
        np.linspace(0, 10, 61),
        lambda: rng.uniform(0.3, 2.0, 2),
        lambda x, h: np.array([0.5 + 0.0 * x[0] - h, h - 0.8 * x[1]]),
        ["substrate", "product"],
        rate,
        lambda d, v: 0.5 - d[:, 0],
        [] if off else [0, 1],
        1,
        "dynamics",
        "glycolysis",
        1,
    )


# ---- (b)


def _sigmoidal(rng: np.random.Generator, noise: float, count: int, size: int, off: bool) -> list[Problem]:
    """x' = s(W x + u) - x; each node hears from two others; inert: a node that nothing hears."""
    weights = np.zeros((size, size))
    for i in range(size):
        others = rng.choice([j for j in range(size - 1) if j != i], 2, replace=False)
        weights[i, others] = rng.choice([-1, 1], 2) * rng.uniform(1.5, 3.0, 2)
    if off:
        weights[:] = 0.0
    times = np.linspace(0, 6, 41)
    rows = []
    for _ in range(count):
        shift = rng.normal(0, 0.8, size)
        start = rng.uniform(0, 1, size)

        def slope(_t, x, shift=shift):
            return 1 / (1 + np.exp(-(weights @ (2 * x - 1)))) - x + 0.3 * np.tanh(shift) * np.cos(2 * _t)

        course = solve_ivp(slope, (0, times[-1]), start, t_eval=times, rtol=1e-7, atol=1e-9).y.T
        level, change = smoothed(times, noisy(rng, course, noise))
        push = 0.3 * np.tanh(shift)[None] * np.cos(2 * times)[:, None]
        rows.append((inner(level), inner(change + level - push), course))
    z = np.concatenate([r[0] for r in rows])
    values = np.concatenate([r[1] for r in rows])
    states = np.concatenate([r[2] for r in rows])
    group = np.repeat(np.arange(count), len(rows[0][0]))
    # some nodes of each network: each is a problem of its own
    chosen = rng.choice(size - 1, _NODES, replace=False)

    def rerun_of(node: int) -> Callable[[Field, int | None], float]:
        def rerun(_function: Field, held: int | None) -> float:
            x, total = states[0].copy(), 0.0
            for _ in range(120):
                seen = x.copy()
                if held is not None:
                    # held for all that hear it, as an experiment does
                    seen[held] = states[:, held].mean()
                x = x + 0.05 * (1 / (1 + np.exp(-(weights @ (2 * seen - 1)))) - x)
                total += 0.05 * x[node]
            return total

        return rerun

    return [
        Problem(
            "network",
            [f"x{j}" for j in range(size)],
            weights[i] != 0,
            np.arange(size) == size - 1,
            z,
            values[:, i],
            group,
            _node(weights[i]),
            states,
            states.mean(0),
            rerun_of(int(i)),
            f"network of {size}",
        )
        for i in chosen
    ]


def _node(weights: np.ndarray):
    def term(v):
        if isinstance(v, np.ndarray):
            return 1 / (1 + np.exp(-((2 * v - 1) @ weights)))
        import torch

        return torch.sigmoid((2 * v - 1) @ torch.as_tensor(weights))

    return term


# ---- (c)

_CASCADE = """
model cascade
  compartment c = 1
  species A in c, B in c, C in c
  A = 1; B = 1; C = 1
  supply: -> A; 0.6
  first: A -> B; {first}
  second: B -> C; 1.2 * B / (0.6 + B)
  loss: C -> ; 0.5 * C
  leak: A -> ; 0.1 * A
end
"""


def _pathway(rng: np.random.Generator, noise: float, count: int, off: bool) -> Problem:
    """A cascade with feedback, simulated as an SBML model; hidden: the first reaction, inhibited by the end product."""
    from mechanistic import load_model

    law = "0.4" if off else "1.5 * A / (0.7 + A) / (1 + C / 0.5)"
    times = np.linspace(0, 12, 61)
    rows = []
    starts = rng.uniform(0.1, 2.5, (count, 3))
    first = dict(zip("ABC", starts.T))
    found = load_model(_CASCADE.format(first=law)).simulate(times, cells=count, initial=first)
    for k in range(count):
        course = np.stack([found[n].values[k] for n in "ABC"], 1)
        inert, own = wandering(rng, times), wandering(rng, times)
        correlated = course[:, 2] + 0.6 * course[:, 2].std() * (own - own.mean()) / own.std()
        whole = np.column_stack([course, inert, correlated])
        level, change = smoothed(times, noisy(rng, whole, noise))
        rows.append((inner(level), inner(0.6 - 0.1 * level[:, 0] - change[:, 0]), whole))

    def term(v):
        if off:
            return 0.4 + 0.0 * v[:, 0]
        return 1.5 * v[:, 0] / (0.7 + v[:, 0]) / (1 + v[:, 2] / 0.5)

    states = np.concatenate([r[2] for r in rows])
    baseline = states.mean(0)

    def rerun(function: Field, held: int | None) -> float:
        x, total, dt = starts[0].copy(), 0.0, 0.05
        for _ in range(240):
            seen = np.concatenate([x, states[0, 3:]])[None]
            if held is not None:
                seen[0, held] = baseline[held]
            v = float(function(seen)[0])
            second = 1.2 * x[1] / (0.6 + x[1])
            x = np.clip(x + dt * np.array([0.6 - v - 0.1 * x[0], v - second, second - 0.5 * x[2]]), 0, 1e3)
            total += dt * x[1]
        return total

    return Problem(
        "pathway",
        ["A", "B", "C", "inert", "correlated"],
        np.array([not off, False, not off, False, False]),
        np.array([False, False, False, True, True]),
        np.concatenate([r[0] for r in rows]),
        np.concatenate([r[1] for r in rows]),
        np.repeat(np.arange(count), len(rows[0][0])),
        term,
        states,
        baseline,
        rerun,
        "pathway",
    )
