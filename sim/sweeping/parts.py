"""Finished members on disk, each in a file of its own, until the sweep is whole; and the dataset made of them."""

from __future__ import annotations

import io
import json
import shutil
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sim.errors import ScenarioError
from sim.store.disk import discard, disk_errors, own_folder, replace_files
from sim.store.place import appear, beside, recover
from sim.sweeping.form import Sweep

if TYPE_CHECKING:
    import xarray as xr

_IDENTITY = "identity.json"


class Parts:
    """The folder `SWEEP.zarr.parts`: what is finished stays finished, whatever happens to the rest."""

    def __init__(self, output: Path, sweep: Sweep, identity: dict[str, str]):
        self.folder = _folder(output)
        self.sweep = sweep
        self.identity = identity

    def begin(self, resume: bool) -> None:
        """Make the folder, or check that it is of the same sweep.

        Raises:
            ScenarioError: there are members of another sweep, or there are some and `resume` is not asked.
            StoreError: the disk, or the folder is a link to another place.
        """
        own_folder(self.folder)
        there = self.folder / _IDENTITY
        if next(self.folder.glob("*.npz"), None) and there.exists():
            if not resume:
                raise ScenarioError(f"{self.folder}: holds members of an interrupted sweep; use --resume")
            found = identity_in(there.read_bytes())
            for name, value in self.identity.items():
                if found.get(name) != value:
                    raise ScenarioError(f"{self.folder}: {name} is another one than of the members there")
            return
        with disk_errors(self.folder):
            replace_files([(there, json.dumps(self.identity, indent=1).encode())])

    def keep(self, name: str, result: dict[str, Any]) -> None:
        """Write one member's result, durable when this returns."""
        arrays = {f"summary/{k}": v for k, v in result.get("summary", {}).items()}
        told = {k: v for k, v in result.items() if k != "summary"}
        buffer = io.BytesIO()
        np.savez_compressed(buffer, told=np.array(json.dumps(told)), **arrays)
        with disk_errors(self.folder, f" while writing member {name}"):
            replace_files([(self.folder / f"{name}.npz", buffer.getvalue())])

    def read(self, name: str) -> dict[str, Any] | None:
        """A member's result, None where it is not there or its file is damaged."""
        try:
            with np.load(self.folder / f"{name}.npz", allow_pickle=False) as file:
                told = json.loads(str(file["told"]))
                told["summary"] = {
                    k.removeprefix("summary/"): file[k] for k in file.files if k.startswith("summary/")
                }
                return told
        except (OSError, ValueError, KeyError, EOFError):
            return None
        except Exception as error:
            # zipfile and zlib have errors of their own for a damaged file
            if type(error).__module__ in ("zipfile", "zlib"):
                return None
            raise

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


def identity_at(output: Path) -> dict[str, str]:
    """What the sweep whose members are kept for `output` was begun with; nothing where there are none."""
    try:
        return identity_in((_folder(output) / _IDENTITY).read_bytes())
    except OSError:
        return {}


def identity_in(content: bytes | str) -> dict[str, str]:
    """The identity that was written as `content`; nothing where it is damaged."""
    try:
        found = json.loads(content)
    except (ValueError, TypeError):
        return {}
    whole = isinstance(found, dict) and all(isinstance(value, str) for value in found.values())
    return found if whole and found.get("seed", "0").isdecimal() else {}


def _folder(output: Path) -> Path:
    return output.with_name(f"{output.name}.parts")


def gathered(sweep: Sweep, parts: Parts, attrs: dict[str, Any]) -> xr.Dataset:
    """All members as one dataset; what is not finished is NaN, and `status` says so."""
    import xarray as xr

    shape = sweep.shape
    dims = (*(a.name for a in sweep.axes), "seed")
    status = np.full(shape, "waiting", object)
    log = np.full(shape, "", object)
    outcomes = {name: np.full(shape, np.nan) for name in sweep.outcomes}
    units: dict[str, str] = {}
    found = {m.place: r for m in sweep.members() if (r := parts.read(m.name)) is not None}
    done = [r for r in found.values() if r["status"] == "done"]
    times = np.unique(np.concatenate([r["summary"]["time"] for r in done])) if done else np.empty(0)
    names = [n for n in (done[0]["summary"] if done else {}) if n != "time"]
    types = list(sweep.scenario.cells)
    courses = {n: np.full((*shape, len(times), len(types)), np.nan) for n in names}
    for place, result in found.items():
        status[place], log[place] = result["status"], result["log"]
        for name, value in result.get("outcomes", {}).items():
            outcomes[name][place] = np.nan if value is None else value
        units |= result.get("units", {})
        at = np.searchsorted(times, result["summary"].get("time", np.empty(0)))
        for name in names:
            if name in result["summary"]:
                courses[name][place][at] = result["summary"][name]
    meaning = sweep.outcomes
    variables: dict[str, Any] = {
        n: (dims, v, {"units": units.get(n, "1"), "long_name": meaning[n]}) for n, v in outcomes.items()
    }
    for n, v in courses.items():
        name = f"{n}.course" if n in variables else n
        words = "living cells" if n == "count" else f"mean of {n.removesuffix('.mean')} over the living cells"
        variables[name] = ((*dims, "time", "type"), v, {"units": units.get(n, "1"), "long_name": words})
    variables["status"] = (dims, status, {"units": "1", "long_name": "done, failed or waiting"})
    variables["log"] = (dims, log, {"units": "1", "long_name": "why a member failed"})
    coords: dict[str, Any] = {a.name: _coordinate(a.name, a.key, a.values) for a in sweep.axes}
    coords["seed"] = ("seed", np.array(sweep.seeds, np.uint64), {"units": "1", "long_name": "seed"})
    unit = sweep.scenario.time.stop.unit
    coords["time"] = ("time", times, {"units": unit, "long_name": "time"})
    coords["type"] = ("type", np.array(types, object), {"units": "1", "long_name": "cell type"})
    return xr.Dataset(variables, coords, attrs)


def write_dataset(dataset: xr.Dataset, path: Path) -> None:
    """Write the dataset so that `path` holds the old content or the whole new one."""
    with disk_errors(path), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*does not have a Zarr V3 specification.*")
        warnings.filterwarnings("ignore", message=".*Consolidated metadata.*")
        recover(path)
        try:
            dataset.to_zarr(beside(path, "new"), mode="w-")
            appear(beside(path, "new"), path)
        finally:
            discard(beside(path, "new"))


def _coordinate(name: str, key: str, values: tuple[str, ...]) -> tuple:
    """Numbers with their unit where all values are numbers of one unit; else text."""
    from sim.scenario.yaml_text import plain_value

    numbers, units = [], set()
    for text in values:
        head, _, unit = text.strip().partition(" ")
        number = plain_value(head)
        if isinstance(number, bool) or not isinstance(number, int | float):
            break
        numbers.append(float(number))
        units.add(unit.strip())
    attrs = {"long_name": key}
    if (
        len(numbers) == len(values)
        and len(units - {""}) <= 1
        and (len(units) == 1 or all(n == 0 for n, t in zip(numbers, values) if " " not in t.strip()))
    ):
        return (name, np.array(numbers), {"units": next(iter(units - {""}), "1") or "1", **attrs})
    return (name, np.array(values, object), {"units": "1", **attrs})
