"""Flows of cells between snapshots: a linear drift that can be read, and a network for what it leaves.

Flow matching on full transport plans. One plan per pair of neighbouring snapshots (`neural.transport.plan`) says which
earlier cell becomes which later one; along the straight line between them, at share s of the interval, the velocity is
their difference over the interval's length. In every interval the drift is the ridge regression of that velocity on the
state, dx/dt = A_k x + b_k, which needs no training by steps and no solver to be read. The network learns the rest.
A plan that may violate its marginals also tells growth: how much more of a cell's kind there is later than before.

Source: Lipman, Chen, Ben-Hamu, Nickel, Le, ICLR 2023 (flow matching); Tong et al., TMLR 2024 (on transport plans).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from neural.checkpoints import draw_on, drawn
from neural.transport import pairs, plan
from neural.vector_fields import MLPField, unconserved

_PENALTY = 1e-2
_LOOSE = 0.4
_PER_CELL = 4


@dataclass(frozen=True)
class Matched:
    """Cells of neighbouring snapshots, matched: early (n, d) at `start`, late (n, d) at `end` (n,).

    `conserved` (k, d) are sums of components that never change in a cell: matched cells differ in them, as different
    cells do, but no cell moves along them.
    """

    early: np.ndarray
    late: np.ndarray
    start: np.ndarray
    end: np.ndarray
    conserved: np.ndarray | None = None

    @classmethod
    def of(
        cls,
        snapshots: Sequence[np.ndarray],
        times: Sequence[float],
        relaxation: float,
        seed: int,
        conserved: np.ndarray | None = None,
    ) -> Matched:
        """Pairs drawn from the plan of every interval, `_PER_CELL` a cell."""
        rng = np.random.default_rng(seed)
        rows = []
        for k in range(len(snapshots) - 1):
            a, b = snapshots[k], snapshots[k + 1]
            i, j = pairs(plan(a, b, relaxation), _PER_CELL * max(len(a), len(b)), rng)
            rows.append((a[i], b[j], np.full(len(i), times[k]), np.full(len(i), times[k + 1])))
        early, late, start, end = (np.concatenate(column) for column in zip(*rows, strict=True))
        return cls(early, late, start, end, conserved)

    def of_rows(self, rows: np.ndarray) -> Matched:
        """Some of the pairs."""
        return Matched(self.early[rows], self.late[rows], self.start[rows], self.end[rows], self.conserved)

    def at(self, share: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """States (n, d), times (n,) and velocities (n, d) at shares (n,) of the way."""
        s = share[:, None]
        length = (self.end - self.start)[:, None]
        state = (1 - s) * self.early + s * self.late
        velocity = (self.late - self.early) / length
        if self.conserved is not None:
            velocity = velocity @ unconserved(self.conserved, velocity.shape[1])
        return state, self.start + share * (self.end - self.start), velocity


@dataclass(frozen=True)
class LinearDrift:
    """dx/dt = A_k x + b_k in interval k; the first and last intervals' laws hold beyond them.

    Attributes:
        edges: (K + 1,) times of the snapshots.
        matrix: (K, d, d), one over a time; offset: (K, d).
        growth: (K, 1 + d) net rate of increase of cells at x, [1, x] . growth, one over a time.
        noise: (K, d) diffusion: standard deviation over the root of a time, by which cells of one state part.
    """

    edges: np.ndarray
    matrix: np.ndarray
    offset: np.ndarray
    growth: np.ndarray
    noise: np.ndarray

    @classmethod
    def fit(cls, snapshots: Sequence[np.ndarray], times: Sequence[float], matched: Matched) -> LinearDrift:
        """Ridge regression in each interval, at shares spread evenly over it."""
        edges, d = np.asarray(times, float), snapshots[0].shape[1]
        matrices, offsets, growths, noises = [], [], [], []
        for k in range(len(edges) - 1):
            part = matched.of_rows(np.flatnonzero(matched.start == edges[k]))
            n = len(part.early)
            state, _, velocity = part.at((np.arange(n) * 0.6180339887498949) % 1.0)
            x = np.c_[np.ones(n), state]
            shrink = _PENALTY * n * np.diag(np.r_[0.0, np.ones(d)])
            found = np.linalg.solve(x.T @ x + shrink, x.T @ velocity)
            offsets.append(found[0])
            matrices.append(found[1:].T)
            growths.append(_growth(snapshots[k], snapshots[k + 1], edges[k + 1] - edges[k]))
            # what the law leaves of a cell's displacement, as the displacement of a diffusion over the interval
            left = velocity - x @ found
            noises.append(left.std(0) * np.sqrt(edges[k + 1] - edges[k]))
        return cls(edges, *(np.array(rows) for rows in (matrices, offsets, growths, noises)))

    def interval(self, t: float) -> int:
        """Index of the law that holds at t."""
        return int(np.clip(np.searchsorted(self.edges, t, side="right") - 1, 0, len(self.matrix) - 1))

    def velocity(self, x: np.ndarray, t: np.ndarray) -> np.ndarray:
        """(n, d) at states (n, d) and times (n,)."""
        k = np.clip(np.searchsorted(self.edges, t, side="right") - 1, 0, len(self.matrix) - 1)
        return np.einsum("nij,nj->ni", self.matrix[k], x) + self.offset[k]


def _growth(early: np.ndarray, late: np.ndarray, length: float) -> np.ndarray:
    """[1, x] . result is the log of a cell's share of the later population over its share before, per time.

    From the row sums of a plan that may violate its marginals. The mean over the population is zero, as snapshots do
    not say how many cells there are.
    """
    mass = plan(early, late, _LOOSE).sum(1)
    rate = np.log(np.maximum(mass / mass.mean(), 1e-6)) / length
    x = np.c_[np.ones(len(early)), early]
    shrink = _PENALTY * len(x) * np.diag(np.r_[0.0, np.ones(early.shape[1])])
    return np.linalg.solve(x.T @ x + shrink, x.T @ rate)


class FlowFit:
    """Flow matching of what the linear drift leaves, an iteration at a time; a tenth of the pairs stops it early.

    Args:
        scale: (2,) offset and length of time, so that the network sees about -1 to 1.
    """

    def __init__(
        self,
        matched: Matched,
        drift: LinearDrift,
        hidden: Sequence[int],
        rate: float,
        iterations: int,
        seed: int,
    ):
        self.matched, self.drift, self.iterations = matched, drift, iterations
        edges = drift.edges
        self.scale = np.array([(edges[0] + edges[-1]) / 2, (edges[-1] - edges[0]) / 2])
        self.rng = np.random.default_rng(seed)
        held = self.rng.random(len(matched.early)) < 0.1
        self.seen, self.held = np.flatnonzero(~held), np.flatnonzero(held)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            dimension = matched.early.shape[1]
            self.field = MLPField(dimension, 0, hidden, timed=True, conserved=matched.conserved).double()
        with torch.no_grad():
            last = self.field.layers[-1]
            assert isinstance(last, torch.nn.Linear)
            last.weight.zero_()
            last.bias.zero_()
        self.optimizer = torch.optim.Adam(self.field.parameters(), lr=rate)
        self.iteration, self.best_loss = 0, np.inf
        self.best = {k: v.clone() for k, v in self.field.state_dict().items()}
        # the same shares at every look, so that looks compare
        self._looks = self._batch(self.held, np.linspace(0.05, 0.95, len(self.held)))

    def _batch(self, rows: np.ndarray, share: np.ndarray) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        state, t, velocity = self.matched.of_rows(rows).at(share)
        rest = velocity - self.drift.velocity(state, t)
        clock = (t - self.scale[0]) / self.scale[1]
        return torch.tensor(state), torch.tensor(clock)[:, None], torch.tensor(rest)

    def _loss(self, batch: tuple[torch.Tensor, torch.Tensor, torch.Tensor]) -> torch.Tensor:
        state, clock, rest = batch
        return (self.field(clock, state) - rest).square().mean()

    def advance(self) -> tuple[float, float]:
        """One iteration; training and held-out loss, mean squares of velocity."""
        rows = self.rng.choice(self.seen, min(512, len(self.seen)))
        loss = self._loss(self._batch(rows, self.rng.random(len(rows))))
        self.optimizer.zero_grad()
        loss.backward()
        with torch.no_grad():
            held = float(self._loss(self._looks))
        if held < self.best_loss:
            self.best_loss = held
            self.best = {k: v.clone() for k, v in self.field.state_dict().items()}
        self.optimizer.step()
        self.iteration += 1
        return float(loss.detach()), held

    def finish(self) -> MLPField:
        """The network at its best look; zero where it never beat the linear drift alone."""
        self.field.load_state_dict(self.best)
        return self.field

    def state(self) -> dict:
        """Everything needed to go on bit for bit."""
        return {
            "iteration": self.iteration,
            "field": self.field.state_dict(),
            "best": self.best,
            "best_loss": self.best_loss,
            "optimizer": self.optimizer.state_dict(),
            "rng": drawn(self.rng),
        }

    def restore(self, state: dict) -> None:
        """Go on from `state`."""
        self.iteration, self.best_loss, self.best = state["iteration"], state["best_loss"], state["best"]
        self.field.load_state_dict(state["field"])
        self.optimizer.load_state_dict(state["optimizer"])
        draw_on(self.rng, state["rng"])


def push(
    cells: np.ndarray, start: float, end: float, drift: LinearDrift, field: MLPField | None, scale: np.ndarray
) -> torch.Tensor:
    """Cells (n, d) carried from `start` to `end` by drift and network; differentiable in the network's weights."""
    from neural.odes import solve

    y = torch.as_tensor(cells, dtype=torch.double)
    inner = [float(e) for e in drift.edges if start < e < end]
    for a, b in zip([start, *inner], [*inner, end], strict=True):
        k = drift.interval(0.5 * (a + b))
        matrix, offset = torch.tensor(drift.matrix[k]), torch.tensor(drift.offset[k])

        def velocity(t, x, matrix=matrix, offset=offset):
            out = x @ matrix.T + offset
            return out if field is None else out + field((t - scale[0]) / scale[1], x)

        y = solve(velocity, y, [b], start=a, rtol=1e-5, atol=1e-6)[0]
    return y


