"""The equivariant layer turns, mirrors, moves and reorders with the tissue."""

import numpy as np
import pytest
import torch

from neural.tissue.equivariant import EquivariantLayer


def tissue(dims, seed=0):
    g = torch.Generator().manual_seed(seed)
    x, h = 30 * torch.rand(60, dims, generator=g), torch.randn(60, 4, generator=g)
    edges = torch.nonzero((torch.cdist(x, x) < 12) & ~torch.eye(60, dtype=torch.bool)).T
    return x, h, edges, torch.rand(edges.shape[1], 2, generator=g)


def layer():
    torch.manual_seed(1)
    return EquivariantLayer(4, 2, unit=10.0)


@pytest.mark.parametrize("dims", [2, 3])
def test_turns_mirrors_and_moves_with_the_tissue(dims):
    x, h, edges, attr = tissue(dims)
    turn = torch.linalg.qr(torch.randn(dims, dims, generator=torch.Generator().manual_seed(5)))[0]
    shift = torch.linspace(-20, 40, dims)
    for way in (turn, -turn):
        a, b = layer()(h, x, edges, attr), layer()(h, x @ way.T + shift, edges, attr)
        torch.testing.assert_close(b[0], a[0], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(b[1], a[1] @ way.T + shift, atol=2e-5, rtol=1e-5)
    assert (a[1] - x).abs().max() > 1e-3


def test_order_of_cells_does_not_matter():
    x, h, edges, attr = tissue(2)
    order = torch.from_numpy(np.random.default_rng(2).permutation(60))
    a, b = layer()(h, x, edges, attr), layer()(h[order], x[order], torch.argsort(order)[edges], attr)
    torch.testing.assert_close(b[0], a[0][order], atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(b[1], a[1][order], atol=1e-5, rtol=1e-6)


def test_differences_of_places_may_be_those_of_nearest_images():
    x, h, edges, attr = tissue(2)
    away = x[edges[0]] - x[edges[1]]
    a, b = layer()(h, x, edges, attr), layer()(h, x + 100.0, edges, attr, away)
    torch.testing.assert_close(b[0], a[0])
    torch.testing.assert_close(b[1] - 100.0, a[1], atol=2e-5, rtol=1e-5)
