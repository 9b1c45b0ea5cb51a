"""The vector field of a cell's representation under drugs: what a manipulator integrates.

    tau_j dr_j/dt = joined_k B_kj h_kj(c_k)  +  sum_{i<j} C_ji r_i  -  r_j  +  residual_j(r, drive, message)
                    drugs' drive               feed-forward, readable    small network, zero where untreated

h is a Hill curve per drug and component, and r = 0 is the untreated cell. Drives of several drugs are joined by power
means of those that push up and of those that push down: power 1 adds (Bliss for rates), infinity is the strongest alone
(HSA), as `neural.combinations` does with curves. Only the residual is a network (one tanh layer). `effect` and
`coupling` are the readable part.

Every parameter has a leading member axis: an ensemble is one batch. Time [min].
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from neural.blocks import rows_times

_SMALLEST_DOSE = 1e-12
# no component is faster than this [min], so that steps of an hour are accurate
_SHORTEST_TAU = 120.0


# below this a drive is too small to tell which drug it is of; keeps roots smooth at zero
_NO_DRIVE = 1e-6


def joined(drives: torch.Tensor, power: float) -> torch.Tensor:
    """Drives (member, n, drug, d) as one (member, n, d): power means of the rising and of the falling ones."""
    if power == 1.0:
        return drives.sum(2)

    def mean(parts: torch.Tensor) -> torch.Tensor:
        raised = (parts.clamp_min(0.0) ** power).sum(2) + _NO_DRIVE**power
        return raised ** (1.0 / power) - _NO_DRIVE

    return mean(drives) - mean(-drives)


class DrugDynamics(nn.Module):
    """dr/dt of an ensemble of cell representations.

    Args:
        members: size of the ensemble.
        drugs: number of drugs (conditions).
        dimension: number of components of the representation.
        messages: number of inputs from the tissue.
        hidden: width of the residual network.
        residual: largest size of the residual, in units of the drive.
        power: of the mean that joins drugs, at least 1.
    """

    scale: torch.Tensor

    def __init__(
        self,
        members: int,
        drugs: int,
        dimension: int,
        messages: int,
        hidden: int = 16,
        residual: float = 1.0,
        power: float = 1.0,
    ):
        super().__init__()
        self.power = power
        m, k, d = members, drugs, dimension
        zeros = torch.zeros
        self.residual = residual
        self.log_tau = nn.Parameter(zeros(m, d))
        self.effect = nn.Parameter(zeros(m, k, d))
        self.log_half = nn.Parameter(zeros(m, k))
        self.log_half_shift = nn.Parameter(zeros(m, k, d))
        self.log_power = nn.Parameter(zeros(m, k))
        self.coupling = nn.Parameter(zeros(m, d, d))
        self.w_in = nn.Parameter(zeros(m, 2 * d + messages, hidden))
        self.b_in = nn.Parameter(zeros(m, 1, hidden))
        self.w_out = nn.Parameter(zeros(m, hidden, d))
        self.register_buffer("scale", torch.ones(()))
        self.register_buffer("first_tau", zeros(d), persistent=False)
        self.first_tau: torch.Tensor
        self.register_buffer("below", torch.tril(torch.ones(d, d), -1), persistent=False)
        self.below: torch.Tensor

    def drive(self, conditions: torch.Tensor, shift: torch.Tensor | None = None) -> torch.Tensor:
        """Joined drive of the drugs (member, n, d) at doses (n, drug) or (member, n, drug).

        `shift` moves log half-maximal doses, (member, n, drug): a laboratory's day-to-day potency.
        """
        dose = conditions if conditions.dim() == 3 else conditions[None]
        centre = self.log_half[:, None, :] if shift is None else self.log_half[:, None, :] + shift
        gap = (torch.log(dose.clamp_min(_SMALLEST_DOSE)) - centre)[..., None] - self.log_half_shift[:, None]
        hill = torch.sigmoid(torch.exp(self.log_power)[:, None, :, None] * gap) * (dose > 0)[..., None]
        return joined(hill * self.effect[:, None], self.power)

    def network(self, r: torch.Tensor, drive: torch.Tensor, message: torch.Tensor) -> torch.Tensor:
        """The learned residual (member, n, d); zero at r = 0 without drugs, whatever the message."""
        inputs = torch.cat([r, drive, message], -1)
        still = torch.cat([torch.zeros_like(r), torch.zeros_like(drive), message], -1)
        raised = self._raised(inputs) - self._raised(still)
        return self.residual * torch.tanh(rows_times(raised, self.w_out))

    def _raised(self, inputs: torch.Tensor) -> torch.Tensor:
        return torch.tanh(rows_times(inputs, self.w_in) + self.b_in)

    def forward(self, r: torch.Tensor, drive: torch.Tensor, message: torch.Tensor) -> torch.Tensor:
        """dr/dt (member, n, d) [1/min] for r (member, n, d), drive of `drive`, message (member, n, m)."""
        forward = rows_times(r, (self.coupling * self.below).transpose(1, 2))
        pull = drive + forward - r + self.network(r, drive, message)
        return self.scale * pull / self.tau()[:, None]

    def tau(self) -> torch.Tensor:
        """Time constants (member, d) [min]."""
        return _SHORTEST_TAU + torch.exp(self.log_tau)

    @torch.no_grad()
    def start(
        self, tau: Sequence[float], half: Sequence[float], generator: torch.Generator, spread: float
    ) -> None:
        """Start at time constants [min] per component and half-maximal doses per drug, a little random."""

        def random(like: torch.Tensor) -> torch.Tensor:
            return torch.randn(like.shape, generator=generator, dtype=like.dtype)

        self.first_tau.copy_(torch.log(torch.tensor(tau) - _SHORTEST_TAU))
        self.log_tau.copy_(self.first_tau.expand_as(self.log_tau) + 0.2 * spread * random(self.log_tau))
        self.log_half.copy_(torch.log(torch.tensor(half)).expand_as(self.log_half))
        self.log_half.add_(0.3 * spread * random(self.log_half))
        self.log_power.fill_(0.4).add_(0.1 * spread * random(self.log_power))
        self.effect.fill_(0.2).add_(0.1 * random(self.effect).abs())
        self.w_in.copy_(0.3 * random(self.w_in))
        self.b_in.copy_(0.3 * random(self.b_in))

    def penalty(self) -> torch.Tensor:
        """What the fit pays for leaving simple dynamics, per member: Gaussian priors, in half squares."""

        def squares(x: torch.Tensor) -> torch.Tensor:
            return x.flatten(1).square().sum(1)

        coupled = squares(self.coupling * self.below)
        return 0.5 * (
            squares(self.effect / 2.0)
            + squares(self.log_half_shift / 0.7)
            + squares((self.log_power - 0.4) / 0.4)
            + squares((self.log_tau - self.first_tau) / 0.7)
            + coupled / 0.25
            + squares(self.w_out / 0.3)
            + squares(self.w_in)
        )
