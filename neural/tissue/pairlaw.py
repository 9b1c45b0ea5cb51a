"""The pair law: phi(x_i, x_j, e_ij) summed over neighbours, then a readout of what the sum adds to silence.

`PairLaw` holds the networks and sums by itself; `neural.tissue.message_layer` runs the same networks as a
torch-geometric layer, which training and gradients use. Importing torch-geometric takes seconds, which a tissue need
not pay.
"""

from __future__ import annotations

import torch
from torch import nn


class PairLaw(nn.Module):
    """Messages from summed pair terms.

    Args:
        nodes, edges: number of node and edge quantities; outputs: number of messages; hidden: width of nets.

    Buffers `node_unit` and `edge_unit` hold what one input unit is, so that networks see numbers near one.
    """

    node_unit: torch.Tensor
    edge_unit: torch.Tensor

    def __init__(self, nodes: int, edges: int, outputs: int, hidden: int):
        super().__init__()
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

    def term(self, x_i: torch.Tensor, x_j: torch.Tensor, edge_attr: torch.Tensor) -> torch.Tensor:
        """phi of pairs: receiver x_i (e, f), sender x_j (e, f), edge_attr (e, k), in their own units."""
        pair = [x_i / self.node_unit, x_j / self.node_unit, edge_attr / self.edge_unit]
        return self.phi(torch.cat(pair, -1))

    def told(self, x: torch.Tensor, heard: torch.Tensor) -> torch.Tensor:
        """Messages (n, m) from x (n, f) and the summed terms (n, hidden); zero where nothing is heard."""
        own = x / self.node_unit
        silence = torch.zeros_like(heard)
        return self.readout(torch.cat([own, heard], -1)) - self.readout(torch.cat([own, silence], -1))

    def forward(self, x: torch.Tensor, edge_index: torch.Tensor, edge_attr: torch.Tensor) -> torch.Tensor:
        """x (n, f), edge_index (2, e) sender to receiver, edge_attr (e, k) -> messages (n, m)."""
        sender, receiver = edge_index
        terms = self.term(x[receiver], x[sender], edge_attr)
        return self.told(x, terms.new_zeros(len(x), terms.shape[1]).index_add(0, receiver, terms))
