"""An explanation for people and for programs: a table, JSON, a picture, a store."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING

from sim.errors import ScenarioError

if TYPE_CHECKING:
    import xarray as xr


#: verdicts that are drawn in colour
_FIRM = ("raises", "lowers")


def as_table(ranking: xr.Dataset) -> str:
    """The ranking as text: what was asked, a line for each coupling, and what the reader must know."""
    a = ranking.attrs
    unit = f" {a['units']}" if a["units"] not in ("1", "") else ""
    rows = [("rank", "coupling", "total effect", "90 % interval", "relative", "verdict")]
    for row in _rows(ranking):
        relative = f"{100 * row['relative']:+.1f} %" if math.isfinite(row["relative"]) else ""
        rows.append(
            (
                str(row["rank"]),
                row["quantity"],
                f"{row['effect']:+.4g}",
                f"{row['lower']:+.3g} to {row['upper']:+.3g}",
                relative,
                row["verdict"],
            )
        )
    widths = [max(len(r[k]) for r in rows) for k in range(len(rows[0]))]
    lines = [
        f"{a['outcome']}: {a['baseline']:.4g}{unit} "
        f"({a['baseline_lower']:.4g} to {a['baseline_upper']:.4g}) over {ranking.sizes['seed']} seeds",
        "",
        *(
            "  ".join(
                cell.rjust(w) if k in (0, 2) else cell.ljust(w) for k, (cell, w) in enumerate(zip(r, widths))
            ).rstrip()
            for r in rows
        ),
        "",
        "total effect: outcome of the intact run minus that with the coupling cut, same random numbers, "
        "all consequences included",
        f"the coupling step itself changes the outcome by {a['coupling_error']:+.2g}{unit} "
        f"({a['coupling_error_lower']:+.2g} to {a['coupling_error_upper']:+.2g})",
    ]
    return "\n".join(lines)


def to_json(ranking: xr.Dataset) -> str:
    """The ranking as a JSON list, best ranked first; a number that does not exist is null."""
    rows = [{k: _plain(v) for k, v in row.items()} for row in _rows(ranking)]
    return json.dumps(rows, indent=2, ensure_ascii=False, allow_nan=False)


def picture(ranking: xr.Dataset, path: Path) -> None:
    """Draw the ranking as bars with their intervals, into a PNG or SVG file."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = [r for r in _rows(ranking) if math.isfinite(r["effect"])]
    figure = Figure(figsize=(8, 1.6 + 0.4 * len(rows)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for place, r in enumerate(rows):
        firm = r["verdict"] in _FIRM
        colour = ("#c4561c" if r["effect"] > 0 else "#2c6fad") if firm else "#b5b5b5"
        axes.barh(place, r["effect"], color=colour, height=0.6)
        axes.plot([r["lower"], r["upper"]], [place, place], color="#222222", linewidth=1.2)
    axes.axvline(0, color="#222222", linewidth=0.8)
    axes.set_yticks(range(len(rows)), [_label(r) for r in rows])
    axes.invert_yaxis()
    unit = ranking.attrs["units"]
    axes.set_xlabel("total effect, intact minus cut" + (f" [{unit}]" if unit not in ("1", "") else ""))
    axes.set_title(f"What drives {ranking.attrs['outcome']}", loc="left", fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)


def write(ranking: xr.Dataset, path: str | Path) -> list[Path]:
    """Write the ranking as a Zarr store, and table and picture into the folder `<path>.report`; the files made.

    Raises:
        ScenarioError: the store exists.
    """
    path = Path(path)
    require_free(path)
    folder = Path(f"{path}.report")
    folder.mkdir(parents=True, exist_ok=True)
    ranking.to_zarr(path, mode="w-", consolidated=False)
    (folder / "ranking.txt").write_text(as_table(ranking) + "\n", encoding="utf-8")
    picture(ranking, folder / "ranking.png")
    return [path, folder / "ranking.txt", folder / "ranking.png"]


def require_free(path: str | Path) -> None:
    """Refuse an output that exists: to be asked before hours are spent.

    Raises:
        ScenarioError: it exists.
    """
    import os

    if os.path.lexists(path):
        raise ScenarioError(f"{path}: exists; give another -o or remove it")


def _label(row: dict) -> str:
    return row["quantity"] if row["verdict"] in _FIRM else f"{row['quantity']}\n{row['verdict']}"


def _rows(ranking: xr.Dataset) -> list[dict]:
    a = ranking.attrs
    return [
        {
            "quantity": str(ranking["coupling"].values[i]),
            "effect": float(ranking["effect"].values[i]),
            "kind": a["kind"],
            "lower": float(ranking["lower"].values[i]),
            "upper": float(ranking["upper"].values[i]),
            "relative": float(ranking["relative"].values[i]),
            "method": a["method"],
            "time": a["time"],
            "rank": int(ranking["rank"].values[i]),
            "verdict": str(ranking["verdict"].values[i]),
        }
        for i in range(ranking.sizes["coupling"])
    ]


def _plain(value):
    return None if isinstance(value, float) and not math.isfinite(value) else value
