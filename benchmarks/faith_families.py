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
from functools import cache

import numpy as np
from faith_problem import Field, Problem, Tracks, correlated, courses, noisy, wandering
from faith_tissues import forces, tissue

#: how many nodes of a network of each size are asked for
_NODES = {10: 2, 30: 1, 100: 1}


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


def _with_decoys(
    rng: np.random.Generator,
    noise: float,
    times: np.ndarray,
    truth: np.ndarray,
    names: list[str],
    term: Callable,
    stated: Callable[[np.ndarray, np.ndarray], np.ndarray],
    rest: Callable[[np.ndarray, np.ndarray | float], np.ndarray],
    active: list[int],
    decoy_of: int,
    reached: int,
    name: str,
) -> Problem:
    """A hidden term of a system x' = rest(x, hidden), with an inert input and one correlated with `decoy_of`.

    `truth` (trajectory, time, variable) are its courses; `stated` takes levels and slopes (..., variable) to the
    hidden term's value; the outcome is the integral of variable `reached`.
    """
    variables = len(names)
    inert = wandering(rng, times, len(truth))
    near = correlated(rng, times, truth[:, :, decoy_of])
    whole = np.concatenate([truth, np.stack([inert, near], 2)], 2)
    tracks = Tracks(times, noisy(rng, whole, noise))

    def known(level: np.ndarray, slope: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return level, stated(level[..., :variables], slope[..., :variables])

    z, y, group = tracks.rows(known)
    baseline = z.mean(0)

    def rerun(function: Field, held: int | None) -> float:
        x, decoys = truth[0, 0].copy(), whole[0, 0, variables:]
        total, dt = 0.0, (times[1] - times[0]) / 4
        for _ in range(len(times) * 2):
            seen = np.concatenate([x, decoys])[None]
            if held is not None:
                seen[0, held] = baseline[held]
            x = np.clip(x + dt * rest(x, float(function(seen)[0])), 0, 1e3)
            total += x[reached] * dt
        return total

    count = np.arange(variables + 2)
    return Problem(
        name,
        [*names, "inert", "correlated"],
        np.isin(count, active),
        count >= variables,
        z,
        y,
        group,
        lambda rng: tracks.again(rng).rows(known)[:2],
        lambda v: term(v[:, :variables]),
        baseline,
        rerun,
    )


# ---- (a)


def _predation(rng: np.random.Generator, noise: float, count: int, off: bool) -> Problem:
    """Lotka-Volterra; hidden: what the predator takes of each prey."""
    eats = 0.0 if off else 0.9
    times = np.linspace(0, 8, 61)

    def rest(x: np.ndarray, h: np.ndarray | float) -> np.ndarray:
        prey, predator = x[..., 0], x[..., 1]
        return np.stack([prey * (1 - 0.25 * prey) - h * prey, 0.9 * prey * predator - predator], -1)

    def term(v):
        return eats * v[:, 1] + 0.0 * v[:, 0] + (0.3 if off else 0.0)

    return _with_decoys(
        rng,
        noise,
        times,
        courses(lambda _t, x: rest(x, term(x)), rng.uniform(0.5, 1.8, (count, 2)), times),
        ["prey", "predator"],
        term,
        lambda v, d: 1 - 0.25 * v[..., 0] - d[..., 0] / v[..., 0],
        rest,
        [] if off else [1],
        1,
        0,
        "dynamics",
    )


def _glycolysis(rng: np.random.Generator, noise: float, count: int, off: bool) -> Problem:
    """Higgins-Selkov; hidden: the rate of phosphofructokinase, which its product activates."""
    times = np.linspace(0, 10, 61)

    def rest(x: np.ndarray, h: np.ndarray | float) -> np.ndarray:
        return np.stack([0.5 - h + 0.0 * x[..., 0], h - 0.8 * x[..., 1]], -1)

    def rate(v):
        return (0.5 + 0.0 * v[:, 0]) if off else v[:, 0] * v[:, 1] ** 2 / (0.5 + v[:, 1] ** 2)

    return _with_decoys(
        rng,
        noise,
        times,
        courses(lambda _t, x: rest(x, rate(x)), rng.uniform(0.3, 2.0, (count, 2)), times),
        ["substrate", "product"],
        rate,
        lambda v, d: 0.5 - d[..., 0],
        rest,
        [] if off else [0, 1],
        1,
        1,
        "dynamics",
    )


# ---- (b)


def _sigmoidal(rng: np.random.Generator, noise: float, count: int, size: int, off: bool) -> list[Problem]:
    """x' = s(W x + u) - x; each node hears from two others; inert: a node that nothing hears."""
    weights = np.zeros((size, size))
    for i in range(size):
        others = rng.choice([j for j in range(size - 1) if j != i], 2, replace=False)
        weights[i, others] = rng.choice([-1, 1], 2) * rng.uniform(1.5, 3.0, 2)
    heard = weights * (not off)
    times = np.linspace(0, 6, 41)
    driven = 0.3 * np.tanh(rng.normal(0, 0.8, (count, size)))

    def slope(t: float, x: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-((2 * x - 1) @ heard.T))) - x + driven * np.cos(2 * t)

    truth = courses(slope, rng.uniform(0, 1, (count, size)), times, 4)
    tracks = Tracks(times, noisy(rng, truth, noise))
    push = driven[:, None, :] * np.cos(2 * times[3:-3])[:, None]
    chosen = rng.choice(size - 1, _NODES[size], replace=False)
    baseline = tracks.level.mean((0, 1))

    # the nodes of a network share their trajectories, and what these would be if measured again
    drawn: list[Tracks] = []

    def known(node: int):
        return lambda level, slope: (level, (slope + level - push)[..., node])

    def again_of(node: int):
        asked = iter(range(10**6))

        def again(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
            k = next(asked)
            if k == len(drawn):
                drawn.append(tracks.again(rng))
            return drawn[k].rows(known(node))[:2]

        return again

    def rerun_of(node: int) -> Callable[[Field, int | None], float]:
        def rerun(_function: Field, held: int | None) -> float:
            x, total = truth[0, 0].copy(), 0.0
            for _ in range(120):
                seen = x.copy()
                if held is not None:
                    # held for all that hear it, as an experiment does
                    seen[held] = baseline[held]
                x = x + 0.05 * (1 / (1 + np.exp(-(heard @ (2 * seen - 1)))) - x)
                total += 0.05 * x[node]
            return total

        return rerun

    found = []
    for i in map(int, chosen):
        z, y, group = tracks.rows(known(i))
        found.append(
            Problem(
                "network",
                [f"x{j}" for j in range(size)],
                heard[i] != 0,
                np.arange(size) == size - 1,
                z,
                y,
                group,
                again_of(i),
                _node(heard[i]),
                baseline,
                rerun_of(i),
            )
        )
    return found


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


@cache
def _cascade(first: str):
    from mechanistic import load_model

    return load_model(_CASCADE.format(first=first))


def _pathway(rng: np.random.Generator, noise: float, count: int, off: bool) -> Problem:
    """A cascade with feedback, simulated as an SBML model; hidden: the first reaction, inhibited by the end product."""
    times = np.linspace(0, 12, 61)
    starts = rng.uniform(0.1, 2.5, (count, 3))
    model = _cascade("0.4" if off else "1.5 * A / (0.7 + A) / (1 + C / 0.5)")
    found = model.simulate(times, cells=count, initial=dict(zip("ABC", starts.T)))

    def rest(x: np.ndarray, h: np.ndarray | float) -> np.ndarray:
        second = 1.2 * x[..., 1] / (0.6 + x[..., 1])
        return np.stack([0.6 - h - 0.1 * x[..., 0], h - second, second - 0.5 * x[..., 2]], -1)

    def term(v):
        if off:
            return 0.4 + 0.0 * v[:, 0]
        return 1.5 * v[:, 0] / (0.7 + v[:, 0]) / (1 + v[:, 2] / 0.5)

    return _with_decoys(
        rng,
        noise,
        times,
        np.stack([found[n].values for n in "ABC"], 2),
        ["A", "B", "C"],
        term,
        lambda v, d: 0.6 - 0.1 * v[..., 0] - d[..., 0],
        rest,
        [] if off else [0, 2],
        2,
        1,
        "pathway",
    )
