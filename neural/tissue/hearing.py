"""What cells hear by distance as a function of places, signals and curves, with gradients to all three."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from neural.tissue import _hearing_kernels as kernels
from neural.tissue.graph import Rows


def heard_from(
    positions: torch.Tensor,
    s: torch.Tensor,
    carries: torch.Tensor,
    rows: Rows,
    radius: float,
    periods: tuple[float, ...] | None = None,
) -> torch.Tensor:
    """heard_ik = Σ_j carries_k(d_ij) s_jk over neighbours nearer than the radius, float64, on a processor.

    Args:
        positions: (n, dim) [um]; s: (n, k); carries: (k, spline), coefficients of cubic splines over [0, radius].
        rows: a symmetric graph that holds every pair nearer than `radius` [um].
        periods: of the axes that wrap (dim,), 0 where one does not.

    The same bits for any number of threads; memory goes with the cells, not with the edges.
    """
    wraps = np.array(periods or (0.0,) * positions.shape[1], float)
    out = _Heard.apply(positions, s, carries, rows, float(radius), wraps)
    assert isinstance(out, torch.Tensor)
    return out


class _Heard(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, positions, s, carries, rows, radius, periods):
        positions, s, carries = (t.detach().contiguous() for t in (positions, s, carries))
        ctx.save_for_backward(positions, s, carries)
        ctx.graph = rows, radius, periods
        out = torch.empty_like(s)
        known = positions.numpy(), periods, s.numpy(), carries.numpy(), radius
        kernels.hear(rows.indptr, rows.indices, *known, out.numpy())
        return out

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor):
        positions, s, carries = ctx.saved_tensors
        rows, radius, periods = ctx.graph
        d_positions, d_s = torch.empty_like(positions), torch.empty_like(s)
        parts = carries.new_empty(-(-len(s) // kernels.BLOCK), *carries.shape)
        known = positions.numpy(), periods, s.numpy(), carries.numpy(), radius
        found = grads[0].contiguous().numpy(), d_positions.numpy(), d_s.numpy(), parts.numpy()
        kernels.hear_back(rows.indptr, rows.indices, *known, *found)
        return d_positions, d_s, parts.sum(0), None, None, None
