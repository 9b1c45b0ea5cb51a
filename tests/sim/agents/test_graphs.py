"""Nearest, Delaunay and contact graphs against brute force; edge features against closed forms."""

import numpy as np
import pytest
from scipy.spatial import Delaunay

from mechanistic.threads import set_threads, threads
from sim.agents.graphs import contact_area, contact_graph, delaunay_graph, edges_of, nearest_graph


def tissue(n, dims, seed=0, side=100.0):
    positions = np.zeros((n, 3))
    positions[:, :dims] = np.random.default_rng(seed).uniform(0, side, (n, dims))
    return positions


def squares(positions, lengths):
    away = positions[None] - positions[:, None]
    for axis, length in enumerate(lengths or (0, 0, 0)):
        if length:
            away[..., axis] -= length * np.rint(away[..., axis] / length)
    return (away**2).sum(-1)


def rows_of(graph):
    return [graph.indices[a:b].tolist() for a, b in zip(graph.indptr[:-1], graph.indptr[1:])]


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("lengths", [None, (100.0, 100.0, 0.0)])
@pytest.mark.parametrize("n, k", [(400, 6), (30, 29), (5, 9)])
def test_nearest_cells_are_those_of_brute_force(dims, lengths, n, k):
    positions = tissue(n, dims, seed=k)
    positions[0, 0] += 0 if lengths else 1e4  # one far from all others
    square = squares(positions, lengths)
    np.fill_diagonal(square, np.inf)
    order = np.lexsort((np.broadcast_to(np.arange(n), (n, n)), square))[:, : min(k, n - 1)]
    graph = nearest_graph(positions, k, periodic=lengths, dims=dims)
    assert rows_of(graph) == np.sort(order, axis=1).tolist()
    mutual = nearest_graph(positions, k, periodic=lengths, dims=dims, mutual=True)
    both = [{*row, *(j for j in range(n) if i in order[j])} for i, row in enumerate(order.tolist())]
    assert rows_of(mutual) == [sorted(row) for row in both]


def test_uneven_tissue_does_not_blow_the_search_up():
    positions = tissue(20_000, 2, side=10.0)
    positions[:300, :2] *= 1e4
    graph = nearest_graph(positions, 4, dims=2)
    for i in (0, 17, 299, 300, 19_999):
        away = ((positions - positions[i]) ** 2).sum(1)
        away[i] = np.inf
        assert sorted(np.argsort(away)[:4]) == graph.indices[graph.indptr[i] : graph.indptr[i + 1]].tolist()


def test_of_equally_near_cells_the_first_are_taken():
    graph = nearest_graph(np.array([[0.0, 0, 0], [1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0]]), 2, dims=2)
    assert rows_of(graph)[0] == [1, 2]


@pytest.mark.parametrize("dims", [2, 3])
def test_delaunay_neighbours_are_those_of_the_triangulation(dims):
    positions = tissue(200, dims)
    graph = delaunay_graph(positions, dims=dims)
    pairs = {tuple(p) for s in Delaunay(positions[:, :dims]).simplices for p in _pairs(s)}
    assert {(int(i), int(j)) for i, j in zip(graph.rows, graph.indices)} == pairs
    short = delaunay_graph(positions, dims=dims, longest=12.0)
    kept = graph.distances(positions) <= 12.0
    assert np.array_equal(short.indices, graph.indices[kept])


def _pairs(simplex):
    return [(a, b) for a in simplex for b in simplex if a != b]


@pytest.mark.parametrize("n", [12, 150])
def test_periodic_delaunay_is_that_of_all_images(n):
    positions, side = tissue(n, 2, seed=4), 100.0
    graph = delaunay_graph(positions, periodic=(side, side, 0), dims=2)
    steps = [(0, 0)] + [(a, b) for a in (-2, -1, 0, 1, 2) for b in (-2, -1, 0, 1, 2) if (a, b) != (0, 0)]
    images = np.concatenate([positions[:, :2] + side * np.array(s) for s in steps])
    pairs = {p for s in Delaunay(images).simplices for p in _pairs(s) if p[0] < n}
    expected = {(int(a), int(b) % n) for a, b in pairs if a != b % n}
    assert {(int(i), int(j)) for i, j in zip(graph.rows, graph.indices)} == expected
    assert np.mean(graph.counts) == pytest.approx(6, abs=1.0)


