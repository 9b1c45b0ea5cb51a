"""Every benchmark prints rows of the agreed form; how fast they are is not a matter for tests."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("name", ["pathways"])
def test_rows(name):
    command = [sys.executable, str(ROOT / "benchmarks" / f"{name}.py"), "--json", "--quick"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert rows
    for row in rows:
        assert {"name", "value", "unit"} <= row.keys()
        assert row["value"] > 0
        if "peer" in row:
            assert row["ratio"] == pytest.approx(row["peer_value"] / row["value"])
    names = [row["name"] for row in rows]
    assert len(set(names)) == len(names)
    compared = [row for row in rows if "peer_error" in row]
    assert compared
    assert all(row["error"] < 1e-2 and row["peer_error"] < 1e-2 for row in compared)
