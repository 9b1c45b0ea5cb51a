"""Who talks to whom, beside "within a distance": nearest cells, Delaunay neighbours, cells that touch; and what
an edge knows of its two cells.

Every graph is a `Neighbours`: compressed rows in ascending order, distances to the nearest image where an axis wraps.
Within a distance: `sim.agents.neighbours.neighbour_graph`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mechanistic.threads import threads_for
from sim.agents._nearest import keep_nearest
from sim.agents.neighbours import Neighbours, checked_positions, neighbour_graph
from sim.agents.wrapping import Lengths, nearest_images, periods

if TYPE_CHECKING:
    from scipy.spatial import KDTree

__all__ = ["Edges", "contact_graph", "delaunay_graph", "edges_of", "nearest_graph"]

Array = NDArray[np.float64]
Dims = Literal[2, 3]


def nearest_graph(
    positions: ArrayLike, count: int, *, periodic: Lengths = None, dims: Dims = 3, mutual: bool = False
) -> Neighbours:
    """The `count` nearest other cells of each cell; of equally distant ones those of lower row.

    All other cells where there are fewer. Not symmetric: i may be among the nearest of j and j not among those of i;
    with `mutual` the two are neighbours as soon as one of them is among the other's nearest.

    Raises:
        ValueError: as `neighbour_graph`; or for a count below 1.
    """
    positions = checked_positions(positions, dims)
    lengths, n = periods(periodic), len(positions)
    if count < 1:
        raise ValueError(f"count must be at least 1 (got {count})")
    wanted = min(count, n - 1)
    if wanted <= 0:
        return Neighbours(np.zeros(n + 1, np.int64), np.empty(0, np.int32), lengths)
    tree = _tree(positions, lengths, dims)
    indices = np.empty((n, wanted), np.int32)
    sample = np.arange(0, n, -(-n // 200))
    # within this reach most cells have enough others, however unevenly they lie; the few left ask the tree
    reach = 1.3 * float(np.median(tree.query(tree.data[sample], k=wanted + 1)[0][:, -1]))
    graph = neighbour_graph(positions, reach, periodic=lengths, dims=dims)
    enough = graph.counts >= wanted
    with threads_for(n):
        rows, squares = np.flatnonzero(enough), np.empty(indices.shape)
        keep_nearest(rows.size, positions, lengths, graph.indptr, graph.indices, rows, squares, indices)
    _search(tree, positions, lengths, np.flatnonzero(~enough), wanted, indices)
    indptr = np.arange(n + 1, dtype=np.int64) * wanted
    if not mutual:
        return Neighbours(indptr, np.sort(indices, axis=1).reshape(-1), lengths)
    return _both_ways(n, np.repeat(np.arange(n), wanted), indices.reshape(-1), lengths)


def delaunay_graph(
    positions: ArrayLike, *, periodic: Lengths = None, dims: Dims = 2, longest: float = np.inf
) -> Neighbours:
    """Cells that share an edge of the Delaunay triangulation (qhull through scipy), by nearest images where an
    axis wraps.

    Args:
        longest: leaves out edges beyond this length [um], as there are at the rim of a tissue.

    Raises:
        ValueError: as `neighbour_graph`; or for cells that all lie in one place.

    Cells that do not span the space, such as all in one line, are neighbours as the triangulation of what they span
    has it: in a line each of the next.
    """
    positions = checked_positions(positions, dims)
    lengths, n = periods(periodic), len(positions)
    if n == 0:
        return Neighbours(np.zeros(1, np.int64), np.empty(0, np.int32), lengths)
    flat = positions[:, :dims].copy()
    wraps = lengths[:dims] > 0
    flat[:, wraps] %= lengths[:dims][wraps]
    margin = 4.0 * _reach_for(positions, 1.0, lengths, dims)
    while True:
        points, rows = _with_images(flat, lengths[:dims], margin)
        simplices, holds = _triangulated(points, n, margin)
        widest = float(lengths.max())
        if not wraps.any() or margin >= widest or holds:
            break
        margin = min(2.0 * margin, widest)
    corners = range(simplices.shape[1])
    pairs = np.concatenate([simplices[:, [a, b]] for a in corners for b in corners if a != b])
    pairs = pairs[pairs[:, 0] < n]
    receiver, sender = pairs[:, 0], rows[pairs[:, 1]]
    graph = _both_ways(n, receiver, sender, lengths)
    if longest == np.inf:
        return graph
    kept = graph.distances(positions) <= longest
    return _both_ways(n, graph.rows[kept], graph.indices[kept], lengths)


def contact_graph(
    positions: ArrayLike, radii: ArrayLike, *, reach: float = 1.0, periodic: Lengths = None, dims: Dims = 3
) -> Neighbours:
    """Cells that touch: at most reach · (r_i + r_j) apart, radii (n,) [um]. Errors as of `neighbour_graph`."""
    return neighbour_graph(positions, reach * np.asarray(radii, float), periodic=periodic, dims=dims)


@dataclass(frozen=True)
class Edges:
    """What the edges of a graph know, in the order of its `indices`.

    Attributes:
        distance: between the centres (e,) [um].
        direction: unit vector from the cell to its neighbour (e, 3); 0 where they coincide.
        contact: what two overlapping spheres share (e,): area of the disc in which they cut each other [um²], in
            two dimensions the length of the chord [um]; 0 where they are apart.
        types: codes (e, 2) of the neighbour and of the cell.
    """

    distance: Array
    direction: Array
    contact: Array
    types: NDArray[np.int64]


def edges_of(
    graph: Neighbours,
    positions: ArrayLike,
    *,
    radii: ArrayLike | None = None,
    types: ArrayLike | None = None,
    dims: Dims = 3,
) -> Edges:
    """Features of the edges of `graph`, for positions (n, 3) [um], radii (n,) [um] and type codes (n,).

    Without radii nobody touches; without types all are of type 0.
    """
    n = len(graph)
    away = graph.offsets(positions)
    distance = np.sqrt((away**2).sum(axis=1))
    apart = np.where(distance > 0, distance, 1.0)[:, None]
    r = np.zeros(n) if radii is None else np.asarray(radii, float)
    code = np.zeros(n, np.int64) if types is None else np.asarray(types, np.int64)
    return Edges(
        distance,
        away / apart,
        contact_area(distance, r[graph.rows], r[graph.indices], dims),
        np.stack([code[graph.indices], code[graph.rows]], axis=1),
    )


def contact_area(distance: Array, mine: Array, theirs: Array, dims: int) -> Array:
    """Area [um²] (two dimensions: length [um]) in which spheres of radii mine and theirs (e,) cut each other.

    A sphere within the other is cut in its largest circle.
    """
    low = np.minimum(mine, theirs)
    d = np.maximum(distance, 1e-300)
    half_square = np.clip(mine**2 - ((d**2 + mine**2 - theirs**2) / (2 * d)) ** 2, 0.0, low**2)
    half_square = np.where(distance <= np.abs(mine - theirs), low**2, half_square)
    half_square = np.where(distance >= mine + theirs, 0.0, half_square)
    return np.pi * half_square if dims == 3 else 2.0 * np.sqrt(half_square)


def _both_ways(n: int, receiver: NDArray, sender: NDArray, lengths: Array) -> Neighbours:
    """Each pair once in both rows, no cell its own neighbour."""
    a = np.concatenate([receiver, sender]).astype(np.int64)
    b = np.concatenate([sender, receiver]).astype(np.int64)
    pairs = np.unique((a * n + b)[a != b])
    indptr = np.zeros(n + 1, np.int64)
    np.cumsum(np.bincount(pairs // n, minlength=n), out=indptr[1:])
    return Neighbours(indptr, (pairs % n).astype(np.int32), lengths)


def _reach_for(positions: Array, degree: float, lengths: Array, dims: int) -> float:
    """The distance [um] within which evenly spread cells would have `degree` others."""
    extent = np.where(lengths > 0, lengths, np.ptp(positions, axis=0))[:dims]
    extent = np.maximum(extent, 1e-6 * max(float(extent.max()), 1e-6))
    each = float(extent.prod()) / len(positions)
    return float((degree * each / (np.pi if dims == 2 else 4.18879)) ** (1.0 / dims))


def _tree(positions: Array, lengths: Array, dims: int) -> KDTree:
    """The cells in a k-d tree that wraps as they do."""
    from scipy.spatial import KDTree

    points, box = positions[:, :dims].copy(), lengths[:dims]
    for axis in np.flatnonzero(box > 0):
        points[:, axis] %= box[axis]
        points[points[:, axis] >= box[axis], axis] = 0.0
    return KDTree(points, boxsize=box if box.any() else None)


def _search(
    tree: KDTree, positions: Array, lengths: Array, rows: NDArray, count: int, indices: NDArray
) -> None:
    """The nearest of the cells `rows`, from those whom the tree has within the distance of the last."""
    if rows.size == 0:
        return
    points = np.asarray(tree.data)[rows]
    farthest = tree.query(points, k=count + 1)[0][:, -1]
    near = tree.query_ball_point(points, farthest * (1 + 1e-9) + 1e-300)
    for i, found in zip(rows, near):
        others = np.array([j for j in found if j != i])
        away = nearest_images(positions[others] - positions[i], lengths)
        indices[i] = others[np.lexsort((others, (away**2).sum(axis=1)))[:count]]


def _with_images(points: Array, lengths: Array, margin: float) -> tuple[Array, NDArray]:
    """The points, then their images up to `margin` beyond the box, and the row of each."""
    rows = np.arange(len(points))
    for axis in np.flatnonzero(lengths > 0):
        low, high = points[:, axis] < margin, points[:, axis] >= lengths[axis] - margin
        shift = np.zeros(points.shape[1])
        shift[axis] = lengths[axis]
        points = np.concatenate([points, points[low] + shift, points[high] - shift])
        rows = np.concatenate([rows, rows[low], rows[high]])
    return points, rows


def _triangulated(points: Array, n: int, margin: float) -> tuple[NDArray, bool]:
    """Simplices (simplex, corner) of what the points span, and whether more images would change nothing for the first
    `n` of them."""
    from scipy.spatial import Delaunay, QhullError

    middle = points - points.mean(axis=0)
    _, sizes, axes = np.linalg.svd(middle, full_matrices=False)
    spanned = int((sizes > 1e-9 * max(float(sizes[0]), 1e-300)).sum()) if sizes[0] > 0 else 0
    if spanned == 0:
        if len(points) == 1:
            return np.empty((0, 2), np.int64), True
        raise ValueError(f"{len(points)} cells have no Delaunay triangulation: all lie in one place")
    if spanned == 1:
        order = np.argsort(middle @ axes[0], kind="stable")
        return np.stack([order[:-1], order[1:]], axis=1), False
    flat = points if spanned == points.shape[1] else middle @ axes[:spanned].T
    try:
        found = Delaunay(flat)
    except (QhullError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(f"{n} cells have no Delaunay triangulation ({reason})") from None
    return found.simplices, _holds(found, n, margin)


def _holds(found, n: int, margin: float) -> bool:
    """Whether more images would change nothing: no sphere around a simplex of a cell of the box leaves the margin.

    A sphere through a cell of the box reaches at most its diameter beyond the box.
    """
    own = found.simplices[(found.simplices < n).any(axis=1)]
    if (found.convex_hull < n).any():
        return False
    corners = found.points[own]
    edges = corners[:, 1:] - corners[:, :1]
    middle = np.linalg.solve(edges, 0.5 * (edges**2).sum(axis=2)[..., None])[..., 0]
    return bool(2.0 * np.sqrt((middle**2).sum(axis=1)).max() <= margin)
