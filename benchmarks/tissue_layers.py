"""Neighbour graphs and network layers over them, for benchmarks/tissue.py: each beside its peer on the same input."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from scipy.spatial import cKDTree

from mechanistic.fields import DiffusionSolver, Grid
from neural.tissue.attention import GraphAttention
from neural.tissue.graph import Rows
from sim.agents._bins import spatial_order
from sim.agents.neighbours import neighbour_graph
from sim.agents.placement import hexagonal
from sim.twin.tissue import DifferentiableTissue, FieldPart, MechanicsPart, TissueState

_DEGREE, _WIDTH = 6.0, 32


def _seconds(task: Callable[[], object], repeats: int) -> tuple[float, Any]:
    """The least wall time of several runs, the first left out, and what the task gives."""
    task()
    times, result = [], None
    for _ in range(repeats):
        start = time.perf_counter()
        result = task()
        times.append(time.perf_counter() - start)
    return min(times), result


def _scattered(n: int, dims: int) -> tuple[np.ndarray, float]:
    """n cells anywhere in a box, in random order, and the radius within which they have six others."""
    positions = np.zeros((n, 3))
    positions[:, :dims] = np.random.default_rng(0).uniform(0, 1000, (n, dims))
    volume = 1000.0**dims / n * _DEGREE
    return positions, (volume / np.pi) ** 0.5 if dims == 2 else (volume / (4 / 3 * np.pi)) ** (1 / 3)


def graphs(n: int) -> Iterator[dict]:
    """Radius graphs beside scipy's pairs; `error` is the number of pairs that only one of the two found."""
    for dims in (2, 3):
        positions, radius = _scattered(n, dims)
        ours, graph = _seconds(lambda: neighbour_graph(positions, radius, dims=dims), 4)  # noqa: B023
        start = time.perf_counter()
        pairs = cKDTree(positions[:, :dims]).query_pairs(radius, output_type="ndarray")
        peer = time.perf_counter() - start
        codes = [
            np.sort(a * n + b) for a, b in (graph.edge_index(), np.concatenate([pairs, pairs[:, ::-1]]).T)
        ]
        odd = np.setxor1d(*codes).size if not np.array_equal(*codes) else 0
        yield {
            "name": f"radius graph, {n:.0e} cells {dims}-D, mean degree {graph.indices.size / n:.1f}",
            "value": ours, "unit": "s", "peer": "scipy cKDTree.query_pairs", "peer_value": peer, "ratio": peer / ours,
            "error": float(odd), "peer_error": 0.0,
        }  # fmt: skip


def attention(n: int, threads: int) -> Iterator[dict]:
    """A GATv2 layer, 32 wide, one edge quantity, cells in spatial order, beside torch-geometric on the same input."""
    torch.manual_seed(0)
    positions, radius = _scattered(n, 2)
    positions = positions[spatial_order(positions, 2 * radius, np.zeros(3), 2)]
    graph = neighbour_graph(positions, radius, dims=2)
    rows, layer = Rows(graph.indptr, graph.indices), GraphAttention(_WIDTH, _WIDTH, edge_inputs=1)
    pyg, edges = layer.as_pyg(), rows.edge_index()
    attr = torch.from_numpy(graph.distances(positions)[:, None]).float()
    x = torch.randn(n, _WIDTH, requires_grad=True)
    wanted = [x, *layer.parameters()]

    def ours() -> torch.Tensor:
        return layer(x, rows, attr)

    def theirs() -> torch.Tensor:
        return pyg(x, edges, attr)

    def without_gradients(call: Callable[[], torch.Tensor]) -> torch.Tensor:
        with torch.no_grad():
            return call()

    def gradients(call: Callable[[], torch.Tensor]) -> tuple[torch.Tensor, ...]:
        return torch.autograd.grad(call().square().mean(), wanted)

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    for name, task in (("forward", without_gradients), ("forward and backward", gradients)):
        (fast, a), (slow, b) = _seconds(lambda: task(ours), 5), _seconds(lambda: task(theirs), 2)  # noqa: B023
        parts = zip(a, b) if isinstance(a, tuple) else [(a, b)]
        error = max(float((p - q).abs().max() / max(float(q.abs().max()), 1.0)) for p, q in parts)
        yield {
            "name": f"GATv2, {n:.0e} cells, {rows.edges:.1e} edges, {_WIDTH} wide, {name}",
            "value": fast, "unit": "s", "peer": "torch-geometric", "peer_value": slow, "ratio": slow / fast,
            "error": error, "peer_error": 0.0,
        }  # fmt: skip
    torch.set_num_threads(before)


class _Law(torch.nn.Module):
    """A manipulator of eight states that hears as many and sees a field."""

    def __init__(self) -> None:
        super().__init__()
        self.net = torch.nn.Sequential(
            torch.nn.Linear(17, 32), torch.nn.Tanh(), torch.nn.Linear(32, 8)
        ).double()

    def forward(self, s: torch.Tensor, heard: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
        return 0.05 * self.net(torch.cat([s, heard, seen], 1)) - 0.05 * s


def gradients(counts: tuple[int, ...], steps: int) -> Iterator[dict]:
    """Gradients through field, mechanics and tissue network over `steps` steps, beside those steps alone."""
    for n in counts:
        torch.manual_seed(0)
        x = torch.from_numpy(hexagonal(n, 11.0, 2))
        x = x - x.min(0).values * torch.tensor([1.0, 1.0, 0.0]) + torch.tensor([23.7, 23.7, 0.0])
        voxels, one = int(np.ceil((float(x.max()) + 20) / 20)), torch.ones(n, dtype=torch.float64)
        solver = DiffusionSolver(Grid((0, 0, 0), 20.0, (1, voxels, voxels)), 1000.0, 0.1)
        carries = 0.1 * torch.rand(8, 9, dtype=torch.float64)
        carries[:, -3:] = 0
        tissue = DifferentiableTissue(
            _Law(), step=1.0, carries=carries, radius=20.0, mechanics=MechanicsPart(5.5 * one, 5 * one, 0.5 * one),
            field=FieldPart(solver, lambda s: 100 * s[:, 0], (0.1 * one, 800 * one)),
        )  # fmt: skip
        field = torch.zeros(1, voxels, voxels, dtype=torch.float64)
        start = TissueState(x, torch.rand(n, 8, dtype=torch.float64), field)
        kept = 0

        def keep(t: torch.Tensor) -> torch.Tensor:
            nonlocal kept
            kept += t.numel() * t.element_size()
            return t

        def alone() -> None:
            with torch.no_grad():
                tissue(start, steps)  # noqa: B023

        def with_gradients() -> None:
            s = start.s.clone().requires_grad_()  # noqa: B023
            end = tissue(start._replace(s=s), steps)  # noqa: B023
            assert end.u is not None
            (end.s.sum() + end.x.sum() + end.u.sum()).backward()

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
            tissue(start._replace(s=start.s.clone().requires_grad_()), steps)

        (plain, _), (both, _) = _seconds(alone, 2), _seconds(with_gradients, 2)
        name = f"gradients through field, mechanics and tissue network, {n:.0e} cells, {steps} steps"
        yield {"name": name, "value": both, "unit": "s", "peer": "these steps alone", "peer_value": plain,
               "ratio": plain / both}  # fmt: skip
        yield {"name": f"{name}, kept", "value": kept / n / steps, "unit": "bytes a cell and step"}
