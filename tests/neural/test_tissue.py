"""The contact network: order, edges, gradients, and that it tells confluence."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from neural import TissueNetwork
from neural.tissue.fit_contact import confluence, graphs, monolayer, neighbours

WEIGHTS = Path(__file__).parents[2] / "scenarios" / "weights" / "contact.safetensors"


@pytest.fixture(scope="module")
def contact():
    return TissueNetwork.load(WEIGHTS)


@pytest.fixture(scope="module")
def layer():
    return monolayer(np.random.default_rng(77), 0.6, 8.4, 0.4)


def rows(where, radius):
    """Neighbour list in compressed rows, sorted: indptr, indices, distances (e, 1)."""
    (sender, receiver), distance = neighbours(where, radius)
    order = np.lexsort((sender, receiver))
    counts = np.bincount(receiver, minlength=len(where))
    return np.concatenate([[0], np.cumsum(counts)]), sender[order], distance[order][:, None]


def test_interface(contact):
    assert contact.message_names == ["confluence"]
    assert contact.node_inputs == ["cell.radius", "cell.living"] and contact.edge_inputs == ["distance"]
    assert contact.radius == 25.0
    assert WEIGHTS.stat().st_size < 100_000


def test_tells_confluence_of_monolayers_it_never_saw(contact):
    test = graphs(4242, 3, 25.0, 8.4)
    said = contact.forward(
        torch.tensor(test.x), torch.tensor(test.edges), torch.tensor(test.distance)
    ).numpy()
    rest = said - test.confluence
    assert 1 - (rest**2).mean() / test.confluence.var() > 0.92


def test_compressed_rows_say_the_same_as_edges(contact, layer):
    where, radii, alive = layer
    x = np.stack([radii, alive], 1)
    indptr, indices, distance = rows(where, contact.radius)
    got = contact.forward_numpy(x, indptr, indices, distance)
    receivers = np.repeat(np.arange(len(x)), np.diff(indptr))
    edges = torch.tensor(np.stack([indices, receivers]))
    want = contact.forward(torch.tensor(x), edges, torch.tensor(distance)).numpy()
    np.testing.assert_allclose(got, want, atol=1e-12)


def test_order_of_cells_does_not_matter(contact, layer):
    where, radii, alive = layer
    x = np.stack([radii, alive], 1)
    said = contact.forward_numpy(x, *rows(where, contact.radius))
    order = np.random.default_rng(3).permutation(len(x))
    shuffled = contact.forward_numpy(x[order], *rows(where[order], contact.radius))
    np.testing.assert_allclose(shuffled, said[order], atol=1e-12)


def test_threads_and_repeats_give_the_same_bits(contact, layer):
    where, radii, alive = layer
    x, graph = np.stack([radii, alive], 1), rows(where, contact.radius)
    said = contact.forward_numpy(x, *graph)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        np.testing.assert_array_equal(contact.forward_numpy(x, *graph), said)
    finally:
        torch.set_num_threads(before)


def test_far_cells_are_not_heard(contact, layer):
    """A cell's message depends on its own neighbours alone, bit for bit."""
    where, radii, alive = layer
    x = np.stack([radii, alive], 1)
    indptr, indices, distance = rows(where, contact.radius)
    said = contact.forward_numpy(x, indptr, indices, distance)
    mine = indices[indptr[0] : indptr[1]]
    other = np.setdiff1d(np.arange(len(x)), [0, *mine])[:20]
    changed = x.copy()
    changed[other, 1] = 1.0 - changed[other, 1]
    assert contact.forward_numpy(changed, indptr, indices, distance)[0] == said[0]
    heard = x.copy()
    heard[mine, 1] = 1.0 - heard[mine, 1]
    assert contact.forward_numpy(heard, indptr, indices, distance)[0] != said[0]


def test_lonely_cells_and_no_cells(contact):
    lonely = contact.forward_numpy(
        np.array([[8.4, 1.0]]), np.array([0, 0]), np.empty(0, int), np.empty((0, 1))
    )
    assert lonely[0, 0] == 0
    none = contact.forward_numpy(np.empty((0, 2)), np.array([0]), np.empty(0, int), np.empty((0, 1)))
    assert none.shape == (0, 1)


def test_gradients_flow_to_the_cells(contact):
    x = torch.tensor([[8.0, 1.0], [9.0, 1.0]], dtype=torch.float64, requires_grad=True)
    gap = torch.tensor([[12.0], [12.0]], dtype=torch.float64, requires_grad=True)
    contact.forward(x, torch.tensor([[0, 1], [1, 0]]), gap).sum().backward()
    assert x.grad is not None and x.grad.abs().sum() > 0 and gap.grad is not None and gap.grad.abs().sum() > 0


def test_truth_of_one_and_two_cells():
    """The geometry that is learned, against closed forms: nobody else; then a disjoint disc inside."""
    one = confluence(np.array([[150.0, 150.0]]), np.array([8.0]), np.array([1.0]), 25.0)
    assert one[0] == 0
    where = np.array([[150.0, 150.0], [166.0, 150.0]])
    two = confluence(where, np.array([8.0, 7.0]), np.array([1.0, 1.0]), 25.0)
    assert two[0] == pytest.approx(7**2 / (25**2 - 8**2), abs=0.01)
    dead = confluence(where, np.array([8.0, 7.0]), np.array([1.0, 0.0]), 25.0)
    assert dead[0] == 0


def test_stepping_needs_no_torch_geometric():
    """Importing it takes seconds; a simulation that only steps the network does not pay them."""
    code = (
        "import sys, numpy as np; from neural import TissueNetwork;"
        f"t = TissueNetwork.load({str(WEIGHTS)!r});"
        "t.forward_numpy(np.ones((2, 2)), np.array([0, 1, 2]), np.array([1, 0]), np.ones((2, 1)));"
        "print('torch_geometric' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"
