"""Cells and fields: updates per second beside a named peer in the same process.

    python benchmarks/tissue.py [--json] [--quick] [--threads N]

Peers are scipy's cKDTree, torch-geometric, numpy's Philox, and plain numpy or scipy programmes of the same equations
(for fields: implicit Euler along one axis after the other, as BioFVM does it). `roof` is what the memory bandwidth,
measured in the same run, allows if every array comes from memory once. For orientation only, from its own runs on
two cores at 1e5 cells: PhysiCell 1.14.2 does 3.9e5 (2-D) and 1.1e5 (3-D) mechanics updates and 2.8e7 voxel updates
a second, takes 539 s for a simulated hour in 3-D, and 7.4 kB a cell.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, Literal

import numpy as np
import table
from numba import njit, prange
from numpy.typing import NDArray
from scipy.integrate import solve_ivp
from scipy.linalg import solve_banded
from scipy.spatial import cKDTree
from threadpoolctl import threadpool_limits
from tissue_layers import attention, gradients, graphs
from tissue_runs import by_layer, bytes_per_cell, hour, waves

from mechanistic.fields import Boundary, CellExchange, DiffusionSolver, Grid, exchange
from mechanistic.random import stream_key, uniforms
from mechanistic.threads import set_threads
from sim.agents import mechanics
from sim.agents._bins import spatial_order
from sim.agents.mechanics import move, velocities
from sim.agents.neighbours import Neighbours, neighbour_graph
from sim.agents.placement import hexagonal

Array = NDArray[np.float64]
_RADIUS = 8.412710547954228
_REPULSION, _ADHESION, _REACH = 10.0, 0.4, 1.25
_PHYSICELL_STEP = 0.1
_Dims = Literal[2, 3]
# bytes that an update moves: place, radius and strengths of a cell, its velocity and pressure, and for the state
# between two evaluations its place again, in and out, with the slopes that it is made of
_MECHANICS_BYTES = 48 + 32 + 64 + 4 * 24


def _seconds(task: Callable[[], object], repeats: int = 5) -> float:
    """The least wall time of several runs, the first left out."""
    task()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        task()
        times.append(time.perf_counter() - start)
    return min(times)


def _row(
    name: str, value: float, unit: str, peer: str = "", peer_value: float = 0.0, **errors: float
) -> dict:
    """One line of the result; a ratio above 1 is better than the peer."""
    row: dict = {"name": name, "value": value, "unit": unit}
    if peer:
        ratio = peer_value / value if unit == "s" else value / peer_value
        row |= {"peer": peer, "peer_value": peer_value, "ratio": ratio}
    return row | errors


def _tissue(n: int, dims: _Dims) -> Array:
    """n cells in a patch of PhysiCell's spacing, a little disturbed, in random order."""
    rng = np.random.default_rng(0)
    positions = hexagonal(n, 15.12, dims)
    positions += 0.05 * 15.12 * (rng.random(positions.shape) - 0.5) * (np.arange(3) < dims)
    return np.ascontiguousarray(positions[rng.permutation(n)])


def _numpy_velocities(positions: Array, graph: Neighbours) -> tuple[NDArray, NDArray]:
    """The potential over all pairs of the graph, in numpy."""
    n, rows = len(positions), graph.rows
    offset = positions[rows] - positions[graph.indices]
    distance = np.maximum(np.sqrt((offset**2).sum(axis=1)), 1e-5)
    overlap = np.maximum(1 - distance / (2 * _RADIUS), 0) ** 2
    hold = np.maximum(1 - distance / (_REACH * 2 * _RADIUS), 0) ** 2
    push = (_REPULSION * overlap - _ADHESION * hold) / distance
    velocity = np.stack([np.bincount(rows, push * offset[:, axis], n) for axis in range(3)], axis=1)
    return velocity, np.bincount(rows, overlap, n)


