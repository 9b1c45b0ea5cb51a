"""Steady states of a network, and whether they are stable."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mechanistic.codegen.initial import initial_values
from mechanistic.codegen.tangent import Tangent
from mechanistic.datasets import attributes, label, of_cells
from mechanistic.errors import IntegrationError, ModelError, ModelProblem
from mechanistic.moieties import Moieties, conserved, stoichiometry
from mechanistic.network import ReactionNetwork
from mechanistic.sensitivity import refuse_events

if TYPE_CHECKING:
    import xarray

_LONGEST = 1e12  # [model time]
_STEPS = 5000
_SETTLED = 250  # steps after which the mean of the way begins


@dataclass(frozen=True)
class Rest:
    """Where one cell comes to rest.

    Attributes:
        state: (state_ids,).
        eigenvalues: (independent,) of the Jacobian on the independent variables [1 / model time].
        stable: every eigenvalue has a negative real part; an eigenvalue of 0 counts as not stable.
        method: "newton" or "time".
    """

    state: np.ndarray
    eigenvalues: np.ndarray
    stable: bool
    method: str


def steady_state(
    network: ReactionNetwork,
    parameters: Mapping[str, Any] | None = None,
    cells: int = 1,
    *,
    initial: Mapping[str, Any] | None = None,
    method: str = "auto",
) -> xarray.Dataset:
    """The steady state of every cell.

    Newton's method with the exact symbolic Jacobian, on the independent variables that the conservation laws
    leave (totals are those of the initial state), damped by the natural monotonicity test (Deuflhard, Newton
    Methods for Nonlinear Problems, 2004). Where it fails, or finds a state that is not stable, the cell is
    followed in time (LSODA) until Newton's method ends beside it.

    Args:
        parameters, initial: ids to scalars or one value a cell, as `PathwayModel.simulate` takes them.
        method: "auto", as above; "newton"; or "time". With several steady states, Newton's method may find
            another than the one that the cell goes to; "time" finds that one.

    Returns:
        Dim cell. A variable for every species (concentration), `amount.<id>` beside it, every other variable of
        the state and every reaction (its rate); `stable`; `found_by`; `eigenvalue_real` and `eigenvalue_imag`
        (cell, eigenvalue) [1 / model time], the largest real part first. `attrs["conserved"]` lists the laws.
        With "auto", a state that is not stable is returned, and says so, where time finds none that is: Newton's
        method then begins at the start, at points of the cell's way in time, and at the mean of it.

    Raises:
        ModelError: the model has events, or a rate depends on time; an id is not in the model.
        IntegrationError: no steady state was found; names the cell and what changes most.
    """
    import xarray

    tangent, constants, rests, laws = rests_of(
        network, {**(parameters or {}), **(initial or {})}, cells, method
    )
    others = [n for n in network.state_ids if n not in network.species_ids]
    names = [
        *network.species_ids,
        *(f"amount.{s}" for s in network.species_ids),
        *others,
        *network.reaction_ids,
    ]
    evaluated = tangent.derivatives(names)
    values = np.stack([evaluated(inputs_at(r.state, c))[0] for r, c in zip(rests, constants)])
    variables = {}
    for i, name in enumerate(names):
        called = label(name, ("cell", "stable", "found_by", "eigenvalue"))
        variables[called] = ("cell", values[:, i], attributes(network, name))
    eigenvalues = np.stack([r.eigenvalues for r in rests])
    rate = {"units": f"1 / ({network.time_unit or 'time'})"}
    variables["stable"] = ("cell", [r.stable for r in rests], {"units": "1", "long_name": "is it stable"})
    variables["found_by"] = ("cell", [r.method for r in rests], {"units": "1", "long_name": "method"})
    for part, data in (("real", np.real(eigenvalues)), ("imag", np.imag(eigenvalues))):
        said = {**rate, "long_name": f"{part} part of the eigenvalues of the Jacobian"}
        variables[f"eigenvalue_{part}"] = (("cell", "eigenvalue"), data, said)
    return xarray.Dataset(
        variables, {"cell": of_cells(cells)}, {"model": network.id, "conserved": list(laws)}
    )


def rests_of(network: ReactionNetwork, given: Mapping[str, Any], cells: int, method: str):
    """(tangent, constants (cell, settable_ids), a Rest for every cell, the laws); errors as `steady_state`."""
    if method not in ("auto", "newton", "time"):
        raise ValueError(f"method must be auto, newton or time (got '{method}')")
    refuse_events(network, "steady states")
    tangent = Tangent(network)
    timed = tangent.depends_on_time()
    if timed:
        message = f"no steady state: the rate of '{timed[0]}' depends on time"
        raise ModelError(network.file, [ModelProblem(message, network.line_of(timed[0]), timed[0])])
    state, constants = initial_values(network, given, cells)
    rests, known, laws = [], {}, ()
    for cell in range(cells):
        matrix = stoichiometry(network, constants[cell])
        key = matrix.tobytes()
        if key not in known:
            known[key] = conserved(network, matrix)
        laws = known[key].laws
        rests.append(_Cell(tangent, known[key], state[cell], constants[cell], cell).rest(method))
    return tangent, constants, rests, laws


def inputs_at(state: np.ndarray, constants: np.ndarray) -> list:
    """The inputs of the graph of a cell at time 0 and scale 1."""
    return [0.0, 1.0, *state, *constants]


class _Cell:
    def __init__(
        self, tangent: Tangent, moieties: Moieties, state: np.ndarray, constants: np.ndarray, cell: int
    ):
        self.tangent, self.constants, self.cell = tangent, constants, cell
        self.independent, self.link = moieties.independent, moieties.link
        self.start = state[self.independent]
        self.totals = state - self.link @ self.start
        self.totals[self.independent] = 0.0
        self.positive = np.array([n in tangent.network.species_ids for n in tangent.network.state_ids])

    def full(self, z: np.ndarray) -> np.ndarray:
        return self.link @ z + self.totals

    def rate(self, z: np.ndarray) -> np.ndarray:
        return self.tangent.change(inputs_at(self.full(z), self.constants))[self.independent]

    def jacobian(self, z: np.ndarray) -> np.ndarray:
        whole = self.tangent.jacobian(inputs_at(self.full(z), self.constants))
        return whole[self.independent] @ self.link

    def rest(self, method: str) -> Rest:
        if not len(self.independent):
            return Rest(self.totals, np.empty(0, dtype=complex), True, "newton")
        with np.errstate(over="ignore"):
            return self._isolated(method)

    def _isolated(self, method: str) -> Rest:
        found = None if method == "time" else self._newton(self.start)
        first = None if found is None else self._described(found, "newton")
        if first is not None and (first.stable or method == "newton"):
            return first
        z = self.start
        if method != "newton":
            z, later = self._followed(keep=method == "auto" and first is None)
            if later is not None and (later.stable or first is None):
                return later
        if first is not None:
            return first
        raise self._none(z)

    def _described(self, z: np.ndarray, method: str) -> Rest:
        eigenvalues = np.linalg.eigvals(self.jacobian(z)).astype(complex)
        eigenvalues = eigenvalues[np.argsort(-np.real(eigenvalues), kind="stable")]
        stable = bool(eigenvalues[0].real < -1e-12 * np.abs(eigenvalues).max())
        return Rest(self.full(z), eigenvalues, stable, method)

    def _size(self, z: np.ndarray) -> np.ndarray:
        """What counts as a change of each variable of the state; (state_ids,)."""
        x = np.abs(self.full(z))
        return x + 1e-9 * max(x.max(), np.abs(self.totals).max(), np.abs(self.start).max(), 1e-300)

    def _allowed(self, z: np.ndarray) -> bool:
        x = self.full(z)
        return bool(np.all(x[self.positive] >= -1e-12 * max(np.abs(x).max(), 1e-300)))

    def _newton(self, z: np.ndarray) -> np.ndarray | None:
        """The independent variables at rest, or None."""
        from scipy.linalg import LinAlgWarning, lu_factor, lu_solve

        before = np.inf
        for _ in range(100):
            rate, matrix = self.rate(z), self.jacobian(z)
            if not (np.all(np.isfinite(rate)) and np.all(np.isfinite(matrix))):
                return None
            rows = np.abs(matrix).max(axis=1)
            if np.any(rows == 0):
                return None
            with warnings.catch_warnings(action="ignore", category=LinAlgWarning):
                factors = lu_factor(matrix / rows[:, None])
            pivots = np.abs(np.diag(factors[0]))
            if pivots.min() <= 1e-15 * pivots.max():
                return None
            size, step = self._size(z), lu_solve(factors, -rate / rows)
            length = np.abs(self.link @ step / size).max() if np.all(np.isfinite(step)) else np.inf
            if not np.isfinite(length):
                return None
            if length < 1e-12 or (length < 1e-8 and length >= 0.5 * before):
                return z + step if self._allowed(z + step) else None
            fraction = 1.0
            while fraction > 1e-6:
                new = z + fraction * step
                if self._allowed(new):
                    rest = self.rate(new)
                    if np.all(np.isfinite(rest)):
                        next_step = lu_solve(factors, -rest / rows)
                        if np.abs(self.link @ next_step / size).max() <= (1 - fraction / 4) * length:
                            break
                fraction /= 2
            else:
                return z if length < 1e-8 else None
            z, before = new, length
        return None

    def _followed(self, keep: bool) -> tuple[np.ndarray, Rest | None]:
        """Where the cell is in the end, and the stable state that it approaches, if any.

        Args:
            keep: whether, where there is none, one counts that Newton's method finds from a point on the way, or
                from the mean of the way: what an oscillator circles around.
        """
        from scipy.integrate import LSODA

        floor = 1e-12 * max(np.abs(self.start).max(), np.abs(self.totals).max(), 1e-12)
        solver = LSODA(
            lambda _, z: self.rate(z), 0.0, self.start, _LONGEST, rtol=1e-8, atol=floor,
            jac=lambda _, z: self.jacobian(z),
        )  # fmt: skip
        aside, mean, begun = None, np.zeros_like(self.start), 0.0
        for step in range(1, _STEPS + 1):
            before = solver.t
            try:
                solver.step()
            except (ValueError, RuntimeError):
                break
            if solver.status == "failed" or not np.all(np.isfinite(solver.y)):
                break
            if step > _SETTLED:
                begun = begun or float(before)
                mean += (solver.y - mean) * (solver.t - before) / (solver.t - begun)
            if step % 50 == 0 or solver.status == "finished":
                found = self._newton(solver.y)
                if found is None and keep and aside is None and step % 500 == 0:
                    found = self._newton(mean)
                if found is not None:
                    aside = found if aside is None else aside
                    near = np.abs(self.full(found) - self.full(solver.y)) <= 0.01 * self._size(solver.y)
                    rest = self._described(found, "time")
                    if rest.stable and np.all(near | (self._size(found) < 1e-6 * self._size(found).max())):
                        return solver.y, rest
            if solver.status == "finished":
                break
        return solver.y, None if aside is None or not keep else self._described(aside, "newton")

    def _none(self, z: np.ndarray) -> IntegrationError:
        rate = np.abs(self.tangent.change(inputs_at(self.full(z), self.constants))) / self._size(z)
        name = self.tangent.network.state_ids[int(np.argmax(np.nan_to_num(rate, nan=np.inf)))]
        message = f"cell {self.cell}: no steady state was found; '{name}' still changes"
        return IntegrationError(message, self.cell, None, name)
