"""Fit of a contact network: from radii and distances of neighbours to the local confluence.

The truth is geometry: of the disc of the given radius around a cell, without the cell's own disc, the fraction
that the discs of live cells cover, counted on many samples. The cell itself is left out so that the mean over
cells placed at random is the confluence of the well, which is what manipulators are trained on. Monolayers are
made from fixed seeds, from sparse to confluent, from spread out to clustered, with cells of different size and
some dead ones (which cover nothing).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from neural.checkpoints import Checkpoint
from neural.tissue.message_layer import MessageLayer
from neural.tissue.pairlaw import PairLaw


@dataclass(frozen=True)
class Graphs:
    """Monolayers as one graph: x (n, 2) radius and alive, edges (2, e), distance (e, 1), target (n, 1)."""

    x: np.ndarray
    edges: np.ndarray
    distance: np.ndarray
    confluence: np.ndarray


def monolayer(
    rng: np.random.Generator, coverage: float, radius: float, clustering: float
) -> tuple[np.ndarray, ...]:
    """Positions (n, 2), radii (n,), alive (n,) in a periodic square of 300 um.

    `coverage` is the summed disc area over the square's; `clustering` in [0, 1] pulls cells to a few
    centres. Cells are pushed apart where they overlap by more than a soft monolayer would.
    """
    side = 300.0
    radii = radius * np.exp(rng.normal(0.0, 0.12, size=4000))
    n = int(np.searchsorted(np.cumsum(np.pi * radii**2), coverage * side**2)) + 1
    radii = radii[:n]
    where = rng.uniform(0, side, (n, 2))
    centres = rng.uniform(0, side, (max(1, n // 25), 2))
    pulled = rng.random(n) < clustering
    home = centres[rng.integers(0, len(centres), n)]
    where[pulled] = home[pulled] + rng.normal(0, 22.0, (n, 2))[pulled]
    for _ in range(30):
        gap = where[:, None] - where[None]
        gap -= side * np.round(gap / side)
        distance = np.sqrt((gap**2).sum(-1)) + 1e-9
        reach = 0.9 * (radii[:, None] + radii[None])
        push = np.where((distance < reach) & ~np.eye(n, dtype=bool), 0.3 * (reach - distance), 0.0)
        where = (where + (push[..., None] * gap / distance[..., None]).sum(1)) % side
    return where, radii, (rng.random(n) > rng.choice([0.0, 0.1, 0.3])).astype(float)


def neighbours(where: np.ndarray, radius: float, side: float = 300.0) -> tuple[np.ndarray, np.ndarray]:
    """Edges (2, e) sender to receiver within `radius` in the periodic square, and distances (e,)."""
    gap = where[:, None] - where[None]
    gap -= side * np.round(gap / side)
    distance = np.sqrt((gap**2).sum(-1))
    receiver, sender = np.nonzero((distance < radius) & ~np.eye(len(where), dtype=bool))
    return np.stack([sender, receiver]), distance[receiver, sender]


def confluence(
    where: np.ndarray, radii: np.ndarray, alive: np.ndarray, radius: float, side: float = 300.0
) -> np.ndarray:
    """(n,) fraction of each cell's surroundings that live discs cover: of the disc of `radius` without its own.

    Counted on 1200 samples of a sunflower spiral, each standing for the same area.
    """
    i = np.arange(1200) + 0.5
    reach, angle = radius * np.sqrt(i / 1200), np.pi * (3.0 - np.sqrt(5.0)) * i
    samples = np.stack([reach * np.cos(angle), reach * np.sin(angle)], 1)
    live = alive > 0
    out = np.empty(len(where))
    for k, centre in enumerate(where):
        others = np.flatnonzero(live & (np.arange(len(where)) != k))
        gap = where[others] - centre
        gap -= side * np.round(gap / side)
        near = (gap**2).sum(1) < (radius + radii[others]) ** 2
        around = samples[(samples**2).sum(1) >= radii[k] ** 2]
        covered = ((around[:, None] - gap[near][None]) ** 2).sum(-1) < radii[others][near] ** 2
        out[k] = covered.any(1).mean()
    return out


def graphs(seed: int, count: int, radius: float, cell_radius: float) -> Graphs:
    """`count` monolayers joined into one graph without edges between them; fixed by `seed`."""
    rng = np.random.default_rng(seed)
    xs, edges, distances, targets, offset = [], [], [], [], 0
    for k in range(count):
        where, radii, alive = monolayer(rng, 0.05 + 0.95 * (k + 0.5) / count, cell_radius, rng.random())
        pairs, distance = neighbours(where, radius)
        xs.append(np.stack([radii, alive], 1))
        edges.append(pairs + offset)
        distances.append(distance)
        targets.append(confluence(where, radii, alive, radius))
        offset += len(where)
    return Graphs(
        np.concatenate(xs),
        np.concatenate(edges, 1),
        np.concatenate(distances)[:, None],
        np.concatenate(targets)[:, None],
    )


def fit(
    train: Graphs,
    check: Graphs,
    radius: float,
    hidden: int,
    iterations: int,
    seed: int,
    progress: Callable[[int, int, float, float], None] | None = None,
    checkpoint: Checkpoint | None = None,
) -> PairLaw:
    """The pair law that fits `train`, taken from its best iteration on `check`; kept in `checkpoint` on the way."""
    torch.manual_seed(seed)
    law = PairLaw(2, 1, 1, hidden).double()
    law.node_unit.copy_(torch.tensor([radius / 3.0, 1.0]))
    law.edge_unit.copy_(torch.tensor([radius]))
    layer = MessageLayer(law)
    optimizer = torch.optim.Adam(law.parameters(), lr=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.01, total_steps=iterations + 1)
    (x, e, a, y), held = _tensors(train), _tensors(check)
    begun, best, kept = 0, np.inf, law.state_dict()
    moving = {"law": law, "optimizer": optimizer, "schedule": schedule}
    if checkpoint is not None and (state := checkpoint.read()) is not None:
        begun, best, kept = state["iteration"], state["best"], state["kept"]
        for name, part in moving.items():
            part.load_state_dict(state[name])
    for i in range(begun, iterations):
        optimizer.zero_grad()
        loss = (layer(x, e, a) - y).square().mean()
        loss.backward()
        optimizer.step()
        schedule.step()
        if (i + 1) % 20 == 0 or i + 1 == iterations:
            with torch.no_grad():
                out = float((law(*held[:3]) - held[3]).square().mean())
            if out < best:
                best, kept = out, {k: v.clone() for k, v in law.state_dict().items()}
            if checkpoint is not None:
                now = {name: part.state_dict() for name, part in moving.items()}
                checkpoint.write({"iteration": i + 1, "best": best, "kept": kept, **now})
            if progress is not None:
                progress(i + 1, iterations, float(loss.detach()), out)
    law.load_state_dict(kept)
    return law


def scores(law: PairLaw, train: Graphs, test: Graphs) -> dict[str, dict[str, float]]:
    """R2 and RMSE on `test` beside the mean and a line in the live neighbours, fitted on `train`."""
    with torch.no_grad():
        x, e, a, _ = _tensors(test)
        predicted = law(x, e, a).numpy()[:, 0]
    truth = test.confluence[:, 0]

    def counts(g: Graphs) -> np.ndarray:
        live = np.bincount(g.edges[1], weights=g.x[g.edges[0], 1], minlength=len(g.x))
        return np.stack([np.ones(len(g.x)), live], 1)

    line = counts(test) @ np.linalg.lstsq(counts(train), train.confluence[:, 0], rcond=None)[0]
    mean = np.full(len(truth), train.confluence.mean())

    def score(guess: np.ndarray) -> dict[str, float]:
        rest = guess - truth
        return {"r2": float(1 - (rest**2).mean() / truth.var()), "rmse": float(np.sqrt((rest**2).mean()))}

    return {"network": score(predicted), "mean": score(mean), "linear in live neighbours": score(line)}


def _tensors(g: Graphs) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    return (
        torch.tensor(g.x),
        torch.tensor(g.edges),
        torch.tensor(g.distance),
        torch.tensor(g.confluence),
    )
