"""Many rows through a network in blocks of one size: a row's bits depend neither on its place nor on the others."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

#: rows that go through together; a last block is filled up with zeros
BLOCK = 1024


def in_blocks(function: Callable[..., np.ndarray], width: int, *columns: np.ndarray) -> np.ndarray:
    """(n, width): `function` of blocks of the `columns`, (n, k) float64 each."""
    import torch

    out = np.empty((len(columns[0]), width))
    for first in range(0, len(out), BLOCK):
        blocks = []
        for column in columns:
            part = column[first : first + BLOCK]
            # torch's memory begins where its fastest loops begin, so that these see all blocks alike
            block = torch.zeros(BLOCK, column.shape[1], dtype=torch.float64).numpy()
            block[: len(part)] = part
            blocks.append(block)
        out[first : first + BLOCK] = function(*blocks)[: len(out) - first]
    return out


def rows_times(rows: torch.Tensor, matrix: torch.Tensor) -> torch.Tensor:
    """`rows` (…, n, k) @ `matrix` (…, k, m), a row's bits the same wherever it stands among the n.

    Rows of an odd number of doubles begin now at a multiple of 16 bytes, now between two, and some libraries sum them
    in another order there: these are made even by a zero.
    """
    from torch.nn.functional import pad

    k, m = matrix.shape[-2:]
    if k % 2 or m % 2:
        rows, matrix = pad(rows, (0, k % 2)), pad(matrix, (0, m % 2, 0, k % 2))
    return (rows @ matrix)[..., :m]
