"""The factored pair law: what a cell says, how far it carries, and what hearing it does, each a curve to be read.

    heard_ik = Σ_j share_ij · carries_k(d_ij) · s_jk               one channel k for each signal s_k
    ds_i/dt  = own(s_i) + Σ_k does_k(heard_ik) - does_k(0)

`share` is 1, or 1 / number of neighbours. `does` and `carries` are sums of splines; `own`, what the cell does alone, is
splines of each signal and a layer of random features of all together (Rahimi and Recht 2007). So the law is
linear in nearly all that is learned: `fit_law` solves for it. Outside the range of the data, where nothing is known,
states are drawn back to its edge, so that long courses stay near what was seen. Times [min], distances [um].
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from neural.tissue.graph import Rows
from neural.tissue.splines import cubic_splines
from neural.tissue.sums import weighted_sum


@dataclass(frozen=True)
class Hearing:
    """Who hears whom, and from how far: rows, distances (e,) [um], share (e,)."""

    rows: Rows
    distance: torch.Tensor
    share: torch.Tensor

    @classmethod
    def of(cls, rows: Rows, distance: torch.Tensor, mean: bool = False, itself: bool = False) -> Hearing:
        """Shares of 1, or of 1 / number of neighbours where a cell hears their `mean`; with `itself`, a cell hears
        itself too, from no distance."""
        if itself:
            edges, alone = rows.edge_index(), torch.arange(len(rows)).expand(2, -1)
            rows, order = Rows.of_edges(torch.cat([edges, alone], 1).numpy(), len(rows))
            distance = torch.cat([distance, distance.new_zeros(len(rows))])[torch.as_tensor(order)]
        share = torch.ones_like(distance)
        if mean:
            degree = torch.as_tensor(rows.indptr).diff().clamp_min(1)
            share = 1.0 / degree[torch.as_tensor(rows.receivers)].to(distance)
        return cls(rows, distance, share)


class FactoredLaw(nn.Module):
    """ds/dt of cells that hear their neighbours, float64.

    Args:
        signals: names of the s states, each of which may also be a signal.
        low, high: range of each signal in the data (s,).
        radius: nobody is heard from farther [um]; None: distance does not matter.
        pieces: of each spline; features: random features of `own`; seed: of these.
        pull: rate at which a state outside the data's range is drawn back to it [1/min].

    Attributes:
        own: (feature, s), does: (channel, spline, s) [1/min]; carries: (channel, spline), where there is a radius.
        softest, loudest: what `heard` is at least and at most, by channel, in the data (s,).
    """

    low: torch.Tensor
    high: torch.Tensor
    loudest: torch.Tensor
    softest: torch.Tensor
    quietest: torch.Tensor
    mix: torch.Tensor
    shift: torch.Tensor

    def __init__(
        self,
        signals: Sequence[str],
        low: torch.Tensor,
        high: torch.Tensor,
        radius: float | None = None,
        pieces: int = 10,
        features: int = 60,
        seed: int = 0,
        pull: float = 0.1,
    ):
        super().__init__()
        s, double = len(signals), torch.float64
        self.signals, self.radius, self.pieces, self.pull = tuple(signals), radius, pieces, pull
        generator = torch.Generator().manual_seed(seed)
        self.register_buffer("low", low.double())
        self.register_buffer("high", torch.maximum(high, low + 1e-9).double())
        self.register_buffer("quietest", torch.minimum(self.low, torch.zeros_like(self.low)))
        self.register_buffer("softest", self.low.clone())
        self.register_buffer("loudest", self.high.clone())
        self.register_buffer("mix", 1.5 * torch.randn(s, features, generator=generator, dtype=double))
        self.register_buffer("shift", 2.0 * torch.rand(features, generator=generator, dtype=double) - 1.0)
        self.own = nn.Parameter(torch.zeros(s * (pieces + 3) + features, s, dtype=double))
        self.does = nn.Parameter(torch.zeros(s, pieces + 3, s, dtype=double))
        self.carries = nn.Parameter(torch.zeros(s, pieces + 3, dtype=double)) if radius is not None else None

    def reach(self, distance: torch.Tensor) -> torch.Tensor:
        """Splines of distance (e,) [um] -> (e, spline); all 0 from the radius on."""
        assert self.radius is not None
        end = torch.tensor(self.radius, dtype=distance.dtype)
        inside = (distance < end).to(distance.dtype)[:, None]
        return cubic_splines(distance, torch.zeros_like(end), end, self.pieces) * inside

    def heard(self, s: torch.Tensor, hearing: Hearing) -> torch.Tensor:
        """What each cell hears by channel: s (n, s) or (batch, n, s) -> the same shape."""
        weight = hearing.share[:, None].expand(-1, s.shape[-1])
        if self.carries is not None:
            weight = weight * (self.reach(hearing.distance) @ self.carries.t())
        if s.dim() == 2:
            return weighted_sum(weight, s, hearing.rows)
        return weighted_sum(weight, s.permute(1, 2, 0), hearing.rows).permute(2, 0, 1)

    def alone(self, s: torch.Tensor) -> torch.Tensor:
        """Features (..., feature) of what a cell does by itself."""
        splines = cubic_splines(s, self.low, self.high, self.pieces).flatten(-2)
        x = 2 * (s - self.low) / (self.high - self.low) - 1
        return torch.cat([splines, torch.tanh(x @ self.mix + self.shift)], -1)

    def together(self, heard: torch.Tensor) -> torch.Tensor:
        """Features (..., channel, spline) of what hearing does; 0 where nothing is heard."""
        return cubic_splines(heard, self.quietest, self.loudest, self.pieces) - cubic_splines(
            torch.zeros_like(heard[..., :1]), self.quietest, self.loudest, self.pieces
        )

    def effects(self, heard: torch.Tensor) -> torch.Tensor:
        """What hearing does by channel: (..., s) -> rates (..., channel, s) [1/min]."""
        return torch.einsum("...kb,kbs->...ks", self.together(heard), self.does)

    def forward(self, s: torch.Tensor, hearing: Hearing) -> torch.Tensor:
        """ds/dt of s (n, s) or (batch, n, s) [1/min]."""
        inside = s.clamp(self.low, self.high)
        told = self.together(self.heard(inside, hearing)).flatten(-2)
        rate = self.alone(inside) @ self.own + told @ self.does.flatten(0, 1)
        return rate - self.pull * (s - inside)


def rk4(rate: Callable[[torch.Tensor], torch.Tensor], s: torch.Tensor, dt: float, steps: int) -> torch.Tensor:
    """s after `dt` in `steps` steps of the classical Runge-Kutta method."""
    h = dt / steps
    for _ in range(steps):
        k1 = rate(s)
        k2 = rate(s + 0.5 * h * k1)
        k3 = rate(s + 0.5 * h * k2)
        s = s + h / 6 * (k1 + 2 * k2 + 2 * k3 + rate(s + h * k3))
    return s
