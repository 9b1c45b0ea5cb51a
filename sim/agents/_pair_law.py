"""The law of two cells, a pair at a time: what `_pair_code` writes for eight at once, and how it changes."""

from __future__ import annotations

import math

from sim.agents.wrapping import nearest

SMALLEST = 1e-5  # distance [um] below which two centres count as that far apart


def apart(cells, i, j, lengths):
    """From cell j to cell i along x, y and z by the nearest image, and how far [um]; cells: (n, 4), x, y, z, radius."""
    dx = nearest(cells[i, 0] - cells[j, 0], lengths[0])
    dy = nearest(cells[i, 1] - cells[j, 1], lengths[1])
    dz = nearest(cells[i, 2] - cells[j, 2], lengths[2])
    return dx, dy, dz, max(math.sqrt(dx * dx + dy * dy + dz * dz), SMALLEST)


def nearness(distance, reach):
    """(1 − d/reach)₊: how far within reach."""
    return max(1.0 - distance / reach, 0.0)


def push(distance, touch, reach, repulsion, adhesion):
    """ρ (1 − d/R)²₊ − α (1 − d/S)²₊ along the line of a pair with R = touch, S = reach · R, and its slope in d;
    the two nearnesses."""
    overlap, hold = nearness(distance, touch), nearness(distance, reach * touch)
    force = repulsion * overlap * overlap - adhesion * hold * hold
    slope = -2.0 * repulsion * overlap / touch + 2.0 * adhesion * hold / (reach * touch)
    return force, slope, overlap, hold