def wander(
    cells: np.ndarray,
    start: float,
    end: float,
    drift: LinearDrift,
    field: MLPField | None,
    scale: np.ndarray,
    snapshots: Sequence[np.ndarray],
    seed: int,
    steps: int = 40,
) -> np.ndarray:
    """Cells (n, d) carried by the stochastic equation whose population is that of the flow.

        dX = (v(X, t) + g^2 / 2 * score(X, t)) dt + g dW

    v is drift and network, g the diffusion of `LinearDrift.noise`. The score keeps the noise from spreading the
    population; it is that of a Gaussian between the snapshots' means and covariances. Euler-Maruyama with `steps`
    steps for an interval between snapshots.

    Source: Song et al., ICLR 2021, equation 13 read backwards: a flow and its stochastic twins share their marginals.
    """
    rng, x, t = np.random.default_rng(seed), np.array(cells, float), float(start)
    means = [c.mean(0) for c in snapshots]
    spreads = [np.cov(c.T).reshape(len(means[0]), -1) + 1e-6 * np.eye(len(means[0])) for c in snapshots]
    while t < end - 1e-12 * max(1.0, abs(end)):
        k = drift.interval(t)
        length = drift.edges[k + 1] - drift.edges[k]
        dt = min(length / steps, end - t)
        s = min((t - drift.edges[k]) / length, 1.0)
        mean, spread = ((1 - s) * q[k] + s * q[k + 1] for q in (means, spreads))
        velocity = x @ drift.matrix[k].T + drift.offset[k]
        if field is not None:
            with torch.no_grad():
                velocity += field((t - scale[0]) / scale[1], torch.as_tensor(x)).numpy()
        g = drift.noise[k]
        score = -np.linalg.solve(spread, (x - mean).T).T
        change = (velocity + 0.5 * g**2 * score) * dt + g * np.sqrt(dt) * rng.standard_normal(x.shape)
        x = x + (change if field is None or field.free is None else change @ field.free.numpy())
        t += dt
    return x


def fine_tune(
    field: MLPField,
    drift: LinearDrift,
    scale: np.ndarray,
    snapshots: Sequence[np.ndarray],
    times: Sequence[float],
    iterations: int,
    rate: float,
    seed: int,
) -> list[float]:
    """Training through the ODE: cells of each snapshot, pushed to the next, against its cells by energy distance.

    Returns the loss of every iteration, over distinct draws of 200 cells.
    """
    rng = np.random.default_rng(seed)
    optimizer = torch.optim.Adam(field.parameters(), lr=rate)
    losses = []
    for _ in range(iterations):
        k = int(rng.integers(len(snapshots) - 1))
        early, late = (x[rng.permutation(len(x))[:200]] for x in (snapshots[k], snapshots[k + 1]))
        found = push(early, float(times[k]), float(times[k + 1]), drift, field, scale)
        there = torch.tensor(late)
        loss = 2 * torch.cdist(found, there).mean()
        loss = loss - torch.cdist(found, found).sum() / (len(found) * (len(found) - 1))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach() - torch.cdist(there, there).sum() / (len(late) * (len(late) - 1))))
    return losses
