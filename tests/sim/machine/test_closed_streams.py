"""No run ends because nobody can hear of it, and no file takes the place of a closed stream."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
DO = """
from sim.machine import streams
streams.install()
import sys
kept = open("kept.txt", "w")
print("data"); print("message", file=sys.stderr, flush=True)
sys.stdout.flush()
kept.write(f"{sys.stderr.isatty()} {kept.fileno() > 2}")
"""


@pytest.mark.parametrize("closed", ["", "2>&-", ">&-", "<&-", "2>&- >&-", "2>&- >&- <&-", "2>/dev/full"])
def test_a_closed_or_full_stream_is_no_fault(tmp_path, closed):
    command = f"exec {sys.executable} -c '{DO}' {closed}"
    done = subprocess.run(
        command,
        shell=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ("" if ">&- " in f"{closed} ".replace("2>&-", "") else "data\n")
    assert done.stderr == ("" if "2>" in closed else "message\n")
    assert (tmp_path / "kept.txt").read_text() == "False True"


def test_a_reader_who_went_away_ends_it(tmp_path):
    text = "from sim.machine.streams import Messages; import os; r, w = os.pipe(); os.close(r)\n"
    text += 'Messages(open(w, "w", buffering=1)).write("x\\n")'
    done = subprocess.run(
        [sys.executable, "-c", text],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0 and "BrokenPipeError" in done.stderr
