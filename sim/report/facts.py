"""Where the numbers come from: headline, time per process, coupling error, provenance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from sim.report.rundata import RunData
from sim.report.section import Figure, Section
from sim.report.style import plain_number


def headline(run: RunData) -> tuple[str, str, list[tuple[str, str]]]:
    """Title, one sentence on the run, and its key numbers as (value, meaning)."""
    title = str(run.attribute("title") or run.attribute("name") or run.path.name)
    status = str(run.attribute("status", ""))
    counts = run.summary["count"].values
    if not len(run.time):
        return title, "Nothing was saved yet.", []
    start, end = int(counts[0].sum()), int(counts[-1].sum())
    span = f"{plain_number(float(run.time[-1]))} {run.unit}"
    how = {"complete": "Complete", "interrupted": "Interrupted", "running": "Unfinished"}.get(status, status)
    sentence = f"{how}: {span} of simulated time, seed {run.attribute('seed', '–')}"
    kinds = ", ".join(f"{int(n)} {t}" for t, n in zip(run.types, counts[-1], strict=True))
    sentence += f". At the end {kinds} alive."
    seconds = _table(run, "seconds_by_process")
    errors = _table(run, "splitting_error")
    facts = [
        (f"{start:,} → {end:,}", "living cells"),
        (f"{int(run.summary['births'].values.sum()):,}", "born"),
        (f"{int(run.summary['deaths'].values.sum()):,}", "died"),
        (span, "simulated"),
    ]
    if seconds:
        facts.append((_duration(sum(seconds.values())), "of computing"))
    if errors:
        facts.append((plain_number(max(errors.values())), "largest error of a coupling step, relative"))
    return title, sentence, facts


def section(run: RunData) -> Section:
    """Cost, error and provenance."""
    figures = [f for f in (_events(run), _seconds(run), _errors(run), _notes(run)) if f]
    return Section("How it was computed", "", [*figures, _provenance(run)])


def _table(run: RunData, name: str) -> dict[str, float]:
    value = run.attribute(name)
    if not isinstance(value, Mapping):
        return {}
    return {str(k): float(v) for k, v in value.items() if isinstance(v, int | float) and np.isfinite(v)}


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def bars(rows: Sequence[tuple[str, float, str]]) -> str:
    """Horizontal bars as HTML: (name, value, words)."""
    top = max((value for _, value, _ in rows), default=0) or 1
    cells = [
        f'<tr><th scope="row">{escape(name)}</th>'
        f'<td class="bar"><i style="width:{100 * value / top:.2f}%"></i></td><td>{escape(words)}</td></tr>'
        for name, value, words in rows
    ]
    return f'<table class="bars"><tbody>{"".join(cells)}</tbody></table>'


def _seconds(run: RunData) -> Figure | None:
    seconds = {k: v for k, v in _table(run, "seconds_by_process").items() if v > 0}
    if not seconds:
        return None
    total = sum(seconds.values())
    ranked = sorted(seconds.items(), key=lambda item: -item[1])
    rows = [(name, s, f"{_duration(s)} · {100 * s / total:.0f} %") for name, s in ranked]
    return Figure(bars(rows), f"Wall time by process, {_duration(total)} in all.")


def _errors(run: RunData) -> Figure | None:
    errors = {k: v for k, v in _table(run, "splitting_error").items() if v > 0}
    if not errors:
        return None
    ranked = sorted(errors.items(), key=lambda item: -item[1])
    rows = [(name, max(0.0, 12 + float(np.log10(e))), f"{e:.1e}") for name, e in ranked]
    caption = (
        "Coupling error: how much one coupling step and two half steps differ, relative, at the worst of the "
        "times probed. Bars are logarithmic from 1e-12. A smaller time.step makes it smaller"
    )
    splitting = run.attribute("splitting")
    step = run.attribute("coupling_step_min")
    if splitting and step:
        caption += f"; this run took {plain_number(float(step))} min steps with {splitting} splitting"
    return Figure(bars(rows), caption + ".")


def _events(run: RunData) -> Figure | None:
    if not run.events:
        return None
    rows = [
        f"<tr><td>{plain_number(e.time)} {escape(run.unit)}</td><td>{escape(e.text)}</td>"
        f"<td>{f'{e.cells:,} cells' if e.cells else ''}</td></tr>"
        for e in run.events[:40]
    ]
    more = f" The first 40 of {len(run.events)}." if len(run.events) > 40 else ""
    return Figure(
        f"<table><tbody>{''.join(rows)}</tbody></table>", f"What was done to the cells, and when.{more}"
    )


def _notes(run: RunData) -> Figure | None:
    notes = run.attribute("notes")
    if not isinstance(notes, list) or not notes:
        return None
    items = "".join(f"<li>{escape(str(note))}</li>" for note in notes)
    return Figure(f"<ul>{items}</ul>", "Conversions and defaults that this run relies on.")


def _provenance(run: RunData) -> Figure:
    rows: list[tuple[str, Any]] = [
        ("status", run.attribute("status", "")),
        ("store", run.path.name),
        ("scenario", run.attribute("scenario_file", "")),
        ("seed", run.attribute("seed", "")),
        ("scenario sha256", run.attribute("scenario_sha256", "")),
    ]
    hashes, versions = run.attribute("hashes"), run.attribute("versions")
    rows += list(hashes.items()) if isinstance(hashes, Mapping) else []
    rows += list(versions.items()) if isinstance(versions, Mapping) else []
    cells = "".join(
        f'<tr><th scope="row">{escape(str(k))}</th><td><code>{escape(str(v))}</code></td></tr>'
        for k, v in rows
        if v
    )
    body = f'<table class="facts"><tbody>{cells}</tbody></table>'
    text = run.tree.attrs.get("scenario")
    if text:
        body += (
            f"<details><summary>The scenario as it was run</summary><pre>{escape(str(text))}</pre></details>"
        )
    return Figure(body, "Provenance: the same scenario, files, versions and seed give the same bits.")
