"""Damage is found and named; a full or read-only disk leaves the last commit whole."""

from __future__ import annotations

import errno
import logging
import os
import shutil
from pathlib import Path

import pytest
import toy

from sim.errors import ScenarioError, StoreError
from sim.store import disk
from sim.store.place import check_output
from sim.store.reader import digest, open_run, verify


@pytest.fixture(scope="module")
def run(shared_folder) -> Path:
    """A run that was interrupted, so that stale generations and checkpoints are there too."""
    out = shared_folder / "run.zarr"
    writer, state = toy.start(out)
    with writer:
        for _ in range(4):
            state.advance(writer)
            state.frame(writer)
            state.commit(writer, "running")
        state.commit(writer, "interrupted")
    return out


def flip(file: Path, bit: int) -> None:
    content = bytearray(file.read_bytes())
    content[bit // 8] ^= 1 << (bit % 8)
    file.write_bytes(content)


def test_a_flipped_bit_in_any_file_is_found(run):
    files = sorted(p for p in run.rglob("*") if p.is_file())
    assert len(files) > 80
    for number, file in enumerate(files):
        size = file.stat().st_size * 8
        for bit in {0, size - 1, (number * 7919) % size} if number % 5 == 0 else {(number * 7919) % size}:
            flip(file, bit)
            with pytest.raises(ScenarioError, match=r"damaged|cannot be read") as caught:
                digest(run)
            # a checkpoint's two files are one
            assert any(p.file.startswith(str(file.with_suffix(""))) for p in caught.value.problems), file
            flip(file, bit)
    verify(run)


def test_a_missing_or_shortened_or_stale_file_is_found(run, tmp_path):
    out = tmp_path / "run.zarr"
    shutil.copytree(run, out)
    chunk = out / "cells/x/c.0"
    whole = chunk.read_bytes()
    chunk.unlink()
    with pytest.raises(ScenarioError, match=r"cells/x/c\.0: damaged: it is missing"):
        verify(out)
    chunk.write_bytes(whole[:-9])
    with pytest.raises(ScenarioError, match=r"cells/x/c\.0: damaged: its checksum"):
        verify(out)
    chunk.write_bytes((out / "cells/y/c.0").read_bytes())  # whole, but not these rows
    with pytest.raises(ScenarioError, match="cells/x: damaged: its rows are not those of the last commit"):
        verify(out)


def test_a_missing_chunk_is_told_when_a_run_is_opened(run, tmp_path):
    copy = shutil.copytree(run, tmp_path / "copy.zarr")
    gone = [copy / "cells/x/c.0", copy / "summary/count/c.0.0"]
    for file in gone:
        file.unlink()
    with pytest.raises(ScenarioError) as caught:
        open_run(copy)
    assert {p.file for p in caught.value.problems} == set(map(str, gone))
    assert all("it is missing" in line for line in caught.value.lines())


@pytest.mark.parametrize("left", [0, 3, -3])
def test_a_damaged_chunk_is_told_when_it_is_read_and_nothing_is_made_up(run, tmp_path, left):
    copy = shutil.copytree(run, tmp_path / "copy.zarr")
    file = copy / "cells/x/c.0"
    file.write_bytes(file.read_bytes()[:left])
    tree = open_run(copy)
    assert len(tree["cells/y"].values)
    for _ in range(2):
        with pytest.raises(ScenarioError, match=r"cells/x/c\.0: damaged"):
            tree["cells/x"].values  # noqa: B018
    file.unlink()
    with pytest.raises(ScenarioError, match=r"cells/x/c\.0: damaged: it is missing"):
        tree["cells/x"].load()


def test_several_damages_are_named_together(run, tmp_path):
    out = tmp_path / "run.zarr"
    shutil.copytree(run, out)
    flip(out / "cells/x/c.0", 80)
    flip(out / "fields/field.oxygen/c.0.0.0.0", 80)
    with pytest.raises(ScenarioError) as caught:
        verify(out)
    assert len(caught.value.problems) == 2


@pytest.mark.parametrize("how", ["cut", "flipped", "gone", "other"])
def test_a_bad_checkpoint_gives_way_to_the_one_before(run, tmp_path, caplog, how):
    reference = tmp_path / "reference.zarr"
    assert toy.go_on(*toy.start(reference), stop=[]) == 0
    out = tmp_path / "run.zarr"
    shutil.copytree(run, out)
    newest = max((out / ".checkpoints").glob("*.npz"))
    if how == "cut":
        newest.write_bytes(newest.read_bytes()[:-50])
    elif how == "flipped":
        flip(newest.with_suffix(".json"), 600)
    elif how == "gone":
        newest.with_suffix(".json").unlink()
    else:
        writer, state = toy.start(tmp_path / "other.zarr")
        for _ in range(5):
            state.commit(writer, "running")
        writer.close()
        for suffix in (".json", ".npz"):
            shutil.copy(tmp_path / "other.zarr/.checkpoints" / (newest.stem + suffix), newest.parent)
    with caplog.at_level(logging.WARNING, "cellweave"):
        writer, state = toy.resume(out)
    assert newest.stem.lstrip("0") in caplog.text
    assert "going on from the one before it (5)" in caplog.text
    assert toy.go_on(writer, state, stop=[]) == 0
    assert digest(out) == digest(reference)


def test_a_store_that_lost_a_folder_is_named_when_it_is_gone_on_with(run, tmp_path):
    out = tmp_path / "run.zarr"
    shutil.copytree(run, out)
    shutil.rmtree(out / "fields")
    with pytest.raises(ScenarioError, match="fields: damaged: it is missing"):
        toy.resume(out)


def test_no_good_checkpoint_is_an_error(run, tmp_path):
    out = tmp_path / "run.zarr"
    shutil.copytree(run, out)
    for file in (out / ".checkpoints").glob("*.npz"):
        file.write_bytes(b"")
    with pytest.raises(ScenarioError) as caught:
        toy.resume(out)
    assert len(caught.value.problems) == 2
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("number", "writes"),
    [(errno.ENOSPC, (0, 1, 20, 36, 37, 38, 39)), (errno.EDQUOT, (3,)), (errno.EROFS, (3,))],
)
def test_disk_full_at_any_write_of_a_commit(tmp_path, monkeypatch, number, writes):
    reference = tmp_path / "reference.zarr"
    assert toy.go_on(*toy.start(reference), stop=[]) == 0
    write = disk.write
    for calls in writes:
        out = tmp_path / f"{calls}.zarr"
        writer, state = toy.start(out)
        before = digest(out)
        left = calls

        def failing(descriptor, content):
            nonlocal left
            left -= 1
            if left < 0:
                raise OSError(number, os.strerror(number))
            write(descriptor, content)

        monkeypatch.setattr(disk, "write", failing)
        state.advance(writer)
        state.frame(writer)
        failed = False
        try:
            state.commit(writer, "running")
        except StoreError as error:
            failed = True
            assert error.exit_code == 4
            assert os.strerror(number) + " at t = 1 h" in str(error)
            assert ("free space and resume" in str(error)) == (number != errno.EROFS)
        monkeypatch.setattr(disk, "write", write)
        writer.close()
        assert failed == (digest(out) == before)
        assert not list(out.rglob("*.partial"))
        assert open_run(out)["cells"].sizes["time"] == (1 if failed else 2)
        assert toy.go_on(*toy.resume(out), stop=[]) == 0
        assert digest(out) == digest(reference)


