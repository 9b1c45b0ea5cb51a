"""An E(n)-equivariant layer: what turns with the tissue stays apart from what does not.

    m_ij = φ_e(h_i, h_j, |x_j - x_i|², e_ij)
    x_i' = x_i + mean_j (x_j - x_i) φ_x(m_ij),   h_i' = h_i + φ_h(h_i, Σ_j m_ij)

(Satorras, Hoogeboom and Welling 2021, arXiv:2102.09844.) Rotating, mirroring or moving the places does the same to x'
and nothing to h'. A torch-geometric layer, on any device.
"""

from __future__ import annotations

import torch
from torch import nn
from torch_geometric.nn import MessagePassing


class EquivariantLayer(MessagePassing):
    """New features and places of cells from their neighbours.

    Args:
        features: of a cell; edge_inputs: numbers an edge has beside the distance; hidden: width of the networks.
        unit: a typical distance [um], so that networks see numbers near one.
    """

    def __init__(self, features: int, edge_inputs: int = 0, hidden: int = 32, unit: float = 1.0):
        super().__init__(aggr="add")
        self.unit = unit
        self.edge = nn.Sequential(
            nn.Linear(2 * features + 1 + edge_inputs, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU()
        )
        self.push = nn.Sequential(nn.Linear(hidden, hidden), nn.SiLU(), nn.Linear(hidden, 1))
        self.node = nn.Sequential(
            nn.Linear(features + hidden, hidden), nn.SiLU(), nn.Linear(hidden, features)
        )

    def forward(
        self,
        h: torch.Tensor,
        x: torch.Tensor,
        edge_index: torch.Tensor,
        edge_attr: torch.Tensor | None = None,
        away: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """h (n, features), x (n, dim), edges (2, e) sender to receiver -> new h and x.

        `away` (e, dim), from receiver to sender, stands for the difference of places where a domain wraps.
        """
        sender, receiver = edge_index
        away = x[sender] - x[receiver] if away is None else away
        attr = h.new_zeros(len(sender), 0) if edge_attr is None else edge_attr
        square = (away / self.unit).square().sum(1, keepdim=True)
        said = self.edge(torch.cat([h[receiver], h[sender], square, attr], 1))
        heard = self.propagate(
            edge_index, said=torch.cat([said, away * self.push(said)], 1), size=(len(h), len(h))
        )
        degree = torch.bincount(receiver, minlength=len(h)).clamp_min(1).to(h.dtype)
        summed, pushed = heard[:, : said.shape[1]], heard[:, said.shape[1] :]
        return h + self.node(torch.cat([h, summed], 1)), x + pushed / degree[:, None]

    def message(self, said: torch.Tensor) -> torch.Tensor:
        """What goes along one edge."""
        return said
