"""Laws between neighbours learned from tracked cells, beside the laws that made them.

    python benchmarks/tissue_learning.py [--json] [--quick]

Four tissues from fixed seeds (tissue_truth.py), an ODE pathway in every cell: Delta and Notch with two decoys, waves of
ERK by contact, a morphogen that is passed on, and two types whose forces are not mutual. Each law is learned from one
condition (the relay's from two tissues of it) and judged on another that it never saw: R² of what neighbours do against
the truth, up to a constant that the cell's own law may take; whether the active signal ranks first; whether cells are
told apart; and the law's own course from held-out cells over three times the training's length. The control beside it
is a straight line in the true signal's mean over the neighbours, fitted to the truth itself.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import cache

os.environ.setdefault("OMP_NUM_THREADS", "2")

import numpy as np
import torch
from scipy.interpolate import CubicSpline
from table import parser, show
from tissue_truth import REACH, Truth, delta_notch, excitable, pair_force, pursuit, relay

from neural.tissue.factored import FactoredLaw, Hearing, rk4
from neural.tissue.fit_law import FittedLaw, Tracks, fit_law
from neural.tissue.forces import PairForces, Pairs, fit_forces
from neural.tissue.graph import Rows


def _hearing(truth: Truth, mean: bool, itself: bool) -> Hearing:
    graph = truth.graphs[0]
    distance = torch.as_tensor(graph.distances(truth.positions[0]))
    return Hearing.of(Rows(graph.indptr, graph.indices), distance, mean, itself)


def _r2(guess: np.ndarray, truth: np.ndarray) -> float:
    guess, truth = guess - guess.mean(), truth - truth.mean()
    return float(1 - ((guess - truth) ** 2).sum() / (truth**2).sum())


def _line(x: np.ndarray, y: np.ndarray) -> float:
    """R² of the best straight line."""
    return float(np.corrcoef(x.ravel(), y.ravel())[0, 1] ** 2)


def _course(law: FactoredLaw, start: np.ndarray, hearing: Hearing, dt: float, frames: int) -> np.ndarray:
    s, seen = torch.as_tensor(start), [start]
    with torch.no_grad():
        for _ in range(frames):
            s = rk4(lambda q: law(q, hearing), s, dt, 3)
            seen.append(s.numpy().copy())
    return np.array(seen)


def _row(name: str, value: float, unit: str = "1", peer: str = "", peer_value: float = 0.0) -> dict:
    row: dict = {"name": name, "value": value, "unit": unit}
    if peer:
        row |= {"peer": peer, "peer_value": peer_value, "ratio": value / peer_value}
    return row


@cache
def _fit(maker: Callable[..., Truth], seeds: tuple[int, ...], mean: bool, radius: float | None) -> FittedLaw:
    seen = [maker(seed) for seed in seeds]
    tracks = [Tracks(t.times, t.states, _hearing(t, mean, radius is not None)) for t in seen]
    return fit_law(tracks, seen[0].names, radius=radius, seed=seeds[0])


def _field(
    name: str, maker: Callable[..., Truth], seeds: tuple[int, ...], frames: int, target: int, active: int,
    mean: bool = True, radius: float | None = None,
) -> Iterator[dict]:  # fmt: skip
    """Rows of one tissue of cells that stay where they are."""
    fitted = _fit(maker, seeds, mean, radius)
    held = maker(seeds[0] + 1000, held_out=True, frames=3 * frames)
    hearing = _hearing(held, mean, radius is not None)
    with torch.no_grad():
        heard = fitted.law.heard(torch.as_tensor(held.states), hearing)
        told = fitted.law.effects(heard).sum(-2).numpy()[..., target]
    truth = held.interaction[..., target]
    if mean:
        graph = held.graphs[0]
        loud = np.stack(
            [np.bincount(graph.rows, v[graph.indices], len(graph)) for v in held.states[:, :, active]]
        )
    else:
        loud = held.states[:, :, active]
    yield _row(
        f"{name}: R² of the interaction, held out",
        _r2(told, truth),
        peer="a line in the signal heard (its own, where it diffuses)",
        peer_value=_line(loud, truth),
    )
    dt = float(held.times[1] - held.times[0])
    course = _course(fitted.law, held.states[0], hearing, dt, len(held.times) - 1)
    spread = np.sqrt(((held.states - held.states.mean((0, 1))) ** 2).mean((0, 1)))
    error = np.sqrt(((course - held.states) ** 2).mean((1, 2)) / (spread**2).mean())
    yield _row(f"{name}: error of the course, mean over 3 x the training's length", float(error.mean()))
    yield _row(f"{name}: error of the course at its end", float(error[-1]))


def _ranked(seeds: range) -> Iterator[dict]:
    first, worst = 0, np.inf
    for seed in seeds:
        strength = _fit(delta_notch, (seed,), True, None).strength
        first += int(strength.argmax() == 0)
        worst = min(worst, strength[0] / strength[1:].max())
    yield _row(
        f"Delta and Notch: share of {len(seeds)} seeds in which the active signal ranks first",
        first / len(seeds),
    )
    yield _row("Delta and Notch: strength of the active signal over the next, at least", float(worst))


def _pairs(truth: Truth, tracked: bool) -> list[Pairs]:
    """Pairs by frame; velocities from the tracked places alone, or those that truly were."""
    moved = (
        CubicSpline(truth.times, truth.positions, axis=0)(truth.times, 1) if tracked else truth.interaction
    )
    found = []
    for k, graph in enumerate(truth.graphs):
        away = graph.offsets(truth.positions[k])
        d = np.sqrt((away**2).sum(1))
        signal = truth.states[k][graph.indices, 0]
        found.append(Pairs(graph.rows, graph.indices, d, away[:, :2] / d[:, None], signal, moved[k][:, :2]))
    return found


def _forces(seeds: range) -> Iterator[dict]:
    accuracy, curves, velocities, controls = [], [], [], []
    for seed in seeds:
        seen, held = pursuit(seed), pursuit(seed + 1000, held_out=True)
        found = fit_forces(_pairs(seen, True)[1:-1], len(seen.types), REACH, seed=seed)
        right = float((found.kinds == seen.types).mean())
        order = np.array([0, 1] if right >= 0.5 else [1, 0])
        accuracy.append(max(right, 1 - right))
        curves.append(_curves(found, order, held))
        pairs = _pairs(held, False)
        said = np.concatenate([found.velocity(p, order[held.types]) for p in pairs])
        true = np.concatenate([p.velocity for p in pairs])
        one = fit_forces(_pairs(seen, True)[1:-1], len(seen.types), REACH, kinds=1, seed=seed)
        alike = np.concatenate([one.velocity(p, np.zeros(len(held.types), int)) for p in pairs])
        velocities.append(_r2(said, true))
        controls.append(_r2(alike, true))
    control = max(float(np.mean(controls)), 1e-6)
    yield _row("two types: share of cells told apart", float(np.mean(accuracy)))
    yield _row("two types: R² of force by distance, types and signal", float(np.min(curves)))
    yield _row(
        "two types: R² of velocities, held out",
        float(np.min(velocities)),
        peer="one type for all",
        peer_value=control,
    )


def _curves(found: PairForces, order: np.ndarray, held: Truth) -> float:
    """R² of force times strength over distances, ordered pairs of types and the signals of held-out neighbours."""
    d = np.linspace(3.0, REACH, 60)
    signal = np.quantile(held.states[..., 0], [0.1, 0.3, 0.5, 0.7, 0.9])
    guess, truth = [], []
    for a in (0, 1):
        for b in (0, 1):
            guess.append(np.outer(found.loudness(signal), found.curve(d, int(order[a]), int(order[b]))))
            truth.append(np.outer(signal, pair_force(d, np.full(60, a), np.full(60, b))))
    return _r2(np.array(guess), np.array(truth))


def _rows(quick: bool) -> Iterator[dict]:
    yield from _field("Delta and Notch", delta_notch, (1,), 40, 1, 0)
    yield from _ranked(range(1, 2 if quick else 21))
    if not quick:
        yield from _field("ERK waves", excitable, (1,), 80, 0, 1)
        yield from _field("morphogen relay", relay, (1, 2), 60, 0, 1, mean=False, radius=60.0)
    yield from _forces(range(1, 2 if quick else 6))


def main() -> None:
    options = parser(__doc__, "fewer seeds and tissues, under a minute").parse_args()
    torch.set_num_threads(1)
    show(_rows(options.quick), options.json, 82)


if __name__ == "__main__":
    main()
