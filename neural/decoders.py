"""Phenotype rates read off a representation: what drives the agents of a tissue.

    division  = g * 2 sigmoid(-w_d.r) / (1 + (confluence / K)^p)      contact inhibition of growth
    apoptosis = s_a softplus(b_a + w_a.r + k_a confluence)            alive -> annexin V positive
    lysis     = s_l softplus(b_l + w_l.r + k_l confluence)            annexin V positive -> dead, DNA stained
    clearance = s_c softplus(b_c + w_c.r + k_c confluence)            stained debris -> gone

Division is suppressed multiplicatively and deaths are hazards that add: two arresting drugs cannot make a
population shrink by arrest alone. Each readout vector w is its named pattern plus a small learned part.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

from neural.blocks import rows_times

RATES = ("division", "apoptosis", "lysis", "clearance")
UNIT = "1/min"
MEANING = {
    "division": "rate of division of a live cell",
    "apoptosis": "rate at which a live cell turns annexin V positive",
    "lysis": "rate at which an apoptotic cell loses its membrane and stains for DNA",
    "clearance": "rate at which stained debris disappears",
}
_SCALE = (1e-4, 1e-3, 1e-3)
_START = (7e-4, 5e-5, 2e-3, 3e-4)


def _inverse_softplus(x: float) -> float:
    return math.log(math.expm1(x))


class RateDecoders(nn.Module):
    """Rates [1/min] of live, apoptotic and lysed cells from their representation, for an ensemble.

    Args:
        members: size of the ensemble.
        pattern: (rate, component) readout that names the components; it lowers division, raises others.
    """

    scale: torch.Tensor
    pattern: torch.Tensor
    factor: torch.Tensor

    def __init__(self, members: int, pattern: list[list[float]]):
        super().__init__()
        fixed = torch.tensor(pattern)
        starts = [math.log(_START[0])] + [
            _inverse_softplus(v / s) for v, s in zip(_START[1:], _SCALE, strict=True)
        ]
        self.readout = nn.Parameter(torch.zeros(members, *fixed.shape))
        self.base = nn.Parameter(torch.tensor(starts).repeat(members, 1))
        self.crowding = nn.Parameter(torch.zeros(members, 3))
        self.log_contact = nn.Parameter(torch.tensor([math.log(0.9), math.log(4.0)]).repeat(members, 1))
        self.register_buffer("pattern", fixed)
        self.register_buffer("scale", torch.ones(()))
        # of a laboratory, by rate
        self.register_buffer("factor", torch.ones(members, len(RATES)))

    def forward(self, r: torch.Tensor, message: torch.Tensor) -> torch.Tensor:
        """Rates (member, n, 4) in the order of RATES, for r (member, n, d) and message (member, n, 1)."""
        q = rows_times(r, (self.pattern + self.readout).transpose(1, 2))
        crowd = message[..., :1].clamp(0.0, 1.5)
        half, power = torch.exp(self.log_contact).unbind(1)
        contact = 1.0 / (1.0 + (crowd[..., 0].clamp_min(1e-6) / half[:, None]) ** power[:, None])
        division = torch.exp(self.base[:, None, 0]) * 2.0 * torch.sigmoid(-q[..., 0]) * contact
        hazards = functional.softplus(self.base[:, None, 1:] + q[..., 1:] + self.crowding[:, None] * crowd)
        rates = torch.cat([division[..., None], hazards * torch.tensor(_SCALE, dtype=r.dtype)], -1)
        return self.scale * self.factor[:, None] * rates

    def penalty(self) -> torch.Tensor:
        """Gaussian priors around the named pattern and the starting rates, per member, in half squares."""
        starts = [math.log(_START[0])] + [
            _inverse_softplus(v / s) for v, s in zip(_START[1:], _SCALE, strict=True)
        ]
        away = (self.base - torch.tensor(starts)) / torch.tensor([0.3, 1.0, 1.0, 1.0])
        contact = (self.log_contact - torch.tensor([math.log(0.9), math.log(4.0)])) / torch.tensor([0.2, 0.4])
        return 0.5 * (
            (self.readout / 0.15).square().sum((1, 2))
            + away.square().sum(1)
            + contact.square().sum(1)
            + (self.crowding / 1.0).square().sum(1)
        )
