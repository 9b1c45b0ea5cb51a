"""Fused GATv2 against torch-geometric, finite differences and itself."""

import numpy as np
import pytest
import torch

from neural.tissue.attention import GraphAttention
from neural.tissue.graph import Rows


def graph(n, degree, seed=0):
    rng = np.random.default_rng(seed)
    counts = rng.poisson(degree, n)
    counts[: n // 10] = 0  # some hear nobody
    indptr = np.concatenate([[0], np.cumsum(counts)])
    return Rows(indptr, rng.integers(0, n, indptr[-1]))


def layer(seed=0, dtype=torch.float32, **options):
    torch.manual_seed(seed)
    made = GraphAttention(5, 12, **options).to(dtype)
    with torch.no_grad():
        for p in made.parameters():
            p.copy_(0.4 * torch.randn(p.shape, dtype=dtype))
    return made


@pytest.mark.parametrize("heads, edge_inputs, bias", [(1, 1, True), (3, 2, True), (2, 0, False)])
def test_same_output_and_gradients_as_torch_geometric(heads, edge_inputs, bias):
    rows, mine = graph(700, 6), layer(heads=heads, edge_inputs=edge_inputs, bias=bias)
    attr = torch.rand(rows.edges, edge_inputs, requires_grad=True) if edge_inputs else None
    x = torch.randn(700, 5, requires_grad=True)
    wanted = [x, *mine.parameters()] + ([attr] if attr is not None else [])
    aim = torch.randn(700, 12 * heads)
    outs, grads = [], []
    for call in (lambda: mine(x, rows, attr), lambda: mine.as_pyg()(x, rows.edge_index(), attr)):
        outs.append(call())
        grads.append(torch.autograd.grad((outs[-1] * aim).sum(), wanted))
    torch.testing.assert_close(outs[0], outs[1], atol=1e-5, rtol=1e-5)
    for ours, theirs in zip(*grads):
        torch.testing.assert_close(ours, theirs, atol=1e-4 * float(theirs.abs().max()) + 1e-6, rtol=1e-4)


def test_gradients_are_those_of_finite_differences():
    rows, mine = graph(14, 3), layer(dtype=torch.float64, heads=2, edge_inputs=2)
    attr = torch.rand(rows.edges, 2, dtype=torch.float64, requires_grad=True)
    x = torch.randn(14, 5, dtype=torch.float64, requires_grad=True)
    names = [n for n, _ in mine.named_parameters()]

    def call(x, attr, *parameters):
        return torch.func.functional_call(mine, dict(zip(names, parameters)), (x, rows, attr))

    assert torch.autograd.gradcheck(call, (x, attr, *mine.parameters()))


def test_same_bits_for_any_number_of_threads():
    import numba

    rows, mine = graph(5000, 6), layer(heads=2, edge_inputs=1)
    attr, x = torch.rand(rows.edges, 1), torch.randn(5000, 5, requires_grad=True)
    results = []
    before = numba.get_num_threads(), torch.get_num_threads()
    try:
        for threads in (1, 2):
            numba.set_num_threads(min(threads, numba.config.NUMBA_NUM_THREADS))
            torch.set_num_threads(threads)
            out = mine(x, rows, attr)
            results.append([out, *torch.autograd.grad(out.square().sum(), [x, *mine.parameters()])])
    finally:
        numba.set_num_threads(before[0])
        torch.set_num_threads(before[1])
    assert all(torch.equal(a, b) for a, b in zip(*results))


def test_order_of_cells_does_not_matter():
    rows, mine = graph(300, 6), layer(edge_inputs=1)
    attr, x = torch.rand(rows.edges, 1), torch.randn(300, 5)
    order = np.random.default_rng(1).permutation(300)
    place = np.argsort(order)
    sender, receiver = rows.edge_index().numpy()
    moved, edges = Rows.of_edges(np.stack([place[sender], place[receiver]]), 300)
    out = mine(x, rows, attr)
    torch.testing.assert_close(mine(x[order], moved, attr[edges]), out[order], atol=1e-6, rtol=1e-5)


def test_who_hears_nobody_is_left_with_the_constant():
    mine = layer()
    out = mine(torch.randn(2, 5), Rows([0, 0, 0], []))
    assert torch.equal(out, mine.bias.expand(2, 12))


def test_rows_are_checked():
    with pytest.raises(ValueError, match="rise from 0"):
        Rows([0, 2], [0])
    with pytest.raises(ValueError, match="below the number of cells"):
        Rows([0, 1], [1])
