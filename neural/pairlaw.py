"""The pair law as a torch-geometric layer: phi(x_i, x_j, e_ij) summed over neighbours, then a readout."""

from __future__ import annotations

import torch
from torch import nn
from torch_geometric.nn import MessagePassing


class PairLaw(MessagePassing):
    """Messages from summed pair terms.

    Args:
        nodes, edges: number of node and edge quantities; outputs: number of messages; hidden: width of both
            nets.

    Buffers `node_unit` and `edge_unit` hold what one input unit is, so that networks see numbers near one.
    """

    node_unit: torch.Tensor
    edge_unit: torch.Tensor

    def __init__(self, nodes: int, edges: int, outputs: int, hidden: int):
        super().__init__(aggr="add")
        self.phi = nn.Sequential(
            nn.Linear(2 * nodes + edges, hidden),
            nn.SiLU(),
            nn.Linear(hidden, hidden),
            nn.SiLU(),
            nn.Linear(hidden, hidden),
        )
        self.readout = nn.Sequential(nn.Linear(nodes + hidden, hidden), nn.SiLU(), nn.Linear(hidden, outputs))
        self.register_buffer("node_unit", torch.ones(nodes))
        self.register_buffer("edge_unit", torch.ones(edges))

    def forward(self, x: torch.Tensor, edge_index: torch.Tensor, edge_attr: torch.Tensor) -> torch.Tensor:
        """x (n, f), edge_index (2, e) sender to receiver, edge_attr (e, k) -> messages (n, m)."""
        nodes, edges = x / self.node_unit, edge_attr / self.edge_unit
        heard = self.propagate(edge_index, x=nodes, edge_attr=edges, size=(len(x), len(x)))
        return self.readout(torch.cat([nodes, heard], -1))

    def message(self, x_i: torch.Tensor, x_j: torch.Tensor, edge_attr: torch.Tensor) -> torch.Tensor:
        """phi of one pair."""
        return self.phi(torch.cat([x_i, x_j, edge_attr], -1))
