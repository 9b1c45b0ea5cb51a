"""Compiled kernels: Numba's `njit` with a cache on disk that only its user can write.

A cache of machine code is code that will be run. Kernels lie in `~/.cache/cellweave/neural-<hash>` (base folder:
CELLWEAVE_CACHE; an empty value turns caching off), the hash taken over every file here that imports this one and
over the compiler's version. A folder, or a parent of it, that somebody else could write is not used: kernels are
then compiled anew in each process. The same rules hold in `mechanistic`, which this package does not know.
"""

from __future__ import annotations

import hashlib
import inspect
import os
import platform
import stat
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

# a waiting thread goes to sleep soon, as cores may be shared; read when the first parallel loop starts
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")

import llvmlite
import numba
from numba import prange
from numba.core import caching

__all__ = ["njit", "prange"]

_MARK = b"neural.jit"


def njit(function: Callable | None = None, **options: Any) -> Any:
    """`numba.njit`, cached as the module says; rounding is never relaxed, so that results are the same on every
    run."""

    def compile_later(function: Callable) -> Any:
        dispatcher = numba.njit(**options)(function)
        folder = _folder()
        if folder is not None:
            dispatcher._cache = _KernelCache(function, folder)
        return dispatcher

    return compile_later if function is None else compile_later(function)


@cache
def _folder() -> Path | None:
    """Where kernels are cached, made if need be; None unless only this user can write it."""
    chosen = os.environ.get("CELLWEAVE_CACHE")
    try:
        root = Path.home() / ".cache" / "cellweave" if chosen is None else Path(chosen).expanduser()
        if chosen is not None and not chosen.strip():
            return None
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = root.resolve(strict=True) / f"neural-{_fingerprint()}"
        folder.mkdir(mode=0o700, exist_ok=True)
        own = all(_mine(f) for f in (folder, folder.parent))
        return folder if own and all(_no_stranger_writes(p) for p in folder.parent.parents) else None
    except (OSError, RuntimeError):
        return None


def _fingerprint() -> str:
    compiler = (numba.__version__, llvmlite.__version__, platform.python_version(), platform.machine())
    digest = hashlib.sha256(repr(compiler).encode())
    for path in sorted(Path(__file__).resolve().parent.rglob("*.py")):
        text = path.read_bytes()
        if _MARK in text:
            digest.update(f"{path.name} {len(text)} ".encode() + text)
    return digest.hexdigest()


def _mine(folder: Path) -> bool:
    status = folder.lstat()
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o022


def _no_stranger_writes(folder: Path) -> bool:
    """Owned by us or root, and not open to others (or sticky, as /tmp)."""
    status = folder.stat()
    owned = status.st_uid in (0, os.getuid())
    return owned and (not status.st_mode & 0o022 or bool(status.st_mode & stat.S_ISVTX))


class _Locator(caching._CacheLocator):
    """Tells Numba's cache to use one given folder, whose name is already the stamp of the sources."""

    def __init__(self, function: Callable, folder: Path):
        self._py_file = inspect.getfile(function)
        self._path, self._line = folder, function.__code__.co_firstlineno

    def get_cache_path(self) -> str:
        return str(self._path)

    def get_source_stamp(self) -> str:
        return self._path.name

    def get_disambiguator(self) -> str:
        return f"{hashlib.sha256(self._py_file.encode()).hexdigest()[:8]}-{self._line}"


class _KernelCacheImpl(caching.CompileResultCacheImpl):
    def __init__(self, function: Callable, folder: Path):
        self._lineno = function.__code__.co_firstlineno
        self._locator = _Locator(function, folder)
        self._filename_base = self.get_filename_base(function.__qualname__, "")


class _KernelCache(caching.FunctionCache):
    """Numba's function cache in a private folder. A damaged or full disk costs a compilation, never a run."""

    def __init__(self, function: Callable, folder: Path):
        self._impl_class = lambda function: _KernelCacheImpl(function, folder)
        super().__init__(function)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        try:
            return super().load_overload(sig, target_context)
        except Exception:
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        try:
            super().save_overload(sig, data)
        except OSError:
            self.disable()
