"""From rates of single cells to what an IncuCyte reads of a well, through population equations.

    L' = (division - apoptosis) L      live area [% of the image]
    A' = apoptosis L - lysis A         annexin V positive, in units of the area the cells had alive
    D' = lysis A - clearance D         dead, stained for DNA, in the same units

Channels: live = L, annexin = background + gain A, dead DNA = background + gain D, each [% of the image].
The message `confluence` of a well is L / 100.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from neural.decoders import RateDecoders
from neural.dynamics import DrugDynamics

POPULATIONS = ("live", "apoptotic", "dead")
CHANNELS = ("live_area", "annexin_v", "dead_dna")
EPSILON = (0.5, 0.1, 0.02)


def grow(
    dynamics: DrugDynamics,
    decoders: RateDecoders,
    r0: torch.Tensor,
    population0: torch.Tensor,
    drive: torch.Tensor,
    times: torch.Tensor,
    step: float,
    rate_factor: torch.Tensor | None = None,
    confluence: torch.Tensor | None = None,
    method: str = "rk4",
) -> tuple[torch.Tensor, torch.Tensor]:
    """Integrate representation and population together.

    Args:
        r0: (member, n, d); population0: (member, n, 3) in % of the image; drive: (member, n, d).
        times: (T,) [min], the first being the start; step: largest step of rk4 [min].
        rate_factor: (member, n, 4) factors on the rates (a laboratory's day-to-day), or None.
        confluence: (n,) to hold the message fixed instead of taking the well's own live area, or None.
        method: "rk4" (fixed step) or "dopri5" (relative tolerance 1e-7).

    Returns:
        r (T, member, n, d) and populations (T, member, n, 3).
    """
    d = r0.shape[-1]

    def rhs(_t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        r, live, apoptotic, dead = y[..., :d], y[..., d], y[..., d + 1], y[..., d + 2]
        message = (live / 100.0 if confluence is None else confluence.expand(live.shape))[..., None]
        rates = decoders(r, message)
        if rate_factor is not None:
            rates = rates * rate_factor
        division, apoptosis, lysis, clearance = rates.unbind(-1)
        dying, lysing = apoptosis * live, lysis * apoptotic
        flows = torch.stack([division * live - dying, dying - lysing, lysing - clearance * dead], -1)
        return torch.cat([dynamics(r, drive, message), flows], -1)

    y = integrate(rhs, torch.cat([r0, population0], -1), times, step, method)
    return y[..., :d], y[..., d:]


def integrate(
    rhs: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    y0: torch.Tensor,
    times: torch.Tensor,
    step: float,
    method: str = "rk4",
) -> torch.Tensor:
    """torchdiffeq over `times` [min]: rk4 with fixed steps of at most `step`, or dopri5 at 1e-7."""
    from torchdiffeq import odeint

    if method == "rk4":
        return odeint(rhs, y0, times, method="rk4", options={"step_size": step})  # type: ignore[return-value]
    return odeint(rhs, y0, times, method="dopri5", rtol=1e-7, atol=1e-9)  # type: ignore[return-value]


def log_signal(channels: torch.Tensor, epsilon: torch.Tensor) -> torch.Tensor:
    """log2(signal + epsilon) of channels (..., 3); smooth below zero."""
    below = 0.5 * epsilon * torch.tanh(channels / (0.5 * epsilon))
    return torch.log2(torch.where(channels > 0, channels, below) + epsilon)
