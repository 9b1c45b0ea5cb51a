"""Flux balance analysis: the fluxes at steady state that optimise an objective, by a linear programme.

With S the stoichiometry matrix: maximise (or minimise) c'v subject to S v = 0 and lower <= v <= upper (Orth,
Thiele and Palsson, Nat. Biotechnol. 28, 2010). Solved by HiGHS (Huangfu and Hall, Math. Prog. Comp. 10, 2018).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from mechanistic.codegen.initial import InitialValues, initial_values
from mechanistic.codegen.numeric import evaluate
from mechanistic.errors import FluxBalanceError, ModelError, ModelProblem
from mechanistic.moieties import stoichiometry
from mechanistic.network import ReactionNetwork
from mechanistic.parts import Objective
from mechanistic.reading.problems import closest

if TYPE_CHECKING:
    import xarray

_NAMED = 5  # ids in one message


@dataclass(frozen=True)
class _Programme:
    """Optimise cost @ v subject to balance @ v = 0, low <= rows @ v <= high, lower <= v <= upper."""

    cost: np.ndarray
    maximize: bool
    balance: np.ndarray
    rows: np.ndarray
    low: np.ndarray
    high: np.ndarray
    lower: np.ndarray
    upper: np.ndarray


def flux_balance(
    network: ReactionNetwork,
    objective: str | None = None,
    parameters: Mapping[str, Any] | None = None,
    cells: int = 1,
    *,
    bounds: Mapping[str, tuple[float, float]] | None = None,
) -> xarray.Dataset:
    """The optimum of an objective over all fluxes that keep every species in balance.

    Args:
        objective: id of one of the model's objectives; its active one by default.
        parameters: parameters by id, each a scalar or one value a cell: bounds, and what they follow from.
        bounds: (lower, upper) by reaction, in place of the model's; (0, 0) knocks a reaction out.

    Returns:
        `flux` (cell, reaction) [extent / time]: where the optimum is not unique, one of its corners.
        `objective_value` (cell). `shadow_price` (cell, species): the change of the optimum for one more unit of
        net production that the balance of the species must leave. `reduced_cost` (cell, reaction): the
        change of the optimum for one more unit of the bound that the flux is at, 0 inside its bounds.
        `attrs["objective"]` says which.

    Raises:
        ModelError: the model has no such objective, reaction or parameter; a bound is not a number.
        FluxBalanceError: no fluxes meet all bounds, or the objective grows without end; names the cell and
            the species or reactions at which it does.
    """
    chosen = _objective(network, objective)
    own = dict(bounds or {})
    for name in own:
        if name not in network.reaction_ids:
            raise _unknown(network, name, "a reaction", network.reaction_ids)
    given = dict(parameters or {})
    for name, value in given.items():
        if np.shape(value) not in ((), (cells,)):
            message = f"'{name}' needs a number or one value for each of {cells} cells (got shape {np.shape(value)})"
            raise ModelError(network.file, [ModelProblem(message, None, name)])
    network.refuse_draws("a flux balance")
    _, constants = initial_values(network, given, cells)
    values = _values_of_bounds(network, given, cells)
    found = []
    for cell in range(cells):
        here = {name: float(column[cell]) for name, column in values.items()}
        found.append(_solved(network, _programme(network, chosen, constants[cell], here, own), chosen, cell))
    return _dataset(network, chosen, found)


# ---- the programme


def _objective(network: ReactionNetwork, name: str | None) -> Objective:
    balance = network.flux_balance
    if balance is None:
        raise ModelError(
            network.file, "the model has no objective: a flux balance needs SBML's package 'fbc'"
        )
    known = {o.id: o for o in balance.objectives}
    name = name or balance.active or (next(iter(known)) if len(known) == 1 else "")
    if not name:
        message = f"the model has no active objective; choose one of {', '.join(known)}"
        raise ModelError(network.file, message)
    if name not in known:
        raise _unknown(network, name, "an objective", tuple(known))
    return known[name]


def _unknown(network: ReactionNetwork, name: str, what: str, known: tuple[str, ...]) -> ModelError:
    message = f"'{name}' is not {what} of the model{closest(name, known)}"
    return ModelError(network.file, [ModelProblem(message, None, name)])


def _values_of_bounds(network: ReactionNetwork, given: dict, cells: int) -> dict[str, np.ndarray]:
    """(cell,) for every parameter that a bound or a coefficient names."""
    assert network.flux_balance is not None
    balance = network.flux_balance
    used = [end for b in (*balance.bounds, *balance.constraints) for end in (b.lower, b.upper)]
    used += [coefficient for c in balance.constraints for _, coefficient in c.terms]
    names = list(dict.fromkeys(u for u in used if isinstance(u, str)))
    initial = InitialValues(network, given)
    nodes = [initial.stored(name) for name in names]
    inputs = [np.asarray(v, dtype=float) for v in given.values()]
    return {
        name: np.broadcast_to(value, (cells,))
        for name, value in zip(names, evaluate(initial.graph, nodes, inputs))
    }


def _programme(
    network: ReactionNetwork, objective: Objective, constants: np.ndarray, values: dict, own: dict
) -> _Programme:
    assert network.flux_balance is not None
    balance, at = network.flux_balance, {name: i for i, name in enumerate(network.reaction_ids)}
    reversible = np.array([r.reversible for r in network.reactions], dtype=bool)
    # where a model bounds a flux on no side, its direction is all that is said
    lower = np.where(reversible, -np.inf, 0.0)
    upper = np.full(len(at), np.inf)
    bounded = {b.reaction for b in balance.bounds if b.lower is not None}
    lower[[at[name] for name in bounded]] = -np.inf

    def value(end: float | str | None, default: float, key: str, line: int) -> float:
        number = default if end is None else values[end] if isinstance(end, str) else end
        if np.isnan(number) or number == -default:
            name = f"'{end}', " if isinstance(end, str) else ""
            message = f"a bound of '{key}' is no number that a flux can keep to ({name}got {number:g})"
            raise ModelError(network.file, [ModelProblem(message, line, key)])
        return number

    for b in balance.bounds:
        i = at[b.reaction]
        lower[i] = max(lower[i], value(b.lower, -np.inf, b.reaction, b.line))
        upper[i] = min(upper[i], value(b.upper, np.inf, b.reaction, b.line))
    for name, (low, high) in own.items():
        line = network[name].line
        lower[at[name]] = value(float(low), -np.inf, name, line)
        upper[at[name]] = value(float(high), np.inf, name, line)
    cost = np.zeros(len(at))
    for name, coefficient in objective.terms:
        cost[at[name]] += coefficient
    rows = np.zeros((len(balance.constraints), len(at)))
    for row, c in zip(rows, balance.constraints):
        for name, coefficient in c.terms:
            row[at[name]] += values[coefficient]
    low = np.array([value(c.lower, -np.inf, c.id, c.line) for c in balance.constraints])
    high = np.array([value(c.upper, np.inf, c.id, c.line) for c in balance.constraints])
    if not np.all(np.isfinite(rows)):
        name = balance.constraints[int(np.argwhere(~np.isfinite(rows))[0, 0])].id
        message = f"a coefficient of '{name}' is not finite"
        raise ModelError(network.file, [ModelProblem(message, network.line_of(name), name)])
    matrix = stoichiometry(network, constants)
    balanced = [i for i, name in enumerate(network.state_ids) if _is_balanced(network, name)]
    return _Programme(cost, objective.maximize, matrix[balanced], rows, low, high, lower, upper)


def _is_balanced(network: ReactionNetwork, name: str) -> bool:
    return name in network.species_ids and not network[name].boundary


# ---- its solution


@dataclass(frozen=True)
class _Optimum:
    fluxes: np.ndarray
    value: float
    shadow_prices: np.ndarray
    reduced_costs: np.ndarray


def _solved(network: ReactionNetwork, p: _Programme, objective: Objective, cell: int) -> _Optimum:
    crossed = np.flatnonzero(p.lower > p.upper)
    if len(crossed):
        i = int(crossed[0])
        message = (
            f"cell {cell}: no fluxes meet all bounds: the lower bound of '{network.reaction_ids[i]}' "
            f"({p.lower[i]:g}) is above its upper bound ({p.upper[i]:g})"
        )
        raise FluxBalanceError(message, "infeasible", cell)
    sign = -1.0 if p.maximize else 1.0
    result = _minimum(p, sign * p.cost)
    if result.status != 0:
        raise _without_optimum(network, p, objective, cell, result)
    # -0.0 says nothing to a reader
    return _Optimum(
        result.x + 0.0,
        float(p.cost @ result.x) + 0.0,
        sign * result.eqlin.marginals + 0.0,
        sign * (result.lower.marginals + result.upper.marginals) + 0.0,
    )


def _minimum(p: _Programme, cost: np.ndarray, slack: bool = False) -> Any:
    """The linear programme; with `slack`, two more variables a species take up what is out of balance."""
    from scipy.optimize import linprog
    from scipy.sparse import csr_array, hstack, identity, vstack

    balance: Any = csr_array(p.balance)
    rows: Any = vstack([csr_array(p.rows[np.isfinite(p.high)]), -csr_array(p.rows[np.isfinite(p.low)])])
    limits = np.concatenate([p.high[np.isfinite(p.high)], -p.low[np.isfinite(p.low)]])
    bounds = np.stack([p.lower, p.upper], axis=1)
    if slack:
        unit: Any = identity(len(p.balance))
        balance = hstack([balance, unit, -unit])
        rows = hstack([rows, csr_array((len(limits), 2 * len(p.balance)))])
        bounds = np.concatenate([bounds, np.tile([0.0, np.inf], (2 * len(p.balance), 1))])
    return linprog(
        cost,
        A_ub=rows if len(limits) else None,
        b_ub=limits if len(limits) else None,
        A_eq=balance,
        b_eq=np.zeros(len(p.balance)),
        bounds=bounds,
        method="highs",
    )


def _without_optimum(
    network: ReactionNetwork, p: _Programme, objective: Objective, cell: int, result: Any
) -> FluxBalanceError:
    """The error that says where: the species out of balance, or the fluxes that grow without end."""
    flux, species = len(p.cost), len(p.balance)
    penalty = np.concatenate([np.zeros(flux), np.ones(2 * species)])
    nearest = _minimum(p, penalty, slack=True)
    if nearest.status == 0 and nearest.fun > 1e-9:
        slack = nearest.x[flux : flux + species] - nearest.x[flux + species :]
        names = [s for s in network.state_ids if _is_balanced(network, s)]
        where = _largest(slack, names, "cannot be balanced")
        return FluxBalanceError(f"cell {cell}: no fluxes meet all bounds: {where}", "infeasible", cell)
    if nearest.status == 2:
        names = ", ".join(
            f"'{c.id}'" for c in (network.flux_balance.constraints if network.flux_balance else ())
        )
        message = f"cell {cell}: no fluxes meet all bounds: the constraints {names} exclude each other"
        return FluxBalanceError(message, "infeasible", cell)
    # along a direction in which bounds are open, each flux by 1 at most
    open_ended = replace(
        p,
        lower=np.where(np.isfinite(p.lower), 0.0, -1.0),
        upper=np.where(np.isfinite(p.upper), 0.0, 1.0),
        low=np.where(np.isfinite(p.low), 0.0, -np.inf),
        high=np.where(np.isfinite(p.high), 0.0, np.inf),
    )
    sign = -1.0 if p.maximize else 1.0
    direction = _minimum(open_ended, sign * p.cost)
    if direction.status == 0 and direction.fun < -1e-9:
        where = _largest(direction.x, list(network.reaction_ids), "have no bound on the way")
        message = f"cell {cell}: the objective '{objective.id}' grows without end: {where}"
        return FluxBalanceError(message, "unbounded", cell)
    return FluxBalanceError(f"cell {cell}: the flux balance was not solved: {result.message}", "failed", cell)


def _largest(values: np.ndarray, names: list[str], what: str) -> str:
    order = np.argsort(-np.abs(values), kind="stable")
    named = [names[i] for i in order if abs(values[i]) > 1e-9]
    more = f" and {len(named) - _NAMED} more" if len(named) > _NAMED else ""
    return ", ".join(f"'{name}'" for name in named[:_NAMED]) + f"{more} {what}"


def _dataset(network: ReactionNetwork, objective: Objective, found: list[_Optimum]) -> xarray.Dataset:
    import xarray

    unit = next((network.units(r) for r in network.reaction_ids), "")
    species = [s for s in network.state_ids if _is_balanced(network, s)]
    aim = "largest" if objective.maximize else "smallest"

    def variable(dims: tuple[str, ...], data: Any, units: str, long_name: str) -> tuple:
        return dims, np.asarray(data), {"units": units, "long_name": long_name}

    marginal = "as the objective counts, per unit"
    variables = {
        "flux": variable(("cell", "reaction"), [o.fluxes for o in found], unit, "flux"),
        "objective_value": variable(
            ("cell",), [o.value for o in found], unit, f"{aim} value of {objective.id}"
        ),
        "shadow_price": variable(
            ("cell", "species"), [o.shadow_prices for o in found], marginal, "shadow price"
        ),
        "reduced_cost": variable(
            ("cell", "reaction"), [o.reduced_costs for o in found], marginal, "reduced cost"
        ),
    }
    coordinates = {
        "cell": np.arange(len(found)),
        "reaction": list(network.reaction_ids),
        "species": species,
    }
    return xarray.Dataset(variables, coordinates, {"objective": objective.id, "model": network.id})
