"""A model on its way through the steps of an experiment: set a value, run on, come to rest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from mechanistic.codegen.initial import initial_values
from mechanistic.codegen.numeric import evaluate
from mechanistic.codegen.system import varies
from mechanistic.network import ReactionNetwork, Species
from mechanistic.reading.problems import closest
from mechanistic.sedml.description import Simulation

if TYPE_CHECKING:
    import xarray

    from mechanistic.model import PathwayModel


class Session:
    """One cell of a model.

    Attributes:
        state, constants: (1, state_ids) and (1, settable_ids), as `codegen.system` stores them.
        time: [model time].

    Args:
        initial: values by id in place of the model's own, before it starts.
    """

    def __init__(self, model: PathwayModel, initial: Mapping[str, float]):
        self.model, self.network = model, model.network
        self.state, self.constants = initial_values(self.network, initial, 1)
        self.time = 0.0

    def value(self, name: str) -> float:
        """A quantity as it stands: a species as it is in math, `amount.<species>`, or any id of the model."""
        table = self.model._courses.dataset(
            np.array([self.time]), self.state[:, None, :], self.constants, "none"
        )
        return float(of(table, self.network, name)[0])

    def set(self, name: str, value: float) -> None:
        """Give a quantity a value now (see `why_not_settable`). What the model computed at its start stays."""
        plain = name.removeprefix("amount.")
        in_state = plain in self.network.state_ids
        thing = None if plain in self.network.references else self.network[plain]
        if isinstance(thing, Species):
            size = self._size(thing.compartment)
            amount = value if name != plain or thing.substance_only else value * size
            kept = in_state or (not thing.substance_only and varies(self.network, thing.compartment))
            value = amount if kept or thing.substance_only else amount / size
        ids, row = (
            (self.network.state_ids, self.state[0])
            if in_state
            else (self.network.settable_ids, self.constants[0])
        )
        row[ids.index(plain)] = value

    def run(self, simulation: Simulation, seed: int) -> xarray.Dataset:
        """Run on from here. Dims cell (one) and time; a time course starts anew at its initial time."""
        if simulation.kind == "rest":
            return self._rest()
        if simulation.kind == "step":
            times = np.array([self.time, self.time + simulation.step])
            grid = times
        else:
            begin, start, end = simulation.times
            times = np.linspace(start, end, simulation.steps + 1) if simulation.steps else np.array([start])
            grid = np.unique(np.concatenate([[begin], times]))
        options = simulation.options
        rtol, atol = options.get("rtol", 1e-6), options.get("atol", 1e-9)
        method, courses = self.model._courses.run(
            simulation.method,
            self.state.copy(),
            self.constants,
            grid,
            rtol,
            atol * self.model._atol_unit,
            int(options.get("seed", seed)),
        )
        self.state, self.time = courses[:, -1].copy(), float(grid[-1])
        chosen = courses[:, np.searchsorted(grid, times)]
        return self.model._courses.dataset(times, chosen, self.constants, method)

    def _rest(self) -> xarray.Dataset:
        from mechanistic.steady_state import rests_of

        given: dict[str, float] = dict(zip(self.network.settable_ids, self.constants[0].tolist()))
        for name, value in zip(self.network.state_ids, self.state[0].tolist()):
            given[f"amount.{name}" if name in self.network.species_ids else name] = value
        given = {name: value for name, value in given.items() if np.isfinite(value)}
        _, _, rests, _ = rests_of(self.network, given, 1, "auto")
        self.state = rests[0].state[None, :].copy()
        return self.model._courses.dataset(
            np.array([self.time]), self.state[:, None, :], self.constants, "newton"
        )

    def _size(self, compartment: str) -> float:
        system = self.model._system
        inputs = [self.time, 1.0, *self.state[0], *self.constants[0]]
        return float(evaluate(system.graph, [system.quantity(compartment)], inputs)[0])


def why_not_settable(network: ReactionNetwork, name: str) -> str | None:
    """What keeps a quantity from being given a value, or None."""
    if (reason := why_unknown(network, name)) is not None:
        return reason
    plain = name.removeprefix("amount.")
    if plain in network.state_ids or plain in network.settable_ids:
        return None
    return f"'{plain}' cannot be set: a rule or a rate law determines it"


def why_unknown(network: ReactionNetwork, name: str) -> str | None:
    """Says that a quantity is not in the model, or None."""
    plain = name.removeprefix("amount.")
    if plain in network and (plain == name or plain in network.species_ids):
        return None
    known = (*network.species_ids, *network.parameter_ids, *network.compartment_ids, *network.reaction_ids)
    return f"'{plain}' is not in the model{closest(plain, known)}"


def of(table: xarray.Dataset, network: ReactionNetwork, name: str) -> np.ndarray:
    """(time,) of one quantity of the model, a species as it stands in math: an amount where it counts so."""
    if name in network.species_ids and network[name].substance_only:
        name = f"amount.{name}"
    return table[f"value.{name}" if name in ("time", "cell") else name].values[0]
