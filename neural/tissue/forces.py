"""Velocities that neighbours give: a pair law between hidden kinds of cells, found together with who is which.

    v_i = Σ_j strength(s_j) · force_ab(d_ij) · (x_j - x_i) / d_ij,   a the kind of i, b that of j

force_ab is a curve of the distance for each ordered pair of kinds, so that forces need not be mutual; `strength` is a
curve of one signal that the neighbour gives out, or 1. Each cell has a membership of the kinds, which is learned with
the curves: its embedding. Rotating, moving or mirroring a tissue rotates, moves or mirrors its velocities.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from neural.tissue.splines import bends, cubic_splines


@dataclass(frozen=True)
class Pairs:
    """Pairs seen in one frame, and how the cells then moved.

    Attributes:
        receiver, sender: cells (e,); distance: (e,) [um]; direction: from receiver to sender (e, dim).
        signal: of the sender (e,), or None; velocity: (n, dim) [um/min].
    """

    receiver: np.ndarray
    sender: np.ndarray
    distance: np.ndarray
    direction: np.ndarray
    signal: np.ndarray | None
    velocity: np.ndarray


@dataclass(frozen=True)
class PairForces:
    """What `fit_forces` found.

    Attributes:
        radius: neighbours are seen within it [um].
        force: coefficients (kind, kind, spline) of the curves, the cell's kind first [um/min].
        strength: coefficients (spline,) of the neighbour's strength, 1 on average, and its range; None: always 1.
        membership: (cell, kind), the embedding: rows sum to 1.
        unexplained: share of the squared velocities that is left.
    """

    radius: float
    force: torch.Tensor
    strength: torch.Tensor | None
    low: float
    high: float
    membership: np.ndarray
    unexplained: float

    @property
    def kinds(self) -> np.ndarray:
        """The likeliest kind of each cell (n,)."""
        return self.membership.argmax(1)

    def curve(self, distance: np.ndarray, mine: int, theirs: int) -> np.ndarray:
        """Velocity towards a neighbour [um/min] at distances (m,) [um]."""
        return (_splines(distance, 0.0, self.radius, self.force.shape[2]) @ self.force[mine, theirs]).numpy()

    def loudness(self, signal: np.ndarray) -> np.ndarray:
        """Strength of a neighbour by its signal (m,)."""
        if self.strength is None:
            return np.ones_like(signal)
        return (_splines(signal, self.low, self.high, len(self.strength)) @ self.strength).numpy()

    def velocity(self, pairs: Pairs, kinds: np.ndarray) -> np.ndarray:
        """(n, dim) [um/min] of cells of given kinds (n,)."""
        b = _splines(pairs.distance, 0.0, self.radius, self.force.shape[2])
        f = (b * self.force[kinds[pairs.receiver], kinds[pairs.sender]]).sum(1).numpy()
        if pairs.signal is not None:
            f = f * self.loudness(pairs.signal)
        moved = f[:, None] * pairs.direction
        n = len(kinds)
        return np.stack([np.bincount(pairs.receiver, m, n) for m in moved.T], 1)


def fit_forces(
    frames: Sequence[Pairs], cells: int, radius: float, *, kinds: int = 2, pieces: int = 12, seed: int = 0
) -> PairForces:
    """Curves, strengths and kinds behind the velocities of `cells` cells.

    Alternates between three linear problems, each solved in full: the curves for given kinds and strengths, the
    strengths for given curves, and for each cell which kind leaves least unexplained, of what it does and what
    others do on its account. Starts from the cells' own curves, grouped; the best of several starts is kept.
    """
    width = pieces + 3
    tables = _tables(frames, radius, width)
    best: PairForces | None = None
    for start in range(4):
        found = _alternate(tables, cells, radius, kinds, width, np.random.default_rng([seed, start]))
        if best is None or found.unexplained < best.unexplained:
            best = found
    assert best is not None
    return best


@dataclass(frozen=True)
class _Tables:
    receiver: torch.Tensor  # rows of all frames: frame · n + cell
    cell: torch.Tensor
    sender: torch.Tensor
    splines: torch.Tensor
    loud: torch.Tensor | None
    direction: torch.Tensor
    velocity: torch.Tensor
    low: float
    high: float


def _tables(frames: Sequence[Pairs], radius: float, width: int) -> _Tables:
    n = len(frames[0].velocity)
    receiver = np.concatenate([k * n + f.receiver for k, f in enumerate(frames)])
    signal = None if frames[0].signal is None else np.concatenate([f.signal for f in frames])  # type: ignore[misc]
    low, high = (0.0, 1.0) if signal is None else (float(signal.min()), float(signal.max()))
    return _Tables(
        torch.as_tensor(receiver),
        torch.as_tensor(receiver % n),
        torch.as_tensor(np.concatenate([f.sender for f in frames])),
        _splines(np.concatenate([f.distance for f in frames]), 0.0, radius, width),
        None if signal is None else _splines(signal, low, high, 8),
        torch.as_tensor(np.concatenate([f.direction for f in frames])),
        torch.as_tensor(np.concatenate([f.velocity for f in frames])),
        low,
        high,
    )


def _splines(x: np.ndarray, low: float, high: float, width: int) -> torch.Tensor:
    ends = torch.tensor([low, high], dtype=torch.float64)
    return cubic_splines(torch.as_tensor(np.asarray(x, float)), ends[0], ends[1], width - 3)


def _sum_rows(values: torch.Tensor, receiver: torch.Tensor, rows: int) -> torch.Tensor:
    return torch.zeros(rows, *values.shape[1:], dtype=torch.float64).index_add(0, receiver, values)


def _ridge(a: torch.Tensor, y: torch.Tensor, blocks: int, width: int, weight: float = 1e-6) -> torch.Tensor:
    smooth = bends(width).t() @ bends(width) + 0.01 * torch.eye(width, dtype=torch.float64)
    gram = a.t() @ a
    penalty = torch.block_diag(*[smooth] * blocks) * weight * gram.diagonal().max()
    return torch.linalg.solve(gram + penalty, a.t() @ y)


def _alternate(
    t: _Tables, cells: int, radius: float, kinds: int, width: int, rng: np.random.Generator
) -> PairForces:
    rows = len(t.velocity)
    y = t.velocity.flatten()
    member = _first_kinds(t, cells, kinds, width, rng)
    strength = torch.ones(len(t.receiver), dtype=torch.float64)
    coefficients: torch.Tensor | None = None
    force, last = torch.zeros(kinds, kinds, width, dtype=torch.float64), np.inf
    for _ in range(60):
        pair = member[t.cell] * kinds + member[t.sender]
        base = (t.splines * strength[:, None])[:, :, None] * t.direction[:, None, :]
        columns = [
            _sum_rows(base[pair == p], t.receiver[pair == p], rows).permute(0, 2, 1).flatten(0, 1)
            for p in range(kinds**2)
        ]
        c = _ridge(torch.cat(columns, 1), y, kinds**2, width)
        force = c.reshape(kinds, kinds, width)
        if t.loud is not None:
            f = (t.splines * force.reshape(-1, width)[pair]).sum(1)
            a = _sum_rows((t.loud * f[:, None])[:, :, None] * t.direction[:, None, :], t.receiver, rows)
            coefficients = _ridge(a.permute(0, 2, 1).flatten(0, 1), y, 1, 8)
            mean = float((t.loud @ coefficients).mean())
            coefficients, force = coefficients / mean, force * mean
            strength = t.loud @ coefficients
        before = member
        member, loss = _reassign(t, member, force, strength, cells)
        if torch.equal(before, member) and abs(loss - last) <= 1e-6 * loss:
            member = _swap_two(t, member, force, strength, cells)
            if torch.equal(before, member):
                break
        last = loss
    weight = _membership(t, member, force, strength, cells)
    return PairForces(
        radius, force, coefficients, t.low, t.high, weight, last / float(t.velocity.square().sum())
    )


def _first_kinds(t: _Tables, cells: int, kinds: int, width: int, rng: np.random.Generator) -> torch.Tensor:
    """Cells grouped by the curve that best tells each one's own motion, whoever its neighbours are (k-means)."""
    base = t.splines[:, :, None] * t.direction[:, None, :]
    a = _sum_rows(base, t.receiver, len(t.velocity))
    curves = []
    for i in range(cells):
        mine = slice(i, None, cells)
        part = a[mine].permute(0, 2, 1).flatten(0, 1)
        curves.append(_ridge(part, t.velocity[mine].flatten(), 1, width, 1e-2))
    x = torch.stack(curves).numpy()
    x = x / x.std()
    centres = x[rng.choice(cells, kinds, replace=False)]
    group = np.zeros(cells, int)
    for _ in range(50):
        group = ((x[:, None] - centres[None]) ** 2).sum(-1).argmin(1)
        for k in range(kinds):
            if (group == k).any():
                centres[k] = x[group == k].mean(0)
    return torch.as_tensor(group)


