"""What cells and the voxel they lie in give each other, exactly and without losing anything."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mechanistic.codegen.loops import compiled, shared
from mechanistic.threads import threads_for

Array = NDArray[np.float64]
Places = NDArray[np.int64]
_FEW = 10_000  # voxels or cells for which another thread is not woken
_LITTLE = 0.2  # of a voxel's content, up to which a few terms of a series are exact
_SIDE = 16  # voxels that are relaxed side by side


@dataclass(frozen=True)
class CellExchange:
    """What each of n cells does to the field in the voxel that it lies in.

    Attributes:
        voxel: flat index of its voxel (n,).
        volume: V [um^3] (n,).
        secretion: S [1/min] (n,), not negative.
        saturation: ρ* [value] (n,), at which secretion stops.
        uptake: U [1/min] (n,), not negative.
        export: given whatever the field is [value·um^3/min] (n,); None where nobody does.
    """

    voxel: Places
    volume: Array
    secretion: Array
    saturation: Array
    uptake: Array
    export: Array | None = None


@dataclass(frozen=True)
class VoxelExchange:
    """What cells, and walls of vessels, do to the voxels that they lie in: du/dt gains gain − rate u + given.

    Attributes:
        voxel: those voxels, flat indices (m,), each once.
        rate: [1/min] (m,).
        gain: [value/min] (m,).
        place: which of them each cell lies in (n,).
        given: what comes whatever u is [value/min] (m,); None where nothing does.
    """

    voxel: Places
    rate: Array
    gain: Array
    place: Places
    given: Array | None = None

    def everywhere(self, shape: tuple[int, int, int]) -> tuple[Array, Array]:
        """Rate, and gain with what is given, of all voxels of a box."""
        return self._laid(shape, self.rate), self._laid(shape, self.together().gain)

    def given_everywhere(self, shape: tuple[int, int, int]) -> Array | None:
        """What is given in all voxels of a box."""
        return None if self.given is None else self._laid(shape, self.given)

    def together(self) -> VoxelExchange:
        """The same, where what is given is a gain."""
        return self if self.given is None else replace(self, gain=self.gain + self.given, given=None)

    def _laid(self, shape: tuple[int, int, int], values: Array) -> Array:
        out = np.zeros(shape)
        out.reshape(-1)[self.voxel] = values
        return out


def exchange(u: Array, cells: CellExchange, dt: float, internal: Array, voxel_volume: float) -> None:
    """What all cells give and take for dt, in place: the exact solution per voxel.

    In a voxel of volume W with cells c of volume V_c, as in BioFVM (Ghaffarizadeh, Friedman and Macklin 2016,
    doi:10.1093/bioinformatics/btv730): dρ/dt = Σ_c V_c/W [S_c (ρ*_c − ρ) − U_c ρ],
    and what they export.

    Args:
        u: the field (nz, ny, nx), changed.
        dt: [min].
        internal: what the cells hold [value·um^3] (n,); what is taken up is added, what is given
            subtracted, so that Σ u·voxel_volume + Σ internal stays as it was.
        voxel_volume: W [um^3].
    """
    voxels = Collector(u.size).collect(cells, voxel_volume).together()
    seen = np.zeros(voxels.rate.size)
    relax(u, voxels, float(dt), seen)
    book(internal, seen, voxels.place, cells, float(dt))


class Collector:
    """Finds the voxels that cells lie in; keeps its room from step to step."""

    def __init__(self, voxels: int):
        self._slots = np.full(voxels, -1, np.int64)
        self._room(0)

    def collect(
        self, cells: CellExchange, voxel_volume: float, walls: tuple[Places, Array, Array] | None = None
    ) -> VoxelExchange:
        """The exchange of all cells, and of walls: voxels, their rates and gains.

        It is lost when this is called again.
        """
        on_walls = walls or (np.empty(0, np.int64), np.empty(0), np.empty(0))
        n = cells.voxel.size
        most = n + on_walls[0].size
        if most > self._most:
            self._room(most + most // 8)
        count, said = np.zeros(1, np.int64), (cells.volume, cells.secretion, cells.saturation, cells.uptake)
        found = self._found, self._rate, self._gain, self._place
        _collect(self._slots, cells.voxel, *said, float(voxel_volume), *on_walls, *found, count)
        m = int(count[0])
        place, given = self._place[:n], None
        if cells.export is not None:
            given = np.bincount(place, weights=cells.export, minlength=m) / voxel_volume
        return VoxelExchange(self._found[:m], self._rate[:m], self._gain[:m], place, given)

    def _room(self, most: int) -> None:
        voxels, self._most = min(most, self._slots.size), most
        self._found, self._place = np.empty(voxels, np.int64), np.empty(most, np.int64)
        self._rate, self._gain = np.empty(voxels), np.empty(voxels)


def relax(u: Array, cells: VoxelExchange, dt: float, seen: Array) -> None:
    """du/dt = gain − rate u where cells are for dt, in place; `seen` (m,) gains ∫u dt there."""
    with threads_for(seen.size, each=_FEW):
        _relax(seen.size, u.reshape(-1), cells.voxel, cells.rate, cells.gain, seen, dt)


def book(internal: Array, seen: Array, place: Places, cells: CellExchange, dt: float) -> None:
    """What cells took up less what they secreted and exported, added to `internal` (n,), from ∫u dt over dt in their
    voxels."""
    with threads_for(place.size, each=_FEW):
        said = cells.volume, cells.secretion, cells.saturation, cells.uptake
        _book(place.size, internal, seen, place, *said, dt)
    if cells.export is not None:
        internal -= cells.export * dt


def membrane_exchange(
    u: Array,
    voxel: Places,
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


def group_by_voxel(voxel: Places, voxels: int) -> tuple[Places, Places]:
    """Rows of the cells by voxel, in row order: those of voxel v are order[start[v]:start[v + 1]]."""
    start = np.zeros(voxels + 1, np.int64)
    order = np.empty(voxel.size, np.int64)
    _group(voxel, start, order)
    return start, order


@compiled
def _group(voxel, start, order):
    for i in range(voxel.size):
        start[voxel[i] + 1] += 1
    for v in range(start.size - 1):
        start[v + 1] += start[v]
    # start[v] runs to the end of v's rows, which is the start of the next voxel's
    for i in range(voxel.size):
        order[start[voxel[i]]] = i
        start[voxel[i]] += 1
    for v in range(start.size - 1, 0, -1):
        start[v] = start[v - 1]
    start[0] = 0


@compiled
def _collect(
    slots, voxel, volume, secretion, saturation, uptake, voxel_volume, on_walls, wall_rate, wall_gain,
    found, rate, gain, place, count,
):  # fmt: skip
    """Per voxel Σ f (S + U) [1/min] and Σ f S ρ* [value/min], in row order; `slots` (voxels,) is −1 again after."""
    m = 0
    for i in range(voxel.size):
        slot = _slot(voxel[i], slots, found, rate, gain, m)
        m = max(m, slot + 1)
        place[i] = slot
        f = volume[i] / voxel_volume
        rate[slot] += f * (secretion[i] + uptake[i])
        gain[slot] += f * secretion[i] * saturation[i]
    for i in range(on_walls.size):
        slot = _slot(on_walls[i], slots, found, rate, gain, m)
        m = max(m, slot + 1)
        rate[slot] += wall_rate[i]
        gain[slot] += wall_gain[i]
    for slot in range(m):
        slots[found[slot]] = -1
    count[0] = m


def _slot(voxel, slots, found, rate, gain, m):
    """Where a voxel stands among those found; behind the m that there are, with nothing, if it is new."""
    slot = slots[voxel]
    if slot < 0:
        slot = m
        slots[voxel] = slot
        found[slot], rate[slot], gain[slot] = voxel, 0.0, 0.0
    return slot


def _rise(x):
    """(x − 1 + e^−x)/x², by its series where the difference would cancel."""
    return _little_rise(x) if x < _LITTLE else (x + math.expm1(-x)) / (x * x)


def _little_rise(x):
    """The series of `_rise`, right to the last digit below _LITTLE."""
    after = 1.0 / 40320 - x * (1.0 / 362880 - x * (1.0 / 3628800 - x * (1.0 / 39916800)))
    return 0.5 - x * (
        1.0 / 6 - x * (1.0 / 24 - x * (1.0 / 120 - x * (1.0 / 720 - x * (1.0 / 5040 - x * after))))
    )


@shared
def _relax(first, end, u, voxel, rate, gain, seen, dt):
    """Each by the exact solution of dρ/dt = gain − rate ρ; where little goes on, sixteen side by side."""
    x, before, coming = np.empty(_SIDE), np.empty(_SIDE), np.empty(_SIDE)
    k = first
    while k + _SIDE <= end:
        most = 0.0
        for q in range(_SIDE):
            x[q] = rate[k + q] * dt
            before[q] = u[voxel[k + q]]
            coming[q] = gain[k + q] * dt
            most = max(most, x[q])
        if most < _LITTLE:
            for q in range(_SIDE):
                rise = _little_rise(x[q])
                mean = 1.0 - x[q] * rise
                seen[k + q] += dt * (before[q] * mean + coming[q] * rise)
                before[q] = before[q] * (1.0 - x[q] * mean) + coming[q] * mean
            for q in range(_SIDE):
                u[voxel[k + q]] = before[q]
        else:
            for q in range(_SIDE):
                _relax_one(k + q, u, voxel, rate, gain, seen, dt)
        k += _SIDE
    while k < end:
        _relax_one(k, u, voxel, rate, gain, seen, dt)
        k += 1


def _relax_one(k, u, voxel, rate, gain, seen, dt):
    x, before, coming = rate[k] * dt, u[voxel[k]], gain[k] * dt
    rise = _rise(x)
    mean = 1.0 - x * rise  # of e^−s over 0 … x, as e^−x is 1 − x times it
    left = 1.0 - x * mean if x < 0.5 else math.exp(-x)
    seen[k] += dt * (before * mean + coming * rise)
    u[voxel[k]] = before * left + coming * mean


@shared
def _book(first, end, internal, seen, place, volume, secretion, saturation, uptake, dt):
    for i in range(first, end):
        here = seen[place[i]]
        internal[i] += volume[i] * (uptake[i] * here - secretion[i] * (saturation[i] * dt - here))


@compiled
def _permeate(u, start, order, volume, permeability, inside, dt, voxel_volume):
    for v in range(u.size):
        first, last = start[v], start[v + 1]
        if last > first:
            same, held, room = True, 0.0, 0.0
            for k in range(first, last):
                i = order[k]
                same = same and permeability[i] == permeability[order[first]]
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


def _permeate_pair(outside, i, volume, permeability, inside, dt, voxel_volume):
    """One cell and its voxel: the difference decays at P (1 + V/W). Returns the new value outside."""
    f = volume[i] / voxel_volume
    moved = (outside * volume[i] - inside[i]) * -math.expm1(-permeability[i] * (1.0 + f) * dt) / (1.0 + f)
    inside[i] += moved
    return outside - moved / voxel_volume


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