def _pair_errors() -> tuple[float, float]:
    """Largest error [um] of a relaxing pair over 30 min: ours, and that of Adams–Bashforth 2 by 0.1 min."""
    touch = 2 * _RADIUS

    def closing(_: float, d: Array) -> Array:
        return 2 * (
            _REPULSION * np.maximum(1 - d / touch, 0) ** 2
            - _ADHESION * np.maximum(1 - d / (_REACH * touch), 0) ** 2
        )

    times = np.arange(0, 301) * _PHYSICELL_STEP
    exact = solve_ivp(closing, (0, 30), [8.0], t_eval=times, rtol=1e-12, atol=1e-12, max_step=0.05).y[0]
    theirs, before, d = [8.0], 0.0, np.array([8.0])
    for _ in times[1:]:
        now = closing(0, d)
        d, before = d + _PHYSICELL_STEP * (1.5 * now - 0.5 * before), now
        theirs.append(float(d[0]))
    positions, ones, ours = np.array([[-4.0, 0, 0], [4.0, 0, 0]]), np.ones(2), [8.0]
    for _ in range(10):
        move(positions, _RADIUS * ones, _REPULSION * ones, _ADHESION * ones, dims=2, dt=3.0)
        ours.append(positions[1, 0] - positions[0, 0])
    return float(np.abs(ours - exact[::30]).max()), float(np.abs(theirs - exact).max())


def _lists(n: int, dims: _Dims) -> Iterator[dict]:
    positions, reach = _tissue(n, dims), 2 * _RADIUS * _REACH

    def tree() -> Array:
        return cKDTree(positions[:, :dims]).query_pairs(reach, output_type="ndarray")

    ours = _seconds(lambda: neighbour_graph(positions, reach, dims=dims))
    name = f"neighbour lists, {n:.0e} cells {dims}-D"
    yield _row(name, ours, "s", "scipy cKDTree.query_pairs", _seconds(tree, 1))


def _mechanics(n: int, dims: _Dims, bandwidth: float) -> Iterator[dict]:
    positions, ones = _tissue(n, dims), np.ones(n)
    radii, repulsion, adhesion = _RADIUS * ones, _REPULSION * ones, _ADHESION * ones
    reach, label = 2 * _RADIUS * _REACH, f"{n:.0e} cells {dims}-D"
    positions = positions[spatial_order(positions, reach, np.zeros(3), dims)]
    graph = neighbour_graph(positions, reach, dims=dims)
    velocity, pressure = np.empty((n, 3)), np.empty(n)

    def kernel() -> None:
        velocities(positions, radii, repulsion, adhesion, graph.indptr, graph.indices, velocity, pressure)

    fast, slow = n / _seconds(kernel), n / _seconds(lambda: _numpy_velocities(positions, graph), 1)
    off = np.abs(velocity - _numpy_velocities(positions, graph)[0]).max()
    twin = "numpy over the same pairs"
    yield _row(
        f"forces, {label}, in spatial order", fast, "cells/s", twin, slow, error=float(off), peer_error=0.0
    )

    start, calls, forces = positions.copy(), 0, mechanics.forces

    def counted(*arguments: Any) -> None:
        nonlocal calls
        calls += 1
        forces(*arguments)

    def minutes() -> None:
        positions[...] = start
        move(positions, radii, repulsion, adhesion, dims=dims, dt=6.0)

    mechanics.forces = counted
    minutes()
    mechanics.forces = forces
    seconds = _seconds(minutes, 2)
    error, peer_error = _pair_errors()
    yield _row(
        f"mechanics, {label}, lists included", n * calls / seconds, "cell updates/s", twin, slow,
        roof=bandwidth / _MECHANICS_BYTES,
    )  # fmt: skip
    yield _row(
        f"mechanics, 6 min of {label}, as steps of 0.1 min", n * 6.0 / _PHYSICELL_STEP / seconds, "cell steps/s",
        "numpy, Adams-Bashforth 2 by 0.1 min", slow, error=error, peer_error=peer_error,
    )  # fmt: skip


def _euler_by_axis(u: Array, diffusion: float, spacing: float, dt: float) -> Array:
    """Implicit Euler along one axis after the other, no flux."""
    a = dt * diffusion / spacing**2
    for axis in range(u.ndim):
        n = u.shape[axis]
        if n > 1:
            band = np.full((3, n), -a)
            band[1] = 1 + 2 * a
            band[1, 0] = band[1, -1] = 1 + a
            lines = np.moveaxis(u, axis, 0)
            u = np.moveaxis(solve_banded((1, 1), band, lines.reshape(n, -1)).reshape(lines.shape), 0, axis)
    return u


