"""How a fit tells how far it has come."""

from __future__ import annotations

from collections.abc import Callable

#: hears of so many done, of how many, and of what in words
Progress = Callable[[int, int, str], None]
