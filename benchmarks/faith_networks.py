"""Small networks for the learned term of a hybrid, and what other data would have made of them.

Where there are more than a dozen inputs, additive least squares say which dozen to look at. Then a penalty on each
input as a group shows what helps; how strong it is, is chosen on trajectories that a network has not seen (the
strongest within one standard error of the best). Then a network is fitted with the inputs that were kept, almost
without penalty, since a penalty that selects also shrinks. It is fitted again without each of some groups of
trajectories, and to smoothed courses that were measured and smoothed once more: `sim.interpret.refits` makes
intervals of these. All fits of one kind are one batch of damped Gauss-Newton steps (Levenberg and Marquardt).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from faith_problem import Problem

_LOOKED_AT = 12
_MEMBERS = 6
_HIDDEN = 8
_PENALTIES = (1e-3, 1e-2, 5e-2)
_STEPS = 30
_AGAIN_STEPS = 12
_MOST_ROWS = 600
_SELECTION_ROWS = 400
_STARTS = 6
_FIRST_STEPS = 60
#: starts whose misfit is within this factor of the best one's fit the data as well
_AS_WELL = 1.15
#: groups of trajectories that are left out in turn, and measurements made again
GROUPS, DRAWS = 12, 10
_RIDGE = 1e-4
#: a term that explains less than this of unseen trajectories has learned nothing that could be explained
LEARNED = 0.2
#: an input is kept if its weight is at least this share of the heaviest one's
_KEPT = 0.08


@dataclass(frozen=True)
class Networks:
    """tanh networks (network, ...): inputs (row, input) to (network, row), in the data's own units."""

    weights: torch.Tensor  # (network, input, hidden)
    offset: torch.Tensor  # (network, hidden)
    out: torch.Tensor  # (network, hidden)
    base: torch.Tensor  # (network,)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        raised = torch.tanh(torch.matmul(x, self.weights) + self.offset[:, None])
        return torch.matmul(raised, self.out[:, :, None])[..., 0] + self.base[:, None]

    def __len__(self) -> int:
        return len(self.base)

    def __getitem__(self, which: slice | torch.Tensor) -> Networks:
        return Networks(self.weights[which], self.offset[which], self.out[which], self.base[which])

    def repeated(self, count: int) -> Networks:
        return Networks(*(w.repeat(count, *[1] * (w.ndim - 1)) for w in self.parts))

    @property
    def parts(self) -> tuple[torch.Tensor, ...]:
        return self.weights, self.offset, self.out, self.base

    def columns(self) -> torch.Tensor:
        """(network, input): an input's weights, weighed with what leaves the units that they go into."""
        return torch.sqrt(((self.weights * self.out[:, None]) ** 2).sum(2) + 1e-10)


@dataclass(frozen=True)
class Fit:
    """A fitted term: functions (row, input) to (row,), numbered from 0.

    Attributes:
        whole, without, starts, again: numbers of the functions that were fitted to everything, to everything but a
            group each, to everything from several starts, and to what was measured again.
        used: inputs that the functions see.
        held_out: mean squared error on trajectories that a fit has not seen, 1 for a constant. Where it is near that,
            there are no fits to other data.
    """

    networks: Networks
    centre: torch.Tensor
    scale: torch.Tensor
    shift: float
    size: float
    used: torch.Tensor
    held_out: float
    without: range
    starts: range
    again: range
    whole: range = range(1)

    @property
    def learned(self) -> bool:
        return self.held_out < 1 - LEARNED

    def __call__(self, z: torch.Tensor) -> torch.Tensor:
        """What the function that was fitted to everything says (row,) of inputs (row, input)."""
        return self.each(z, torch.zeros(len(z), dtype=torch.long))

    def each(self, z: torch.Tensor, number: torch.Tensor) -> torch.Tensor:
        """What the function of that number (row,) says of each row (row, input)."""
        x = (z[:, self.used] - self.centre) / self.scale
        n = self.networks
        raised = torch.tanh(torch.einsum("ri,rih->rh", x, n.weights[number]) + n.offset[number])
        return self.shift + self.size * ((raised * n.out[number]).sum(1) + n.base[number])


