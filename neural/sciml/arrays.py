"""Arrays of a SciML problem in HDF5: weights of networks, and what networks take as inputs.

parameters/<network>/<layer>/<array>
inputs/<input>/<condition;condition or 0 for all>
metadata/perm            "row" (as torch and numpy count axes) or "column"
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from neural.errors import WeightsError

_LARGEST = 1 << 28  # numbers in one file
ALL = "0"


@dataclass
class Arrays:
    """What files of arrays hold.

    Attributes:
        parameters: network -> layer -> array -> values.
        inputs: input id -> condition id (`ALL` for every condition) -> values.
        outputs: output id -> name -> values, as tests of networks give them.
    """

    parameters: dict[str, dict[str, dict[str, np.ndarray]]] = field(default_factory=dict)
    inputs: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    outputs: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)

    def add(self, other: Arrays) -> None:
        """Takes in another file's arrays."""
        for name, layers in other.parameters.items():
            self.parameters.setdefault(name, {}).update(layers)
        for name, conditions in other.inputs.items():
            self.inputs.setdefault(name, {}).update(conditions)


def read_arrays(path: str | os.PathLike) -> Arrays:
    """The arrays of an HDF5 file, with axes in the order of numpy and torch.

    Raises:
        WeightsError: not HDF5; a link to another file; not numbers; not finite; too large.
    """
    import h5py

    try:
        with open(path, "rb") as raw, h5py.File(raw, "r") as file:
            column = _is_column_major(file)
            found = _group(path, file, column, [0])
    except (OSError, ValueError) as error:
        if isinstance(error, WeightsError):
            raise
        raise WeightsError(path, f"cannot be read as HDF5 ({str(error).splitlines()[0]})") from None
    arrays = Arrays(found.get("parameters", {}), {}, found.get("outputs", {}))
    for name, group in found.get("inputs", {}).items():
        arrays.inputs[name] = {c: v for conditions, v in group.items() for c in conditions.split(";")}
    return arrays


def write_arrays(
    path: str | os.PathLike,
    parameters: Mapping[str, Mapping[str, Mapping[str, Any]]] | None = None,
    inputs: Mapping[str, Mapping[str, Any]] | None = None,
) -> None:
    """Writes weights and inputs; they read back bit for bit."""
    import h5py

    with h5py.File(path, "w") as file:
        file.create_dataset("metadata/perm", data="row")
        for network, layers in (parameters or {}).items():
            for layer, arrays in layers.items():
                for name, values in arrays.items():
                    file.create_dataset(f"parameters/{network}/{layer}/{name}", data=np.asarray(values))
        for name, conditions in (inputs or {}).items():
            for condition, values in conditions.items():
                file.create_dataset(f"inputs/{name}/{condition}", data=np.asarray(values))


def _is_column_major(file: Any) -> bool:
    if "metadata/perm" in file:
        order = file["metadata/perm"][()]
        return (order.decode() if isinstance(order, bytes) else str(order)) == "column"
    return "metadata/pytorch_format" in file and not bool(file["metadata/pytorch_format"][()])


def _group(path: Any, group: Any, column: bool, size: list[int]) -> dict[str, Any]:
    import h5py

    found: dict[str, Any] = {}
    for name in group:
        if name == "metadata":
            continue
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise WeightsError(path, f"'{group.name}/{name}' is a link; write the array itself")
        item = group[name]
        if isinstance(item, h5py.Group):
            found[name] = _group(path, item, column, size)
            continue
        size[0] += int(np.prod(item.shape))
        if size[0] > _LARGEST:
            raise WeightsError(path, f"holds more than {_LARGEST} numbers")
        if item.dtype.kind not in "fiub":
            raise WeightsError(path, f"'{item.name}' must hold numbers (got {item.dtype})")
        values = np.asarray(item[()], dtype=float)
        if not np.all(np.isfinite(values)):
            raise WeightsError(path, f"'{item.name}' has values that are not finite")
        found[name] = np.ascontiguousarray(values.T) if column else values
    return found
