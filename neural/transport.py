"""Populations between two snapshots, by optimal transport that allows for birth and death.

Cells are not followed from one snapshot to the next; a transport plan says which earlier cell most cheaply
becomes which later one. Marginals may be violated at a price (growth, death, uneven sampling), which keeps
a cell from being sent far only to balance the books.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache

import numpy as np

# prices of violating a marginal, from a loose plan to one that keeps both
RELAXATIONS = (0.2, 0.4, 0.8, np.inf)
# what a guess is given back of the spread that it lost, in powers: up to 1 what averaging took, up to 2 what cells that
# the plan leaves out took
RESTORED = (0.5, 1.0, 2.0)
# every plan with every share, and one where no cell moves
GUESSES = len(RELAXATIONS) * len(RESTORED) + 1
# price of entropy; both in units of the median squared distance
SMOOTHING = 0.02
_CELLS_PER_CELL = 2
_FURTHEST, _ITERATIONS, _CONVERGED = 600.0, 2000, 1e-6
# of each snapshot that are paired: the cost of a plan grows with the product; and that are compared with a guess
_MOST_CELLS, _MOST_COMPARED = 1000, 500
# cells in a guess, unless a snapshot has more
_MANY = 4000
_INNER_SEED = 0
# how much wider an interval of no width must be to hold what lies outside
_WIDEST = 1e6
# successive multiples of each, less the whole part, fall evenly however many are taken, and those of one whatever those
# of another do: which guess a cell is of, which snapshot an unmoved cell, whose likeness one that stands for others
_BY_GUESS, _BY_SNAPSHOT, _BY_LIKENESS = (np.sqrt(5) - 1) / 2, np.sqrt(3), np.sqrt(2)


def plan(
    early: np.ndarray,
    late: np.ndarray,
    relaxation: float,
    smoothing: float = SMOOTHING,
    masses: tuple[np.ndarray, np.ndarray] | None = None,
) -> np.ndarray:
    """Transport plan (n, m) between cells `early` (n, d) and `late` (m, d), squared distance as cost.

    Minimises <C, P> + smoothing KL(P | a b') + relaxation (KL(P 1 | a) + KL(P' 1 | b)), all in units of the median
    cost; a (n,) and b (m,) are `masses` of sum one, uniform unless given. `relaxation` infinite: the exact plan, which
    keeps both marginals and is not smoothed.

    Source: POT (Flamary et al., J. Mach. Learn. Res. 22, 2021): network simplex, and translation-invariant Sinkhorn
    iterations for unbalanced transport (Séjourné, Vialard, Peyré, AISTATS 2022).
    """
    import ot
    from scipy.spatial.distance import cdist

    cost = cdist(early, late, "sqeuclidean")
    apart = cost[cost > 0]
    cost /= np.median(apart) if apart.size else 1.0
    a, b = masses or (np.full(len(early), 1.0 / len(early)), np.full(len(late), 1.0 / len(late)))
    if np.isinf(relaxation):
        return np.asarray(ot.emd(a, b, cost, numItermax=_ITERATIONS * cost.size))
    # so far apart no mass travels, and the exponential of it would be zero
    near = np.minimum(cost, _FURTHEST * smoothing)
    found = ot.unbalanced.sinkhorn_unbalanced(
        a, b, near, smoothing, relaxation, method="sinkhorn_translation_invariant", reg_type="kl",
        numItermax=_ITERATIONS, stopThr=_CONVERGED,
    )  # fmt: skip
    return np.asarray(found)


def pairs(weights: np.ndarray, count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """`count` pairs (i, j) drawn from a plan (n, m), evenly spread over its mass."""
    return _along(np.cumsum(weights.ravel()), weights.shape, count, rng)


def _along(
    mass: np.ndarray, shape: tuple[int, ...], count: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Pairs drawn from a plan of that shape by its mass summed up."""
    at = (np.arange(count) + rng.random(count)) / count * mass[-1]
    chosen = np.minimum(np.searchsorted(mass, at), mass.size - 1)
    return np.unravel_index(chosen, shape)  # type: ignore[return-value]


def between(
    early: np.ndarray,
    late: np.ndarray,
    weight: float,
    relaxation: float,
    rng: np.random.Generator,
    restored: Sequence[float] = (1.0,),
) -> np.ndarray:
    """Cells (restored, n, d) at the share `weight` of the way from `early` to `late`.

    Pairs of the plan are joined by straight lines. Averaging unlike cells narrows a population, against the spread
    interpolated between the two ends of the pairs; and so do cells that the plan leaves out, against that interpolated
    between the snapshots. By the powers `restored` of either cells are spread about their mean (`RESTORED`).
    """
    start, end, mass = _joined(*map(_Cells, (early, late)), relaxation)
    i, j = _along(mass, (len(start.cells), len(end.cells)), _count(early, late), rng)
    # what tells a cell from the one that stands for it goes along: its own, or that of the cell it becomes
    first, last = early[start.members(i)], late[end.members(j)]
    ahead = (np.arange(len(i)) * _BY_LIKENESS % 1.0 < weight)[:, None]
    cells = (1 - weight) * start.cells[i] + weight * end.cells[j]
    cells += np.where(ahead, last - end.cells[j], first - start.cells[i])
    paired = (1 - weight) * _spread(first) + weight * _spread(last)
    every = (1 - weight) * _spread(early) + weight * _spread(late)
    centre, left = cells.mean(0), _spread(cells)
    averaged, skipped = (a / b if b > 0 else 1.0 for a, b in ((paired, left), (every, paired)))
    return np.stack(
        [centre + (cells - centre) * averaged ** min(r, 1.0) * skipped ** max(r - 1.0, 0.0) for r in restored]
    )


