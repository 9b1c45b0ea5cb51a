"""Gradients through fields, mechanics and a learned law, against finite differences and the parts they are made of."""

import numpy as np
import pytest
import torch

from mechanistic.fields import Boundary, DiffusionSolver, Grid
from neural.tissue.graph import Rows
from neural.tissue.hearing import heard_from
from neural.tissue.splines import cubic_splines
from sim.agents.mechanics import move, velocities
from sim.agents.neighbours import neighbour_graph
from sim.agents.placement import hexagonal
from sim.twin.tissue import DifferentiableTissue, FieldPart, MechanicsPart, TissueState

N, K, RADIUS = 40, 3, 24.0


class Law(torch.nn.Module):
    def __init__(self, inputs):
        super().__init__()
        torch.manual_seed(3)
        self.net = torch.nn.Sequential(
            torch.nn.Linear(inputs, 8), torch.nn.Tanh(), torch.nn.Linear(8, K)
        ).double()

    def forward(self, s, heard, seen):
        return 0.1 * self.net(torch.cat([s, heard, seen], 1)) - 0.05 * s


class Follow(torch.nn.Module):
    def forward(self, s, heard, seen):
        return heard - s


def cells(n=N, dims=2, seed=0):
    rng = np.random.default_rng(seed)
    x = hexagonal(n, 11.0, dims) + rng.normal(0, 1.0, (n, 3)) * (np.arange(3) < dims)
    return torch.from_numpy(x - x.min(0) + 23.7)


def tissue(n=N, dims=2, face=None):
    shape = (1, 12, 12) if dims == 2 else (8, 8, 8)
    solver = DiffusionSolver(
        Grid((0, 0, 0), 10.0, shape), 300.0, 0.05, Boundary(x_min=face) if face else None
    )
    g = torch.Generator().manual_seed(1)
    radii = 6.0 + torch.rand(n, generator=g, dtype=torch.float64)
    ones = torch.ones(n, dtype=torch.float64)
    field = FieldPart(solver, lambda s: 500.0 * s[:, 0].square(), (0.3 * ones, 800.0 * ones))
    made = DifferentiableTissue(
        Law(2 * K + 1), step=1.0, carries=0.2 * torch.rand(K, 9, generator=g, dtype=torch.float64), radius=RADIUS,
        field=field, mechanics=MechanicsPart(radii, 5.0 * ones, 0.8 * ones, parts=2), dims=dims,
    )  # fmt: skip
    s = torch.rand(n, K, generator=g, dtype=torch.float64)
    return made, TissueState(cells(n, dims), s, torch.rand(shape, generator=g, dtype=torch.float64))


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("face", [None, 2.0])
def test_gradients_are_those_of_finite_differences(dims, face):
    made, start = tissue(dims=dims, face=face)
    aim = [
        torch.randn(t.shape, generator=torch.Generator().manual_seed(k), dtype=torch.float64)
        for k, t in enumerate(start)
    ]

    def loss(x, s, u):
        end = made(TissueState(x, s, u), 6)
        return sum((a * b).sum() for a, b in zip(aim, end))

    inputs = [t.clone().requires_grad_() for t in start]
    wanted = [*inputs, made.carries, made.law.net[0].weight]
    grads = torch.autograd.grad(loss(*inputs), wanted)
    rng = np.random.default_rng(5)
    for t, g in zip(wanted, grads):
        for _ in range(3):
            way = torch.from_numpy(rng.normal(size=t.shape))
            if dims == 2 and t is inputs[0]:
                way[:, 2] = 0
            with torch.no_grad():
                held, h = t.clone(), 1e-5
                t.copy_(held + h * way)
                up = float(loss(*inputs))
                t.copy_(held - h * way)
                down = float(loss(*inputs))
                t.copy_(held)
            assert (up - down) / (2 * h) == pytest.approx(float((g * way).sum()), rel=2e-5, abs=1e-6)


def test_strengths_and_radii_have_gradients_too():
    made, start = tissue()
    leaves = [torch.full((N,), v, dtype=torch.float64, requires_grad=True) for v in (6.5, 5.0, 0.8)]
    aim = torch.randn(N, 3, dtype=torch.float64)

    def loss(*leaves):
        made.mechanics = MechanicsPart(*leaves)
        return (aim * made(start, 3).x).sum()

    assert torch.autograd.gradcheck(loss, leaves, eps=1e-5, atol=1e-5, rtol=1e-4)


def test_what_is_heard_is_the_sum_over_neighbours():
    x, rng = cells(), np.random.default_rng(2)
    graph = neighbour_graph(x.numpy(), RADIUS, dims=2)
    s, carries = torch.from_numpy(rng.random((N, K))), torch.from_numpy(rng.random((K, 9)))
    got = heard_from(x, s, carries, Rows(graph.indptr, graph.indices), RADIUS)
    d = torch.from_numpy(graph.distances(x.numpy()))
    weight = cubic_splines(d, torch.tensor(0.0), torch.tensor(RADIUS), 6) @ carries.t()
    wanted = torch.zeros(N, K, dtype=torch.float64)
    wanted.index_add_(0, torch.from_numpy(graph.rows), weight * s[torch.from_numpy(graph.indices).long()])
    torch.testing.assert_close(got, wanted)


def test_cells_move_as_the_simulator_moves_them():
    """Heun in short parts against the simulator's own integration by error."""
    made, start = tissue()
    m = made.mechanics
    made.mechanics = MechanicsPart(m.radii, m.repulsion, m.adhesion, parts=40)
    moved = made(start, 3).x.numpy()
    own = start.x.numpy().copy()
    arrays = (t.numpy() for t in (m.radii, m.repulsion, m.adhesion))
    move(own, *arrays, dims=2, dt=3.0, tolerance=1e-6)
    np.testing.assert_allclose(moved, own, atol=2e-4)


def test_velocities_are_the_simulators():
    made, start = tissue()
    m, x = made.mechanics, start.x.numpy()
    graph = neighbour_graph(x, 40.0, dims=2)
    v, p = np.empty((N, 3)), np.empty(N)
    velocities(x, *(t.numpy() for t in (m.radii, m.repulsion, m.adhesion)), graph.indptr, graph.indices, v, p)
    made.mechanics = MechanicsPart(m.radii, m.repulsion, m.adhesion, parts=1)
    made.dt = 1e-6
    np.testing.assert_allclose((made.step(start).x.numpy() - x) / 1e-6, v, atol=1e-4)


def test_periodic_tissue_does_not_know_where_its_edge_is():
    made, start = tissue()
    side = (130.0, 130.0, 0.0)
    made.periodic, made.field, made.law = side, None, Follow()
    one = made(start._replace(u=None), 4)
    shift = torch.tensor([77.0, -51.0, 0.0], dtype=torch.float64)
    wrapped = torch.remainder(start.x + shift, torch.tensor([130.0, 130.0, 1e9], dtype=torch.float64))
    two = made(TissueState(wrapped, start.s), 4)
    torch.testing.assert_close(one.s, two.s, atol=1e-10, rtol=1e-10)
