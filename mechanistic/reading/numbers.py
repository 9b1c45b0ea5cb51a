"""Numbers as SBML writes them: no decimal commas, no digits of other scripts, nothing that overflows."""

from __future__ import annotations

import re

_DOUBLE = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
_SPECIAL = {"INF": float("inf"), "-INF": float("-inf"), "+INF": float("inf"), "NaN": float("nan")}


def number(text: str, infinite: bool = False, undefined: bool = False) -> float:
    """The number that `text` writes; ValueError says in words why it is none.

    Args:
        infinite, undefined: whether it may be so.
    """
    text = text.strip(" \t\r\n")
    if text in _SPECIAL and (undefined if text == "NaN" else infinite):
        return _SPECIAL[text]
    if text in _SPECIAL:
        raise ValueError(f"must be finite (got {text})")
    if not _DOUBLE.fullmatch(text):
        hint = "; write a decimal point" if re.fullmatch(r"[+-]?[0-9]+,[0-9]+", text) else ""
        raise ValueError(f"is not a number (got {shown(text)}){hint}")
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ValueError(f"overflows (got {shown(text)})")
    return value


def shown(text: str) -> str:
    """A value as an error prints it: escaped, at most 80 characters."""
    safe = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text[:81])
    return "''" if not safe else safe if len(safe) <= 80 else safe[:79] + "…"
