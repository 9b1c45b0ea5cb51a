"""Writing files so that a crash leaves either the old or the new content, and errors of the disk."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import itertools
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO, TypeVar

from sim.errors import StoreError

PARTIAL = ".partial"
_GIB = 1024**3
_MOST_OPEN = 200
_AT_ONCE = 8  # threads that wait for the disk
_TRIES, _PAUSE = 40, 0.05  # times that a folder is removed before it is let be, and seconds between them
_ADVICE = {
    errno.ENOSPC: "; free space",
    errno.EDQUOT: "; free space",
    errno.EFBIG: "; raise the limit (ulimit -f)",
}
T = TypeVar("T")


@contextlib.contextmanager
def disk_errors(path: Path, when: str = "", *, kept: bool = True) -> Iterator[None]:
    """Turns an error of the operating system into a `StoreError` that says what to do.

    Args:
        when: in what it came about.
        kept: whether there is something to go on from.
    """
    try:
        yield
    except OSError as error:
        advice = _ADVICE.get(error.errno or 0, "")
        advice += " and resume" if advice and when and kept else ""
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise StoreError(f"{path}: {reason}{when}{advice}") from error


def discard(folder: Path) -> None:
    """Remove what a writer left that failed; threads of it may still be putting files there."""
    for _ in range(_TRIES):
        if not folder.exists():
            return
        shutil.rmtree(folder, ignore_errors=True)
        time.sleep(_PAUSE)


def require_space(folder: Path, needed: int) -> None:
    """Raises `StoreError` unless `folder` has room for `needed` bytes."""
    with disk_errors(folder):
        free = shutil.disk_usage(folder).free
    if free < needed:
        raise StoreError(f"{folder}: needs {needed / _GIB:.3g} GiB, {free / _GIB:.3g} GiB free")


def write(descriptor: int, content: bytes) -> None:
    """Writes all of `content`."""
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]


def open_new(path: Path) -> int:
    """A descriptor of an empty file at `path`, to be written and read; what was there, a link too, is gone.

    A link is never followed: a folder that came from elsewhere decides over no file but its own.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        return os.open(path, flags, 0o666)
    except FileExistsError:
        path.unlink()
        return os.open(path, flags, 0o666)


def own_folder(folder: Path) -> None:
    """Makes a folder for results, unless it is there.

    Raises:
        StoreError: it cannot be made, or is a link to another place.
    """
    if folder.is_symlink():
        raise StoreError(f"{folder}: is a link; results are written into folders of their own, so remove it")
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)


def sync_folder(folder: Path) -> None:
    """Makes the names in `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folders(folders: Iterable[Path]) -> None:
    """Makes the names in all of them durable."""
    _all_at_once(sync_folder, list(folders))


def _all_at_once(task: Callable[[T], object], things: Sequence[T]) -> None:
    """Waits for the disk once, not for one thing after the other: a file system commits what is asked for together."""
    if len(things) < 2:
        for thing in things:
            task(thing)
        return
    with ThreadPoolExecutor(min(_AT_ONCE, len(things))) as pool:
        list(pool.map(task, things))


def replace_files(files: Iterable[tuple[Path, bytes]], *, durable: bool = True) -> None:
    """Writes each file beside its place, then moves all into place.

    Each file changes atomically; when this returns all of them are durable. Many are written before the first
    is synced: the file system then commits its journal once, not once for each. What a file holds is asked for when
    it is written, and forgotten then.

    Raises:
        OSError: nothing was replaced, or (while moving) some files are new and the others old.
    """
    left, folders = iter(files), dict[Path, None]()
    while paths := _replace_some(itertools.islice(left, _MOST_OPEN), durable):
        folders |= dict.fromkeys(path.parent for path in paths)
    if durable:
        sync_folders(folders)


def replace_file_by(path: Path, write_to: Callable[[BinaryIO], object]) -> str:
    """Writes one file as `replace_files` does, by a function that writes into it; its content is not held in memory.

    Returns:
        sha256 of the content, in hexadecimal digits.

    Raises:
        OSError: nothing was replaced.
    """
    partial = _partial(path)
    try:
        with os.fdopen(open_new(partial), "w+b") as file:
            write_to(file)
            file.flush()
            os.fsync(file.fileno())
            file.seek(0)
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        os.replace(partial, path)
    except OSError:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise
    sync_folder(path.parent)
    return digest


def _replace_some(files: Iterable[tuple[Path, bytes]], durable: bool) -> list[Path]:
    """Their paths."""
    paths: list[Path] = []
    try:
        with contextlib.ExitStack() as opened:
            descriptors = []
            for path, content in files:
                paths.append(path)
                descriptor = open_new(_partial(path))
                opened.callback(os.close, descriptor)
                descriptors.append(descriptor)
                write(descriptor, content)
            if durable:
                _all_at_once(os.fsync, descriptors)
        for path in paths:
            os.replace(_partial(path), path)
    except OSError:
        for path in paths:
            with contextlib.suppress(OSError):
                _partial(path).unlink()
        raise
    return paths


def _partial(path: Path) -> Path:
    """Where a file is written that is to be at `path`."""
    return path.with_name(path.name + PARTIAL)
