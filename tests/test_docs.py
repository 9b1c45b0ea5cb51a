"""The pages do what they say: every snippet is run, every link and every file named is there.

A page's snippets run in order in one empty folder: `bash` is a shell with `cellweave` on its path, `python` shares
names down the page, and a fence with `file=NAME` is first written to that file. `text` shows output and is not run.
A comment `<!-- not run: why -->` on the line before a fence leaves it out.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
LINKED = [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]

_FENCE = re.compile(r"^```(\w*)(?: +file=(\S+))?[^\n]*\n(.*?)^```$", re.M | re.S)
_SKIPPED = re.compile(r"<!-- not run: [^>\n]{8,} -->\n$")
_LINK = re.compile(r"\]\(([^)\s]+)\)")
#: a path of this repository in code type, as `sim/core/state.py`
_PATH = re.compile(r"`((?:sim|mechanistic|neural|scenarios|tests|docs|benchmarks|\.ci)/[\w./-]*)`")
#: languages of snippets that only show something, or become a file
_SHOWN = {"", "text", "yaml", "antimony", "csv", "xml"}


@dataclass(frozen=True)
class Snippet:
    language: str
    file: str | None
    text: str
    line: int
    runs: bool


def snippets(page: Path) -> list[Snippet]:
    text = page.read_text(encoding="utf-8")
    return [
        Snippet(
            m[1], m[2], m[3], text[: m.start()].count("\n") + 1, _SKIPPED.search(text[: m.start()]) is None
        )
        for m in _FENCE.finditer(text)
    ]


def names(paths: list[Path]) -> list[str]:
    return [str(p.relative_to(ROOT)) for p in paths]


WITH_CODE = [p for p in PAGES if any(s.runs and s.language in ("bash", "python") for s in snippets(p))]


@pytest.mark.parametrize("page", WITH_CODE, ids=names(WITH_CODE))
def test_snippets_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    # a fixed width and no colours, whatever terminal the tests run in
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("MPLBACKEND", "Agg")
    # a module of its own, which dataclasses and pickles look for
    module = ModuleType("page")
    monkeypatch.setitem(sys.modules, "page", module)
    for s in snippets(page):
        if not s.runs:
            continue
        if s.file is not None:
            target = tmp_path / s.file
            assert target.resolve().is_relative_to(tmp_path), f"{page}:{s.line} writes outside its folder"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(s.text, encoding="utf-8")
        if s.language == "bash":
            shell(s, page, tmp_path)
        elif s.language == "python":
            exec(compile("\n" * s.line + s.text, str(page), "exec", dont_inherit=True), module.__dict__)
        else:
            assert s.language in _SHOWN, f"{page}:{s.line}: nothing runs '{s.language}'"


def shell(s: Snippet, page: Path, folder: Path) -> None:
    """Calls of cellweave run in this process, which saves its imports; what else stands there gets a shell."""
    lines = [line for line in s.text.replace("\\\n", " ").splitlines() if line.strip() and line[0] != "#"]
    words = [shlex.split(line, comments=True) for line in lines]
    if any(set(w) & {"|", ">", ">>", "<", "&&", ";", "!"} for w in words):
        bash(s.text, s, page, folder)
        return
    from sim.cli import app

    for line, w in zip(lines, words):
        if w[0] == "cellweave":
            app(w[1:], standalone_mode=False)
        else:
            bash(line, s, page, folder)


def bash(text: str, s: Snippet, page: Path, folder: Path) -> None:
    scripts = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text],
        cwd=folder,
        env={**os.environ, "PATH": scripts},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, f"{page}:{s.line}\n{done.stdout}\n{done.stderr}"


@pytest.mark.parametrize("page", LINKED, ids=names(LINKED))
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    targets = [
        t for t in _LINK.findall(_FENCE.sub("", text)) if not t.startswith(("https://", "mailto:", "#"))
    ]
    missing = [t for t in targets if not (page.parent / t.split("#")[0]).exists()]
    assert not missing


@pytest.mark.parametrize("page", LINKED, ids=names(LINKED))
def test_files_named_are_in_the_tree(page: Path) -> None:
    named = _PATH.findall(_FENCE.sub("", page.read_text(encoding="utf-8")))
    missing = sorted({n for n in named if not (ROOT / n).exists()})
    assert not missing


def test_the_two_commands_of_the_readme_are_single_lines() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    commands = [line for line in text.splitlines() if line.startswith("python3 -m venv")]
    assert len(commands) == 2
    run, test = commands
    assert run.endswith("cellweave run quickstart")
    assert test.endswith("-m pytest -n 2 --dist worksteal")
    assert all("pip install -c constraints.txt -e" in c for c in commands)


def test_scores_of_the_readme_are_those_of_the_card() -> None:
    from neural.weights import read_card

    card = read_card(ROOT / "scenarios" / "weights" / "pc9_drugs.safetensors")
    scores = card.raw["scores"]["combinations"]["file"]
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^ *\| ([^|]+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|$", text, re.M)
    assert {row[0] for row in rows} == set(scores)
    channels = ("live_area", "annexin_v", "dead_dna")
    for name, *values in rows:
        assert values == [f"{scores[name][c]['rmse_log']:.2f}" for c in channels]
    inside = card.raw["scores"]["combinations_inside_90_percent_interval"]
    stated = re.search(r"hold 90 % hold (\d+) %[^,]*, (\d+) % of annexin V and (\d+) %", text)
    assert stated
    assert list(stated.groups()) == [f"{100 * inside[c]:.0f}" for c in channels]


def test_the_house_in_architecture_is_the_tree() -> None:
    """Each folder and file drawn in the tree of docs/architecture.md exists where it is drawn."""
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    drawn = next(s for s in snippets(ROOT / "docs" / "architecture.md") if s.language == "text").text
    assert drawn in page
    path: list[str] = []
    for line in drawn.splitlines():
        entry = re.match(r"( *)([\w.]+/?)(?:\s|$)", line)
        assert entry, f"cannot read {line!r}"
        depth = len(entry[1]) // 2
        path = [*path[:depth], entry[2].rstrip("/")]
        there = ROOT.joinpath(*path)
        assert there.is_dir() if entry[2].endswith("/") else there.is_file(), "/".join(path)
