"""Arrays set aside: copied where they are small, in a temporary file where they are large."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from typing import Any

import numpy as np

#: bytes from which on arrays go to a file
LARGE = 32 * 2**20


def set_aside(arrays: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
    """What `arrays` hold now, by name; of large ones each is read when it is asked for, and gone with the result.

    Raises:
        OSError: there is no room for the file.
    """
    if sum(values.nbytes for values in arrays.values()) < LARGE:
        return {name: values.copy() for name, values in arrays.items()}
    file = tempfile.TemporaryFile()  # noqa: SIM115 (it lives as long as the arrays are wanted)
    plain: dict[str, Any] = dict(arrays)
    np.savez(file, **plain)
    file.seek(0)
    return np.load(file, allow_pickle=False)
