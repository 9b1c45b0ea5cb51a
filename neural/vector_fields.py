"""Vector fields that are small networks: dy/dt = MLP(y, u, t), with tanh between affine layers.

The first layer is kept in parts, W_y y + W_u u + w_t t + b: conditions u stand still between dose events, so that
their part is computed once and not at every stage of a step (`neural.odes`).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from neural.blocks import rows_times


class MLPField(nn.Module):
    """dy/dt (n, d) of states y (n, d) under controls u (n, c).

    Args:
        dimension: d.
        controls: c, number of inputs that are held between events (doses, messages).
        hidden: widths of the hidden layers, at least one.
        timed: whether the time enters, as one more input.
        conserved: (k, d) sums of components that never change, such as the total of a protein in its forms; what the
            network says against them is taken out of its last layer.
    """

    free: torch.Tensor | None

    def __init__(
        self,
        dimension: int,
        controls: int = 0,
        hidden: Sequence[int] = (64, 64),
        timed: bool = False,
        conserved: np.ndarray | Sequence[Sequence[float]] | None = None,
    ):
        super().__init__()
        if not hidden:
            raise ValueError("a field needs a hidden layer; for a linear one use neural.linear")
        self.dimension, self.controls, self.timed = dimension, controls, timed
        widths = [dimension + controls + timed, *hidden, dimension]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(widths))
        free = None if conserved is None else torch.tensor(unconserved(conserved, dimension))
        self.register_buffer("free", free, persistent=False)

    def forward(
        self, t: torch.Tensor | float, y: torch.Tensor, u: torch.Tensor | None = None
    ) -> torch.Tensor:
        """dy/dt at time t (a scalar, or (n, 1)), as plain torch: what solvers of other houses call."""
        inputs = [y] if u is None else [y, u]
        if self.timed:
            inputs.append(torch.as_tensor(t, dtype=y.dtype, device=y.device).expand(*y.shape[:-1], 1))
        x = torch.cat(inputs, -1)
        for layer in self.layers[:-1]:
            assert isinstance(layer, nn.Linear)
            x = torch.tanh(_affine(x, layer.weight, layer.bias))
        return _affine(x, *self._last())

    def parts(self) -> list[torch.Tensor]:
        """The weights as the solver takes them: W_y, W_u, w_t, b of the first layer, then W, b of each further one.

        They are slices of the parameters: gradients flow through.
        """
        first, d, c = self.layers[0], self.dimension, self.controls
        assert isinstance(first, nn.Linear)
        out = [first.weight[:, :d], first.weight[:, d : d + c], first.weight[:, d + c :], first.bias]
        for layer in self.layers[1:-1]:
            out += [layer.weight, layer.bias]
        return [*out, *self._last()]

    def _last(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Weight and bias of the last layer, whose outputs change no conserved sum."""
        last = self.layers[-1]
        assert isinstance(last, nn.Linear)
        if self.free is None:
            return last.weight, last.bias
        free = self.free.to(last.weight.dtype)
        return free @ last.weight, free @ last.bias


def _affine(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """`nn.functional.linear`, with the bits of a row the same wherever it stands."""
    odd = weight.shape[0] % 2 or weight.shape[1] % 2
    return rows_times(x, weight.t()) + bias if odd else nn.functional.linear(x, weight, bias)


def unconserved(sums: np.ndarray | Sequence[Sequence[float]], dimension: int) -> np.ndarray:
    """(d, d) projection onto the changes of d components that leave every one of `sums` (k, d) as it is."""
    rows = np.atleast_2d(np.asarray(sums, float))
    if rows.shape[1] != dimension:
        raise ValueError(f"conserved sums have {rows.shape[1]} components, the field has {dimension}")
    return np.eye(dimension) - np.linalg.pinv(rows) @ rows