def fitted(problem: Problem, seed: int) -> Fit:
    """The network for a problem's hidden term."""
    rng = np.random.default_rng(seed)
    few = np.sort(rng.choice(len(problem.y), min(len(problem.y), _MOST_ROWS), replace=False))
    group = problem.group[few]
    draws = [tuple(part[few] for part in problem.again(rng)) for _ in range(DRAWS)]
    z, y = problem.z[few], problem.y[few]
    weight = _weights(y, np.array([d[1] for d in draws]))
    centre, scale = z.mean(0), z.std(0) + 1e-12
    shift, size = float(y.mean()), float(y.std()) or 1.0

    def standard(z: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return (z - centre) / scale, (y - shift) / size

    x, target = standard(z, y)
    used = np.flatnonzero(_chosen(rng, x, target, weight, group))
    x = x[:, used]
    parts = _parts(rng, group)
    seen = weight * ~parts
    cold = _descended(_start(rng, len(parts), len(used), _HIDDEN), x, target, seen, _RIDGE, _STEPS)
    held_out = float(_misfit(cold, x, target, parts * weight).mean() / _spread(target, weight))
    learned = held_out < 1 - LEARNED
    count, steps = (_STARTS, _FIRST_STEPS) if learned else (1, _STEPS)
    first = _descended(_start(rng, count, len(used), _HIDDEN), x, target, weight[None], _RIDGE, steps)
    misfit = _misfit(first, x, target, weight[None])
    order = np.argsort(misfit)
    found = [first[torch.tensor(order[misfit[order] <= _AS_WELL * misfit[order[0]]])]]
    starts = without = again = range(0)
    if learned:
        starts = range(len(found[0]))
        best = found[0][slice(0, 1)]
        without = range(starts.stop, starts.stop + len(parts))
        again = range(without.stop, without.stop + DRAWS)
        found.append(_descended(best.repeated(len(parts)), x, target, seen, _RIDGE, _AGAIN_STEPS))
        others = [standard(*d) for d in draws]
        inputs = np.array([o[0][:, used] for o in others])
        values = np.array([o[1] for o in others])
        found.append(_descended(best.repeated(DRAWS), inputs, values, weight[None], _RIDGE, _AGAIN_STEPS))
    networks = Networks(*(torch.cat(p) for p in zip(*(f.parts for f in found))))
    own = torch.tensor(centre[used]), torch.tensor(scale[used])
    return Fit(networks, *own, shift, size, torch.tensor(used), held_out, without, starts, again)


def _weights(y: np.ndarray, again: np.ndarray) -> np.ndarray:
    """(row,) how much each value (row,) is worth, by how far those measured again (draw, row) differ; mean 1."""
    noise = ((again - y) ** 2).mean(0)
    weight = 1 / (noise + np.median(noise) + 1e-12)
    return weight / weight.mean()


def _spread(target: np.ndarray, weight: np.ndarray) -> float:
    mean = np.average(target, weights=weight)
    return float(np.average((target - mean) ** 2, weights=weight))


def _parts(rng: np.random.Generator, group: np.ndarray) -> np.ndarray:
    """(part, row) which rows each part of the trajectories holds."""
    names, row = np.unique(group, return_inverse=True)
    count = min(GROUPS, len(names))
    part = rng.permutation(len(names)) % count
    return part[row] == np.arange(count)[:, None]


# ---- which inputs


def _chosen(
    rng: np.random.Generator, x: np.ndarray, target: np.ndarray, weight: np.ndarray, group: np.ndarray
) -> np.ndarray:
    """(input,) True for those that a penalised network needs."""
    inputs = x.shape[1]
    looked_at = np.flatnonzero(_additive(x, target, weight) if inputs > _LOOKED_AT else np.ones(inputs))
    few = np.sort(rng.choice(len(target), min(len(target), _SELECTION_ROWS), replace=False))
    x, target, weight, group = x[few][:, looked_at], target[few], weight[few], group[few]
    names, row = np.unique(group, return_inverse=True)
    drawn = np.array(
        [
            np.bincount(rng.integers(0, len(names), len(names)), minlength=len(names))[row]
            for _ in range(_MEMBERS)
        ]
    )
    count = len(_PENALTIES)
    start = _start(rng, _MEMBERS, len(looked_at), _HIDDEN - 2).repeated(count)
    many = np.tile(drawn, (count, 1)) * weight
    strength = torch.tensor(np.repeat(_PENALTIES, _MEMBERS))
    found = _descended(start, x, target, many, _RIDGE, _STEPS, strength)
    unseen = np.tile(drawn == 0, (count, 1)) * weight
    error = _misfit(found, x, target, unseen).reshape(count, _MEMBERS)
    mean, spread = error.mean(1), error.std(1, ddof=1) / np.sqrt(_MEMBERS)
    best = int(mean.argmin())
    own = max(k for k in range(count) if mean[k] <= mean[best] + spread[best])
    columns = found.columns()[own * _MEMBERS : (own + 1) * _MEMBERS].median(0).values.numpy()
    kept = np.zeros(inputs, bool)
    kept[looked_at[columns >= _KEPT * max(columns.max(), 1e-12)]] = True
    return kept


def _additive(x: np.ndarray, target: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """(input,) True for the dozen with the largest parts in a sum of cubics, by ridge regression."""
    basis = np.concatenate([x, x**2, x**3], 1)
    basis = (basis - basis.mean(0)) / basis.std(0)
    normal = (basis * weight[:, None]).T @ basis / len(x)
    factors = np.linalg.solve(
        normal + 0.03 * np.eye(len(normal)), (basis * weight[:, None]).T @ target / len(x)
    )
    parts = (basis * factors).reshape(len(x), 3, -1).sum(1).std(0)
    return parts >= np.sort(parts)[-_LOOKED_AT]


# ---- least squares


def _start(rng: np.random.Generator, count: int, inputs: int, hidden: int) -> Networks:
    return Networks(
        *(
            torch.tensor(w)
            for w in (
                rng.normal(size=(count, inputs, hidden)) / np.sqrt(inputs),
                rng.normal(size=(count, hidden)) * 0.3,
                rng.normal(size=(count, hidden)) * 0.3,
                np.zeros(count),
            )
        )
    )


@torch.no_grad()
def _descended(
    start: Networks,
    x: np.ndarray,
    target: np.ndarray,
    weight: np.ndarray,
    ridge: float,
    steps: int,
    strength: torch.Tensor | None = None,
) -> Networks:
    """Networks after damped Gauss-Newton steps on weighted squares.

    Args:
        x: ([network,] row, input); target: ([network,] row); weight: (network or 1, row).
        ridge: on the squares of weights.
        strength: (network,) of the penalty on each input's column; none by default.
    """
    network, inputs, hidden = start.weights.shape
    given, wanted = torch.tensor(x), torch.tensor(target)
    root = torch.sqrt(torch.tensor(weight / weight.mean(1, keepdims=True) / weight.shape[1]))
    theta = torch.cat([p.reshape(network, -1) for p in start.parts], 1)
    free = torch.ones(theta.shape[1], dtype=theta.dtype)
    free[-1] = 0.0
    damping = torch.full((network,), 1e-2, dtype=theta.dtype)

    def unpacked(theta: torch.Tensor) -> Networks:
        w, b, v, c = torch.split(theta, [inputs * hidden, hidden, hidden, 1], 1)
        return Networks(w.reshape(network, inputs, hidden), b, v, c[:, 0])

    def cost(theta: torch.Tensor) -> torch.Tensor:
        now = unpacked(theta)
        total = ((root * (now(given) - wanted)) ** 2).sum(1) + ridge * (free * theta**2).sum(1)
        return total if strength is None else total + strength * now.columns().sum(1)

    at = cost(theta)
    for _ in range(steps):
        now = unpacked(theta)
        raised = torch.tanh(torch.matmul(given, now.weights) + now.offset[:, None])
        left = root * (torch.matmul(raised, now.out[:, :, None])[..., 0] + now.base[:, None] - wanted)
        slope = (1 - raised**2) * now.out[:, None] * root[:, :, None]
        wide = given if given.ndim == 3 else given[None]
        jacobian = torch.cat(
            [
                (wide[:, :, :, None] * slope[:, :, None]).reshape(network, -1, inputs * hidden),
                slope,
                raised * root[:, :, None],
                root.expand(network, -1)[:, :, None],
            ],
            2,
        )
        normal = torch.bmm(jacobian.transpose(1, 2), jacobian)
        gradient = torch.bmm(jacobian.transpose(1, 2), left[:, :, None])[..., 0]
        own = ridge * free.expand(network, -1)
        if strength is not None:
            # the penalty's own parabola, which touches it from above
            steep = strength[:, None] / (2 * now.columns())
            zero = torch.zeros(network, 1, dtype=theta.dtype)
            of_weights = (steep[:, :, None] * now.out[:, None] ** 2).reshape(network, -1)
            of_out = (steep[:, :, None] * now.weights**2).sum(1)
            own = own + torch.cat([of_weights, torch.zeros_like(now.offset), of_out, zero], 1)
        gradient = gradient + own * theta
        curvature = torch.diagonal(normal, dim1=1, dim2=2) + own
        system = normal + torch.diag_embed(own + damping[:, None] * curvature + 1e-9)
        step = torch.linalg.solve(system, gradient[:, :, None])[..., 0]
        trial = theta - step
        then = cost(trial)
        better = then < at
        theta = torch.where(better[:, None], trial, theta)
        at = torch.where(better, then, at)
        damping = torch.where(better, damping * 0.3, damping * 4).clamp(1e-8, 1e6)
    return unpacked(theta)


@torch.no_grad()
def _misfit(network: Networks, x: np.ndarray, target: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Weighted mean squared error (network,)."""
    w = torch.tensor(weight)
    square = (network(torch.tensor(x)) - torch.tensor(target)) ** 2
    return ((w * square).sum(1) / w.sum(1).clamp_min(1e-12)).numpy()
