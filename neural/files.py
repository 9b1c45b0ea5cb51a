"""Text files that a user names: read only if regular and of sensible size, so that nothing blocks."""

from __future__ import annotations

import os
import stat
from difflib import get_close_matches

from neural.errors import TrainingError, shown

_LARGEST = 1 << 24
_MOST_LISTED = 2000


def is_there(path: str | os.PathLike) -> bool:
    """Whether a regular file lies there; False too for what can be no path."""
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except (OSError, ValueError):
        return False


def meant(path: str | os.PathLike) -> str:
    """`; did you mean 'x'?` with the name in the same folder that is most like one that is not there, or nothing."""
    try:
        if os.path.lexists(path):
            return ""
        with os.scandir(os.path.dirname(path) or ".") as entries:
            names = [entry.name for entry, _ in zip(entries, range(_MOST_LISTED)) if entry.is_file()]
    except (OSError, ValueError):
        return ""
    close = get_close_matches(os.path.basename(path), names, 1, 0.8)
    return f"; did you mean {shown(close[0])}?" if close else ""


def no_place_for_weights(path: str | os.PathLike) -> str | None:
    """Why weights cannot be written to `path`; None where they can, as far as can be told before they are there."""
    name = os.path.basename(path)
    if not name.endswith(".safetensors") or name == ".safetensors":
        return "must be the name of a .safetensors file"
    if os.path.isdir(path):
        return "is a folder; name a file"
    folder = os.path.dirname(os.path.abspath(path))
    while not os.path.lexists(folder):
        folder = os.path.dirname(folder)
    if not os.path.isdir(folder):
        return f"{folder} is not a folder"
    return None if os.access(folder, os.W_OK | os.X_OK) else f"{folder} is read-only"


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
        with open(path, "rb") as file:
            return file.read(_LARGEST + 1).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        byte = error.object[error.start]
        message = f"not UTF-8 (got byte 0x{byte:02x}); save the file as UTF-8"
        raise TrainingError(path, [(line, None, message)]) from None
    except (OSError, ValueError) as error:
        if isinstance(error, TrainingError):
            raise
        what = getattr(error, "strerror", None) or error
        raise TrainingError(path, [(None, None, f"cannot be read ({what}){meant(path)}")]) from None
