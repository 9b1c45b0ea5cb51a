"""Text files that a user names: read only if regular and of sensible size, so that nothing blocks."""

from __future__ import annotations

import os
import stat

from neural.errors import TrainingError

_LARGEST = 1 << 24


def is_there(path: str | os.PathLike) -> bool:
    """Whether a regular file lies there; False too for what can be no path."""
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except (OSError, ValueError):
        return False


def read_text(path: str | os.PathLike) -> str:
    """The file's text, UTF-8 with or without a mark.

    Raises:
        TrainingError: missing, not a regular file, larger than 16 MiB, or not UTF-8.
    """
    try:
        info = os.stat(path)
        if not stat.S_ISREG(info.st_mode):
            raise TrainingError(path, [(None, None, "is not a regular file; give the path of a text file")])
        if info.st_size > _LARGEST:
            raise TrainingError(path, [(None, None, f"is {info.st_size} bytes; at most {_LARGEST} are read")])
        with open(path, encoding="utf-8-sig", newline="") as file:
            return file.read()
    except UnicodeDecodeError as error:
        raise TrainingError(path, [(None, None, f"is not UTF-8 text (byte {error.start})")]) from None
    except (OSError, ValueError) as error:
        if isinstance(error, TrainingError):
            raise
        what = getattr(error, "strerror", None) or error
        raise TrainingError(path, [(None, None, f"cannot be read ({what})")]) from None
