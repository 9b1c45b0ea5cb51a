"""Learned laws between neighbours: layers over the cell graph, their training, and the reading of what they learned.

    graph.py          the neighbour graph as compressed rows, and its transpose
    attention.py      GATv2 attention, fused over the rows; equal to torch-geometric's
    equivariant.py    E(n)-equivariant layer
    factored.py       pair law as a product of readable curves
    pairlaw.py        pair law as one network of both cells
    tracks.py         tables of tracked cells, from which a law is learned
    network.py        a trained law, loaded from weights and stepped inside a tissue

Layers see node quantities, edges and edge quantities (x, rows, edge_attr), nothing else: who is whose neighbour is
found elsewhere (`sim.agents.neighbours`, `sim.agents.graphs`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from neural.tissue.law_network import LawNetwork
    from neural.tissue.network import TissueNetwork

__all__ = ["LawNetwork", "TissueNetwork"]


def __getattr__(name: str) -> Any:
    """Imported when first asked for: `neural.tissue.fit_contact` alone needs no network."""
    if name == "TissueNetwork":
        from neural.tissue.network import TissueNetwork

        return TissueNetwork
    if name == "LawNetwork":
        from neural.tissue.law_network import LawNetwork

        return LawNetwork
    raise AttributeError(f"module 'neural.tissue' has no attribute {name!r}")
