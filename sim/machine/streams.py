"""Standard streams that are closed or full: no run ends because nobody can hear of it.

Kept free of imports that take time.
"""

from __future__ import annotations

import os
import sys
from typing import Any


def install() -> None:
    """Put something in the place of streams that were closed, and let messages on stderr fail in silence."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            # the lowest number that is free, which is this one: else a file of results would get it
            os.open(os.devnull, os.O_RDWR)
            mode = "w" if number else "r"
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115
    sys.stderr = Messages(sys.stderr)


class Messages:
    """A stream for messages: what cannot be written, as its disk is full, is left out.

    A reader who went away (`2>&1 | head`) ends the command as it does for others.
    """

    def __init__(self, stream: Any):
        self._stream = stream

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except BrokenPipeError:
            raise
        except OSError:
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except BrokenPipeError:
            raise
        except OSError:
            return

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