def _errors(
    t: _Tables, member: torch.Tensor, force: torch.Tensor, strength: torch.Tensor, cells: int
) -> torch.Tensor:
    """What is left (cell, kind) of all velocities if one cell were of another kind and all others as they are."""
    kinds = force.shape[0]
    rows = len(t.velocity)
    given = (t.splines @ force.reshape(-1, force.shape[2]).t()).reshape(-1, kinds, kinds) * strength[
        :, None, None
    ]
    e = torch.arange(len(t.receiver))
    now = given[e, member[t.cell], member[t.sender]]
    rest = t.velocity - _sum_rows(now[:, None] * t.direction, t.receiver, rows)
    errors = torch.zeros(cells, kinds, dtype=torch.float64)
    for k in range(kinds):
        as_receiver = given[e, k, member[t.sender]] - now
        change = _sum_rows(as_receiver[:, None] * t.direction, t.receiver, rows)
        own = (rest - change).square().sum(1) - rest.square().sum(1)
        errors[:, k] += own.reshape(-1, cells).sum(0)
        as_sender = (given[e, member[t.cell], k] - now)[:, None] * t.direction
        felt = (rest[t.receiver] - as_sender).square().sum(1) - rest[t.receiver].square().sum(1)
        errors[:, k].index_add_(0, t.sender, felt)
    return errors + rest.square().sum()