class _Few:
    """Cells that stand for many (n, d), drawn at random: themselves (r, d), and the share (r,) that each stands for."""

    def __init__(self, every: np.ndarray):
        chosen = np.arange(len(every))
        if len(every) > _MOST_CELLS:
            chosen = np.sort(np.random.default_rng(_INNER_SEED).permutation(len(every))[:_MOST_CELLS])
        self.cells = every[chosen]
        near = np.arange(len(every))
        if len(every) > _MOST_CELLS:
            near = np.concatenate([_nearest(block, self.cells) for block in np.array_split(every, 20)])
            stand, near = np.unique(near, return_inverse=True)
            self.cells = self.cells[stand]
        sizes = np.bincount(near)
        self.masses = sizes / len(every)
        self._order, self._sizes, self._starts = (
            np.argsort(near, kind="stable"),
            sizes,
            np.cumsum(sizes) - sizes,
        )

    def members(self, of: np.ndarray) -> np.ndarray:
        """Rows of the many, one for each of the few `of` (m,), all of one's members equally often."""
        order = np.argsort(of, kind="stable")
        turn = np.empty(len(of), int)
        turn[order] = np.arange(len(of)) - np.searchsorted(of[order], of[order])
        return self._order[self._starts[of] + turn % self._sizes[of]]


class _Cells:
    """Cells that are the same where their numbers are."""

    def __init__(self, cells: np.ndarray):
        self.cells = cells
        self._mark = hashlib.sha256(np.ascontiguousarray(cells).data).digest(), cells.shape, cells.dtype

    def __hash__(self) -> int:
        return hash(self._mark)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Cells) and self._mark == other._mark


@lru_cache(len(RELAXATIONS))
def _joined(early: _Cells, late: _Cells, relaxation: float) -> tuple[_Few, _Few, np.ndarray]:
    """Those that stand for the cells of either snapshot, and the mass of the plan between them, summed up: of two
    snapshots one after the other, at many times between them, it is found once."""
    start, end = _Few(early.cells), _Few(late.cells)
    found = plan(start.cells, end.cells, relaxation, masses=(start.masses, end.masses))
    return start, end, np.cumsum(found.ravel())


def _nearest(cells: np.ndarray, few: np.ndarray) -> np.ndarray:
    from scipy.spatial.distance import cdist

    return cdist(cells, few, "sqeuclidean").argmin(1)


def _count(early: np.ndarray, late: np.ndarray) -> int:
    """Of the cells in a guess: two for each of the larger snapshot, while that is not too many to be compared."""
    most = max(len(early), len(late))
    return max(most, min(_CELLS_PER_CELL * most, _MANY))


def _spread(cells: np.ndarray) -> float:
    return float(np.sqrt(cells.var(0).sum()))