def _diffusion(shape: tuple[int, int, int], bandwidth: float) -> Iterator[dict]:
    grid = Grid((0, 0, 0), 20.0, shape)
    solver = DiffusionSolver(grid, 1e5)
    u = np.random.default_rng(1).random(shape)
    size = "x".join(str(n) for n in shape[::-1] if n > 1)
    ours = grid.size / _seconds(lambda: solver.step(u, 1.0))
    theirs = grid.size / _seconds(lambda: _euler_by_axis(u, 1e5, 20.0, 0.01), 2)
    x = np.cos(np.pi * (np.arange(50) + 0.5) / 50)
    rate = 2 * 1e5 * (np.pi / 1000) ** 2
    wave = np.ascontiguousarray(np.broadcast_to(x[None, :, None] * x[None, None, :], (1, 50, 50)))
    exact = np.exp(-rate)
    spread = DiffusionSolver(Grid((0, 0, 0), 20.0, (1, 50, 50)), 1e5).step(wave.copy(), 1.0)
    stepped = wave.copy()
    for _ in range(100):
        stepped = _euler_by_axis(stepped, 1e5, 20.0, 0.01)
    errors = (abs((f * wave).sum() / (wave**2).sum() / exact - 1) for f in (spread, stepped))
    error, peer_error = (float(e) for e in errors)
    yield _row(
        f"diffusion, {size} voxels, one step of 1 min", ours, "voxel updates/s",
        "scipy solve_banded by axis, one step of 0.01 min", theirs, error=error, peer_error=peer_error,
        roof=bandwidth / (16.0 * (1 + (shape[0] > 1))),
    )  # fmt: skip
    yield _row(
        f"diffusion, {size} voxels, simulated time", 60 * ours / grid.size, "min per min of computing",
        "scipy solve_banded by axis by 0.01 min", 60 * 0.01 * theirs / grid.size, error=error, peer_error=peer_error,
    )  # fmt: skip


def _cells_in_field(shape: tuple[int, int, int], dt: float, giving: bool = False) -> dict:
    """A step of dt with two cells in each voxel of the middle third, drawing hard, and faces of fixed value.

    Where they are giving they export a fixed amount too.

    The cells grow and shrink by up to 1 % from step to step, so that the field has somewhere to go. `error` is the
    farthest that a voxel is off after the last step, of the largest value, beside sixteen steps in its place.
    """
    grid = Grid((0, 0, 0), 20.0, shape)
    names = [f"{axis}_{end}" for axis in "xyz"[: 3 if shape[0] > 1 else 2] for end in ("min", "max")]
    solver = DiffusionSolver(grid, 1e5, 0.1, Boundary(**dict.fromkeys(names, 38.0)))
    middle = np.ones(shape, bool)
    for axis, n in enumerate(shape):
        inside = np.abs(np.arange(n) + 0.5 - n / 2) <= max(n / 6, 0.5)
        middle &= np.expand_dims(inside, tuple({0, 1, 2} - {axis}))
    voxel = np.repeat(np.flatnonzero(middle), 2)
    nothing, uptake = np.zeros(voxel.size), np.full(voxel.size, 10.0)
    u, internal = np.full(shape, 38.0), np.zeros(voxel.size)
    export = np.full(voxel.size, 2.5 * grid.voxel_volume) if giving else None
    volumes = 2494.0 * np.random.default_rng(4).uniform(0.99, 1.01, (2, voxel.size))
    seconds = []

    def step(u: Array, dt: float, volume: Array) -> None:
        cells = CellExchange(voxel, volume, nothing, nothing, uptake, export)
        solver.step_with_cells(u, cells, dt, internal)

    for k in range(60 if dt < 0.1 else 8):
        start = time.perf_counter()
        step(u, dt, volumes[k % 2])
        seconds.append(time.perf_counter() - start)
    fine = u.copy()
    step(u, dt, volumes[0])
    for _ in range(16):
        step(fine, dt / 16, volumes[0])
    size = "x".join(str(n) for n in shape[::-1] if n > 1)
    return _row(
        f"diffusion with cells drawing{' and giving' if giving else ''}, {size} voxels, a step of {dt:g} min",
        grid.size / min(seconds[2:]),
        "voxel updates/s",
        error=float(np.abs(u - fine).max() / fine.max()),
    )


