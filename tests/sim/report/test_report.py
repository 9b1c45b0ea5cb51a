"""The report is one valid, self-contained page that says what happened in the run."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser

import pytest
import toyrun

from sim.errors import ScenarioError
from sim.report import write_report
from sim.report.page import render
from sim.report.rundata import RunData
from sim.report.tissue import _Slice

_VOID = {"meta", "br", "img", "link"}


class _Checked(HTMLParser):
    """Collects tags; fails on one that is closed in the wrong place."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.links += [v for k, v in attrs if k in ("href", "src", "xlink:href", "srcset", "action")]
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.links += [v for k, v in attrs if k in ("href", "src", "xlink:href", "srcset", "action")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def checked(html: str) -> _Checked:
    page = _Checked()
    page.feed(html)
    assert page.open == []
    for svg in re.findall(r"<svg.*?</svg>", html, flags=re.S):
        ElementTree.fromstring(svg)
    return page


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return toyrun.write(tmp_path_factory.mktemp("run") / "run.zarr")


@pytest.fixture(scope="module")
def html(run) -> str:
    return write_report(run).read_text()


def test_it_stands_beside_the_run(run, html):
    assert write_report(run) == run.parent / "run.zarr.report" / "report.html"
    assert [p.name for p in (run.parent / "run.zarr.report").iterdir()] == ["report.html"]


def test_it_is_valid_and_needs_nothing_else(html):
    page = checked(html)
    assert "<script" not in html
    assert all(link.startswith(("#", "data:image/png;base64,")) for link in page.links)
    assert not re.search(r"url\((?!#)|@import", html)


def test_text_of_the_scenario_is_only_text(html):
    page = checked(html)
    assert "Tumour <b>& immune</b>" in page.words
    assert any("<script>alert(1)</script>" in words for words in page.words)


def test_the_same_run_gives_the_same_page(run, html):
    assert render(run) == html


def test_all_sections_are_there(html):
    titles = re.findall(r"<h2>(.*?)</h2>", html)
    assert titles == [
        "At a glance",
        "Population",
        "Instruments",
        "Tissue",
        "Inside the cells",
        "Fields",
        "What drives what",
        "How it was computed",
    ]


def test_it_says_what_happened(html):
    text = " ".join(checked(html).words)
    assert "Complete: 4 h of simulated time, seed 7. At the end 8 tumour, 7 immune alive." in text
    assert "From 12 to 15 living cells; 4 were born and 1 died." in text
    assert "set field.erlotinib 1 uM at 2 h" in text
    assert "12 founders; the largest clone has 2 living cells, one founder has no living descendant" in text
    assert "Wall time by process, 4.0 s in all." in text
    assert "this run took 6 min steps with strang splitting" in text
    assert "time is converted" in text
    assert "Points were measured." in text
    assert "Bliss and HSA" in text
    assert "field.oxygen in space: from 34 to 38 mmHg." in text
    # the drug is the same everywhere: a curve says it all
    assert "field.erlotinib in space" not in text
    assert "[0] arrest" in text


def test_the_first_section_tells_what_it_was_and_how_sure_it_is(html):
    glance = html[html.index('<section id="at-a-glance">') : html.index('<section id="population">')]
    text = " ".join(checked(glance).words)
    assert "6 tumour and 6 immune cells in three dimensions; in the cells pathway egfr, network drugs" in text
    assert "around them field erlotinib, field oxygen." in text
    assert "from 12 to 15 living cells in 4 h; 4 born, 1 died." in text
    assert 'cellweave explain run.zarr --outcome "count(tumour) @ 4 h"' in text
    assert glance.index("<svg") < glance.index("Simulated:")
    assert 'aria-label="pathway.egfr.ppERK of the cells in space"' in glance
    assert "<td>pathway.egfr.ppERK [uM]</td>" in glance and "<td>incucyte: live area [%]</td>" in glance


def test_where_nothing_was_born_or_died_no_empty_axes_are_drawn(tmp_path):
    html = render(toyrun.write(tmp_path / "r.zarr", frames=1))
    titles = re.findall(r"<h2>(.*?)</h2>", html)
    assert "At a glance" in titles and "Population" not in titles
    assert '--outcome "mean(pathway.egfr.ppERK, tumour) @ 0 h"' in " ".join(checked(html).words)


def test_figures_follow_light_and_dark(html):
    assert "prefers-color-scheme:dark" in html
    assert "var(--ink)" in html
    assert "#1a1a19" not in html.replace("--ink:#1a1a19", "")


def test_three_dimensions_are_cut_in_the_middle(tmp_path):
    text = " ".join(checked(render(toyrun.write(tmp_path / "r.zarr", solid=True))).words)
    assert "A slice at z = 0 µm: discs are the cells' cuts with this plane." in text
    assert "field.oxygen in space, a slice at z = 0 µm" in text


def test_a_slice_shows_the_cuts_of_cells(tmp_path):
    run = RunData(toyrun.write(tmp_path / "r.zarr", solid=True))
    cut = _Slice(run, 0)
    full = (3 * 2000 / (4 * 3.141592653589793)) ** (1 / 3)
    height = run.at("z", 0)
    assert set(cut.rows) == {k for k, z in enumerate(height) if abs(z) < full}
    assert cut.radius == pytest.approx((full**2 - height[cut.rows] ** 2) ** 0.5)


@pytest.mark.parametrize(("cells", "frames"), [(0, 3), (0, 1), (3, 1), (4, 2)])
def test_small_and_empty_runs(tmp_path, recwarn, cells, frames):
    html = render(toyrun.write(tmp_path / "r.zarr", cells=cells, frames=frames, status="interrupted"))
    assert "Interrupted: " in html
    checked(html)
    assert [str(w.message) for w in recwarn.list if "cellweave" in w.filename or "sim/" in w.filename] == []


def test_large_runs_are_thinned(tmp_path, monkeypatch):
    from sim.report import rundata, tissue

    monkeypatch.setattr(tissue, "_MOST_CELLS", 7)
    monkeypatch.setattr(rundata, "_MOST_FRAMES", 3)
    monkeypatch.setattr(rundata, "_MOST_ROWS", 20)
    path = toyrun.write(tmp_path / "r.zarr", frames=9)
    run = RunData(path)
    assert run.read.tolist() == [0, 4, 8]
    assert 0 < len(_Slice(run, 8).rows) <= 7
    text = " ".join(checked(render(path)).words)
    assert "At most 7 cells are drawn." in text
    assert "From 12 to 19 living cells; 8 were born and 1 died." in text


def test_no_run_no_report(tmp_path):
    with pytest.raises(ScenarioError, match="there is no run here"):
        write_report(tmp_path / "nothing.zarr")
    assert list(tmp_path.iterdir()) == []


def test_damage_is_named(tmp_path):
    path = toyrun.write(tmp_path / "r.zarr")
    chunk = path / "cells" / "x" / "c.0"
    content = bytearray(chunk.read_bytes())
    content[40] ^= 1
    chunk.write_bytes(content)
    with pytest.raises(ScenarioError, match=r"cells/x/c\.0: damaged"):
        write_report(path)


def test_every_phase_of_dying_cells_is_dead_to_the_report(tmp_path, monkeypatch):
    from sim.processes.life_settings import DECAY
    from sim.report.style import DYING

    assert set(DECAY) == set(DYING)
    run = RunData(toyrun.write(tmp_path / "r.zarr"))
    monkeypatch.setattr(type(run), "phases", ["live", "necrotic", "lysed"])
    assert run.living(4).sum() == run.summary["count"].values[4].sum()
