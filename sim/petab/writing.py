"""A PEtab problem written back: its files as they are, its parameter tables with other nominal values."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from sim.errors import Problem, ScenarioError, StoreError
from sim.petab.tables import Files, Table, read_table


def write_problem(files: Files, values: Mapping[str, float], folder: Path) -> Path:
    """The problem in `folder`, with `values` as nominal values of parameters; the new YAML file.

    Raises:
        ScenarioError: a file of the problem lies outside of its folder, or `folder` is that folder.
        StoreError: it cannot be written.
    """
    home = files.file.parent.resolve()
    if folder.resolve() == home:
        raise ScenarioError(f"{folder}: the fitted problem would take the place of the one that was given")
    parameters = _named(files.data.get("parameter_files") or files.data.get("parameter_file"))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in _all_files(files.data):
            path = files.path(name)
            if not path.resolve().is_relative_to(home):
                message = (
                    f"'{name}' lies outside the problem's folder, so the problem cannot be written elsewhere"
                )
                raise ScenarioError(Problem(str(files.file), message))
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if name in parameters:
                target.write_text(_with_values(read_table(path, ("parameterId",)), values))
            elif path.is_file():
                shutil.copyfile(path, target)
        shutil.copyfile(files.file, folder / files.file.name)
    except OSError as error:
        raise StoreError(f"{folder}: {error.strerror or error}") from None
    return folder / files.file.name


def _named(found: object) -> list[str]:
    return [n for n in (found if isinstance(found, list) else [found]) if isinstance(n, str)]


def _all_files(data: object) -> list[str]:
    """Every file that the YAML file names, at any depth."""
    if not isinstance(data, dict):
        return []
    names: list[str] = []
    for key, value in data.items():
        if str(key).endswith(("_file", "_files")):
            if isinstance(value, dict):
                names += [v["location"] for v in value.values() if isinstance(v, dict) and "location" in v]
            else:
                names += _named(value)
        elif isinstance(value, list):
            names += [n for part in value for n in _all_files(part)]
        elif isinstance(value, dict):
            names += _all_files(value)
    return list(dict.fromkeys(names))


def _with_values(table: Table, values: Mapping[str, float]) -> str:
    columns = table.columns if "nominalValue" in table.columns else (*table.columns, "nominalValue")
    lines = ["\t".join(columns)]
    for row in table.rows:
        name = row["parameterId"]
        own = {**row, "nominalValue": repr(float(values[name]))} if name in values else row
        lines.append("\t".join(own.get(c, "") for c in columns))
    return "\n".join(lines) + "\n"
