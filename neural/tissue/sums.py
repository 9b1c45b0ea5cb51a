"""Weighted sums over neighbours with gradients, fused over compressed rows."""

from __future__ import annotations

from typing import Any

import torch

from neural.tissue import _kernels
from neural.tissue.graph import Rows


def weighted_sum(weight: torch.Tensor, value: torch.Tensor, rows: Rows) -> torch.Tensor:
    """out_i = Σ_j weight_ij value_j by channel.

    Args:
        weight: (e, c), in the order of rows.indices.
        value: (n, c) or (n, c, m): m numbers a channel that share its weight, such as times.

    The same bits for any number of threads, forward and reverse.
    """
    if value.device.type != "cpu":
        wide = value if value.dim() == 3 else value[..., None]
        sender, receiver = rows.edge_index().to(value.device)
        out = torch.zeros_like(wide).index_add(0, receiver, weight[..., None] * wide[sender])
        return out if value.dim() == 3 else out[..., 0]
    if value.dim() == 2:
        return _WeightedSum.apply(weight, value[..., None], rows)[..., 0]  # type: ignore[index]
    out = _WeightedSum.apply(weight, value, rows)
    assert isinstance(out, torch.Tensor)
    return out


class _WeightedSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: torch.Tensor, value: torch.Tensor, rows: Rows) -> torch.Tensor:
        ctx.rows = rows
        weight, value = weight.contiguous(), value.contiguous()
        ctx.save_for_backward(weight, value)
        out = torch.empty_like(value)
        _kernels.weigh(
            rows.indptr, rows.indices, weight.detach().numpy(), value.detach().numpy(), out.numpy()
        )
        return out

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor):
        weight, value = ctx.saved_tensors
        rows, pull = ctx.rows, grads[0].contiguous().numpy()
        d_weight = d_value = None
        if ctx.needs_input_grad[0]:
            d_weight = torch.empty_like(weight)
            _kernels.weigh_back(rows.indptr, rows.indices, value.detach().numpy(), pull, d_weight.numpy())
        if ctx.needs_input_grad[1]:
            d_value = torch.empty_like(value)
            _kernels.weigh_back_sender(*rows.spoken, weight.detach().numpy(), pull, d_value.numpy())
        return d_weight, d_value, None
