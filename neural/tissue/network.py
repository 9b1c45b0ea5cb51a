"""Message passing over the tissue: what a cell hears from its neighbours.

    message_i = readout(x_i, sum_j phi(x_i, x_j, e_ij)) - readout(x_i, 0)

phi is one pair law for all pairs, so the network applies to any number of cells and neighbours. It sees node
quantities, edges and edge quantities, nothing else. Weights say which quantities those are, within which
radius neighbours were taken, and the names of the messages, which are linked by name to a manipulator's
inputs.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from neural import weights
from neural.errors import WeightsError
from neural.threads import one_thread

if TYPE_CHECKING:
    import torch

    from neural.tissue.message_layer import MessageLayer

BLOCK = 1024


class TissueNetwork(weights.Weighted):
    """A trained pair law over the neighbour graph.

    Attributes:
        card: what the weights file says about itself.
        message_names: outputs, one column each.
        node_inputs: quantities wanted per cell, in the order of x's columns, for example `cell.radius` [um].
        edge_inputs: quantities wanted per edge, in the order of edge_attr's columns, for example `distance`
            [um].
        radius: neighbours within this centre-to-centre distance were seen in training [um].
    """

    kind = "tissue"

    def __init__(self, card: weights.Card, tensors: Mapping[str, np.ndarray], file: object = "<memory>"):
        import torch

        from neural.tissue.pairlaw import PairLaw

        a = card.architecture
        if a.get("form") == "factored":
            raise WeightsError(file, "holds a factored law; read it with neural.tissue.LawNetwork")
        self.card = card
        self._tensors = dict(tensors)
        self.message_names: list[str] = card.message_names
        try:
            self.node_inputs: list[str] = [q["name"] for q in a["nodes"]]
            self.edge_inputs: list[str] = [q["name"] for q in a["edges"]]
            self.radius = float(a["radius"])
            self._law = PairLaw(
                len(self.node_inputs), len(self.edge_inputs), len(self.message_names), int(a["hidden"])
            )
            self._law.double().load_state_dict({k: torch.tensor(v) for k, v in tensors.items()}, strict=True)
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise WeightsError(file, f"the tensors do not fit the card's architecture ({error})") from None
        self._law.requires_grad_(False)
        self._layer: MessageLayer | None = None

    def save(self, path: str | os.PathLike, card: dict[str, Any] | None = None) -> str:
        """Write these weights, with another card if one is given; returns their sha256."""
        learned = {n: t.detach().numpy().astype(self._tensors[n].dtype) for n, t in self.learnable().items()}
        return weights.save(path, {**self._tensors, **learned}, card or self.card.raw)

    def learnable(self) -> dict[str, torch.Tensor]:
        """The numbers of both networks by name; what is done to them is done to the law."""
        return dict(self._law.named_parameters())

    def forward(self, x: torch.Tensor, edge_index: torch.Tensor, edge_attr: torch.Tensor) -> torch.Tensor:
        """Messages (n, m), by torch-geometric, of x (n, f), edges (2, e) sender to receiver, edge_attr (e, k)."""
        if self._layer is None:
            from neural.tissue.message_layer import MessageLayer

            self._layer = MessageLayer(self._law)
        return self._layer(x, edge_index, edge_attr)

    def forward_numpy(
        self, x: np.ndarray, indptr: np.ndarray, indices: np.ndarray, edge_attr: np.ndarray
    ) -> np.ndarray:
        """Messages (n, m), float64, for a neighbour list in compressed rows.

        Args:
            x: (n, f) node quantities in the order of `node_inputs`.
            indptr: (n + 1,); indices: (e,), sorted; the neighbours of cell i are
                indices[indptr[i]:indptr[i + 1]].
            edge_attr: (e, k) in the order of `edge_inputs`.

        The same networks as `forward` without torch-geometric (a test holds them equal), on one thread, without
        gradients. The same input gives the same bits; another order of the cells the same
        messages to rounding (the order of a sum).
        """
        import torch

        nodes, edges = np.asarray(x, np.float64), np.asarray(edge_attr, np.float64)
        n, e = len(nodes), len(indices)
        if nodes.shape != (n, len(self.node_inputs)) or edges.shape != (e, len(self.edge_inputs)):
            raise ValueError(
                f"x must be (n, {len(self.node_inputs)}) and edge_attr (e, {len(self.edge_inputs)}), "
                f"got {nodes.shape} and {edges.shape} for {e} edges"
            )
        receivers = np.repeat(np.arange(n), np.diff(indptr))
        # whole blocks, so that no row's arithmetic depends on where the arrays end; spare edges go to a
        # spare node
        rows, columns = BLOCK * (n // BLOCK + 1), BLOCK * (-(-e // BLOCK))
        padded = torch.zeros(rows, nodes.shape[1], dtype=torch.float64)
        padded[:n] = torch.from_numpy(nodes)
        attr = torch.zeros(columns, edges.shape[1], dtype=torch.float64)
        attr[:e] = torch.from_numpy(edges)
        index = torch.full((2, columns), rows - 1)
        index[0, :e] = torch.from_numpy(np.asarray(indices, np.int64))
        index[1, :e] = torch.from_numpy(receivers)
        with one_thread(), torch.no_grad():
            return self._law(padded, index, attr)[:n].numpy().copy()
