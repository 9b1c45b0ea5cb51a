"""Opens runs: as an `xarray.DataTree`, as the cells of one time, as AnnData."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sim.errors import ScenarioError
from sim.store.verify import digest, require_chunks, verify

if TYPE_CHECKING:
    import anndata
    import xarray as xr

__all__ = ["cells_at", "digest", "open_run", "to_anndata", "verify"]


def open_run(path: Path | str) -> xr.DataTree:
    """The run at `path`, finished or not, read when its values are used.

    Raises:
        ScenarioError: there is no run, or a chunk is missing; where values are used, also that one is damaged.
    """
    import xarray as xr

    from sim.store.guarded import RunFiles
    from sim.store.record import read_record

    path = Path(path)
    require_chunks(path, read_record(path))
    return xr.open_datatree(RunFiles(path, read_only=True), engine="zarr")  # type: ignore[arg-type]


def cells_at(tree: xr.DataTree, time: float) -> xr.Dataset:
    """The cells at one saved time, dimension `cell`; types and phases by name.

    Args:
        time: in the scenario's unit.

    Raises:
        ScenarioError: nothing was saved at this time.
    """
    cells = tree["cells"].to_dataset()
    times = cells["time"].values
    near = np.flatnonzero(np.isclose(times, time, rtol=1e-9, atol=1e-9))
    if not len(near):
        unit = cells["time"].attrs.get("units", "")
        close = ", ".join(f"{t:g}" for t in sorted(times[np.argsort(np.abs(times - time))[:3]]))
        raise ScenarioError(f"no cells were saved at t = {time:g} {unit}; near it: {close or 'nothing'}")
    ends = np.cumsum(cells["row_size"].values)
    stop = int(ends[near[0]])
    start = stop - int(cells["row_size"].values[near[0]])
    now = cells.drop_dims("time").isel(obs=slice(start, stop)).load()
    now = now.set_coords("cell").swap_dims(obs="cell")
    for name, variable in now.data_vars.items():
        if "flag_meanings" in variable.attrs:
            now[name] = (variable.dims, named(variable), {"long_name": variable.attrs["long_name"]})
    return now.assign_coords(time=times[near[0]])


def named(variable: xr.DataArray) -> np.ndarray:
    """Codes with `flag_meanings` as their names."""
    meanings = np.array(variable.attrs["flag_meanings"].split(" "))
    return meanings[variable.values]


def to_anndata(tree: xr.DataTree, time: float) -> anndata.AnnData:
    """The cells at one saved time as AnnData.

    `X` (cell, quantity) holds the pathway, decoder and rate quantities, `obs` the type, phase and volume,
    `obsm["spatial"]` the positions [um] and `obsm["X_<space>"]` the universal representations.

    Raises:
        ScenarioError: nothing was saved at this time.
    """
    import anndata
    import pandas as pd

    now = cells_at(tree, time)
    names = [str(n) for n in now.data_vars]
    labels = [n for n in names if now[n].dtype.kind in "UO"]
    latents = [n for n in names if now[n].ndim == 2]
    values = [n for n in names if "." in n and n not in labels and n not in latents]
    facts = [n for n in names if n not in {*labels, *latents, *values, "x", "y", "z"}]
    obs: dict[str, Any] = {n: pd.Categorical(now[n].values) for n in labels}
    obs |= {n: now[n].values for n in facts}
    index = pd.Index(now["cell"].values.astype(str), name="cell")
    var = pd.DataFrame(
        {
            "units": [now[n].attrs.get("units", "") for n in values],
            "long_name": [now[n].attrs.get("long_name", "") for n in values],
        },
        index=pd.Index(values, dtype=str),
    )
    columns = [now[n].values for n in values]
    matrix = np.stack(columns, axis=1) if columns else np.empty((len(index), 0), np.float32)
    made = anndata.AnnData(X=matrix, obs=pd.DataFrame(obs, index=index), var=var)
    made.obsm["spatial"] = np.stack([now[a].values for a in "xyz"], axis=1)
    for name in latents:
        made.obsm["X_" + name.removeprefix("ur.")] = now[name].values
    made.uns["time"] = float(time)
    made.uns["time_unit"] = str(tree.attrs.get("time_unit", ""))
    made.uns["run"] = str(tree.attrs.get("name", ""))
    return made