def guesses(early: np.ndarray, late: np.ndarray, weight: float, rng: np.random.Generator) -> np.ndarray:
    """Cells (GUESSES, n, d) at the share `weight` of the way: by each plan and restored spread; and unmoved.

    Unmoved cells are those of both snapshots in proportion: they leap, or the snapshots differ by chance alone.
    """
    moved = [between(early, late, weight, relaxation, rng, RESTORED) for relaxation in RELAXATIONS]
    count = moved[0].shape[1]
    at = np.arange(count)
    unmoved = np.where(
        (_evenly(count, rng, _BY_SNAPSHOT) < weight)[:, None],
        late[at * len(late) // count],
        early[at * len(early) // count],
    )
    return np.concatenate([*moved, unmoved[None]])


def _evenly(count: int, rng: np.random.Generator, step: float) -> np.ndarray:
    """Numbers (count,) in [0, 1), any neighbouring ones of which are evenly spread."""
    return (np.arange(count) * step + rng.random()) % 1.0


def energy_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Unbiased energy distance of two samples (n, d), (m, d). Székely and Rizzo, J. Stat. Plan. Inf. 2013."""
    from scipy.spatial.distance import cdist

    n, m = len(a), len(b)
    inside = cdist(a, a).sum() / (n * (n - 1)) + cdist(b, b).sum() / (m * (m - 1))
    return float(2 * cdist(a, b).mean() - inside)


def _unlike(a: np.ndarray, b: np.ndarray) -> float:
    """Energy distance of two samples as they are: with what chance adds to it, so that none is taken for perfect."""
    from scipy.spatial.distance import cdist

    a, b = (x[:: -(-len(x) // _MOST_COMPARED)] for x in (a, b))
    return float(2 * cdist(a, b).mean() - cdist(a, a).mean() - cdist(b, b).mean())


def _inner(snapshots: Mapping[float, np.ndarray]) -> Iterator[tuple[float, float, float]]:
    """(before, left out, after) for every inner snapshot."""
    times = sorted(snapshots)
    yield from zip(times, times[1:], times[2:], strict=False)


def rehearse(snapshots: Mapping[float, np.ndarray]) -> tuple[np.ndarray, dict[float, np.ndarray]]:
    """Shares (GUESSES,) of the mixture, and inner snapshots (GUESSES, n, d) as each of `guesses` foretells them.

    `snapshots` are by time, or by number where they are evenly spaced. Shares are in proportion to the product of
    1 / energy distance squared over the inner snapshots, each left out in turn; equal where there is none. A mixture,
    as one or two inner snapshots cannot choose with certainty.
    """
    scores, told = np.zeros(GUESSES), {}
    for a, k, b in _inner(snapshots):
        told[k] = guesses(snapshots[a], snapshots[b], (k - a) / (b - a), np.random.default_rng(_INNER_SEED))
        scores -= 2 * np.log([max(_unlike(one, snapshots[k]), 1e-300) for one in told[k]])
    weights = np.exp(scores - scores.max())
    return weights / weights.sum(), told


def mixture(
    early: np.ndarray, late: np.ndarray, at: float, shares: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Cells (n, d) at the share `at` of the way, of all `guesses` in proportion to `shares`."""
    return _drawn(guesses(early, late, at, rng), shares, rng)


def _drawn(populations: np.ndarray, shares: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Cells (n, d), each from one of the populations (guess, n, d)."""
    count = populations.shape[1]
    chosen = np.searchsorted(np.cumsum(shares), _evenly(count, rng, _BY_GUESS), "right")
    return populations[np.minimum(chosen, len(shares) - 1), np.arange(count)]


def _known(snapshots: Sequence[np.ndarray | None], k: int) -> tuple[dict[float, np.ndarray], int, int]:
    """Snapshots with cells other than `k`, and the nearest before and after it.

    Cells without all numbers are left out.
    """
    known: dict[float, np.ndarray] = {}
    for i, snapshot in enumerate(snapshots):
        if snapshot is None or i == k:
            continue
        cells = np.asarray(snapshot, float)
        cells = cells[np.isfinite(cells).all(1)]
        if len(cells):
            known[i] = cells
    if not known or k < min(known) or k > max(known):
        raise ValueError(f"snapshot {k} has no snapshot on both sides (known: {sorted(known)})")
    return known, int(max(i for i in known if i < k)), int(min(i for i in known if i > k))


def predict_population(snapshots: Sequence[np.ndarray | None], k: int, seed: int = 0) -> np.ndarray:
    """Cells (n, d) expected at snapshot `k`, which is not read, from the nearest snapshots on both sides.

    Raises:
        ValueError: no snapshot before or after `k`.
    """
    known, before, after = _known(snapshots, k)
    at = (k - before) / (after - before)
    return mixture(known[before], known[after], at, rehearse(known)[0], np.random.default_rng(seed))


def population_interval(
    snapshots: Sequence[np.ndarray | None], k: int, level: float = 0.9, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Bounds (d,), (d,) between which a cell of snapshot `k` lies, component by component.

    Quantiles of the predicted cells, stretched about their median until they hold `level` of the cells of
    inner snapshots that are left out in turn (not stretched where there is none).
    """
    known, before, after = _known(snapshots, k)
    shares, told = rehearse(known)
    at = (k - before) / (after - before)
    cells = mixture(known[before], known[after], at, shares, np.random.default_rng(seed))
    low, mid, high = _bounds(cells, level)
    wider = stretch(known, shares, told, level)
    return mid + wider * (low - mid), mid + wider * (high - mid)


def _bounds(cells: np.ndarray, level: float) -> np.ndarray:
    """Lower quantile, median and upper quantile (3, d)."""
    return np.quantile(cells, [(1 - level) / 2, 0.5, (1 + level) / 2], axis=0)


def stretch(
    known: Mapping[float, np.ndarray],
    shares: np.ndarray,
    told: Mapping[float, np.ndarray],
    level: float = 0.9,
) -> float:
    """How much wider than the predicted cells intervals must be to hold `level` of left-out inner snapshots.

    `shares` and `told` are those of `rehearse`.
    """
    needed = [np.ones(1)]
    for j, populations in told.items():
        rng = np.random.default_rng(_INNER_SEED)
        low, mid, high = _bounds(_drawn(populations, shares, rng), level)
        off = np.abs(known[j] - mid)
        room = np.where(known[j] > mid, high - mid, mid - low)
        outside = np.where(off > 0, _WIDEST, 0.0)
        needed.append(np.divide(off, room, out=outside, where=room > 0).ravel())
    return max(1.0, float(np.quantile(np.concatenate(needed), level)))
