"""Kernels are cached where only their user can write, and run on the threads asked for."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import numba
import numpy as np
import pytest

from mechanistic import jit


@pytest.fixture
def root(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv("CELLWEAVE_CACHE", str(folder))
    jit.kernel_folder.cache_clear()
    yield folder
    jit.kernel_folder.cache_clear()


def test_the_folder_is_made_for_its_user_alone(root):
    folder = jit.private_folder("kernels-x")
    assert folder == root / "kernels-x"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(root.stat().st_mode) == 0o700


@pytest.mark.parametrize("mode", [0o720, 0o702, 0o777])
def test_a_folder_that_others_can_write_is_not_used(root, mode):
    folder = jit.private_folder("kernels-x")
    folder.chmod(mode)
    assert jit.private_folder("kernels-x") is None
    folder.chmod(0o700)
    root.chmod(mode)
    assert jit.private_folder("kernels-x") is None


def test_an_open_parent_is_not_trusted_unless_sticky(tmp_path, monkeypatch):
    shared = tmp_path / "shared"
    shared.mkdir()
    monkeypatch.setenv("CELLWEAVE_CACHE", str(shared / "mine"))
    shared.chmod(0o777)
    assert jit.private_folder("k") is None
    shared.chmod(0o1777)
    assert jit.private_folder("k") is not None


def test_a_link_in_place_of_the_folder_is_not_followed(root, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    root.mkdir(mode=0o700)
    (root / "k").symlink_to(elsewhere)
    assert jit.private_folder("k") is None


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")
def test_a_strangers_folder_is_not_used(root):
    folder = jit.private_folder("k")
    os.chown(folder, 12345, -1)
    assert jit.private_folder("k") is None


def test_an_empty_setting_turns_caching_off(monkeypatch):
    monkeypatch.setenv("CELLWEAVE_CACHE", "")
    assert jit.cache_root() is None
    assert jit.private_folder("k") is None


def test_the_folder_changes_with_every_kernel_source(root, tmp_path):
    package = tmp_path / "package"
    package.mkdir()
    kernels = package / "kernels.py"
    kernels.write_text("from mechanistic.jit import njit\nA = 1\n")
    (package / "plain.py").write_text("B = 1\n")
    first = jit._fingerprint(str(package))
    (package / "plain.py").write_text("B = 2\n")
    assert jit._fingerprint(str(package)) == first
    kernels.write_text("from mechanistic.jit import njit\nA = 2\n")
    assert jit._fingerprint(str(package)) != first


def test_fast_mathematics_and_other_caches_are_refused():
    with pytest.raises(TypeError, match="fastmath"):
        jit.njit(fastmath=True)
    with pytest.raises(TypeError, match="cache"):
        jit.njit(cache=True)


_PROGRAM = """
import sys, numpy as np
sys.path.insert(0, {folder!r})
import kernels
out = kernels.double(np.arange(3.0))
print(out.tolist(), sum(kernels.double.stats.cache_hits.values()))
"""


def test_a_second_process_finds_the_kernel_and_a_damaged_one_is_made_anew(root, tmp_path):
    (tmp_path / "kernels.py").write_text(
        "from mechanistic.jit import njit\n@njit\ndef double(x):\n    return 2 * x\n"
    )

    def once() -> str:
        program = _PROGRAM.format(folder=str(tmp_path))
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    assert once() == "[0.0, 2.0, 4.0] 0"
    assert once() == "[0.0, 2.0, 4.0] 1"
    (data,) = root.rglob("*.nbc")
    data.write_bytes(b"not machine code")
    assert once() == "[0.0, 2.0, 4.0] 0"
    assert not any((tmp_path / "__pycache__").glob("*.nb*"))


def test_threads_are_set_and_kept_within_what_there_are():
    before = jit.threads()
    try:
        assert jit.set_threads(1) == jit.threads() == 1
        assert jit.set_threads(10**6) == numba.config.NUMBA_NUM_THREADS
        assert jit.set_threads(0) == 1
    finally:
        jit.set_threads(before)


def test_without_a_cache_kernels_still_run(monkeypatch):
    monkeypatch.setenv("CELLWEAVE_CACHE", "")
    jit.kernel_folder.cache_clear()
    try:
        kernel = jit.njit(lambda x: x + 1)
        assert kernel(np.float64(1.0)) == 2.0
        assert jit.kernel_folder(str(Path(__file__).parent)) is None
    finally:
        jit.kernel_folder.cache_clear()
