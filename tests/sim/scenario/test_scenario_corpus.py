"""Hundreds of bad scenarios made from good ones by edits of the text: each is refused at its line.

Every key and value of a good scenario is replaced at its exact place, so the line that the first message has
to name is known. Ids of models and weights are read later, by sim.build; their keys are left out here.
"""

from __future__ import annotations

import csv
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from scenario_examples import DATA, furnish

from sim.errors import ScenarioError
from sim.scenario import Scenario
from sim.scenario.yaml_text import Mark, read_yaml
from sim.scenario.yaml_text import Path as KeyPath

CHECKS = Path(__file__).parents[4] / "shared" / "checks"
#: Keys whose words are ids of a model or of weights.
IDS = (("pathways", "mapk", "set"), ("pathways", "mapk", "vary"), ("manipulators", "response", "conditions"))

NUMBERS = (
    ".nan",
    ".inf",
    "1e999",
    "abc",
    "[1, 2]",
    "{a: 1}",
    "true",
    "__import__('os')",
    "1:30",
    "2020-01-01",
    "",
)
QUANTITIES = (
    "{n} kelvin",
    "{n} furlong",
    "{n}",
    "nan {u}",
    "{n} s**9**9**9**9",
    "{n} {u} {u}",
    "[a]",
    "true",
    "",
)
WORDS = ('""', "[[a]]", "{a: {b: 1}}", "", "3", "~")


def edits(text: str) -> Iterator[tuple[str, str, int]]:
    """(text with one edit, what the message names, line of the edit)"""
    lines = text.splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    document = read_yaml(text.encode(), "f")
    for i, (path, mark) in enumerate(document.marks.items()):
        key = next((str(p) for p in reversed(path) if isinstance(p, str)), "")
        if not path or any(path[: len(ids)] == ids for ids in IDS):
            continue
        if isinstance(path[-1], str) and not _is_free(path):
            yield from _key_edits(text, starts, key, mark)
        if mark.text is not None:
            yield from _value_edits(text, starts[mark.line - 1] + mark.column - 1, path, mark, i)


def _is_free(path: KeyPath) -> bool:
    """Names of instruments and of their channels are used nowhere else, those of modalities are the weights'."""
    if path[0] == "representations":
        return len(path) == 2 or len(path) > 3
    return path[0] == "instruments" and (len(path) == 2 or (len(path) == 4 and path[2] == "channels"))


def _key_edits(text: str, starts: list[int], key: str, mark: Mark) -> Iterator[tuple[str, str, int]]:
    start, end = starts[mark.key_line - 1], starts[mark.key_line]
    at = text.find(f"{key}:", start, end)
    typo = key + key[-1] if len(key) > 1 else f"{key}x"
    yield text[:at] + typo + text[at + len(key) :], typo, mark.key_line
    line = text[start:end]
    if mark.line == mark.key_line and mark.text is not None and "{" not in line and "- " not in line:
        yield text[:end] + line + text[end:], key, mark.key_line + 1


def _value_edits(text: str, at: int, path: KeyPath, mark: Mark, turn: int) -> Iterator[tuple[str, str, int]]:
    key = next(p for p in reversed(path) if isinstance(p, str))
    written = mark.text or ""
    quoted = text[at] in "'\""
    end = at + len(written) + 2 * quoted
    number, _, unit = written.partition(" ")
    if _is_number(written):
        replacements = NUMBERS
    elif _is_number(number):
        replacements = tuple(q.format(n=number, u=unit) for q in QUANTITIES)
    elif key in ("name", "initial", "condition", "live_area"):  # free text, in which a number could be meant
        replacements = WORDS[:4]
    else:
        replacements = WORDS
    if isinstance(path[-1], int):  # a list with one value less is another good list
        replacements = tuple(r for r in replacements if r)
    for replacement in [replacements[(turn + i) % len(replacements)] for i in (0, 1)]:
        yield text[:at] + replacement + text[end:], key, mark.line


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("name", ["monolayer", "spheroid", "behaviours", "instruments"])
def test_every_edit_is_refused_at_its_line(folder: Path, name: str):
    file = folder / f"{name}.yaml"
    text = (DATA / file.name).read_text(encoding="utf-8")
    wrong, count = [], 0
    for bad, word, line in edits(text):
        count += 1
        try:
            Scenario.parse(bad, file)
            wrong.append(f"accepted: {word} on line {line}")
        except ScenarioError as error:
            said = error.lines()
            named = f"{file}:{line}: " in said[0] or f"(line {line})" in said[0]
            if not (named and word in "\n".join(said)) or len(said) > 20 or any("\n" in s for s in said):
                wrong.append(f"{word} on line {line}: {said[0]}")
    assert not wrong, "\n".join(wrong)
    assert count > 100


@pytest.mark.parametrize("seed", range(4))
def test_random_edits_end_in_words(monolayer: Path, seed: int):
    """No exception but ScenarioError, whatever the text."""
    text = monolayer.read_text(encoding="utf-8")
    draw = random.Random(seed)
    tokens = [
        "{",
        "}",
        "[",
        "]",
        ": ",
        "- ",
        "&a",
        "*a",
        "!!",
        "|",
        ">",
        "'",
        '"',
        "#",
        "\t",
        "\n",
        "<<: ",
        "? ",
        "\0",
        "\u2028",
    ]
    refused = 0
    for _ in range(50):
        bad = text
        for _ in range(draw.choice((1, 2, 5))):
            at = draw.randrange(len(bad))
            cut = draw.choice((0, 0, 1, 5, 40))
            bad = bad[:at] + draw.choice([*tokens, chr(draw.randrange(0x3000)), ""]) + bad[at + cut :]
        try:
            Scenario.parse(bad, monolayer)
        except ScenarioError as error:
            refused += 1
            assert all(s.startswith(f"cellweave: error: {monolayer}:") for s in error.lines())
            assert all(s.isprintable() for s in error.lines())
    assert refused > 25


@pytest.mark.skipif(
    not (CHECKS / "scenario_bad.py").exists(), reason="../shared/checks/scenario_bad.py is not here"
)
def test_shared_corpus(tmp_path: Path):
    """The maker of bad scenarios outside this project, on the scenario that has least in it."""
    maker = [sys.executable, CHECKS / "scenario_bad.py", DATA / "spheroid.yaml", tmp_path, "--fuzz", "100"]
    subprocess.run(maker, check=True, capture_output=True)
    furnish(tmp_path)
    with open(tmp_path / "MANIFEST.tsv", encoding="utf-8") as table:
        rows = list(csv.DictReader(table, delimiter="\t", quoting=csv.QUOTE_NONE))
    wrong = []
    for row in rows:
        file = tmp_path / row["file"]
        try:
            Scenario.load(file)
            said: list[str] = []
        except ScenarioError as error:
            said = error.lines()
        if row["expect"] != "either" and bool(said) != (row["expect"] == "reject"):
            wrong.append(f"{row['file']}: {said[:1] or 'accepted'}")
        elif row["expect"] == "reject":
            line = row["line"]
            named = line == "0" or f":{line}: " in said[0] or f"(line {line})" in said[0]
            if not named or row["must_name"].lower() not in "\n".join(said).lower():
                wrong.append(f"{row['file']}, {row['must_name']} on line {line}: {said[0]}")
    assert not wrong, "\n".join(wrong)
    assert len(rows) > 500
