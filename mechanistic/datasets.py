"""Tables of a model's quantities: what they are called there, and what is said of each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mechanistic.network import ReactionNetwork

if TYPE_CHECKING:
    import xarray


def course_table(
    network: ReactionNetwork,
    names: Sequence[str],
    values: Iterable[np.ndarray],
    cells: int,
    times: np.ndarray,
    method: str,
) -> xarray.Dataset:
    """Quantities of a model, dims cell and time.

    Args:
        names: ids, or `amount.<species>`; values: of each (cell, time).
        times: (time,) [model time].
        method: by which they were found.
    """
    import xarray

    variables = {
        label(name): (("cell", "time"), data, attributes(network, name)) for name, data in zip(names, values)
    }
    coordinates = {"cell": of_cells(cells), "time": of_times(network, times)}
    return xarray.Dataset(variables, coordinates, {"method": method, "model": network.id})


def of_cells(cells: int) -> tuple[str, np.ndarray, dict[str, str]]:
    """The coordinate of so many cells."""
    return "cell", np.arange(cells), {"units": "1", "long_name": "cell"}


def of_times(network: ReactionNetwork, times: np.ndarray) -> tuple[str, np.ndarray, dict[str, str]]:
    """The coordinate of times (time,) [model time]."""
    return "time", times, {"units": network.time_unit or "", "long_name": "time"}


def label(name: str, taken: Iterable[str] = ("cell", "time")) -> str:
    """What a quantity is called in a table that has other uses for the names `taken`."""
    return f"value.{name}" if name in taken else name


def attributes(network: ReactionNetwork, name: str) -> dict[str, str]:
    """Unit and name of a quantity; of a species as a concentration."""
    if name.startswith("amount."):
        species: Any = network[name[7:]]
        return {"units": species.unit or "", "long_name": f"amount of {species.name or species.id}"}
    if name in network.references:
        return {"units": "1", "long_name": f"stoichiometry of {network.references[name].species}"}
    thing: Any = network[name]
    units = network.units(name)
    if name in network.species_ids and thing.substance_only:
        size = network[thing.compartment].unit
        units = f"{thing.unit} / {size}" if thing.unit and size else ""
    return {"units": units, "long_name": thing.name or name}
