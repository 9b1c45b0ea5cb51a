"""Bad model files, from the shared corpus: one line of error each and the exit code, or a right result.

Skipped where ../shared/checks is missing. The files are made by its generator; what each must get is in its table.
"""

from __future__ import annotations

import csv
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from mechanistic import load_model
from sim.cli import main

CHECKS = Path(__file__).resolve().parents[3] / "shared" / "checks"
pytestmark = [
    pytest.mark.validation,
    pytest.mark.skipif(not CHECKS.is_dir(), reason="../shared/checks is not here"),
]
# Legal SBML that the table has refused because today's simulators cannot run it. It is solved here, so it has
# to be solved rightly: closed forms of S1 (of which the reaction makes S2) at time t.
SOLVED = {
    "cyc_algebraic": lambda t: np.exp(-t),
    "sem_varying_stoich": lambda t: np.exp(-t - t**2 / 2),
    "sem_fast_reaction": np.zeros_like,
    # S1(t) = 1 up to 0, and falls by S1(t - 1)
    "math_delay": lambda t: np.where(t <= 1, 1 - t, 1 - t + (t - 1) ** 2 / 2),
}
SECONDS = 5.0


def table() -> list[dict[str, str]]:
    if not CHECKS.is_dir():
        return []
    with (CHECKS / "SBML_MANIFEST.tsv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


ROWS = table()


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    command = [sys.executable, str(CHECKS / "make_sbml_bad.py"), str(folder), "--big"]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    return folder


def outcome(monkeypatch, capsys, *words: str) -> tuple[int, str]:
    """Exit code and standard error of one command."""
    monkeypatch.setattr(sys, "argv", ["cellweave", *words])
    capsys.readouterr()
    with pytest.raises(SystemExit) as stopped:
        main()
    return int(stopped.value.code or 0), capsys.readouterr().err


@pytest.mark.parametrize("row", ROWS, ids=[row["id"] for row in ROWS])
def test_each_file_gets_what_it_must(row, corpus, monkeypatch, capsys):
    file = corpus / row["file"]
    began = time.process_time()
    code, said = outcome(monkeypatch, capsys, "validate", str(file))
    assert time.process_time() - began < SECONDS
    lines = said.splitlines()
    assert len(lines) <= 20
    assert all(line.startswith("cellweave: error: ") and line.isprintable() for line in lines)
    if row["expect"] in ("reject", "limit") and not (row["id"] in SOLVED and code == 0):
        assert code == 2
        assert file.name in lines[0]
        assert row["must_name"].lower() in said.lower()
    else:
        assert (code, said) == (0, "")


FAILING = [row for row in ROWS if row["expect"] == "nanfail"]


@pytest.mark.parametrize("row", FAILING, ids=[row["id"] for row in FAILING])
def test_what_fails_numerically_is_one_line(row, corpus, monkeypatch, capsys):
    code, said = outcome(monkeypatch, capsys, "simulate", str(corpus / row["file"]), "--end", "5")
    assert code == 3
    assert len(said.splitlines()) == 1
    assert row["file"] in said
    assert re.search(rf"\b{row['must_name']}\b", said)
    assert "at time " in said or "at the start" in said


@pytest.mark.parametrize("name", SOLVED)
def test_what_others_refuse_is_solved_rightly(name, corpus):
    times = np.linspace(0.0, 2.0, 9)
    course = load_model(corpus / f"{name}.xml").simulate(times, rtol=1e-9, atol=1e-12)
    # past the start, at which a fast reaction jumps
    np.testing.assert_allclose(course["S1"].values[0, 1:], SOLVED[name](times[1:]), rtol=1e-6, atol=1e-9)
