"""Networks in the exchange form of PEtab-SciML: a YAML file of layers and a forward pass, HDF5 files of arrays.

    network = SciMLNetwork.load("net1.yaml")
    network.set_weights(read_arrays("net1_ps.hdf5").parameters["net1"])
    network(torch.tensor([1.0, 2.0], dtype=torch.float64))

Layer names, arguments and the order of axes are those of torch. Source: the format specification of
PEtab-SciML (https://petab-sciml.readthedocs.io).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from neural.sciml.arrays import Arrays, read_arrays, write_arrays
    from neural.sciml.description import Description, dense, read_description, write_description
    from neural.sciml.network import SciMLNetwork

_HOMES = {
    "Arrays": "arrays",
    "Description": "description",
    "SciMLNetwork": "network",
    "dense": "description",
    "read_arrays": "arrays",
    "read_description": "description",
    "write_arrays": "arrays",
    "write_description": "description",
}
__all__ = [
    "Arrays",
    "Description",
    "SciMLNetwork",
    "dense",
    "read_arrays",
    "read_description",
    "write_arrays",
    "write_description",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(f"neural.sciml.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'neural.sciml' has no attribute {name!r}")