def test_cells_that_do_not_span_the_space_are_neighbours_within_what_they_span():
    line = np.array([[0.0, 0, 0], [1, 2, 0], [3, 6, 0], [2, 4, 0]])
    for dims in (2, 3):
        graph = delaunay_graph(line, dims=dims)
        assert [graph.indices[a:b].tolist() for a, b in zip(graph.indptr, graph.indptr[1:])] == [
            [1], [0, 3], [3], [1, 2],
        ]  # fmt: skip
    ring = delaunay_graph(line * [1, 0, 0] * 5, periodic=(20.0, 20.0, 0), dims=2)
    assert ring.counts.tolist() == [2, 2, 2, 2]
    assert delaunay_graph(line[:2], dims=2).counts.tolist() == [1, 1]
    assert delaunay_graph(line[:1], dims=2).counts.tolist() == [0]
    layer = np.random.default_rng(0).uniform(0, 50, (40, 3)) * [1, 1, 0]
    flat, deep = delaunay_graph(layer, dims=2), delaunay_graph(layer + np.array([0, 0, 3.0]), dims=3)
    np.testing.assert_array_equal(flat.indices, deep.indices)
    with pytest.raises(ValueError, match="all lie in one place"):
        delaunay_graph(np.zeros((3, 3)), dims=2)


def test_a_wrapping_lattice_has_six_neighbours_each_way():
    x, y = np.meshgrid(np.arange(8) * 10.0, np.arange(8) * 10.0 * np.sqrt(0.75))
    x = x + 5.0 * (np.arange(8) % 2)[:, None]
    positions = np.stack([x, y, 0 * x], -1).reshape(-1, 3)
    graph = delaunay_graph(positions, periodic=(80.0, 80.0 * np.sqrt(0.75), 0), dims=2)
    assert (graph.counts == 6).all()


def test_contact_is_by_radii():
    positions = np.array([[0.0, 0, 0], [9.0, 0, 0], [30.0, 0, 0]])
    graph = contact_graph(positions, [5.0, 5.0, 15.5])
    assert rows_of(graph) == [[1], [0], []]
    assert rows_of(contact_graph(positions, [5.0, 5.0, 15.5], reach=1.1)) == [[1], [0, 2], [1]]


def test_edges_know_distance_direction_contact_and_types():
    positions = np.array([[1.0, 5, 0], [9.0, 5, 0]])
    graph = contact_graph(positions, [2.0, 2.0], periodic=(10.0, 0, 0))
    edges = edges_of(graph, positions, radii=[2.0, 2.0], types=[3, 7])
    assert edges.distance.tolist() == [2.0, 2.0]
    assert edges.direction.tolist() == [[-1, 0, 0], [1, 0, 0]]
    assert edges.contact == pytest.approx([np.pi * 3, np.pi * 3])
    assert edges.types.tolist() == [[7, 3], [3, 7]]


def test_contact_area_of_known_spheres():
    d, mine, theirs = np.array([8.0, 0.5, 0.0, 6.0]), np.full(4, 5.0), np.array([5.0, 2.0, 5.0, 1.0])
    expected = np.pi * np.array([9.0, 4.0, 25.0, 0.0])
    assert contact_area(d, mine, theirs, 3) == pytest.approx(expected)
    assert contact_area(d, mine, theirs, 2) == pytest.approx([6.0, 4.0, 10.0, 0.0])


def test_graphs_are_the_same_for_any_number_of_threads():
    positions = tissue(5000, 3)
    before = threads()
    try:
        found = []
        for count in (1, 2):
            set_threads(count)
            found.append(nearest_graph(positions, 5, periodic=(100.0, 100.0, 100.0)).indices)
        assert np.array_equal(*found)
    finally:
        set_threads(before)


def test_no_cells_and_one_cell():
    for n in (0, 1):
        assert nearest_graph(np.zeros((n, 3)), 3).counts.tolist() == [0] * n
    assert delaunay_graph(np.zeros((0, 3))).counts.tolist() == []
