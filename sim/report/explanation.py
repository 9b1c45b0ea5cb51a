"""The page of an explanation: sentences made from its numbers, and pictures of them, drawn from the opened store."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from sim.report import effect_pictures as pictures
from sim.report.effect_words import Told, sentences
from sim.report.page import document
from sim.report.section import Figure, Section
from sim.report.style import plain_number

_MOST_TABLE = 15

_METHODS = {
    "ablation": "each coupling left out and the run repeated with the same random numbers",
    "clamp": "each coupling's source held as it was at the start",
    "scaling": "each coupling made 10 % stronger and weaker",
    "direct": "what each coupling does to the quantity it drives, at the same state",
    "share": "what each process contributed to the outcome's change",
    "gradients": "slope of each network by its inputs, times their distance from the untreated cell",
    "integrated_gradients": "what each input adds to what a network says, from the untreated cell on",
    "distil": "how much of each learned term a formula explains",
    "control": "response of the pathway's time course to its parameters",
    "local": "slope of the outcome by each parameter",
    "morris": "elementary effects over the parameters' ranges",
    "sobol": "share of the outcome's variance over the parameters' ranges",
    "counterfactual": "smallest change that moves the outcome past the threshold",
}


def write_explanation(store: Path | str, folder: Path | str) -> Path:
    """Writes `explain.html` of the explanation at `store` into `folder` and returns its path.

    Raises:
        StoreError: the page cannot be written.
    """
    import xarray as xr

    from sim.store.disk import disk_errors, replace_files

    with xr.open_datatree(store, engine="zarr", consolidated=False) as tree:
        html = rendered(tree.load(), Path(store).name)
    page = Path(folder) / "explain.html"
    with disk_errors(page):
        Path(folder).mkdir(exist_ok=True)
        replace_files([(page, html.encode())])
    return page


def rendered(tree: Any, name: str) -> str:
    """The page as HTML."""
    a = tree.attrs
    rows = rows_of(tree)
    unit = "" if a["units"] in ("1", "") else f" {a['units']}"
    numbers = [
        (plain_number(a["baseline"]) + unit, a["outcome"]),
        (
            f"{plain_number(a['baseline_lower'])} to {plain_number(a['baseline_upper'])}",
            f"90 % interval over {a['seeds']} seeds",
        ),
        (str(sum(r.kind == "total" and r.firm for r in rows)), "clear total effects"),
    ]
    sections = [_in_words(a, rows), *_by_kind(tree, rows), _notes(a)]
    return document(
        f"Why {a['outcome']}?",
        str(a["scenario"]),
        numbers,
        [s for s in sections if s is not None],
        f"Drawn by cellweave from {name}.",
    )


def rows_of(tree: Any) -> list[Told]:
    """The rows of the ranking."""
    table = tree["ranking"].to_dataset()
    names = [str(n) for n in table.data_vars]
    return [Told(**dict(zip(names, values))) for values in zip(*(table[n].values.tolist() for n in names))]


def _in_words(a: dict, rows: Sequence[Told]) -> Section:
    items = "".join(f"<li>{escape(s)}</li>" for s in sentences(a, rows))
    return Section("In words", "", [Figure(f"<ul>{items}</ul>")])


def _by_kind(tree: Any, rows: Sequence[Told]) -> list[Section | None]:
    totals = [r for r in rows if r.kind == "total" and r.method != "counterfactual"]
    directs = [r for r in rows if r.kind == "direct" and r.method in ("direct", "share")]
    networks = [r for r in rows if r.method in ("integrated_gradients", "gradients")]
    return [
        _total(tree, totals),
        _direct(tree, directs),
        _network(tree, networks),
        _formulas(tree, [r for r in rows if r.method == "distil"]),
        _tables(
            "Pathways and parameters",
            [r for r in rows if r.method in ("control", "local", "morris", "sobol")],
        ),
        _tables("What would have changed it", [r for r in rows if r.method == "counterfactual"]),
    ]


def _total(tree: Any, rows: list[Told]) -> Section | None:
    if not rows:
        return None
    figures = []
    for method in dict.fromkeys(r.method for r in rows):
        mine = [r for r in rows if r.method == method]
        caption = (
            f"{method}: {_METHODS[method]}. Bars are total effects on the outcome, lines their 90 % intervals; "
            "grey where the interval holds 0 and nothing can be told."
        )
        figures.append(Figure(pictures.bars(mine, tree.attrs["units"]), caption))
    wiring = json.loads(tree.attrs.get("wiring", "{}"))
    cut = [r for r in rows if r.method == "ablation"]
    if cut and wiring.get("nodes"):
        caption = (
            "The couplings, as wide as their total effect: orange raises the outcome, blue lowers it, grey "
            "cannot be told from nothing."
        )
        figures.append(Figure(pictures.weighted_graph(wiring, cut), caption))
    return Section("What drives it, all consequences included", "", figures)


def _direct(tree: Any, rows: list[Told]) -> Section | None:
    if not rows:
        return None
    figures = []
    mine = [r for r in rows if r.method == "direct"]
    if mine:
        figures.append(
            Figure(
                pictures.relative_bars(mine),
                "What each coupling does to the quantity that it drives, before anything follows from it, "
                "relative to that quantity. A large direct effect need not reach the outcome.",
            )
        )
        figures.append(
            Figure(
                pictures.direct_in_time(tree["direct"].to_dataset()),
                "The same along the run: share of each coupling in what its target is (orange raises, blue lowers).",
            )
        )
    shares = [r for r in rows if r.method == "share"]
    if shares:
        figures.append(
            Figure(
                pictures.bars(shares, tree.attrs["units"]),
                "Contributions of processes to the change of the outcome since the start; they sum up to it.",
            )
        )
    return Section("What acts on what, directly", "", figures)


def _network(tree: Any, rows: list[Told]) -> Section | None:
    if not rows:
        return None
    method = rows[0].method
    figures = []
    data = tree[method].to_dataset()
    drawn = pictures.attribution_in_time(data)
    if drawn:
        figures.append(
            Figure(
                drawn,
                f"{_METHODS[method]}: shares of each input in what the networks say, along the run. "
                "Rows are inputs, columns times.",
            )
        )
    if "influence" in data:
        figures.append(
            Figure(
                pictures.influence_map(data),
                "Who is heard: what each cell adds to the messages of all its neighbours at the outcome's time.",
            )
        )
    figures.append(Figure(_table([r for r in rows if r.method == method][:_MOST_TABLE])))
    return Section("What the networks follow", "", figures)


def _formulas(tree: Any, rows: list[Told]) -> Section | None:
    if not rows:
        return None
    figures = []
    drawn = pictures.formulas(tree["distil"].to_dataset())
    if drawn:
        caption = (
            "Each learned term along the input that moves it most (line), and its formula (dashed), "
            "all other inputs at their medians."
        )
        figures.append(Figure(drawn, caption))
    figures.append(Figure(_table(rows)))
    return Section("Learned terms as formulas", "", figures)


def _tables(title: str, rows: list[Told]) -> Section | None:
    if not rows:
        return None
    figures = [
        Figure(_table([r for r in rows if r.method == m][:_MOST_TABLE]), f"{m}: {_METHODS[m]}.")
        for m in dict.fromkeys(r.method for r in rows)
    ]
    return Section(title, "", figures)


def _table(rows: Sequence[Told]) -> str:
    head = "<tr><th>what</th><th>on</th><th>effect</th><th>90 % interval</th><th>what can be told</th></tr>"
    body = "".join(
        f"<tr><td>{escape(r.quantity)}</td><td>{escape(r.on)}</td>"
        f"<td>{plain_number(r.effect)}{'' if r.unit in ('1', '') else ' ' + escape(r.unit)}</td>"
        f"<td>{plain_number(r.lower)} to {plain_number(r.upper)}</td>"
        f"<td>{escape(r.verdict)}{'; ' + escape(r.note) if r.note else ''}</td></tr>"
        for r in rows
    )
    return f"<table>{head}{body}</table>"


def _notes(a: dict) -> Section:
    errors = json.loads(a.get("splitting_error", "{}"))
    worst = max(errors, key=lambda n: errors[n]) if errors else None
    lines = [
        "A total effect is what changes when something is changed and everything else follows; every pair of "
        "runs shares its random numbers, so that chance does not count as an effect. A direct effect is taken at "
        "one state, before anything follows.",
        f"Halving every step changes the outcome by {plain_number(a['coupling_error'])} "
        f"({plain_number(a['coupling_error_lower'])} to {plain_number(a['coupling_error_upper'])}). Effects that "
        "are smaller than a clear step error are marked.",
    ]
    if worst is not None:
        lines.append(f"The coupling error of one step is at most {errors[worst]:.1e}, relative ({worst}).")
    lines += [f"{m}: {_METHODS[m]}." for m in a["methods"]]
    return Section(
        "How to read this", "", [Figure("<ul>" + "".join(f"<li>{escape(s)}</li>" for s in lines) + "</ul>")]
    )