def _cells_and_field(n: int) -> Iterator[dict]:
    rng = np.random.default_rng(2)
    grid = Grid((0, 0, 0), 20.0, (1, 250, 250))
    voxel, volume, uptake = rng.integers(0, grid.size, n), rng.uniform(2000, 3000, n), np.full(n, 10.0)
    nothing, internal, u = np.zeros(n), np.zeros(n), rng.random(grid.shape)
    w = grid.voxel_volume

    def in_numpy() -> None:
        flat = u.reshape(-1)
        rate = np.bincount(voxel, volume * uptake / w, grid.size)
        seen = (
            flat * 0.01 * np.where(rate > 0, -np.expm1(-rate * 0.01) / np.maximum(rate * 0.01, 1e-300), 1.0)
        )
        flat *= np.exp(-rate * 0.01)
        np.add(internal, volume * uptake * seen[voxel], out=internal)

    cells = CellExchange(voxel, volume, nothing, nothing, uptake)
    ours = n / _seconds(lambda: exchange(u, cells, 0.01, internal, w))
    yield _row(
        f"exchange with a field, {n:.0e} cells",
        ours,
        "cells/s",
        "numpy, uptake alone",
        n / _seconds(in_numpy),
    )
    key, ids, generator = stream_key(0, "benchmark"), np.arange(n), np.random.Generator(np.random.Philox(0))
    ours = 4 * n / _seconds(lambda: uniforms(key, 1, ids, 4))
    yield _row(
        "uniform numbers by cell",
        ours,
        "1/s",
        "numpy Philox",
        4 * n / _seconds(lambda: generator.random((n, 4))),
    )


@njit(parallel=True)
def _triad(a, b, c):
    for i in prange(a.size):
        a[i] = b[i] + 3.0 * c[i]


def _bandwidth() -> float:
    """What memory gives to all threads [bytes/s]: a = b + s c over arrays far larger than the caches."""
    a, b, c = (np.ones(10_000_000) for _ in range(3))
    return 3 * a.nbytes / _seconds(lambda: _triad(a, b, c), 5)


def _hours(n: int, dims: _Dims) -> dict:
    return _row(f"an hour of {n:.0e} cells with oxygen, {dims}-D", hour(n, dims, 9), "s")


def _rows(quick: bool, threads: int) -> Iterator[dict]:
    bandwidth = _bandwidth()
    yield _row("memory bandwidth (triad, all threads)", bandwidth / 1e9, "GB/s")
    many = 10_000 if quick else 100_000
    counts = (1_000, 10_000) if quick else (1_000, 10_000, 100_000, 1_000_000)
    edges = (50,) if quick else (50, 100, 200)
    yield from graphs(many if quick else 1_000_000)
    yield from attention(many, threads)
    yield from gradients((1_000,) if quick else (2_500, 10_000), 50)
    for dims in (2, 3):
        yield from _lists(many, dims)
        for n in counts:
            yield from _mechanics(n, dims, bandwidth)
    for shape in ((1, 300, 300), *((n, n, n) for n in edges)):
        yield from _diffusion(shape, bandwidth)
        if max(shape) < 200 or shape[0] == 1:
            yield from (_cells_in_field(shape, dt) for dt in (0.005, 0.01, 3.0))
            yield _cells_in_field(shape, 0.005, giving=True)
    yield from _cells_and_field(many)
    for dims in (2, 3):
        for n in counts:
            yield _hours(n, dims)
    for what, then, after, before in waves(many, 3):
        half = f"half of {many:.0e} cells {what}, 3-D"
        yield _row(f"the step in which {half}", then, "s", "a step before it", before)
        yield _row(f"the step after {half}", after, "s", "a step before it", before)
    if not quick:  # that of fewer cells is lost in what was in use before them
        for stored in (False, True):
            name = f"memory, 1e+06 cells with oxygen, 3-D, {'run and stored' if stored else 'stepped'}"
            yield _row(name, bytes_per_cell(1_000_000, 3, stored), "bytes a cell")
    few = 1_000 if quick else 10_000
    for name, seconds in by_layer(few):
        yield _row(f"an hour of {few:.0e} cells, 2-D, with {name or 'mechanics and fields'}", seconds, "s")


def main() -> None:
    asked = table.parser(__doc__, "smaller tissues, under a minute")
    asked.add_argument("--threads", type=int, default=2)
    options = asked.parse_args()
    set_threads(options.threads)
    with threadpool_limits(
        1, "blas"
    ):  # as the command does: threads that wait for a product keep cores from kernels
        table.show(_rows(options.quick, options.threads), options.json, 66)


if __name__ == "__main__":
    main()
