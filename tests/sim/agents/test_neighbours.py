"""Neighbour lists against all pairs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mechanistic.threads import set_threads, threads
from sim.agents.neighbours import VerletList, neighbour_graph


def _all_pairs(positions: np.ndarray, reach, periods: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The twin: every pair by its nearest image, (cell, neighbour) in ascending order."""
    offset = positions[:, None] - positions[None]
    for axis in np.flatnonzero(periods):
        offset[..., axis] -= periods[axis] * np.rint(offset[..., axis] / periods[axis])
    reach = np.asarray(reach)
    limit = reach if reach.ndim == 0 else reach[:, None] + reach[None]
    square = offset[..., 0] ** 2 + offset[..., 1] ** 2 + offset[..., 2] ** 2
    return np.nonzero((square <= limit * limit) & ~np.eye(len(positions), dtype=bool))


def _same(graph, positions, reach, periods) -> None:
    cells, others = _all_pairs(positions, reach, periods)
    assert np.array_equal(graph.rows, cells)
    assert np.array_equal(graph.indices, others)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1, 120),
    dims=st.sampled_from([2, 3]),
    wraps=st.tuples(st.booleans(), st.booleans(), st.booleans()),
    reach=st.sampled_from([0.0, 2.5, 10.0, 20.0, 24.9, 33.0, "each"]),
    on_grid=st.booleans(),
)
def test_every_pair_and_no_other(seed, n, dims, wraps, reach, on_grid):
    rng = np.random.default_rng(seed)
    size = np.array([50.0, 60.0, 75.0])
    periods = size * wraps * (np.arange(3) < dims)
    positions = rng.random((n, 3)) * size
    if on_grid:  # many distances are exactly the reach, many cells lie on the edge of a bin
        positions = np.floor(positions / 2.5) * 2.5
    positions += rng.integers(-2, 3, (n, 3)) * periods
    if dims == 2:
        positions[:, 2] = 4.0
    distance = rng.random(n) * 12 if reach == "each" else reach
    graph = neighbour_graph(positions, distance, periodic=periods, dims=dims)
    _same(graph, positions, distance, periods)


def test_far_between_cells_need_no_more_bins_than_cells():
    positions = np.array([[0.0, 0, 0], [1e7, 1e7, 1e7], [1e7 + 3, 1e7, 1e7], [-1e7, 5, 5]])
    graph = neighbour_graph(positions, 5.0)
    assert graph.rows.tolist() == [1, 2] and graph.indices.tolist() == [2, 1]


def test_no_cells_and_one():
    assert len(neighbour_graph(np.empty((0, 3)), 1.0)) == 0
    assert neighbour_graph(np.zeros((1, 3)), 1.0).counts.tolist() == [0]


def test_cells_in_one_place_are_neighbours():
    assert neighbour_graph(np.ones((3, 3)), 0.0).counts.tolist() == [2, 2, 2]


def test_edges_offsets_and_distances_agree():
    rng = np.random.default_rng(0)
    positions = rng.random((60, 3)) * 50
    graph = neighbour_graph(positions, 12.0, periodic=(50, 50, 50))
    source, target = graph.edge_index()
    assert graph.edge_index().dtype == np.int64 and np.all(np.diff(target) >= 0)
    forth = dict(zip(zip(source.tolist(), target.tolist()), graph.offsets(positions)))
    for (a, b), offset in forth.items():
        np.testing.assert_allclose(offset, -forth[b, a], atol=1e-13)
    distances = graph.distances(positions)
    assert distances.max() <= 12.0
    np.testing.assert_allclose(distances, np.linalg.norm(graph.offsets(positions), axis=1))


@pytest.mark.parametrize("periodic", [None, (50.0, 50.0, 0.0)])
def test_a_kept_list_gives_what_a_new_one_does(periodic):
    rng = np.random.default_rng(1)
    positions = rng.random((150, 3)) * [50, 50, 0]
    kept = VerletList(4.0)
    for _ in range(40):
        positions += rng.normal(size=positions.shape) * [0.25, 0.25, 0]
        graph = kept.neighbours(positions, 8.0, periodic=periodic, dims=2)
        _same(graph, positions, 8.0, np.zeros(3) if periodic is None else np.array(periodic))
    assert 1 < kept.builds < 25


