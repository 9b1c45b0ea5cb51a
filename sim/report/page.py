"""Puts the sections together into one HTML page that needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from sim.report import facts, glance, population, readings, tissue, trajectories
from sim.report.graph import wiring_svg
from sim.report.rundata import RunData
from sim.report.section import Figure, Section

_CSS = """
:root{--paper:#fdfcfa;--ink:#1a1a19;--soft:#6e6d69;--line:#e2e0db;--tint:#f4f2ee;--accent:#3a7fd5}
:root{color-scheme:light dark}
@media (prefers-color-scheme:dark){:root{--paper:#161615;--ink:#ecebe7;--soft:#a3a19b;--line:#37362f;
--tint:#1f1e1c;--accent:#6ba4ea}}
*{box-sizing:border-box}
body,svg text{font-family:system-ui,-apple-system,"Segoe UI",Inter,"Helvetica Neue",Arial,sans-serif}
body{margin:0;background:var(--paper);color:var(--ink);font-size:16px;line-height:1.55}
main{max-width:1080px;margin:0 auto;padding:56px 24px 80px}
h1{font-size:34px;line-height:1.15;font-weight:650;letter-spacing:-.018em;margin:0 0 8px}
.sub{color:var(--soft);margin:0;font-size:17px;max-width:44em}
.stats{display:flex;flex-wrap:wrap;gap:10px 44px;margin:30px 0 0;padding:20px 0}
.stats{border-block:1px solid var(--line)}
.stats div{min-width:88px}
.stats b{display:block;font-size:22px;font-weight:620;letter-spacing:-.01em;font-variant-numeric:tabular-nums}
.stats span{color:var(--soft);font-size:13.5px}
nav{margin:18px 0 0;font-size:14px;display:flex;flex-wrap:wrap;gap:4px 20px}
nav a{color:var(--soft);text-decoration:none}nav a:hover{color:var(--accent)}
section{margin-top:56px}
h2{font-size:22px;font-weight:640;letter-spacing:-.012em;margin:0 0 6px}
.lead{color:var(--soft);margin:0 0 4px}
figure{margin:22px 0 34px}
figcaption{color:var(--soft);font-size:14px;margin-top:10px;max-width:62em}
svg{display:block;width:100%;height:auto;overflow:visible}
table{border-collapse:collapse;font-size:14px;width:100%}
td,th{padding:5px 14px 5px 0;text-align:left;font-weight:400;vertical-align:top}
td,th{border-bottom:1px solid var(--line)}
tr:last-child>*{border-bottom:0}
.bars th{width:220px}
.bars td:last-child{width:130px;text-align:right;padding-right:0;font-variant-numeric:tabular-nums}
.bar i{display:block;height:10px;margin-top:6px;background:var(--accent);border-radius:2px;min-width:1px}
.facts th{color:var(--soft);width:260px}
code,pre{font:12.5px/1.55 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;overflow-wrap:anywhere}
pre{background:var(--tint);padding:16px 18px;border-radius:6px;overflow:auto;white-space:pre-wrap}
details{margin-top:18px}summary{cursor:pointer;color:var(--accent);font-size:14px}
ul{margin:0;padding-left:20px;font-size:14px}
.said{list-style:none;padding:0;font-size:15px;max-width:62em}.said li{margin:0 0 7px}
.changes th{color:var(--soft)}.changes td+td{font-variant-numeric:tabular-nums}
footer{margin-top:60px;color:var(--soft);font-size:13px}
@media (max-width:720px){main{padding:32px 16px 60px}figure{overflow-x:auto}svg{min-width:680px}}
@media print{main{padding:0;max-width:none}section{break-inside:avoid}nav{display:none}}
"""


def render(path: Path) -> str:
    """The report of the run at `path` as HTML."""
    run = RunData(path)
    sections = [
        section
        for section in (
            glance.section(run),
            population.section(run),
            readings.section(run),
            tissue.section(run),
            trajectories.section(run),
            tissue.fields_section(run),
            _wiring(run),
            facts.section(run),
        )
        if section
    ]
    title, sentence, numbers = facts.headline(run)
    version = run.attribute("versions")
    made = f"cellweave {version.get('cellweave', '')}" if isinstance(version, Mapping) else "cellweave"
    return document(title, sentence, numbers, sections, f"Drawn by {made} from {path.name}.")


def document(
    title: str, sentence: str, numbers: Sequence[tuple[str, str]], sections: Sequence[Section], footer: str
) -> str:
    """One page of HTML that needs nothing else: headline, numbers with their words, sections."""
    stats = "".join(f"<div><b>{escape(v)}</b><span>{escape(words)}</span></div>" for v, words in numbers)
    links = "".join(f'<a href="#{_anchor(s)}">{escape(s.title)}</a>' for s in sections)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_CSS}</style></head><body><main>"
        f'<header><h1>{escape(title)}</h1><p class="sub">{escape(sentence)}</p>'
        + (f'<div class="stats">{stats}</div>' if stats else "")
        + f"<nav>{links}</nav></header>"
        + "".join(map(_section, sections))
        + f"<footer>{escape(footer)}</footer></main></body></html>\n"
    )


def _anchor(section: Section) -> str:
    return section.title.lower().replace(" ", "-")


def _section(section: Section) -> str:
    lead = f'<p class="lead">{escape(section.lead)}</p>' if section.lead else ""
    figures = "".join(
        f"<figure>{f.body}{f'<figcaption>{escape(f.caption)}</figcaption>' if f.caption else ''}</figure>"
        for f in section.figures
    )
    return f'<section id="{_anchor(section)}"><h2>{escape(section.title)}</h2>{lead}{figures}</section>'


def _wiring(run: RunData) -> Section | None:
    wiring = run.attribute("wiring")
    if not isinstance(wiring, Mapping) or not wiring.get("nodes"):
        return None
    caption = (
        "Each box is a process with the step it takes; each curve a coupling from what one process shows to "
        "what another takes, with its response where it is not the value itself (× scales, + adds). Boxes "
        "without curves act through the cells they share: position, volume, phase."
    )
    return Section("What drives what", "", [Figure(wiring_svg(wiring), caption)])
