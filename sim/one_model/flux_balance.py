"""The flux balance of one model, from the options of `cellweave simulate --method fba` to a table."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from sim import tables
from sim.errors import Problem, ScenarioError, escaped
from sim.one_model.files import told
from sim.one_model.time_course import Request, assigned, refuse_options
from sim.spelling import did_you_mean

if TYPE_CHECKING:
    import xarray

    from mechanistic import PathwayModel


def balance(request: Request, model: PathwayModel) -> xarray.Dataset:
    """The optimum of the model's active objective; see `mechanistic.flux_balance`.

    Raises:
        ScenarioError: a fault of the model or of the options.
        SimulationError: no fluxes meet all bounds, or the objective grows without end.
    """
    refuse_options(request, ("vary", "cells", "amounts"), "is for time courses; this is a flux balance")
    with told(request.model):
        found = model.flux_balance(parameters=assigned(request, model))
    if request.select is not None:
        known = (*found["reaction"].values.tolist(), found.attrs["objective"])
        problems = [
            Problem(
                str(request.model),
                f"'{escaped(n)}' is no flux of the model{did_you_mean(n, known)}",
                None,
                "--select",
            )
            for n in sorted(_selected(request) - set(known))
        ]
        if problems:
            raise ScenarioError(problems)
    return found


def write(found: xarray.Dataset, request: Request, output: Path | None) -> None:
    """Write fluxes by their reactions' ids, then the objective by its own, as CSV; or all as NetCDF or Zarr.

    Raises:
        ScenarioError: see `sim.tables.check_output`.
    """
    tables.write(found, _rows(found, request), output)


def _selected(request: Request) -> set[str]:
    return {name.strip() for name in (request.select or "").split(",")}


def _rows(found: xarray.Dataset, request: Request) -> Iterator[str]:
    values = dict(zip(found["reaction"].values.tolist(), found["flux"].values[0].tolist()))
    values[found.attrs["objective"]] = found["objective_value"].item()
    if request.select is not None:
        values = {name: value for name, value in values.items() if name in _selected(request)}
    yield ",".join(values) + "\n"
    yield ",".join(map(repr, values.values())) + "\n"
