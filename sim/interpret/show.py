"""An explanation for people and for programs: a table, JSON, a store."""

from __future__ import annotations

import json
import math
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from sim.errors import ScenarioError
from sim.interpret.effects import Row, as_plain, rows_of
from sim.interpret.grouped import Follows, grouped, owners
from sim.store.disk import disk_errors, own_folder, replace_files
from sim.tables import whole

if TYPE_CHECKING:
    import xarray as xr

#: rows of a method that the table shows, and inputs of a network; the store has all
MOST_ROWS, _MOST_INPUTS = 12, 4
#: methods that tell what networks follow
ATTRIBUTING = ("integrated_gradients", "gradients")

_SAID = {
    "total": "total effect: all consequences included, same random numbers in every pair of runs",
    "direct": "direct effect: at the same state, before anything follows from it",
}


def as_table(found: xr.DataTree) -> str:
    """The ranking as text: what was asked, a table for each method, and what the reader must know."""
    a = found.attrs
    unit = f" {a['units']}" if a["units"] not in ("1", "") else ""
    lines = [
        f"{a['outcome']}: {a['baseline']:.4g}{unit} "
        f"({a['baseline_lower']:.4g} to {a['baseline_upper']:.4g}) over {a['seeds']} seeds",
    ]
    rows = rows_of(found["ranking"].to_dataset())
    for method in dict.fromkeys(r.method for r in rows):
        mine = [r for r in rows if r.method == method]
        lines += ["", f"{method} ({_SAID[mine[0].kind]})"]
        if method in ATTRIBUTING:
            lines += _networks(grouped(mine, owners(found[method].to_dataset())))
            continue
        lines += _aligned(mine[:MOST_ROWS], a["outcome"])
        if len(mine) > MOST_ROWS:
            lines.append(f"      and {len(mine) - MOST_ROWS} more")
    lines += ["", *a["notes"]] if a["notes"] else [""]
    lines.append(
        f"the coupling step itself changes the outcome by {a['coupling_error']:+.2g}{unit} "
        f"({a['coupling_error_lower']:+.2g} to {a['coupling_error_upper']:+.2g})"
    )
    return "\n".join(lines)


def to_json(found: xr.DataTree) -> str:
    """The ranking as a JSON list, method by method, best ranked first; a number that does not exist is null."""
    rows = as_plain(rows_of(found["ranking"].to_dataset()))
    return json.dumps(rows, indent=2, ensure_ascii=False, allow_nan=False)


def write(found: xr.DataTree, path: str | Path) -> Path:
    """Write the explanation as a Zarr store, which appears whole or not at all; the folder of its page, which is made.

    Raises:
        ScenarioError: the store exists.
        StoreError: the disk is full, or cannot be written to.
    """
    path = Path(path)
    require_free(path)
    folder = Path(f"{path}.report")
    own_folder(folder)
    with whole(path) as part, warnings.catch_warnings():
        # names are stored as text of fixed width, which every reader of Zarr that people use knows
        warnings.filterwarnings("ignore", message=".*does not have a Zarr V3 specification.*")
        found.to_zarr(part, mode="w-", consolidated=False)
    with disk_errors(folder):
        replace_files([(folder / "ranking.txt", f"{as_table(found)}\n".encode())])
    return folder


def require_free(path: str | Path) -> None:
    """Refuse an output that exists: to be asked before hours are spent.

    Raises:
        ScenarioError: it exists.
    """
    import os

    if os.path.lexists(path):
        raise ScenarioError(f"{path}: exists; give another -o or remove it")


def _networks(found: list[Follows]) -> list[str]:
    """A line for each network: what it says, and the inputs that move most of it."""
    table = [("network", "says", "follows")]
    for f in found:
        strongest = ", ".join(f"{p.name} {p.share:.0%}" for p in f.inputs[:_MOST_INPUTS])
        left = len(f.inputs) - _MOST_INPUTS
        table.append(
            (f.name, _short(", ".join(f.outputs)), strongest + (f" and {left} more" if left > 0 else ""))
        )
    return _columns(table, right=())


def _short(text: str, most: int = 60) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _aligned(rows: list[Row], outcome: str) -> list[str]:
    elsewhere = any(r.on != outcome for r in rows)
    table = [
        ("rank", "quantity", *(["on"] if elsewhere else []), "effect", "90 % interval", "relative", "verdict")
    ]
    for r in rows:
        unit = f" {r.unit}" if elsewhere and r.unit not in ("1", "") else ""
        table.append(
            (
                str(r.rank),
                r.quantity,
                *([_short(r.on)] if elsewhere else []),
                f"{r.effect:+.4g}{unit}",
                f"{r.lower:+.3g} to {r.upper:+.3g}",
                f"{100 * r.relative:+.1f} %" if math.isfinite(r.relative) else "",
                r.verdict + (f"; {_short(r.note, 90)}" if r.note else ""),
            )
        )
    return _columns(table, right=(0, 3 if elsewhere else 2))


def _columns(table: list[tuple[str, ...]], right: tuple[int, ...]) -> list[str]:
    """Rows of text with their columns under each other."""
    widths = [max(len(row[k]) for row in table) for k in range(len(table[0]))]
    return [
        "  ".join(
            cell.rjust(w) if k in right else cell.ljust(w) for k, (cell, w) in enumerate(zip(row, widths))
        ).rstrip()
        for row in table
    ]
