"""Every benchmark prints rows of the agreed form; how fast they are is not a matter for tests."""

from __future__ import annotations

import importlib.util
import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "benchmarks"
SCRIPTS = sorted(path.stem for path in FOLDER.glob("*.py") if "[--json]" in path.read_text(encoding="utf-8"))
KEYS = {"name", "value", "unit", "peer", "peer_value", "ratio", "error", "peer_error", "roof"}
# our error that every row of the script stays within
WORST = {"pathways": 1e-2}
# what is given here beside --json and --quick: a part that goes the way of all others
PART = {"faith": ("--family", "pathway")}

# files beside the scripts, which they import
PARTS = sorted(path.stem for path in FOLDER.glob("*_*.py") if path.stem not in SCRIPTS)


def load(name: str):
    """The script as a module, under a name that no package has."""
    spec = importlib.util.spec_from_file_location(f"benchmark_{name}", FOLDER / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def timed_once(monkeypatch):
    """`timed_once(script)`: what is timed several times there is timed once."""

    def change(module) -> None:
        for name in ("_seconds", "cpu"):
            if timer := getattr(module, name, None):
                monkeypatch.setattr(module, name, lambda task, repeats=1, timer=timer: timer(task, 1))
        for name, value in (("_REPEATS", 1), ("_BUSY", 0.02)):
            if hasattr(module, name):
                monkeypatch.setattr(module, name, value)

    return change


@pytest.mark.parametrize("name", SCRIPTS)
def test_rows(name, monkeypatch, timed_once, capsys):
    monkeypatch.syspath_prepend(FOLDER)
    monkeypatch.setattr(sys, "argv", [f"{name}.py", "--json", "--quick", *PART.get(name, ())])
    script = load(name)
    for used in (script, *(sys.modules[part] for part in PARTS if part in sys.modules)):
        timed_once(used)
    script.main()
    check(name, json.loads(capsys.readouterr().out))


@pytest.mark.validation
@pytest.mark.parametrize("name", SCRIPTS)
def test_rows_of_the_script_by_itself(name):
    by_itself(name)


def test_a_script_by_itself():
    by_itself("neural")


def by_itself(name):
    command = [sys.executable, str(FOLDER / f"{name}.py"), "--json", "--quick"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    check(name, json.loads(done.stdout))


def check(name: str, rows: list[dict]) -> None:
    """The form of the rows, and errors where they are compared."""
    assert rows
    for row in rows:
        assert {"name", "value", "unit"} <= row.keys() <= KEYS
        assert isinstance(row["name"], str)
        assert isinstance(row["unit"], str)
        assert all(math.isfinite(row[key]) for key in row.keys() - {"name", "unit", "peer"})
        # the scores of faith may be 0, and a correlation below it
        assert row["value"] > 0 or (name == "faith" and row["value"] >= -1)
        assert ("peer" in row) == ("peer_value" in row) == ("ratio" in row)
        if "peer" in row:
            # above 1 is better than the peer, be it fewer seconds or bytes, or more a second
            assert row["ratio"] == pytest.approx(row["peer_value"] / row["value"], rel=1e-6) or row[
                "ratio"
            ] == pytest.approx(row["value"] / row["peer_value"], rel=1e-6)
    names = [row["name"] for row in rows]
    assert len(set(names)) == len(names)
    if name in WORST:
        compared = [row for row in rows if "peer_error" in row]
        assert compared
        assert all(row["error"] < WORST[name] for row in compared)
        # the peer also runs at the loosest tolerances of a curve
        assert all(row["peer_error"] < 10 * WORST[name] for row in compared)


def test_every_benchmark_is_tried():
    assert set(SCRIPTS) == {"faith", "hybrid", "neural", "pathways", "tissue", "tissue_learning"}
