"""Who told whom: what each cell and each type adds to the messages of a tissue network.

The network is seen as a graph of senders and receivers, a cell being both. What a cell sends is brought up from
nothing with its own place as a receiver held, so that hearing and telling are kept apart. What the message has
beyond that, it has because neighbours are there at their distances, whatever they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sim.processes.tissue import TissueProcess

if TYPE_CHECKING:
    from sim.simulation import Simulation

#: the part of a message that is owed to there being neighbours
PRESENCE = "presence and distance of neighbours"
#: points of the Gauss-Legendre rule on the way from silence
_POINTS = 24
#: edges of which gradients are taken at once
_MOST_EDGES = 200_000


@dataclass(frozen=True)
class Influence:
    """Integrated gradients of the messages by what the neighbours send.

    Attributes:
        messages, quantities: names of what is told, and of what is known of a sender.
        senders: (sender, message, quantity) what each cell adds to the messages of all its neighbours.
        types: (sender,) index into `type_names`.
        presence: (cell, message) what neighbours add that have nothing but a place.
        change: (cell, message) message minus message without neighbours; the sum of all parts.
        positions: (cell, 3) [um].
    """

    messages: list[str]
    quantities: list[str]
    type_names: tuple[str, ...]
    senders: np.ndarray
    types: np.ndarray
    presence: np.ndarray
    change: np.ndarray
    positions: np.ndarray

    @property
    def parts(self) -> list[str]:
        present = sorted(set(self.types.tolist()))
        sent = [f"{q} of neighbours {self.type_names[t]}" for t in present for q in self.quantities]
        return [*sent, PRESENCE]

    @property
    def exerted(self) -> np.ndarray:
        """(cell, message) what a cell adds in all."""
        return self.senders.sum(axis=2)

    def share(self, part: str, message: int) -> float:
        """Mean over the receivers of what one part adds to a message."""
        quantity, _, name = part.partition(" of neighbours ")
        if part == PRESENCE:
            return float(self.presence[:, message].mean()) if len(self.change) else 0.0
        if not len(self.change) or name not in self.type_names:
            return 0.0
        mine = self.types == self.type_names.index(name)
        return float(self.senders[mine, message, self.quantities.index(quantity)].sum() / len(self.change))


def influence_of(process: TissueProcess, simulation: Simulation) -> Influence:
    """The influence of every living cell now."""
    import torch

    network, signals, state = process.network, simulation.signals, simulation.state
    living = np.flatnonzero(signals["cell.living"] > 0)
    x = signals.stack(process.node_inputs)[living]
    senders, receivers, edges = _edges(process, simulation, living)
    n, m = len(living), len(network.message_names)
    if len(senders) > _MOST_EDGES:
        senders, receivers, edges = (a[:_MOST_EDGES] for a in (senders, receivers, edges))
    quantities = [*process.node_inputs]
    index = torch.tensor(np.stack([senders + n, receivers]))
    own, attr = torch.tensor(x), torch.tensor(edges)
    sent = torch.tensor(x)
    nodes, weights = np.polynomial.legendre.leggauss(_POINTS)
    shares = np.zeros((n, m, len(quantities)))
    with torch.no_grad():
        nobody = torch.zeros((2, 0), dtype=torch.int64)
        alone = network.forward(torch.cat([own, sent]), nobody, attr[:0])[:n]
        silent = network.forward(torch.cat([own, torch.zeros_like(sent)]), index, attr)[:n]
        told = network.forward(torch.cat([own, sent]), index, attr)[:n]
    for point, weight in zip((nodes + 1) / 2, weights / 2):
        part = (sent * float(point)).requires_grad_(True)
        messages = network.forward(torch.cat([own, part]), index, attr)[:n]
        for k in range(m):
            slope = torch.autograd.grad(messages[:, k].sum(), part, retain_graph=k + 1 < m)[0]
            shares[:, k] += float(weight) * (slope * sent).detach().numpy()
    return Influence(
        list(network.message_names),
        quantities,
        simulation.plan.type_names,
        shares,
        np.asarray(state["cell.type"][living]),
        (silent - alone).numpy(),
        (told - alone).numpy(),
        state["cell.position"][living].copy(),
    )


def _edges(
    process: TissueProcess, simulation: Simulation, living: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Senders and receivers (edge,) as places in `living`, and what the network knows of each edge."""
    indptr, indices = simulation.signals.graph()
    place = np.full(len(simulation.state), -1, np.int64)
    place[living] = np.arange(len(living))
    receivers = place[np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))]
    senders = place[np.asarray(indices, np.int64)]
    return senders, receivers, process.edges(simulation.state, (indptr, indices))
