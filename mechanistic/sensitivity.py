"""Local sensitivities of a time course: d(species)/d(parameter), by the variational equations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from mechanistic.codegen.derivatives import NotDifferentiable, jacobian
from mechanistic.codegen.initial import InitialValues, initial_values
from mechanistic.codegen.numeric import evaluate
from mechanistic.codegen.system import System
from mechanistic.codegen.tangent import Tangent
from mechanistic.errors import IntegrationError, ModelError, ModelProblem
from mechanistic.network import ReactionNetwork

if TYPE_CHECKING:
    import xarray


def sensitivities(
    network: ReactionNetwork,
    times: Iterable[float],
    parameters: Sequence[str],
    *,
    cells: int = 1,
    initial: Mapping[str, Any] | None = None,
    values: Mapping[str, Any] | None = None,
    rtol: float = 1e-8,
    atol: float = 1e-18,
) -> xarray.Dataset:
    """Forward local sensitivities along the time course.

    The state and its tangents are integrated together by an implicit Runge-Kutta method of order 5 (Radau IIA:
    Hairer & Wanner, Solving Ordinary Differential Equations II, 1996) with the exact symbolic Jacobian of both,
    and errors of both are controlled. A parameter's effect on initial values and on other constants, by initial
    assignments, is part of its sensitivity, as it is of `simulate(parameters=...)`.

    Args:
        times: [model time], not falling. The initial state holds at time 0 (at times[0] where negative).
        parameters: ids of parameters, compartments, boundary species; a species (its initial concentration) or
            `amount.<species>` (its initial amount).
        initial, values: where to differentiate: ids to scalars or one value a cell, as `simulate` takes them as
            `initial` and `parameters`.
        rtol: relative tolerance of state and tangents.
        atol: absolute tolerance of the stored state, in units of its largest initial value (1 where all are 0);
            of a tangent it is divided by the parameter's size. It is so small because cascades amplify what
            is lost of a species that begins near 0: 1e-12 left errors of 1e-3 in BioModels 9.

    Returns:
        Dims cell, time, parameter. A variable for every species (of its concentration) and for every other id
        that changes by a rate rule, in the unit of the quantity per unit of the parameter.

    Raises:
        ModelError: the model has events; a condition depends on the state or on a parameter asked for; an id is
            not in the model or cannot be set.
        IntegrationError: names cell and time.
    """
    grid = np.asarray(times if isinstance(times, np.ndarray) else list(times), dtype=float)
    if grid.ndim != 1 or not len(grid) or not np.all(np.isfinite(grid)) or np.any(np.diff(grid) < 0):
        raise ValueError("times must be a list of finite times that do not fall")
    refuse_events(network, "sensitivities")
    parameters = _checked(network, parameters)
    given = {**(values or {}), **(initial or {})}
    state, constants = initial_values(network, given, cells)
    sizes, tangents, directions = _at_the_start(network, given, parameters, cells, state, constants)
    active = np.flatnonzero(np.any(directions != 0, axis=(0, 1)))
    tangent = Tangent(network, (int(k) for k in active))
    states = set(network.state_ids) - set(network.species_ids)
    names = [*network.species_ids, *(n for n in network.state_ids if n in states)]
    observe = tangent.observer(names)
    result = np.empty((cells, len(grid), len(parameters), len(names)))
    for cell in range(cells):
        along = np.ascontiguousarray(directions[cell][:, active])
        scales = np.where(sizes[cell] != 0, np.abs(sizes[cell]), 1.0)
        try:
            courses = _integrated(
                tangent, state[cell], constants[cell], tangents[cell], along, grid, rtol, atol, scales
            )
        except IntegrationError as error:
            raise IntegrationError(f"cell {cell}: {error}", cell, error.time, error.species) from None
        for k, block in enumerate(courses):
            inputs = [grid[k], 1.0, *block[0], *constants[cell]]
            result[cell, k] = observe(inputs, block[1:], along)
    return _dataset(network, names, parameters, grid, result, sizes)


def refuse_events(network: ReactionNetwork, what: str) -> None:
    """Raises ModelError, naming every event, where the model has events."""
    problems = [
        ModelProblem(f"{what} of a model with events are not supported (event '{e.id}')", e.line, e.id)
        for e in network.events
    ]
    if problems:
        raise ModelError(network.file, problems)


def _checked(network: ReactionNetwork, parameters: Sequence[str]) -> tuple[str, ...]:
    asked = (parameters,) if isinstance(parameters, str) else tuple(parameters)
    if not asked:
        raise ValueError("name at least one parameter")
    repeated = next((p for i, p in enumerate(asked) if p in asked[:i]), None)
    if repeated is not None:
        raise ModelError(network.file, [ModelProblem(f"'{repeated}' is asked for twice", None, repeated)])
    return asked


def _at_the_start(network, given, parameters, cells, state, constants):
    """Values (cell, parameter), tangents (cell, parameter, state_ids), dc/dp (cell, parameter, settable_ids)."""
    system, names = System(network), (*network.state_ids, *network.settable_ids)
    now = [0.0, 1.0, *state.T, *constants.T]
    values = np.empty((cells, len(parameters)))
    slopes = np.zeros((cells, len(parameters), len(names)))
    for p, parameter in enumerate(parameters):
        # one at a time: to set a computed parameter cuts what it is computed from
        others = {k: v for k, v in given.items() if _bare(k) != _bare(parameter)}
        InitialValues(network, {parameter: 1.0})  # refuses what cannot be set, by name
        values[:, p] = evaluate(system.graph, [system.quantity(parameter)], now)[0]
        start = InitialValues(network, {**others, parameter: np.abs(values[:, p])})
        inputs = [np.asarray(v, dtype=float) for v in (*others.values(), values[:, p])]
        stored = [start.stored(name) for name in names]
        try:
            entries = jacobian(start.graph, stored, [start.graph.input(start.inputs[parameter])])
        except NotDifferentiable as error:
            raise ModelError(network.file, f"no sensitivities: {error}") from None
        for (i, _), value in zip(entries, evaluate(start.graph, list(entries.values()), inputs)):
            slopes[:, p, i] = value
    return values, slopes[:, :, : len(network.state_ids)], slopes[:, :, len(network.state_ids) :]


def _bare(name: str) -> str:
    return name.removeprefix("amount.")


def _integrated(tangent, state, constants, tangents, along, grid, rtol, atol, scales) -> np.ndarray:
    """(time, 1 + parameter, state_ids) of one cell, restarted where a condition on time switches."""
    begin = min(0.0, float(grid[0]))
    block = np.concatenate([state[None, :], tangents])
    courses = np.empty((len(grid), *block.shape))
    courses[grid <= begin] = block
    if not block.shape[1] or grid[-1] <= begin:
        return courses
    switches = tangent.breaks([begin, 1.0, *state, *constants])
    bounds = [begin, *(t for t in switches if begin < t < grid[-1]), float(grid[-1])]
    largest = float(np.abs(state).max()) or 1.0
    tolerance = np.repeat(np.concatenate([[1.0], 1.0 / scales]), len(state)) * atol * largest
    for low, high in pairwise(bounds):
        solve = _piece(tangent, constants, along, low, high, rtol, tolerance)
        # every requested time ends a call of its own: no interpolation enters the result
        at, step = low, None
        for stop in np.unique(np.append(grid[(grid > low) & (grid <= high)], high)):
            block, step = solve(block, at, float(stop), step)
            at = float(stop)
            courses[grid == stop] = block
    return courses


def _piece(tangent, constants, along, low, high, rtol, tolerance):
    """A function of (block, from, to, first step): the block at `to`, and the longest step taken."""
    from scipy.integrate import solve_ivp

    # at a switch every side counts to its own piece
    first, last = np.nextafter(low, high), np.nextafter(high, low)

    def unpacked(t, y):
        rows = y.reshape(-1, tangent.states)
        return [min(max(t, first), last), 1.0, *rows[0], *constants], rows[1:], along

    def change(t, y):
        return tangent.augmented(*unpacked(t, y)).ravel()

    def slope(t, y):
        return tangent.augmented_jacobian(*unpacked(t, y))

    def solve(block, at, stop, step):
        rates = change(at, block.ravel()).reshape(block.shape)
        if not np.all(np.isfinite(rates)):
            raise _not_finite(tangent, rates, at)
        first_step = None if step is None else min(step, stop - at)
        try:
            done = solve_ivp(
                change, (at, stop), block.ravel(), "Radau", rtol=rtol, atol=tolerance, jac=slope,
                first_step=first_step,
            )  # fmt: skip
        except (ValueError, RuntimeError) as error:
            raise IntegrationError(f"no solution after time {at:g}: {error}", time=at) from None
        if not done.success or not np.all(np.isfinite(done.y[:, -1])):
            raise IntegrationError(f"stopped at time {done.t[-1]:g}: {done.message}", time=float(done.t[-1]))
        return done.y[:, -1].reshape(block.shape), float(np.diff(done.t).max())

    return solve


def _not_finite(tangent: Tangent, rates: np.ndarray, time: float) -> IntegrationError:
    species = tangent.network.state_ids[int(np.argwhere(~np.isfinite(rates))[0, 1])]
    message = f"a derivative of the rate of '{species}' is not finite at time {time:g}"
    return IntegrationError(message, None, time, species)


def _dataset(network, names, parameters, times, result, sizes) -> xarray.Dataset:
    import xarray

    variables = {}
    for i, name in enumerate(names):
        label = f"value.{name}" if name in ("time", "cell", "parameter") else name
        attributes = {
            "units": f"({network.units(name) or '1'}) / (unit of the parameter)",
            "long_name": f"d {network[name].name or name} / d parameter",
        }
        variables[label] = (("cell", "time", "parameter"), result[..., i], attributes)
    coordinates = {
        "cell": ("cell", np.arange(len(result)), {"units": "1", "long_name": "cell"}),
        "time": ("time", times, {"units": network.time_unit or "", "long_name": "time"}),
        "parameter": ("parameter", list(parameters), {"units": "1", "long_name": "parameter"}),
        "parameter_value": (
            ("cell", "parameter"),
            sizes,
            {"units": "that of the parameter", "long_name": "where the derivative is taken"},
        ),
    }
    return xarray.Dataset(variables, coordinates, {"method": "forward", "model": network.id})
