"""Ensembles of small networks for the learned term of a hybrid, fitted in one batch.

Each member sees whole trajectories drawn with replacement. First a penalty on each input as a group shows what
helps; how strong it is, is chosen on the trajectories that a member has not seen (the strongest within one standard
error of the best). Then the networks are fitted again with the inputs that were kept, almost without penalty, since a
penalty that selects also shrinks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

MEMBERS = 6
_HIDDEN = 8
_PENALTIES = (1e-3, 1e-2, 5e-2)
_STEPS = 300
_MOST_ROWS = 600
#: an input is kept if its weight is at least this share of the heaviest one's
_KEPT = 0.08


@dataclass(frozen=True)
class Ensemble:
    """Fitted networks: (row, input) to (row,), one function for each member, in the data's own units.

    Attributes:
        kept: (input,) which inputs the networks still see.
        held_out: mean squared error on trajectories a member has not seen, 1 for a constant.
    """

    weights: list[torch.Tensor]  # (member, input, hidden), (member, hidden) twice, (member,)
    centre: torch.Tensor
    scale: torch.Tensor
    shift: float
    size: float
    kept: np.ndarray
    held_out: float

    @property
    def members(self) -> int:
        return len(self.weights[3])

    def member(self, m: int) -> Callable[[torch.Tensor], torch.Tensor]:
        """The function of one member."""
        return lambda z: self._all(z, slice(m, m + 1))[0]

    def mean(self, z: torch.Tensor) -> torch.Tensor:
        """The members' mean."""
        return self._all(z, slice(None)).mean(0)

    def _all(self, z: torch.Tensor, which: slice) -> torch.Tensor:
        x = (z - self.centre) / self.scale
        return self.shift + self.size * _said([w[which] for w in self.weights], x)


def fitted(z: np.ndarray, y: np.ndarray, group: np.ndarray, seed: int, members: int = MEMBERS) -> Ensemble:
    """An ensemble for targets y (row,) at inputs z (row, input); `group` (row,) says which trajectory."""
    rng = np.random.default_rng(seed)
    few = np.sort(rng.choice(len(y), min(len(y), _MOST_ROWS), replace=False))
    z, y, group = z[few], y[few], group[few]
    centre, scale = z.mean(0), z.std(0) + 1e-12
    shift, size = float(y.mean()), float(y.std()) or 1.0
    x, target = torch.tensor((z - centre) / scale), torch.tensor((y - shift) / size)
    names = np.unique(group)
    weight = np.empty((members, len(y)))
    for m in range(members):
        drawn = np.bincount(rng.integers(0, len(names), len(names)), minlength=len(names))
        weight[m] = drawn[np.searchsorted(names, group)]
    start = _start(rng, members, z.shape[1])
    count = len(_PENALTIES)
    strength = torch.tensor(np.repeat(_PENALTIES, members))
    first = _trained(
        [np.tile(w, (count, *[1] * (w.ndim - 1))) for w in start],
        x,
        target,
        torch.tensor(np.tile(weight, (count, 1))),
        strength,
    )
    error = _unseen(first, x, target, weight, count).reshape(count, members)
    mean, spread = error.mean(1), error.std(1, ddof=1) / np.sqrt(members)
    best = int(mean.argmin())
    chosen = max(k for k in range(count) if mean[k] <= mean[best] + spread[best])
    own = slice(chosen * members, (chosen + 1) * members)
    columns = _columns(first)[own].median(0).values.numpy()
    kept = columns >= _KEPT * max(columns.max(), 1e-12)
    again = [w.copy() for w in start]
    again[0] = again[0] * kept[None, :, None]
    last = _trained(
        again, x * torch.tensor(kept.astype(float)), target, torch.tensor(weight), 1e-6 * strength[:members]
    )
    with torch.no_grad():
        last[0] *= torch.tensor(kept.astype(float))[None, :, None]
    held_out = float(_unseen(last, x, target, weight, 1).mean())
    return Ensemble(last, torch.tensor(centre), torch.tensor(scale), shift, size, kept, held_out)


def _start(rng: np.random.Generator, members: int, inputs: int) -> list[np.ndarray]:
    return [
        rng.normal(size=(members, inputs, _HIDDEN)) / np.sqrt(inputs),
        rng.normal(size=(members, _HIDDEN)) * 0.3,
        rng.normal(size=(members, _HIDDEN)) * 0.3,
        np.zeros(members),
    ]


def _said(weights: list[torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    w1, b1, w2, b2 = weights
    raised = torch.tanh(torch.baddbmm(b1[:, None], x.expand(len(b2), -1, -1), w1))
    return torch.bmm(raised, w2[:, :, None])[..., 0] + b2[:, None]


def _columns(weights: list[torch.Tensor]) -> torch.Tensor:
    """(member, input): an input's weights, weighed with what leaves the units that they go into."""
    return torch.sqrt(((weights[0] * weights[2][:, None]) ** 2).sum(2) + 1e-10)


def _trained(
    start: list[np.ndarray],
    x: torch.Tensor,
    target: torch.Tensor,
    weight: torch.Tensor,
    strength: torch.Tensor,
) -> list[torch.Tensor]:
    parameters = [torch.tensor(w, requires_grad=True) for w in start]
    weight = weight / weight.mean(1, keepdim=True)
    optimizer = torch.optim.Adam(parameters, lr=0.03)
    plan = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.06, total_steps=_STEPS)
    for _ in range(_STEPS):
        optimizer.zero_grad()
        misfit = (weight * (_said(parameters, x) - target) ** 2).mean(1)
        decay = 1e-6 * ((parameters[0] ** 2).sum((1, 2)) + (parameters[2] ** 2).sum(1))
        (misfit + strength * _columns(parameters).sum(1) + decay).sum().backward()
        optimizer.step()
        plan.step()
    return [p.detach() for p in parameters]


def _unseen(
    weights: list[torch.Tensor], x: torch.Tensor, target: torch.Tensor, weight: np.ndarray, repeats: int
) -> np.ndarray:
    """Mean squared error (network,) where a member saw nothing."""
    mask = torch.tensor(np.tile(weight == 0, (repeats, 1)).astype(float))
    error = (mask * (_said(weights, x) - target) ** 2).sum(1) / mask.sum(1).clamp_min(1)
    return error.numpy()
