"""What a stopped fit goes on from."""

import errno
from pathlib import Path

import pytest

from neural.checkpoints import Checkpoint
from neural.errors import TrainingError


def test_a_damaged_checkpoint_is_refused_and_a_full_disk_keeps_the_one_before(tmp_path, monkeypatch):
    kept = Checkpoint(tmp_path / "c", "mark", resume=True)
    kept.write({"step": 1})
    assert kept.read() == {"step": 1}

    def full(self, content):
        with open(self, "wb") as part:
            part.write(content[:10])
        raise OSError(errno.ENOSPC, "full")

    with monkeypatch.context() as disk:
        disk.setattr(Path, "write_bytes", full)
        with pytest.raises(OSError, match="full"):
            kept.write({"step": 2})
    assert kept.read() == {"step": 1} and [p.name for p in tmp_path.iterdir()] == ["c"]
    whole = (tmp_path / "c").read_bytes()
    for damaged in (b"", whole[:-40], whole[:99] + bytes([whole[99] ^ 1]) + whole[100:]):
        (tmp_path / "c").write_bytes(damaged)
        with pytest.raises(TrainingError, match="damaged"):
            kept.read()
