"""One writer at a time: a lock file beside the run that the kernel frees when its holder dies."""

from __future__ import annotations

import datetime
import fcntl
import json
import os
import socket
from pathlib import Path

from sim.errors import StoreError
from sim.store.disk import disk_errors


def require_unlocked(path: Path) -> None:
    """Raises `StoreError` where another process writes the run at `path`; takes no lock."""
    try:
        descriptor = os.open(_place(path), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return  # nobody writes, or whoever wants to will be told why not
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        raise _locked(path, descriptor) from None
    finally:
        os.close(descriptor)


class Lock:
    """Exclusive right to write the run at `path`; a link to it is the same run.

    Raises:
        StoreError: another process holds it; the message names process, host and time.
    """

    def __init__(self, path: Path):
        self._path = _place(path)
        if os.path.islink(self._path):
            raise StoreError(f"{self._path}: is a link, which no lock of a run is; remove it")
        with disk_errors(self._path):
            self._descriptor = self._acquire(path)
        holder = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "since": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
        }
        with disk_errors(self._path):
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, json.dumps(holder).encode(), 0)

    def _acquire(self, path: Path) -> int:
        while True:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                told = _locked(path, descriptor)
                os.close(descriptor)
                raise told from None
            # the last holder removes the file: a lock on a removed file locks nothing
            if self._still_named(descriptor):
                return descriptor
            os.close(descriptor)

    def _still_named(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(os.fstat(descriptor), os.stat(self._path))
        except FileNotFoundError:
            return False

    def release(self) -> None:
        """Frees the lock; safe to call twice."""
        if self._descriptor >= 0:
            self._path.unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = -1


def _place(path: Path) -> Path:
    """The lock file of the run at `path`."""
    real = Path(os.path.realpath(path))
    return real.with_name(f".{real.name}.lock")


def _locked(path: Path, descriptor: int) -> StoreError:
    return StoreError(f"{path}: locked by {_holder(os.pread(descriptor, 4096, 0))}")


def _holder(content: bytes) -> str:
    try:
        who = json.loads(content)
        return f"pid {who['pid']} on {who['host']} since {who['since']}"
    except (ValueError, KeyError, TypeError):
        return "a process that is just starting"
