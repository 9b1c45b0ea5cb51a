"""Tests of the store write thousands of small files: in memory, and without waiting for a disk."""

import os
import tempfile
from pathlib import Path

import pytest

_MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


@pytest.fixture(scope="module")
def shared_folder():
    with tempfile.TemporaryDirectory(dir=_MEMORY) as folder:
        yield Path(folder)


@pytest.fixture
def tmp_path():
    with tempfile.TemporaryDirectory(dir=_MEMORY) as folder:
        yield Path(folder)


@pytest.fixture(autouse=True)
def quick_disk(monkeypatch, request):
    """A killed process loses nothing that it wrote: only a test of power cuts needs the disk itself."""
    if "power_cut" not in request.node.name:
        monkeypatch.setattr(os, "fsync", lambda descriptor: None)
