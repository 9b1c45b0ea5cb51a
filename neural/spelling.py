"""The known word that is nearest to an unknown one, as messages say it."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(word: str, known: Iterable[str], otherwise: str = "") -> str:
    """`; did you mean 'x'?` with the nearest known word; where none is near, `otherwise`, if it is given."""
    close = get_close_matches(word, list(known), 1)
    if close:
        return f"; did you mean '{close[0]}'?"
    return f"; {otherwise}" if otherwise else ""
