"""What cells and the voxel they lie in give each other, exactly and without losing anything."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from mechanistic.jit import njit, prange, threads_for

Array = NDArray[np.float64]


def exchange(
    u: Array,
    voxel: NDArray[np.int64],
    volume: Array,
    secretion: Array,
    saturation: Array,
    uptake: Array,
    dt: float,
    internal: Array,
    voxel_volume: float,
) -> None:
    """Secretion and uptake of all cells for dt, in place: the exact solution per voxel.

    In a voxel of volume W with cells c of volume V_c, as in BioFVM (Ghaffarizadeh, Friedman and Macklin 2016,
    doi:10.1093/bioinformatics/btv730): dρ/dt = Σ_c V_c/W [S_c (ρ*_c − ρ) − U_c ρ].

    Args:
        u: the field (nz, ny, nx), changed.
        voxel: flat index of each cell's voxel (n,).
        volume: V [um^3] (n,).
        secretion: S [1/min] (n,), not negative.
        saturation: ρ* [value] (n,).
        uptake: U [1/min] (n,), not negative.
        dt: [min].
        internal: what the cells hold [value·um^3] (n,); what is taken up is added, what is secreted
            subtracted, so that Σ u·voxel_volume + Σ internal stays as it was.
        voxel_volume: W [um^3].
    """
    rate, gain = exchange_rates(u.size, voxel, volume, secretion, saturation, uptake, voxel_volume)
    integral = relax(u, rate, gain, float(dt))
    book(internal, integral, voxel, volume, secretion, saturation, uptake, float(dt))


def exchange_rates(
    voxels: int,
    voxel: NDArray[np.int64],
    volume: Array,
    secretion: Array,
    saturation: Array,
    uptake: Array,
    voxel_volume: float,
) -> tuple[Array, Array]:
    """Per voxel the rate at which its cells draw on it [1/min] and what they give [value/min], both
    (voxels,)."""
    rate, gain = np.zeros(voxels), np.zeros(voxels)
    _collect(rate, gain, voxel, volume, secretion, saturation, uptake, float(voxel_volume))
    return rate, gain


def relax(u: Array, rate: Array, gain: Array, dt: float) -> Array:
    """du/dt = gain − rate u in every voxel for dt, in place; returns ∫u dt (voxels,)."""
    integral = np.empty(u.size)
    with threads_for(u.size, each=20_000):
        _relax(u.reshape(-1), rate, gain, integral, dt)
    return integral


def fade(u: Array, rate: Array, dt: float, seen: Array, gain: Array, coming: float) -> None:
    """du/dt = −rate u in every voxel for dt, then u += coming gain, in place; `seen` gains ∫u dt; all (voxels,)."""
    with threads_for(u.size, each=20_000):
        _fade(u, rate, dt, seen, gain, coming)


def membrane_exchange(
    u: Array,
    voxel: NDArray[np.int64],
    volume: Array,
    permeability: Array,
    inside_amount: Array,
    dt: float,
    voxel_volume: float,
) -> None:
    """Passage through the membranes for dt, in place: every cell and its voxel move to equal concentration.

    dρ/dt = Σ_c V_c/W P_c (a_c/V_c − ρ), da_c/dt = V_c P_c (ρ − a_c/V_c). Exact where the cells of a voxel
    have one permeability. Where they differ: cell by cell exactly in row order for dt/2, then in reverse
    order for dt/2, which is second order in dt, keeps signs, and leaves the common equilibrium as it is.

    Args:
        u: the field (nz, ny, nx), changed.
        voxel: flat index of each cell's voxel (n,).
        volume: V [um^3] (n,), positive.
        permeability: P [1/min] (n,), not negative.
        inside_amount: a [value·um^3] (n,), changed. Σ u·voxel_volume + Σ inside_amount is kept.
        dt: [min].
        voxel_volume: W [um^3].
    """
    start, order = group_by_voxel(voxel, u.size)
    _permeate(
        u.reshape(-1), start, order, volume, permeability, inside_amount, float(dt), float(voxel_volume)
    )


def group_by_voxel(voxel: NDArray[np.int64], voxels: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows of the cells by voxel, in row order: those of voxel v are order[start[v]:start[v + 1]]."""
    start = np.zeros(voxels + 1, np.int64)
    order = np.empty(voxel.size, np.int64)
    _group(voxel, start, order)
    return start, order


@njit
def _group(voxel, start, order):
    for i in range(voxel.size):
        start[voxel[i] + 1] += 1
    for v in range(start.size - 1):
        start[v + 1] += start[v]
    for i in range(
        voxel.size
    ):  # start[v] runs to the end of v's rows, which is the start of the next voxel's
        order[start[voxel[i]]] = i
        start[voxel[i]] += 1
    for v in range(start.size - 1, 0, -1):
        start[v] = start[v - 1]
    start[0] = 0


