"""Many rows through a network in blocks of one size: a row's bits depend neither on its place nor on the others."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

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
