"""Where the cells of a type start."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sim.core.random import Streams
from sim.processes.box import BoxSettings
from sim.scenario.cells import CellType


def placed(
    cells: CellType,
    name: str,
    box: BoxSettings,
    streams: Streams,
    listed: Sequence[tuple[float, float, float]] = (),
) -> np.ndarray:
    """Positions (cell, 3) [um] of the cells of type `name` at time 0, inside the box; `listed` are those of a file.

    Listed places, of a file or in the scenario, are taken in the order of x, y, z: how they are listed changes nothing.
    """
    from sim.agents.placement import disc, hexagonal, hexagonal_lattice, random_points

    lower, upper = np.array(box.lower), np.array(box.upper)
    middle = (lower + upper) / 2
    centre = tuple(middle.tolist())
    key, count, place = streams.key(f"place.{name}"), cells.number, cells.place
    if place.disc is not None:
        positions = disc(count, float(place.disc.radius), box.dims, key, centre)
    elif place.hexagonal is not None and place.hexagonal.shape == "lattice":
        positions = hexagonal_lattice(lower, upper, float(place.hexagonal.spacing), box.dims)[:count]
    elif place.hexagonal is not None:
        positions = hexagonal(count, float(place.hexagonal.spacing), box.dims, centre)
    elif place.file is not None:
        positions = _ordered(np.array(listed, dtype=float).reshape(-1, 3))
    elif place.points is not None:
        positions = _ordered(np.array([[*map(float, p), middle[2]][:3] for p in place.points]))
    else:
        positions = random_points(count, lower, upper, box.dims, key)
    if box.dims == 2:
        positions[:, 2] = middle[2]
    return np.clip(positions, lower, upper)


def _ordered(positions: np.ndarray) -> np.ndarray:
    return positions[np.lexsort(positions.T[::-1])] + 0.0  # no negative zeros