@njit
def _collect(total_rate, total_gain, voxel, volume, secretion, saturation, uptake, voxel_volume):
    """Per voxel Σ f (S + U) [1/min] and Σ f S ρ* [value/min], in row order."""
    for i in range(voxel.size):
        f = volume[i] / voxel_volume
        total_rate[voxel[i]] += f * (secretion[i] + uptake[i])
        total_gain[voxel[i]] += f * secretion[i] * saturation[i]


@njit
def _mean_decay(x):
    """(1 − e^−x)/x, the mean of e^−s over 0 … x."""
    return 1.0 if x == 0.0 else -math.expm1(-x) / x


@njit
def _mean_rise(x):
    """(x − 1 + e^−x)/x², by its series where the difference would cancel."""
    if x < 0.02:
        return 0.5 - x * (1.0 / 6 - x * (1.0 / 24 - x * (1.0 / 120 - x * (1.0 / 720 - x / 5040))))
    return (x + math.expm1(-x)) / (x * x)


@njit(parallel=True)
def _relax(u, total_rate, total_gain, integral, dt):
    """Each voxel by the exact solution of dρ/dt = gain − rate ρ; integral becomes ∫ρ dt."""
    for v in prange(u.size):
        rate = total_rate[v]
        gain = total_gain[v]
        if rate > 0.0:
            x = rate * dt
            mean = _mean_decay(x)
            integral[v] = dt * (u[v] * mean + gain * dt * _mean_rise(x))
            u[v] = u[v] * math.exp(-x) + gain * dt * mean
        else:
            integral[v] = dt * (u[v] + 0.5 * gain * dt)
            u[v] += gain * dt


@njit(parallel=True)
def _fade(u, total_rate, dt, seen, gain, coming):
    for v in prange(u.size):
        rate = total_rate[v]
        if rate > 0.0:
            left = math.exp(-rate * dt)
            gone = math.expm1(-rate * dt) if rate * dt < 0.5 else left - 1.0
            seen[v] -= u[v] * gone / rate
            u[v] = u[v] * left + coming * gain[v]
        else:
            seen[v] += u[v] * dt
            u[v] += coming * gain[v]


@njit
def book(internal, integral, voxel, volume, secretion, saturation, uptake, dt):
    """What cells took up less what they secreted, from the integral of the field over dt in each voxel."""
    for i in range(voxel.size):
        seen = integral[voxel[i]]
        internal[i] += volume[i] * (uptake[i] * seen - secretion[i] * (saturation[i] * dt - seen))


@njit
def _permeate(u, start, order, volume, permeability, inside, dt, voxel_volume):
    for v in range(u.size):
        first, last = start[v], start[v + 1]
        if last > first:
            same = True
            held = 0.0
            room = 0.0
            for k in range(first, last):
                i = order[k]
                same &= permeability[i] == permeability[order[first]]
                held += inside[i]
                room += volume[i]
            if same:
                u[v] = _permeate_alike(
                    u[v],
                    order[first:last],
                    volume,
                    permeability[order[first]],
                    inside,
                    dt,
                    voxel_volume,
                    held,
                    room,
                )
            else:
                for k in range(first, last):
                    u[v] = _permeate_pair(
                        u[v], order[k], volume, permeability, inside, 0.5 * dt, voxel_volume
                    )
                for k in range(last - 1, first - 1, -1):
                    u[v] = _permeate_pair(
                        u[v], order[k], volume, permeability, inside, 0.5 * dt, voxel_volume
                    )


@njit
def _permeate_pair(outside, i, volume, permeability, inside, dt, voxel_volume):
    """One cell and its voxel: the difference decays at P (1 + V/W). Returns the new value outside."""
    f = volume[i] / voxel_volume
    moved = (outside * volume[i] - inside[i]) * -math.expm1(-permeability[i] * (1.0 + f) * dt) / (1.0 + f)
    inside[i] += moved
    return outside - moved / voxel_volume


@njit
def _permeate_alike(outside, cells, volume, permeability, inside, dt, voxel_volume, held, room):
    """Cells of one permeability: their mean and the voxel form one pair, and each cell follows the voxel.

    With p = P t: c(t) = c0 e^−p + P ∫ e^−P(t−s) ρ(s) ds and ρ(s) = m + (ρ0 − m) e^−P(1+F)s, where m is the
    common equilibrium and F the volume of the cells over that of the voxel.
    """
    share = room / voxel_volume
    middle = (outside * voxel_volume + held) / (voxel_volume + room)
    gone = -math.expm1(-permeability * dt)
    extra = math.exp(-permeability * dt) * -math.expm1(-permeability * share * dt) / share
    moved = 0.0
    for i in cells:
        change = (middle * volume[i] - inside[i]) * gone + (outside - middle) * volume[i] * extra
        inside[i] += change
        moved += change
    return outside - moved / voxel_volume