def _reassign(
    t: _Tables, member: torch.Tensor, force: torch.Tensor, strength: torch.Tensor, cells: int
) -> tuple[torch.Tensor, float]:
    """Kinds (n,) after each cell in doubt has gone where least is left, those in most doubt first; and what is left."""
    errors = _errors(t, member, force, strength, cells)
    now = errors[torch.arange(cells), member]
    gain = now - errors.amin(1)
    wrong = int((gain > 0).sum())
    # at most an eighth of the cells and half of those that would go: a move makes its neighbours think again
    movable = torch.argsort(gain, descending=True)[: min(max(1, cells // 8), (wrong + 1) // 2)]
    member = member.clone()
    member[movable] = errors[movable].argmin(1)
    return member, float(now[0])


def _swap_two(
    t: _Tables, member: torch.Tensor, force: torch.Tensor, strength: torch.Tensor, cells: int, most: int = 12
) -> torch.Tensor:
    """Kinds (n,) after two of the cells in most doubt have changed together, where that leaves less.

    Two cells that act on each other may both be of the wrong kind, and neither alone the better for changing.
    """
    errors = _errors(t, member, force, strength, cells)
    now = float(errors[0, member[0]])
    others = errors.clone()
    others[torch.arange(cells), member] = torch.inf
    doubtful = torch.argsort(others.amin(1))[:most].tolist()
    given = (t.splines @ force.reshape(-1, force.shape[2]).t()).reshape(-1, *force.shape[:2])
    given = given * strength[:, None, None]
    e = torch.arange(len(t.receiver))
    best, found = now * (1 - 1e-9), member
    for k, i in enumerate(doubtful):
        for j in doubtful[:k]:
            tried = member.clone()
            tried[i], tried[j] = others[i].argmin(), others[j].argmin()
            v = given[e, tried[t.cell], tried[t.sender]]
            rest = t.velocity - _sum_rows(v[:, None] * t.direction, t.receiver, len(t.velocity))
            if float(rest.square().sum()) < best:
                best, found = float(rest.square().sum()), tried
    return found


def _membership(
    t: _Tables, member: torch.Tensor, force: torch.Tensor, strength: torch.Tensor, cells: int
) -> np.ndarray:
    """Probability of each kind (cell, kind) if the noise is as large as what is left."""
    errors = _errors(t, member, force, strength, cells)
    now = errors[torch.arange(cells), member]
    noise = float(now[0]) / t.velocity.numel()
    return torch.softmax(-(errors - errors.amin(1, keepdim=True)) / (2 * noise + 1e-300), 1).numpy()
