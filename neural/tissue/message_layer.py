"""A pair law as a torch-geometric message-passing layer, to train it and to put it into PyG models."""

from __future__ import annotations

import torch
from torch_geometric.nn import MessagePassing

from neural.tissue.pairlaw import PairLaw


class MessageLayer(MessagePassing):
    """`law` over a graph (x, edge_index, edge_attr): the same messages as `PairLaw.forward`."""

    def __init__(self, law: PairLaw):
        super().__init__(aggr="add")
        self.law = law

    def forward(self, x: torch.Tensor, edge_index: torch.Tensor, edge_attr: torch.Tensor) -> torch.Tensor:
        """x (n, f), edge_index (2, e) sender to receiver, edge_attr (e, k) -> messages (n, m)."""
        heard = self.propagate(edge_index, x=x, edge_attr=edge_attr, size=(len(x), len(x)))
        return self.law.told(x, heard)

    def message(self, x_i: torch.Tensor, x_j: torch.Tensor, edge_attr: torch.Tensor) -> torch.Tensor:
        """phi of one pair."""
        return self.law.term(x_i, x_j, edge_attr)
