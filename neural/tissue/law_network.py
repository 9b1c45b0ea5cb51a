"""A learned law as a scenario's tissue network: what neighbours add to the rate of each state, told as messages."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from neural import weights
from neural.errors import WeightsError
from neural.threads import one_thread
from neural.tissue.factored import Hearing
from neural.tissue.graph import Rows
from neural.tissue.train_law import law_of


class LawNetwork(weights.Weighted):
    """The messages of a factored law, `d<state>` [its unit per min] for each of its states.

    Attributes:
        card: what the weights file says about itself.
        message_names: outputs, one column each.
        node_inputs: the quantities that are the law's signals; edge_inputs: `distance` [um].
        radius: neighbours within it were heard in training [um].
    """

    kind = "tissue"

    def __init__(self, card: weights.Card, tensors: Mapping[str, np.ndarray], file: object = "<memory>"):
        if card.architecture.get("form") != "factored":
            raise WeightsError(file, "holds no factored law; read it with neural.TissueNetwork")
        self.card = card
        self.message_names: list[str] = card.message_names
        self.node_inputs: list[str] = [q["name"] for q in card.architecture["nodes"]]
        self.edge_inputs = ["distance"]
        self.radius = float(card.architecture["radius"])
        self._tensors = dict(tensors)
        self.fitted = law_of(card, self._tensors)

    def learnable(self) -> dict[str, torch.Tensor]:
        """The numbers that its messages hang on, by name; what is done to them is done to the network."""
        law = self.fitted.law
        found = {"does": law.does, "carries": law.carries}
        return {name: tensor for name, tensor in found.items() if tensor is not None}

    def save(self, path: str | os.PathLike, card: dict[str, Any] | None = None) -> str:
        """Write these weights, with another card if one is given; returns their sha256."""
        tensors = dict(self._tensors)
        tensors |= {name: t.detach().numpy() for name, t in self.learnable().items()}
        return weights.save(path, tensors, card or self.card.raw)

    def forward(self, x: torch.Tensor, edge_index: torch.Tensor, edge_attr: torch.Tensor) -> torch.Tensor:
        """Messages (n, state) [1/min] of x (n, signal), edges (2, e) sender to receiver, edge_attr (e, 1), with
        gradients to x."""
        rows, order = Rows.of_edges(edge_index.numpy(), len(x))
        return self._messages(x, rows, edge_attr[torch.as_tensor(order), 0])

    def forward_numpy(
        self, x: np.ndarray, indptr: np.ndarray, indices: np.ndarray, edge_attr: np.ndarray
    ) -> np.ndarray:
        """Messages (n, state) [1/min] of signals x (n, signal) over a neighbour list in compressed rows.

        Signals beyond the range of the training data count as at its edge. The same bits for any number of threads.
        """
        distance = torch.from_numpy(np.ascontiguousarray(np.asarray(edge_attr, np.float64)[:, 0]))
        with one_thread(), torch.no_grad():
            return self._messages(
                torch.from_numpy(np.asarray(x, np.float64)), Rows(indptr, indices), distance
            ).numpy()

    def _messages(self, x: torch.Tensor, rows: Rows, distance: torch.Tensor) -> torch.Tensor:
        a, law = self.card.architecture, self.fitted.law
        hearing = Hearing.of(rows, distance, bool(a["mean"]), bool(a["itself"]))
        return law.effects(law.heard(x.clamp(law.low, law.high), hearing)).sum(-2)
