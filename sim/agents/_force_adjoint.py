"""The PhysiCell potential's velocities turned round: from what is wanted of velocities to what is wanted of cells."""

from __future__ import annotations

from mechanistic.codegen.loops import shared
from sim.agents._pair_law import SMALLEST, apart, push


@shared
def forces_back(
    first,
    end,
    cells,
    strengths,
    reach,
    lengths,
    begins,
    counts,
    indices,
    pull,
    d_positions,
    d_strengths,
    d_radius,
):
    """Reverse of `_force_kernels.forces` without drift: pull = dL/dvelocity (n, 3).

    Fills d_positions (n, 3), d_strengths (n, 2) of the square roots of repulsion and adhesion, and d_radius (n,).
    The graph is symmetric, so each cell gathers both what it feels and what it does.
    """
    for i in range(first, end):
        gx, gy, gz, gr, ga, radius = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
        for e in range(begins[i], begins[i] + counts[i]):
            j = indices[e]
            dx, dy, dz, distance = apart(cells, i, j, lengths)
            touch = cells[i, 3] + cells[j, 3]
            if distance >= reach * touch or distance <= SMALLEST:
                continue
            repulsion, adhesion = strengths[i, 0] * strengths[j, 0], strengths[i, 1] * strengths[j, 1]
            force, slope, overlap, hold = push(distance, touch, reach, repulsion, adhesion)
            ux, uy, uz = dx / distance, dy / distance, dz / distance
            wx, wy, wz = pull[i, 0] - pull[j, 0], pull[i, 1] - pull[j, 1], pull[i, 2] - pull[j, 2]
            along = wx * ux + wy * uy + wz * uz
            across, lengthwise = force / distance, (slope - force / distance) * along
            gx += across * wx + lengthwise * ux
            gy += across * wy + lengthwise * uy
            gz += across * wz + lengthwise * uz
            gr += strengths[j, 0] * overlap * overlap * along
            ga -= strengths[j, 1] * hold * hold * along
            radius -= slope * distance / touch * along
        d_positions[i, 0], d_positions[i, 1], d_positions[i, 2] = gx, gy, gz
        d_strengths[i, 0], d_strengths[i, 1] = gr, ga
        d_radius[i] = radius
