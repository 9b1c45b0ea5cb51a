"""A run that is killed anywhere opens, holds whole rows only, and resumes to the same bits."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
import toy
import xarray as xr

from sim.store import disk
from sim.store.verify import digest, verify

KILLS = 5


@pytest.fixture(scope="module")
def reference(shared_folder) -> str:
    out = shared_folder / "run.zarr"
    assert toy.go_on(*toy.start(out), stop=[]) == 0
    return digest(out)


def assert_whole(path: Path) -> None:
    """Any reader sees one consistent prefix."""
    verify(path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tree = xr.open_datatree(path, engine="zarr")
        cells, lineage = tree["cells"].to_dataset(), tree["lineage"].to_dataset().load()
        cells.load()
    frames = cells.sizes["time"]
    assert frames == tree["fields"].sizes["time"] == tree["summary"].sizes["time"]
    np.testing.assert_array_equal(cells["time"], np.arange(frames))
    assert cells["row_size"].sum() == cells.sizes["obs"]
    assert np.isfinite(lineage["death_time"]).sum() == (lineage["cause"] > 0).sum() == frames - 1
    assert tree["events"].sizes["event"] == frames - 1
    assert tree["instruments/incucyte"].sizes["time"] == (frames - 1) // 3 + 1
    assert lineage.sizes["cell"] == 20 + 2 * (frames - 1)


def test_digest_does_not_depend_on_commits_or_resumes(tmp_path, reference):
    out = tmp_path / "run.zarr"
    assert toy.go_on(*toy.start(out), stop=[], every=7) == 0
    assert digest(out) == reference

    again = tmp_path / "again.zarr"
    for _ in range(3):
        writer, state = toy.start(again) if not again.exists() else toy.resume(again)
        assert toy.go_on(writer, state, stop=[signal.SIGTERM]) == 143
        assert xr.open_datatree(again, engine="zarr").attrs["status"] == "interrupted"
        assert_whole(again)
    assert toy.go_on(*toy.resume(again), stop=[]) == 0
    assert digest(again) == reference
    assert xr.open_datatree(again, engine="zarr").attrs["status"] == "complete"


@pytest.mark.parametrize("kill", range(KILLS))
def test_killed_at_random(tmp_path, reference, kill):
    """KILL or TERM at a random moment, also while resuming."""
    out = tmp_path / "run.zarr"
    draw = random.Random(kill)
    for attempt in range(3):
        action = "resume" if out.exists() else "run"
        command = [sys.executable, toy.__file__, action, str(out), "0.01"]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        if attempt < 2:
            time.sleep(draw.uniform(0.3, 1.2))
            process.send_signal(draw.choice([signal.SIGKILL, signal.SIGTERM]))
        _, errors = process.communicate(timeout=60)
        assert "Traceback" not in errors
        if out.exists():
            assert_whole(out)
    assert digest(out) == reference


def crash_after(calls: int, action) -> bool:
    """Runs `action` in a child that dies, without any clean-up, at its `calls`-th change to the disk.

    Returns whether the child got to the end.
    """
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(status)
        assert code in (0, 9), f"child ended with {code}"
        return code == 0
    try:
        left = calls

        def dying(function):
            def call(*args, **kwargs):
                nonlocal left
                left -= 1
                if left < 0:
                    os._exit(9)
                return function(*args, **kwargs)

            return call

        for name in ("write", "replace", "rename", "unlink", "mkdir"):
            setattr(os, name, dying(getattr(os, name)))
        disk.os = os
        action()
        os._exit(0)
    except BaseException:
        os._exit(1)


def test_dies_at_each_change_of_a_commit(tmp_path, reference):
    """The third commit of a run, cut short after 0, 19, 38, … writes and renames."""
    seen = set()
    for calls in range(0, 400, 19):
        out = tmp_path / f"{calls}.zarr"
        writer, state = toy.start(out)
        for _ in range(2):
            state.advance(writer)
            state.frame(writer)
            state.commit(writer, "running")
        before = digest(out)

        def rest(state=state, writer=writer):
            state.advance(writer)
            state.frame(writer)
            state.commit(writer, "running")

        ended = crash_after(calls, rest)
        writer.close()
        assert_whole(out)
        seen.add(digest(out) == before)
        assert toy.go_on(*toy.resume(out), stop=[]) == 0
        assert digest(out) == reference
        if ended:
            break
    assert ended
    assert seen == {True, False}


def test_dies_while_it_begins(tmp_path):
    """Before the first commit nothing is at the path, and the next start cleans up."""
    out = tmp_path / "run.zarr"
    appeared = []
    for calls in range(0, 800, 37):
        ended = crash_after(calls, lambda: toy.start(out))
        appeared.append(out.exists())
        if out.exists():
            assert_whole(out)
            break
    assert appeared[0] is False
    assert appeared[-1] is True
    if not ended:
        writer, _ = toy.resume(out)
        writer.close()
    assert [p.name for p in tmp_path.iterdir() if p.name != ".run.zarr.lock"] == ["run.zarr"]


def test_dies_while_it_takes_a_bad_run_back(tmp_path, reference):
    """Resume falls back one commit; cut short at any change it stays whole and ends the same."""
    for calls in range(0, 400, 40):
        out = tmp_path / f"{calls}.zarr"
        writer, state = toy.start(out)
        for _ in range(3):
            state.advance(writer)
            state.frame(writer)
            state.commit(writer, "running")
        writer.close()
        newest = max((out / ".checkpoints").glob("*.npz"))
        newest.write_bytes(newest.read_bytes()[:-100])
        ended = crash_after(calls, lambda out=out: toy.resume(out))
        if ended:
            assert_whole(out)
        assert toy.go_on(*toy.resume(out), stop=[]) == 0
        assert_whole(out)
        assert digest(out) == reference
        if ended:
            break
    assert ended


def test_a_power_cut_finds_all_data_synced_before_the_record(tmp_path, monkeypatch):
    """Files are synced before they are moved into place, folders before the record names their files."""
    writer, state = toy.start(tmp_path / "run.zarr")
    state.advance(writer)
    state.frame(writer)
    log: list[tuple[str, str]] = []
    sync, replace = os.fsync, os.replace

    def name(descriptor: int) -> str:
        return os.readlink(f"/proc/self/fd/{descriptor}")

    monkeypatch.setattr(os, "fsync", lambda d: (log.append(("sync", name(d))), sync(d)))
    monkeypatch.setattr(os, "replace", lambda a, b: (log.append(("move", str(b))), replace(a, b)))
    state.commit(writer, "running")
    writer.close()

    record = log.index(("move", str(tmp_path / "run.zarr" / "zarr.json")))
    moved = [(at, Path(p)) for at, (what, p) in enumerate(log) if what == "move"]
    assert len(moved) > 20
    for at, path in moved:
        assert at <= record
        assert log.index(("sync", f"{path}.partial")) < at
        folder = [i for i, entry in enumerate(log) if entry == ("sync", str(path.parent))]
        assert folder[-1] > at
        assert at == record or folder[0] < record
