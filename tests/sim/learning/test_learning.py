"""`train` and `predict` as the command line sees them: one line for each fault, a table out."""

from __future__ import annotations

import csv
import io
import os
import signal
import sys
from pathlib import Path
from typing import NoReturn

import pytest

from sim.cli import main
from sim.errors import ScenarioError
from sim.learning import predicted, trained
from sim.machine import interrupts
from sim.validation import validated

ROOT = Path(__file__).resolve().parents[3]
WEIGHTS = ROOT / "scenarios" / "weights" / "pc9_drugs.safetensors"
CONTACT = """training: 1
kind: tissue
name: small
radius: 25
cell_radius: 8.4
layers: {train: 2, check: 1, test: 1}
architecture: {hidden: 4}
fit: {seed: 1, iterations: 20}
"""


def test_training_gives_weights_and_a_card_with_controls(tmp_path: Path) -> None:
    file = tmp_path / "small.yaml"
    file.write_text(CONTACT)
    said: list[str] = []
    text = trained(file, tmp_path / "made.safetensors", say=said.append)
    first, *rest = text.splitlines()
    assert first == str(tmp_path / "made.safetensors")
    card = "\n".join(rest)
    assert "linear in live neighbours" in card and "network" in card
    # the first and the last iteration are always told of
    assert said[-1].startswith("20 of 20: ")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["made.md", "made.safetensors", "small.yaml"]


def test_a_stopped_fit_says_how_it_goes_on_and_ends_at_the_same_bits(tmp_path, monkeypatch, capfd, caplog):
    """A signal ends it at once: what was kept last is whole."""
    file, whole, cut = tmp_path / "small.yaml", tmp_path / "whole.safetensors", tmp_path / "cut.safetensors"
    file.write_text(CONTACT.replace("iterations: 20", "iterations: 60"))
    trained(file, whole)
    words = ["cellweave", "train", str(file), "-o", str(cut)]

    def ended(code: int) -> NoReturn:
        raise SystemExit(code)

    def at_the_second(line: str) -> None:
        if line.startswith("40 of"):
            interrupts._handle(signal.SIGTERM, None)

    monkeypatch.setattr(os, "_exit", ended)
    monkeypatch.setattr("sim.learning.commands._SECONDS_BETWEEN_LINES", 0.0)
    monkeypatch.setattr("sim.commands.learned.say", at_the_second)
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 143 and not cut.exists()
    goes_on = f"cellweave train --resume {file} -o {cut}"
    assert capfd.readouterr().err == f"cellweave: stopped; go on with: {goes_on}\n"
    file.write_text(file.read_text() + "notes: [other]\n")
    trained(file, cut, resume=True)
    assert "is of another training file" in caplog.text
    file.write_text(file.read_text().replace("notes: [other]\n", ""))
    with pytest.raises(SystemExit):
        main()
    said: list[str] = []
    trained(file, cut, resume=True, say=said.append)
    assert said == [said[0]] and said[0].startswith("60 of 60")
    assert cut.read_bytes() == whole.read_bytes()
    assert not list(tmp_path.glob(".*checkpoint*"))


def test_faults_of_a_training_file_come_with_their_lines_and_write_nothing(tmp_path: Path) -> None:
    file = tmp_path / "wrong.yaml"
    file.write_text(CONTACT.replace("hidden: 4", "hiden: 4").replace("radius: 25", "radius: -1"))
    with pytest.raises(ScenarioError) as caught:
        trained(file, tmp_path / "made.safetensors")
    lines = caught.value.lines()
    assert f"{file}:4: radius: must be above 0 (got -1)" in lines[0]
    assert any(f"{file}:7:" in line and "did you mean 'hidden'?" in line for line in lines)
    assert [p.name for p in tmp_path.iterdir()] == ["wrong.yaml"]
    with pytest.raises(ScenarioError):
        validated(file)


@pytest.mark.parametrize("name", ["pc9_drugs", "contact"])
def test_shipped_training_files_are_valid_without_their_data(name: str, tmp_path: Path) -> None:
    shipped = ROOT / "scenarios" / "training" / f"{name}.yaml"
    copy = tmp_path / shipped.name
    copy.write_text(shipped.read_text())
    notes = validated(copy)
    assert len(notes) == (1 if name == "pc9_drugs" else 0)
    assert all("measurements are not here" in note for note in notes)


def test_predictions_are_a_table_with_intervals(tmp_path: Path) -> None:
    table = tmp_path / "conditions.csv"
    table.write_text("erlotinib,thz1,hours\n0,0,6\n0.3,0.1,6\n")
    rows = list(csv.DictReader(io.StringIO(predicted(WEIGHTS, table))))
    assert {row["condition"] for row in rows} == {"0", "1"}
    for row in rows:
        low, middle, high = (float(row[f"channel.live_area{end}"]) for end in (".lower", "", ".upper"))
        assert low <= middle <= high


def test_a_wrong_table_or_wrong_weights_are_one_line_each(tmp_path: Path) -> None:
    table = tmp_path / "conditions.csv"
    table.write_text("erlotnib\n1\n")
    with pytest.raises(ScenarioError) as caught:
        predicted(WEIGHTS, table)
    assert "did you mean 'erlotinib'?" in caught.value.lines()[0]
    table.write_text("erlotinib\n1\n")
    with pytest.raises(ScenarioError) as caught:
        predicted(tmp_path / "missing.safetensors", table)
    assert len(caught.value.lines()) == 1
