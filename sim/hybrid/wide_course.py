"""Time courses of a hybrid with networks in torch: tables of them, and as a function that torch differentiates."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from mechanistic.beginnings import Start
from mechanistic.datasets import course_table
from mechanistic.observers import unknown
from sim.hybrid.wide import TorchSystem

if TYPE_CHECKING:
    import xarray

    from sim.hybrid.system import Hybrid


class WideCourse(torch.nn.Module):
    """Values of weights and parameters in, outputs out, as `mechanistic.codegen.torch_course.PathwayCourse`.

    Args:
        parameters: ids of weights of networks, the same in every cell, and of what can be set.
        outputs: ids of any quantities.
        options: initial, rtol, atol; cells share their steps.
    """

    def __init__(
        self,
        hybrid: Hybrid,
        times: Sequence[float] | np.ndarray,
        parameters: Sequence[str],
        outputs: Sequence[str],
        options: Mapping[str, Any],
    ):
        super().__init__()
        self.hybrid, self.outputs = hybrid, tuple(outputs)
        self._torch = TorchSystem(hybrid.network, tuple(hybrid.wide.values()))
        self._start = Start(hybrid.network)
        self._times = np.asarray(times, dtype=float)
        options = dict(options)
        self._initial = dict(options.pop("initial", None) or {})
        self._rtol, self._atol = options.pop("rtol", 1e-8), options.pop("atol", None)
        for name in options:
            raise TypeError(f"where a network runs in torch there is no '{name}'")
        at = {name: i for i, name in enumerate(parameters)}
        self._weights = [[at.pop(i) for i in w.ids] for w in hybrid.wide.values()]
        self._names, self._columns = tuple(at), list(at.values())
        system = self._torch.system
        try:
            self._nodes = [system.quantity(name) for name in self.outputs]
        except KeyError as error:
            raise unknown(hybrid.network, error.args[0]) from None

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """The outputs (cell, time, outputs), of `values` (cell, parameters).

        Raises:
            ModelError, IntegrationError: as `sim.hybrid.odeint`.
        """
        own = values[:, self._columns]
        given = {name: own[:, k].detach().numpy() for k, name in enumerate(self._names)}
        names = self._names or self._torch.network.settable_ids[:1]
        begun = self._start(self._times, names, len(values), self._initial, given)
        start = torch.tensor(np.concatenate([begun.state, begun.constants], 1))
        everyone = np.arange(len(values))
        for k in range(len(self._names)):
            # the value is there already; this says how it follows from the parameter
            slopes = np.concatenate(begun.slopes.directions(everyone, np.full(len(values), k)), 1)
            moved = torch.tensor(slopes) * (own[:, k] - own[:, k].detach())[:, None]
            start = start + torch.where(torch.tensor(slopes) != 0, moved, torch.zeros(()))
        n = self._torch.states
        state, constants = start[:, :n], start[:, n:]
        weights = [values[0, at] for at in self._weights]
        largest = float(np.abs(begun.state).max(initial=0.0)) or 1.0
        atol = self._atol if self._atol is not None else 1e-4 * self._rtol * largest
        course = self._torch.course(state, constants, weights, begun.grid, self._rtol, atol)
        seen = []
        for k in begun.where:
            time = torch.tensor(begun.grid[k])
            found = self._torch.values(self._nodes, time, course[k], constants, weights)
            seen.append(torch.stack(found, -1))
        return torch.stack(seen, 1)


def simulate(
    hybrid: Hybrid,
    times: Iterable[float],
    *,
    cells: int = 1,
    initial: Mapping[str, Any] | None = None,
    parameters: Mapping[str, Any] | None = None,
    outputs: Sequence[str] | None = None,
    rtol: float = 1e-6,
    atol: float | None = None,
    **_options: Any,
) -> xarray.Dataset:
    """A table of courses; dims cell and time, a variable for each species (or of `outputs`)."""
    network, given = hybrid.network, dict(parameters or {})
    ids = [i for name in hybrid.wide for i in hybrid.weight_ids(name)]
    weights = {p.id: p.nominal for p in hybrid.fit_parameters()}
    names = tuple(network.species_ids if outputs is None else outputs)
    own = {"initial": initial, "rtol": rtol, **({} if atol is None else {"atol": atol})}
    grid = np.asarray(list(times), dtype=float)
    course = WideCourse(hybrid, grid, [*ids, *given], names, own)
    columns = [np.full(cells, weights[i]) for i in ids]
    columns += [np.broadcast_to(np.asarray(v, dtype=float), cells) for v in given.values()]
    with torch.no_grad():
        found = course(torch.tensor(np.stack(columns, 1))).numpy()
    return course_table(network, names, np.moveaxis(found, 2, 0), cells, grid, "torch")
