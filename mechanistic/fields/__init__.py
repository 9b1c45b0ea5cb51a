"""Substances that diffuse, decay, and pass in and out of cells, on a box of equal voxels.

A field is an array u (nz, ny, nx) of voxel means in the field's own unit; a 2-D field has nz = 1. A voxel's
amount is its value times `Grid.voxel_volume` [value·um^3]. Time is in minutes and length in um.
"""

from mechanistic.fields._advection import advect
from mechanistic.fields._even import DiffusionSolver
from mechanistic.fields._exchange import CellExchange, exchange, membrane_exchange
from mechanistic.fields._grid import FACES, Boundary, Grid, Inflow, Permeable, gradient, sample
from mechanistic.fields._uneven import UnevenSolver
from mechanistic.fields._walls import wall_area

__all__ = [
    "FACES",
    "Boundary",
    "CellExchange",
    "DiffusionSolver",
    "Grid",
    "Inflow",
    "Permeable",
    "UnevenSolver",
    "advect",
    "exchange",
    "gradient",
    "membrane_exchange",
    "sample",
    "wall_area",
]
