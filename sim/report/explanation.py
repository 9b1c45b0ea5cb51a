"""The page of an explanation: sentences made from its numbers, and pictures of them, drawn from the opened store."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

from sim.interpret.effects import Row, rows_of
from sim.interpret.grouped import Follows, Pull, grouped, owners
from sim.interpret.show import ATTRIBUTING
from sim.report import effect_pictures as pictures
from sim.report.effect_words import sentences
from sim.report.in_words import outcome_words, outputs_words, words
from sim.report.page import document
from sim.report.section import Figure, Section
from sim.report.style import plain_number

_MOST_TABLE = 15
#: inputs of a network, or of one of its outputs, that a line names; smaller shares are left to the store
_MOST_INPUTS, _LEAST_SHARE = 4, 0.02
#: a direct share this near to all of a target has no rival
_ALONE = 1e-3


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
    "counterfactual": "smallest change that moves the outcome past the threshold; of several parameters together in "
    "shares of their ranges",
    "reach": "smallest change that brings about what is wanted, in shares of the parameters' ranges",
}

#: methods that search for changes, and those that vary parameters
CHANGING, SCREENING = ("counterfactual", "reach"), ("local", "morris", "sobol")


def write_explanation(store: Path | str, folder: Path | str) -> Path:
    """Writes `explain.html` of the explanation at `store` into `folder` and returns its path.

    Raises:
        StoreError: the page cannot be written.
    """
    import xarray as xr

    from sim.store.disk import disk_errors, own_folder, replace_files

    with xr.open_datatree(store, engine="zarr", consolidated=False) as tree:
        html = rendered(tree.load(), Path(store).name)
    page = Path(folder) / "explain.html"
    own_folder(Path(folder))
    with disk_errors(page):
        replace_files([(page, html.encode())])
    return page


def rendered(tree: Any, name: str) -> str:
    """The page as HTML."""
    a = tree.attrs
    rows = rows_of(tree["ranking"].to_dataset())
    networks = _networks(tree, rows)
    unit = "" if a["units"] in ("1", "") else f" {a['units']}"
    asked = outcome_words(a["outcome"])
    clear = sum(r.kind == "total" and r.firm for r in rows)
    numbers = [
        (plain_number(a["baseline"]) + unit, asked),
        (
            f"{plain_number(a['baseline_lower'], 3)} to {plain_number(a['baseline_upper'], 3)}",
            f"90 % interval over {a['seeds']} seeds",
        ),
        (str(clear), "clear total effect" if clear == 1 else "clear total effects"),
    ]
    sections = [_in_words(a, rows, networks), *_by_kind(tree, rows, networks), _notes(a)]
    return document(
        f"What drives the {asked}?",
        str(a["scenario"]),
        numbers,
        [s for s in sections if s is not None],
        f"Drawn by cellweave from {name}.",
    )


def _networks(tree: Any, rows: Sequence[Row]) -> list[Follows]:
    """The networks of the scenario by the first method that tells of them."""
    for method in ATTRIBUTING:
        mine = [r for r in rows if r.method == method]
        if mine:
            return grouped(mine, owners(tree[method].to_dataset()))
    return []


def _in_words(a: dict, rows: Sequence[Row], networks: Sequence[Follows]) -> Section:
    items = "".join(f"<li>{escape(s)}</li>" for s in sentences(a, rows, networks))
    return Section("In words", "", [Figure(f"<ul>{items}</ul>")])


def _by_kind(tree: Any, rows: Sequence[Row], networks: Sequence[Follows]) -> list[Section | None]:
    totals = [r for r in rows if r.kind == "total" and r.method not in (*CHANGING, *SCREENING, "distil")]
    directs = [r for r in rows if r.kind == "direct" and r.method in ("direct", "share")]
    return [
        _total(tree, totals),
        _direct(tree, directs),
        _network(tree, networks),
        _formulas(tree, [r for r in rows if r.method == "distil"]),
        _tables(
            "Pathways and parameters",
            [r for r in rows if r.method in ("control", *SCREENING)],
        ),
        _tables("What would have changed it", [r for r in rows if r.method in CHANGING]),
    ]


def _total(tree: Any, rows: list[Row]) -> Section | None:
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


def _direct(tree: Any, rows: list[Row]) -> Section | None:
    if not rows:
        return None
    figures = []
    mine = [r for r in rows if r.method == "direct"]
    if mine:
        # what alone sets its target is all of it, which is no news
        alone = [r.quantity for r in mine if abs(abs(r.relative) - 1) < _ALONE]
        drawn = [r for r in mine if r.quantity not in alone]
        if drawn:
            caption = (
                "What each coupling does to the quantity that it drives together with others, before anything follows "
                "from it, relative to that quantity. A large direct effect need not reach the outcome."
            )
            figures.append(Figure(pictures.relative_bars(drawn), caption))
        figures.append(
            Figure(
                pictures.direct_in_time(tree["direct"].to_dataset()),
                "Along the run: share of each coupling in what its target is (orange raises, blue lowers)."
                + (f" All that their targets are: {', '.join(alone)}." if alone else ""),
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


def _network(tree: Any, networks: Sequence[Follows]) -> Section | None:
    if not networks:
        return None
    method = networks[0].rows[0].method
    labels = json.loads(tree.attrs.get("labels", "{}"))
    data = tree[method].to_dataset()
    figures = [
        Figure(
            _followed(networks, labels),
            f"Each network with the inputs that move most of what it says, over the whole run ({_METHODS[method]}). "
            "These are direct effects: what the network answers to, not yet what the tissue makes of it.",
        )
    ]
    drawn = pictures.attribution_in_time(data, labels, inner=False)
    if drawn:
        figures.append(
            Figure(
                drawn,
                "When: the share of each input in what the networks tell the tissue (orange raises, blue lowers).",
            )
        )
    if "influence" in data:
        figures.append(
            Figure(
                pictures.influence_map(data),
                "Where: what each cell adds to the messages of all its neighbours at the outcome's time.",
            )
        )
    inner = pictures.attribution_in_time(data, labels, inner=True)
    if inner:
        body = f"<details><summary>what moves the representations themselves, along the run</summary>{inner}</details>"
        figures.append(Figure(body))
    return Section("What the networks follow", "", figures)


def _followed(networks: Sequence[Follows], labels: dict[str, str]) -> str:
    """A line for each network; its outputs one by one are folded."""
    head = "<tr><th>network</th><th>says</th><th>follows</th></tr>"
    lines, folded = [], []
    for f in networks:
        says = outputs_words(f.outputs)
        lines.append(
            f"<tr><td>{escape(f.name)}</td><td>{escape(says)}</td><td>{_pulls(f.inputs, labels, False)}</td></tr>"
        )
        folded += [
            f"<tr><td>{escape(f.name)}</td><td>{escape(on)}</td><td>{_pulls(pulls, labels, True)}</td></tr>"
            for on, pulls in f.by_output.items()
        ]
    return (
        f"<table>{head}{''.join(lines)}</table><details><summary>each of the {len(folded)} outputs by itself"
        f"</summary><table>{head}{''.join(folded)}</table></details>"
    )


def _pulls(pulls: Sequence[Pull], labels: dict[str, str], signed: bool) -> str:
    """Inputs with their shares as HTML: `confluence 62 %, raises it`."""
    named = [p for p in pulls[:_MOST_INPUTS] if p.share >= _LEAST_SHARE]
    sign = {1: ", raises it", -1: ", lowers it", 0: ""}
    parts = [
        f'<span title="{escape(p.name)}">{escape(words(p.name, labels))} <b>{p.share:.0%}</b>'
        f"{sign[p.sign] if signed else ''}</span>"
        for p in named
    ]
    left = len(pulls) - len(named)
    return "; ".join(parts) + (f"; {left} more" if left and parts else "") if parts else "nothing"


def _formulas(tree: Any, rows: list[Row]) -> Section | None:
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


def _tables(title: str, rows: list[Row]) -> Section | None:
    if not rows:
        return None
    figures = [
        Figure(_table([r for r in rows if r.method == m][:_MOST_TABLE]), f"{m}: {_METHODS[m]}.")
        for m in dict.fromkeys(r.method for r in rows)
    ]
    return Section(title, "", figures)


def _table(rows: Sequence[Row]) -> str:
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
