"""Cells copied into the order in which they are moved and back, and how far they may go, as kernels."""

from __future__ import annotations

import math

from mechanistic.codegen.loops import shared


@shared
def lay_out(first, end, positions, radii, repulsion, adhesion, order, cells, strengths):
    """What a pair needs of a cell, side by side and in `order`: place and radius into cells (n, 4), the square roots of
    repulsion and adhesion into strengths (n, 2), or (1, 2) where all cells have the same."""
    own = strengths.shape[0] > 1
    for s in range(first, end):
        i = order[s]
        cells[s, 0], cells[s, 1], cells[s, 2] = positions[i, 0], positions[i, 1], positions[i, 2]
        cells[s, 3] = radii[i]
        if own or s == 0:
            strengths[s, 0], strengths[s, 1] = math.sqrt(repulsion[i]), math.sqrt(adhesion[i])


@shared
def put_back(first, end, cells, squeezed, order, positions, pressure):
    """Places and pressures of cells in `order` (n,) to their rows."""
    for s in range(first, end):
        i = order[s]
        positions[i, 0], positions[i, 1], positions[i, 2] = cells[s, 0], cells[s, 1], cells[s, 2]
        pressure[i] = squeezed[s]


@shared
def before_lists(first, end, cells, slope, left, least, most, reach, sight, room, built_at, reaches):
    """How far each cell will go in the time left at its velocity, slope (3 n,), between least and most, into room (n,);
    where it is into built_at (n, 3); and how far it reaches until then into reaches (n,).

    sight: the least that it reaches beside `reach` radii (n,), or (0,).
    """
    for i in range(first, end):
        x, y, z = float(slope[3 * i]), float(slope[3 * i + 1]), float(slope[3 * i + 2])
        way = math.sqrt(x * x + y * y + z * z) * left
        room[i] = min(way, most) if way > least else least  # least, too, where it is not a number
        built_at[i, 0], built_at[i, 1], built_at[i, 2] = cells[i, 0], cells[i, 1], cells[i, 2]
        farthest = reach * cells[i, 3]
        if sight.size > 0:
            farthest = max(farthest, sight[i])
        reaches[i] = farthest + room[i]
