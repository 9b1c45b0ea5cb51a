"""A model on its way through the steps of an experiment: set a value, run on, come to rest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from mechanistic.datasets import label
from mechanistic.errors import ModelError, ModelProblem
from mechanistic.network import ReactionNetwork
from mechanistic.reading.problems import closest
from mechanistic.sedml.description import Simulation

if TYPE_CHECKING:
    import xarray

    from mechanistic.model import PathwayModel

_ROUNDING = 1e-9  # an amount that a solver leaves so little below 0 is 0


class Session:
    """One cell of a model.

    Attributes:
        given: what the next run starts from, as `PathwayModel.simulate` takes it.
        time: [model time].

    Args:
        initial: values by id in place of the model's own, before it starts.
    """

    def __init__(self, model: PathwayModel, initial: Mapping[str, float]):
        self.model, self.network = model, model.network
        self.given = dict(initial)
        self.time = 0.0
        self.fresh = True

    def value(self, name: str) -> float:
        """A quantity as it stands: a species as it is in math, `amount.<species>`, or any id of the model."""
        return float(of(self._now(), self.network, name)[0])

    def set(self, name: str, value: float) -> None:
        """Give a quantity a value now (see `why_not_settable`). What the model computed at its start stays."""
        now = self._now()
        self.given = self._taken_from(now)
        plain = name.removeprefix("amount.")
        if plain in self.network.species_ids:
            species = self.network[plain]
            is_amount = name != plain or species.substance_only
            self.given[f"amount.{plain}"] = (
                value if is_amount else value * float(now[species.compartment].values[0, 0])
            )
        else:
            self.given[plain] = value

    def run(self, simulation: Simulation, seed: int) -> xarray.Dataset:
        """Run on from here. Dims cell (one) and time; a time course that follows another goes on from its end.

        Raises:
            ModelError: the run starts at another time than 0 and the model depends on time, or goes on where
                a delayed event is pending.
        """
        if simulation.kind == "rest":
            found = self._rest()
        else:
            begin, times = self._times(simulation)
            self._refuse(begin)
            options = simulation.options
            found = self.model.simulate(
                times - begin,
                initial=self.given,
                method=simulation.method,
                rtol=options.get("rtol", 1e-6),
                atol=options.get("atol", 1e-9),
                seed=int(options.get("seed", seed)),
            )
            found = found.assign_coords(time=("time", times, found["time"].attrs))
            self.time = float(times[-1])
        self.given = self._taken_from(found.isel(time=[-1]))
        self.fresh = False
        return found

    def _times(self, simulation: Simulation) -> tuple[float, np.ndarray]:
        if simulation.kind == "step":
            return self.time, np.array([self.time, self.time + simulation.step])
        begin, start, end = simulation.times
        if not self.fresh:
            # without a reset time goes on as well
            begin, start, end = self.time, start + self.time - begin, end + self.time - begin
        return begin, np.linspace(start, end, simulation.steps + 1) if simulation.steps else np.array([start])

    def _refuse(self, begin: float) -> None:
        network = self.network
        if begin != 0 and (what := _timed(network)):
            message = f"a run from time {begin:g} is not supported here: '{what}' depends on time"
            raise ModelError(network.file, [ModelProblem(message, network.line_of(what), what)])
        if self.fresh:
            return
        delayed = next((e for e in network.events if e.delay is not None), None)
        if delayed is not None:
            message = f"a run that goes on is not supported here: '{delayed.id}' may be pending"
            raise ModelError(network.file, [ModelProblem(message, delayed.line, delayed.id)])
        network.refuse_delays("a run that goes on")

    def _now(self) -> xarray.Dataset:
        return self.model.simulate([0.0], initial=self.given)

    def _rest(self) -> xarray.Dataset:
        found = self.model.steady_state(initial=self.given)
        self.given = self._taken_from(
            found.expand_dims(time=[self.time], axis=1), self._taken_from(self._now())
        )
        return self._now().assign_coords(time=("time", [self.time])).assign_attrs(method="newton")

    def _taken_from(
        self, table: xarray.Dataset, others: Mapping[str, float] | None = None
    ) -> dict[str, float]:
        """The last state in `table` as a start; what is not in it as in `others`."""
        network = self.network
        taken = dict(others or {})
        for name in dict.fromkeys((*network.state_ids, *network.settable_ids)):
            key = f"amount.{name}" if name in network.species_ids else name
            called = label(key)
            if called in table and np.isfinite(value := float(table[called].values[0, -1])):
                small = key != name and -_ROUNDING < value < 0
                taken[key] = 0.0 if small else value
        return taken


def _timed(network: ReactionNetwork) -> str | None:
    """The id of something that depends on time by itself, or None."""
    trees = [(r.id, r.rate) for r in network.reactions]
    trees += [(r.variable, r.math) for r in network.rules]
    for e in network.events:
        trees += [(e.id, tree) for tree in (e.trigger, e.delay, e.priority)]
        trees += [(e.id, a.math) for a in e.assignments]
    for name, tree in trees:
        waiting = [tree]
        while waiting:
            part = waiting.pop()
            if isinstance(part, list):
                if part[0] == "time":
                    return name
                waiting.extend(part[1:])
    return None


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
    return table[label(name)].values[0]