def test_a_kept_list_notices_what_it_does_not_serve():
    rng = np.random.default_rng(2)
    positions, reach = rng.random((80, 3)) * 40, np.full(80, 3.0)
    kept = VerletList(5.0)
    kept.neighbours(positions, reach)
    reach[7] = 9.0
    _same(kept.neighbours(positions, reach), positions, reach, np.zeros(3))
    _same(kept.neighbours(positions[:50], reach[:50]), positions[:50], reach[:50], np.zeros(3))
    period = np.array([40.0, 40.0, 40.0])
    _same(kept.neighbours(positions, reach, periodic=period), positions, reach, period)
    assert kept.builds == 4


def test_threads_change_nothing():
    positions = np.random.default_rng(3).random((3000, 3)) * 200
    before = threads()
    try:
        graphs = []
        for count in (1, 2):
            set_threads(count)
            graphs.append(neighbour_graph(positions, 15.0))
    finally:
        set_threads(before)
    assert np.array_equal(graphs[0].indices, graphs[1].indices)
    assert np.array_equal(graphs[0].indptr, graphs[1].indptr)


def test_what_makes_no_sense_is_refused():
    good = np.zeros((2, 3))
    for positions, reach, options, message in [
        (np.zeros((2, 2)), 1.0, {}, "shape"),
        (np.array([[0, 0, 0], [0, np.nan, 0.0]]), 1.0, {}, "cell 1 is not finite"),
        (good, -1.0, {}, "negative"),
        (good, np.ones(3), {}, "reach must"),
        (good, 1.0, {"dims": 1}, "dims"),
        (good, 1.0, {"periodic": (1.0, 2.0)}, "three lengths"),
        (good, 1.0, {"periodic": (-1.0, 2.0, 1.0)}, "negative"),
    ]:
        with pytest.raises(ValueError, match=message):
            neighbour_graph(positions, reach, **options)
    with pytest.raises(ValueError, match="skin"):
        VerletList(-1.0)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("wraps", [False, True])
def test_lists_by_small_windows_are_those_of_all_pairs(monkeypatch, dims, wraps):
    """As many windows as there may be, and more entries than short numbers count."""
    from sim.agents import _cell_list

    for name, value in (("_MANY", 2), ("_FEW", 1), ("_LEAST_WINDOW", 1), ("_WINDOWS", 1000), ("_MOST", 1000)):
        monkeypatch.setattr(_cell_list, name, value)
    rng, n, side = np.random.default_rng(dims), 1500, 100.0
    cells = np.zeros((n, 4))  # a further column is not looked at
    cells[:, :dims], cells[:, 3] = rng.random((n, dims)) * side, 1e9
    reaches, lengths = rng.uniform(1, 5, n), np.where(np.arange(3) < dims, side, 0.0) * wraps
    begins, counts, indices = _cell_list.lists_within(cells, reaches, lengths, dims)
    assert begins.dtype == np.int64 and counts.sum() > 1000
    apart = cells[:, None, :3] - cells[None, :, :3]
    if wraps:
        apart[..., :dims] -= side * np.rint(apart[..., :dims] / side)
    near = np.sqrt((apart**2).sum(-1)) <= reaches[:, None] + reaches
    np.fill_diagonal(near, False)
    for i in range(n):
        assert sorted(indices[begins[i] : begins[i] + counts[i]]) == np.flatnonzero(near[i]).tolist()
    indptr, ascending = _cell_list.pairs_within(cells, reaches, 0.0, lengths, dims, ascending=True)
    np.testing.assert_array_equal(np.diff(indptr), counts)
    np.testing.assert_array_equal(ascending, np.nonzero(near)[1])
