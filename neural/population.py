"""From rates of single cells to what an IncuCyte reads of a well, through population equations.

    L' = (division - apoptosis) L      live area [% of the image]
    A' = apoptosis L - lysis A         annexin V positive, in units of the area the cells had alive
    D' = lysis A - clearance D         dead, stained for DNA, in the same units

Channels: live = covered(L), annexin = background + gain A, dead DNA = background + gain D, each [% of the image].

A well is not well mixed. Daughters stand beside each other, so that a cell's surroundings are fuller than the image
(`Monolayer.clustering`), and discs overlap, so that they cover less than they are (`Monolayer.overlap`). Both are of a
simulated monolayer, not of these measurements; without them the message `confluence` is L / 100 and live = L.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch

from neural.decoders import RateDecoders
from neural.dynamics import DrugDynamics

CHANNELS = ("live_area", "annexin_v", "dead_dna")
EPSILON = (0.5, 0.1, 0.02)
_THIRD = 1 / 3

# cells cluster until the image is this full; beyond, neighbours have nowhere else to be
_FILLED = 0.6


@dataclass(frozen=True)
class Monolayer:
    """What cells in a plane see and cover, beside cells spread at random.

    Attributes:
        clustering: relative excess of the confluence around a cell over that of the image, where it is sparse.
        overlap: share of the cells' area lost to overlap and to newborn cells, times the root of that area's share.
    """

    clustering: float = 0.0
    overlap: float = 0.0

    def covered(self, area: torch.Tensor) -> torch.Tensor:
        """Live area [%] of cells that would cover `area` [%] one by one."""
        return area * (1.0 - self.overlap * torch.sqrt(area.clamp_min(1e-9) / 100.0))

    def area(self, live: torch.Tensor) -> torch.Tensor:
        """Inverse of `covered`, by fixed point."""
        area = live
        for _ in range(8):
            area = live / (1.0 - self.overlap * torch.sqrt(area.clamp_min(1e-9) / 100.0))
        return area

    def heard(self, live: torch.Tensor) -> torch.Tensor:
        """Mean confluence around a cell where the live area is `live` [%]."""
        share = live / 100.0
        return share * (1.0 + self.clustering * (1.0 - share / _FILLED).clamp_min(0.0))


def grow(
    dynamics: DrugDynamics,
    decoders: RateDecoders,
    r0: torch.Tensor,
    population0: torch.Tensor,
    drive: torch.Tensor | Sequence[torch.Tensor],
    times: torch.Tensor,
    step: float,
    rate_factor: torch.Tensor | None = None,
    confluence: torch.Tensor | None = None,
    method: str = "rk4",
    monolayer: Monolayer | None = None,
    breaks: Sequence[float] = (),
) -> tuple[torch.Tensor, torch.Tensor]:
    """Integrate representation and population together.

    Args:
        r0: (member, n, d); population0: (member, n, 3) in % of the image, live as covered.
        drive: (member, n, d), or a list of such, each held up to its break.
        times: (T,) [min], the first being the start; step: largest step of rk4 [min].
        rate_factor: (member, n, 4) factors on the rates (a laboratory's day-to-day), or None.
        confluence: (n,) to hold the message fixed instead of taking the well's own live area, or None.
        method: "rk4" (fixed step) or "dopri5" (relative tolerance 1e-7).
        monolayer: how the cells lie; spread at random where None.
        breaks: times [min] at which the drive changes, ascending; no step goes across one.

    Returns:
        r (T, member, n, d) and populations (T, member, n, 3), live as covered.
    """
    d, lie = r0.shape[-1], monolayer or Monolayer()

    def rhs(held: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        r = y[..., :d].contiguous()
        live, apoptotic, dead = y[..., d], y[..., d + 1], y[..., d + 2]
        crowd = lie.heard(lie.covered(live)) if confluence is None else confluence.expand(live.shape)
        message = crowd[..., None]
        rates = decoders(r, message)
        if rate_factor is not None:
            rates = rates * rate_factor
        division, apoptosis, lysis, clearance = rates.unbind(-1)
        dying, lysing = apoptosis * live, lysis * apoptotic
        flows = torch.stack([division * live - dying, dying - lysing, lysing - clearance * dead], -1)
        return torch.cat([dynamics(r, held, message), flows], -1)

    start = torch.cat([r0, lie.area(population0[..., :1]), population0[..., 1:]], -1)
    drives = [drive] if isinstance(drive, torch.Tensor) else list(drive)
    y = _in_stretches(rhs, start, drives, times, breaks, step, method)
    return y[..., :d], torch.cat([lie.covered(y[..., d : d + 1]), y[..., d + 1 :]], -1)


def _in_stretches(
    rhs: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    y0: torch.Tensor,
    held: Sequence[torch.Tensor],
    times: torch.Tensor,
    breaks: Sequence[float],
    step: float,
    method: str,
) -> torch.Tensor:
    """States at `times` of dy/dt = rhs(held, y), where what is held changes at the breaks."""
    edges = [b for b in breaks if b < float(times[-1])]
    y, found = y0, []
    for k, now in enumerate(held[: len(edges) + 1]):
        begin, end = (edges[k - 1] if k else None), (edges[k] if k < len(edges) else None)
        inside = times if begin is None else times[times > begin]
        inside = inside if end is None else inside[inside <= end]
        before = [] if begin is None else [begin]
        after = [] if end is None or (len(inside) and float(inside[-1]) == end) else [end]
        at = torch.cat([times.new_tensor(before), inside, times.new_tensor(after)])
        course = integrate(lambda _t, y, now=now: rhs(now, y), y, at, step, method)
        found.append(course[len(before) : len(before) + len(inside)])
        y = course[-1]
    return torch.cat(found)


def integrate(
    rhs: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    y0: torch.Tensor,
    times: torch.Tensor,
    step: float,
    method: str = "rk4",
) -> torch.Tensor:
    """States at all `times` [min]: rk4 with fixed steps of at most `step`, or torchdiffeq's dopri5 at 1e-7."""
    if method == "rk4":
        return _by_fixed_steps(rhs, y0, times, step)
    from torchdiffeq import odeint

    return odeint(rhs, y0, times, method="dopri5", rtol=1e-7, atol=1e-9)  # type: ignore[return-value]


def _by_fixed_steps(
    rhs: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    y0: torch.Tensor,
    times: torch.Tensor,
    step: float,
) -> torch.Tensor:
    """Kutta's rule of three eighths (1901) from the first to the last time, the last step cut short; linear between.

    To the bit what torchdiffeq's "rk4" gives, which takes as long to import as many a run takes.

    Raises:
        ValueError: `times` do not ascend.
    """
    if not bool((times[1:] > times[:-1]).all()):
        raise ValueError(f"times must ascend (got {times.tolist()})")
    count = int(torch.ceil((times[-1] - times[0]) / step + 1))
    grid = torch.arange(0, count, dtype=times.dtype, device=times.device) * step + times[0]
    grid[-1] = times[-1]
    states = y0.new_empty(len(times), *y0.shape)
    states[0], y, next_one = y0, y0, 1
    for start, end in pairwise(grid):
        h = end - start
        k1 = rhs(start, y)
        k2 = rhs(start + h * _THIRD, y + h * k1 * _THIRD)
        k3 = rhs(start + h * 2 * _THIRD, y + h * (k2 - k1 * _THIRD))
        k4 = rhs(end, y + h * (k1 - k2 + k3))
        after = y + (k1 + 3 * (k2 + k3) + k4) * h * 0.125
        while next_one < len(times) and end >= times[next_one]:
            at = times[next_one]
            between = y + (at - start) / (end - start) * (after - y)
            states[next_one] = after if at == end else between
            next_one += 1
        y = after
    return states


def log_signal(channels: torch.Tensor, epsilon: torch.Tensor) -> torch.Tensor:
    """log2(signal + epsilon) of channels (..., 3); smooth below zero."""
    below = 0.5 * epsilon * torch.tanh(channels / (0.5 * epsilon))
    return torch.log2(torch.where(channels > 0, channels, below) + epsilon)
