"""Where machine code is kept on disk: where only its user can write.

A cache of machine code is code that will be run. It lies in `~/.cache/cellweave` (CELLWEAVE_CACHE names another
folder; an empty value turns caching off). A folder, or a parent of it, that somebody else could write is not used: code
is then made anew in each process, nothing else changes.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

__all__ = ["cache_root", "private_folder"]


def cache_root() -> Path | None:
    """The base folder of every cache, or None where the user turned caching off."""
    chosen = os.environ.get("CELLWEAVE_CACHE")
    if chosen is not None:
        return Path(chosen).expanduser() if chosen.strip() else None
    try:
        return Path.home() / ".cache" / "cellweave"
    except RuntimeError:
        return None


def private_folder(name: str) -> Path | None:
    """The folder `name` below the cache root, made if need be; None unless only this user can write it.

    The folder and the root must belong to this user with no write permission for others, and no parent may let a
    stranger put another folder in its place.
    """
    root = cache_root()
    if root is None:
        return None
    try:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = root.resolve(strict=True) / name
        folder.mkdir(mode=0o700, exist_ok=True)
        if folder.is_symlink() or not (_mine(folder) and _mine(folder.parent)):
            return None
        if not all(_safe_parent(parent) for parent in folder.parent.parents):
            return None
        return folder if os.access(folder, os.W_OK | os.X_OK) else None
    except OSError:
        return None


def _mine(folder: Path) -> bool:
    status = folder.lstat()
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o022


def _safe_parent(folder: Path) -> bool:
    """Whether no stranger can rename what lies in `folder`: owned by us or root, and not open (or sticky, as
    /tmp)."""
    status = folder.stat()
    owned = status.st_uid in (0, os.getuid())
    return owned and (not status.st_mode & 0o022 or bool(status.st_mode & stat.S_ISVTX))
