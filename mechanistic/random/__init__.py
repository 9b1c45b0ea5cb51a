"""Random numbers by counting: the same bits for any order of cells, number of threads, or point of resuming.

A draw is a pure function of (key, step, id, draw), through Philox4x32-10 (Salmon, Moraes, Dror and Shaw,
"Parallel random numbers: as easy as 1, 2, 3", SC11, doi:10.1145/2063384.2063405). The 128-bit counter is (id
low, id high, step, block), a block giving two doubles; the 64-bit key is a hash of the run's seed and the
purpose of the draw.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["normals", "stream_key", "uniforms"]

_SEED_END = 1 << 64
_STEP_END = 1 << 32


def stream_key(seed: int, purpose: str) -> np.uint64:
    """The key of the stream for `purpose` in the run with `seed`; streams of different purposes are
    independent.

    Args:
        seed: 0 to 2^64 − 1.
        purpose: any text, for example "motility".

    Raises:
        ValueError: if the seed is out of range.
    """
    if not 0 <= int(seed) < _SEED_END:
        raise ValueError(f"the seed must lie between 0 and 2^64 - 1 (got {seed})")
    digest = hashlib.sha256(int(seed).to_bytes(8, "little") + purpose.encode()).digest()
    return np.uint64(int.from_bytes(digest[:8], "little"))


def uniforms(key: int | np.uint64, step: int, ids: ArrayLike, draws: int) -> NDArray[np.float64]:
    """Uniform numbers in [0, 1) of 53 bits.

    Args:
        key: from `stream_key`.
        step: 0 to 2^32 − 1: which visit of the stream this is.
        ids: integers (n,), one per cell; a row depends on its own id alone.
        draws: how many numbers a row gets. Asking for more leaves the first ones as they were.

    Returns:
        (n, draws).

    Raises:
        ValueError: if step or draws is out of range, or ids is not a vector of integers.
    """
    return _filled(key, step, ids, draws, normal=False)


def normals(key: int | np.uint64, step: int, ids: ArrayLike, draws: int) -> NDArray[np.float64]:
    """Standard normal numbers (Box–Muller on the pairs of `uniforms`); arguments, shape and errors as
    there."""
    return _filled(key, step, ids, draws, normal=True)


def _filled(key: int | np.uint64, step: int, ids: ArrayLike, draws: int, normal: bool) -> NDArray[np.float64]:
    from mechanistic.random.philox import fill
    from mechanistic.threads import threads_for

    if not 0 <= int(step) < _STEP_END:
        raise ValueError(f"step must lie between 0 and 2^32 - 1 (got {step})")
    if draws < 0:
        raise ValueError(f"draws must not be negative (got {draws})")
    rows = np.ascontiguousarray(ids)
    if rows.ndim != 1 or (rows.dtype.kind not in "iu" and rows.size):
        raise ValueError(f"ids must be a vector of integers (got shape {rows.shape}, {rows.dtype})")
    out = np.empty((rows.size, draws))
    with threads_for(out.size, each=20_000):
        fill(rows.size, out, np.uint64(key), np.uint64(step), rows.astype(np.uint64, copy=False), normal)
    return out