def test_disk_full_before_the_first_commit(tmp_path, monkeypatch):
    def failing(descriptor, content):
        raise OSError(errno.ENOSPC, "full")

    out = tmp_path / "run.zarr"
    toy.start(out)[0].close()
    old = digest(out)
    monkeypatch.setattr(disk, "write", failing)
    with pytest.raises(StoreError, match=r"No space left on device at t = 0 h; free space$"):
        toy.start(out, force=True)
    assert digest(out) == old


def test_room_is_needed_at_the_start(tmp_path):
    with pytest.raises(StoreError, match=r"needs 9\.31e\+08 GiB, .* GiB free") as caught:
        check_output(tmp_path / "run.zarr", needed=10**18)
    assert caught.value.exit_code == 4
    with pytest.raises(ScenarioError, match="is not a folder"):
        check_output("/dev/null/run.zarr")
    with pytest.raises(ScenarioError, match="no name for a file"):
        check_output("a\0b")


def test_a_read_only_folder_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(StoreError, match="is read-only"):
        toy.start(tmp_path / "run.zarr")
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_goes_on_while_it_is_looked_at_is_not_damaged(tmp_path, monkeypatch):
    from sim.store import verify as looking

    writer, state = toy.start(tmp_path / "run.zarr")
    check, times = looking._check, []

    def slow(path, record):
        times.append(record.number)
        if len(times) < 3:
            for _ in range(4):  # files of the record that was read are written again meanwhile
                state.advance(writer)
                state.frame(writer)
                state.commit(writer, "running")
        return check(path, record)

    monkeypatch.setattr(looking, "_check", slow)
    with writer:
        assert digest(tmp_path / "run.zarr")
    assert len(times) == 3 and times == sorted(times)
    monkeypatch.undo()
    (tmp_path / "run.zarr" / "lineage/cause/c.0").write_bytes(b"")
    with pytest.raises(ScenarioError, match="lineage/cause"):
        digest(tmp_path / "run.zarr")
