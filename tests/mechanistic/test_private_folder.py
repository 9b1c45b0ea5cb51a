"""Machine code is kept where only its user can write."""

from __future__ import annotations

import os
import stat

import pytest

from mechanistic.codegen.private_folder import cache_root, private_folder


@pytest.fixture
def root(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv("CELLWEAVE_CACHE", str(folder))
    return folder


def test_the_folder_is_made_for_its_user_alone(root):
    folder = private_folder("kernels-x")
    assert folder == root / "kernels-x"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(root.stat().st_mode) == 0o700


@pytest.mark.parametrize("mode", [0o720, 0o702, 0o777])
def test_a_folder_that_others_can_write_is_not_used(root, mode):
    folder = private_folder("kernels-x")
    folder.chmod(mode)
    assert private_folder("kernels-x") is None
    folder.chmod(0o700)
    root.chmod(mode)
    assert private_folder("kernels-x") is None


def test_an_open_parent_is_not_trusted_unless_sticky(tmp_path, monkeypatch):
    shared = tmp_path / "shared"
    shared.mkdir()
    monkeypatch.setenv("CELLWEAVE_CACHE", str(shared / "mine"))
    shared.chmod(0o777)
    assert private_folder("k") is None
    shared.chmod(0o1777)
    assert private_folder("k") is not None


def test_a_link_in_place_of_the_folder_is_not_followed(root, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    root.mkdir(mode=0o700)
    (root / "k").symlink_to(elsewhere)
    assert private_folder("k") is None


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")
def test_a_strangers_folder_is_not_used(root):
    folder = private_folder("k")
    os.chown(folder, 12345, -1)
    assert private_folder("k") is None


def test_an_empty_setting_turns_caching_off(monkeypatch):
    monkeypatch.setenv("CELLWEAVE_CACHE", "")
    assert cache_root() is None
    assert private_folder("k") is None
