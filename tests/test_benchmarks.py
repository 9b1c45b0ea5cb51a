"""Every benchmark prints rows of the agreed form; how fast they are is not a matter for tests."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = sorted(
    path.stem for path in (ROOT / "benchmarks").glob("*.py") if "[--json]" in path.read_text(encoding="utf-8")
)
KEYS = {"name", "value", "unit", "peer", "peer_value", "ratio", "error", "peer_error", "roof"}
# our error that every row of the script stays within
WORST = {"pathways": 1e-2}


@pytest.mark.parametrize("name", SCRIPTS)
def test_rows(name):
    command = [sys.executable, str(ROOT / "benchmarks" / f"{name}.py"), "--json", "--quick"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
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
