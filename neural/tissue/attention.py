"""GATv2 attention over neighbours, fused over compressed rows on a processor, torch-geometric on a GPU.

    out_i = Σ_j α_ij W_l x_j + b,   α_ij = softmax_j( a · leaky(W_l x_j + W_r x_i + W_e e_ij) )

(Brody, Alon and Yahav 2022, arXiv:2105.14491.) Nothing of size edges × width is ever stored, so that memory stays
with the cells and one number an edge and head.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from neural.threads import one_thread
from neural.tissue import _kernels
from neural.tissue.graph import Rows


class GraphAttention(nn.Module):
    """A GATv2 layer whose parameters have the names and shapes of `torch_geometric.nn.GATv2Conv`.

    Args:
        inputs: node quantities; outputs: width of a head; heads: laid side by side in the output.
        edge_inputs: edge quantities; slope: of the leaky part below 0; bias: whether maps have constants.

    The same bits for any number of threads, torch's and Numba's; permuting the cells permutes the output to
    rounding.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        heads: int = 1,
        edge_inputs: int = 0,
        slope: float = 0.2,
        bias: bool = True,
    ):
        super().__init__()
        self.heads, self.slope, self.edge_inputs = heads, slope, edge_inputs
        self.lin_l = nn.Linear(inputs, heads * outputs, bias=bias)
        self.lin_r = nn.Linear(inputs, heads * outputs, bias=bias)
        self.lin_edge = nn.Linear(edge_inputs, heads * outputs, bias=False) if edge_inputs else None
        self.att = nn.Parameter(torch.empty(1, heads, outputs))
        self.bias = nn.Parameter(torch.zeros(heads * outputs)) if bias else None
        for weight in (self.lin_l.weight, self.lin_r.weight, self.att):
            nn.init.xavier_uniform_(weight)

    def forward(self, x: torch.Tensor, rows: Rows, edge_attr: torch.Tensor | None = None) -> torch.Tensor:
        """x (n, inputs), edge_attr (e, edge_inputs) in the order of rows.indices -> (n, heads · outputs)."""
        if (edge_attr is None) != (self.edge_inputs == 0):
            raise ValueError(f"edge_attr must have {self.edge_inputs} columns, got {edge_attr}")
        if x.device.type != "cpu":
            return self.as_pyg()(x, rows.edge_index().to(x.device), edge_attr)
        attr = x.new_zeros(rows.edges, 0) if edge_attr is None else edge_attr
        w_edge = x.new_zeros(self.att.numel(), 0) if self.lin_edge is None else self.lin_edge.weight
        out = _Attend.apply(
            x, attr, self.lin_l.weight, self.lin_l.bias, self.lin_r.weight, self.lin_r.bias,
            w_edge, self.att, rows, self.slope,
        )  # fmt: skip
        assert isinstance(out, torch.Tensor)
        return out if self.bias is None else out + self.bias

    def as_pyg(self) -> Any:
        """A `torch_geometric.nn.GATv2Conv` that shares these parameters."""
        from torch_geometric.nn import GATv2Conv

        conv = GATv2Conv(
            self.lin_l.in_features, self.att.shape[2], heads=self.heads, edge_dim=self.edge_inputs or None,
            negative_slope=self.slope, add_self_loops=False, bias=self.bias is not None,
        )  # fmt: skip
        theirs = conv.state_dict(keep_vars=True)
        for name, parameter in self.named_parameters():
            owner, _, last = name.rpartition(".")
            part = conv.get_submodule(owner) if owner else conv
            assert theirs[name].shape == parameter.shape
            setattr(part, last, parameter)
        return conv


class _Attend(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x, attr, w_left, b_left, w_right, b_right, w_edge, att, rows, slope):
        with one_thread():
            left = torch.nn.functional.linear(x, w_left, b_left)
            right = torch.nn.functional.linear(x, w_right, b_right)
        alpha = x.new_empty(rows.edges, att.shape[1])
        out = torch.empty_like(left)
        inputs = _arrays(left, right, attr, w_edge.t(), att[0])
        rise = np.array([slope], inputs[0].dtype)
        _kernels.attend(rows.indptr, rows.indices, *inputs, rise, *_arrays(alpha, out))
        ctx.rows, ctx.rise = rows, rise
        ctx.save_for_backward(x, attr, w_left, w_right, w_edge, att, left, right, alpha)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor):
        x, attr, w_left, w_right, w_edge, att, left, right, alpha = ctx.saved_tensors
        rows, pull = ctx.rows, grads[0].contiguous()
        d_logit, d_left, d_right, d_attr = (torch.empty_like(t) for t in (alpha, left, right, attr))
        blocks = -(-len(rows) // _kernels.BLOCK)
        d_att, d_edge = att.new_empty(blocks, *att.shape[1:]), att.new_empty(blocks, *w_edge.t().shape)
        known = _arrays(left, right, attr, w_edge.t(), att[0])
        _kernels.attend_back(
            rows.indptr, rows.indices, *known, ctx.rise,
            *_arrays(alpha, pull, d_logit, d_right, d_attr, d_att, d_edge),
        )  # fmt: skip
        _kernels.attend_back_sender(*rows.spoken, *known, ctx.rise, *_arrays(alpha, pull, d_logit, d_left))
        with one_thread():
            d_x = d_left @ w_left + d_right @ w_right
            weights = d_left.t() @ x, d_left.sum(0), d_right.t() @ x, d_right.sum(0)
            found = d_x, d_attr, *weights, d_edge.sum(0).t(), d_att.sum(0)[None], None, None
        return tuple(g if wanted else None for g, wanted in zip(found, ctx.needs_input_grad))


def _arrays(*tensors: torch.Tensor) -> list[np.ndarray]:
    """Numpy views, row after row in memory."""
    return [t.detach().contiguous().numpy() for t in tensors]
