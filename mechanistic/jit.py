"""Compiled kernels: Numba's `njit` with a cache on disk that only its user can write.

A cache of machine code is code that will be run. Numba's own goes beside the sources or wherever an
environment variable says, and is not refreshed when a kernel that another file inlines has changed. Here
compiled kernels lie in `~/.cache/cellweave/kernels-<hash>` (base folder: CELLWEAVE_CACHE; an empty value
turns caching off), the hash taken over every source file that holds kernels and over the compiler's version.
A folder, or a parent of it, that somebody else could write is not used: kernels are then compiled anew in
each process, nothing else changes.

Kernels that are cached together live in one package: constants that they share belong in files that import
this one.
"""

from __future__ import annotations

import hashlib
import inspect
import os
import platform
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

# A thread that waits for the others spins for less than a millisecond before it sleeps. Where something else runs on a
# core the default, many milliseconds between two of our short loops, makes two threads slower than one. It is read when
# the first parallel loop starts.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")

import llvmlite
import numba
from numba import prange
from numba.core import caching

__all__ = [
    "cache_root",
    "kernel_folder",
    "njit",
    "prange",
    "private_folder",
    "set_threads",
    "threads",
    "threads_for",
]

_HERE = Path(__file__).resolve().parent
_MARK = b"mechanistic.jit"


def njit(function: Callable | None = None, **options: Any) -> Any:
    """`numba.njit`, cached as the module says. No `fastmath`, no `cache`: results are the same on every run.

    Raises:
        TypeError: for `cache` or `fastmath` among the options.
    """
    if unwanted := {"cache", "fastmath"} & options.keys():
        raise TypeError(
            f"njit() takes no {' or '.join(sorted(unwanted))} here: caching and rounding are the same for all"
        )

    def compile_later(function: Callable) -> Any:
        dispatcher = numba.njit(**options)(function)
        folder = kernel_folder(str(Path(inspect.getfile(function)).resolve().parent))
        if folder is not None:
            dispatcher._cache = _KernelCache(function, folder)
        return dispatcher

    return compile_later if function is None else compile_later(function)


def set_threads(count: int) -> int:
    """Lets kernels use `count` threads, or as many as the process was given if fewer; returns the number in
    force."""
    count = max(1, min(int(count), numba.config.NUMBA_NUM_THREADS))
    numba.set_num_threads(count)
    return count


@contextmanager
def threads_for(items: int, each: int = 2000) -> Iterator[None]:
    """Within it kernels use no more than one thread per `each` items: waking others for little work takes
    longer.

    Results do not change: every kernel gives the same bits for any number of threads.
    """
    before = numba.get_num_threads()
    fewer = max(1, min(before, items // each))
    if fewer == before:
        yield
        return
    numba.set_num_threads(fewer)
    try:
        yield
    finally:
        numba.set_num_threads(before)


def threads() -> int:
    """The number of threads that kernels use now."""
    return numba.get_num_threads()


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

    Machine code may be kept there. The folder and the root must belong to this user with no write permission
    for others, and no parent may let a stranger put another folder in its place.
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


@cache
def kernel_folder(package: str) -> Path | None:
    """Where the kernels of the package in folder `package` are cached, or None: then they are not."""
    return private_folder(f"kernels-{_fingerprint(package)}")


def _fingerprint(package: str) -> str:
    """Hash of all that a kernel of `package` is compiled from: kernel sources here and there, and the
    compiler."""
    digest = hashlib.sha256(
        repr(
            (numba.__version__, llvmlite.__version__, platform.python_version(), platform.machine())
        ).encode()
    )
    sources = {path.resolve() for folder in (_HERE, Path(package)) for path in folder.glob("*.py")}
    for path in sorted(sources):
        text = path.read_bytes()
        if _MARK in text:
            digest.update(b"%d %d " % (len(path.name), len(text)) + path.name.encode() + text)
    return digest.hexdigest()


def _mine(folder: Path) -> bool:
    status = folder.lstat()
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o022


def _safe_parent(folder: Path) -> bool:
    """Whether no stranger can rename what lies in `folder`: owned by us or root, and not open (or sticky, as
    /tmp)."""
    status = folder.stat()
    owned = status.st_uid in (0, os.getuid())
    return owned and (not status.st_mode & 0o022 or bool(status.st_mode & stat.S_ISVTX))


class _Folder(caching._CacheLocator):
    """Tells Numba's cache to use one given folder. The folder's name is already the stamp of the sources."""

    def __init__(self, function: Callable, folder: Path):
        self._py_file = inspect.getfile(function)
        self._folder = folder
        self._package = hashlib.sha256(function.__module__.encode()).hexdigest()[:8]
        self._line = function.__code__.co_firstlineno

    def get_cache_path(self) -> str:
        return str(self._folder)

    def get_source_stamp(self) -> str:
        return self._folder.name

    def get_disambiguator(self) -> str:
        return f"{self._package}-{self._line}"


class _KernelCacheImpl(caching.CompileResultCacheImpl):
    def __init__(self, function: Callable, folder: Path):
        self._lineno = function.__code__.co_firstlineno
        self._locator = _Folder(function, folder)
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
