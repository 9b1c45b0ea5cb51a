"""The nearest allowed word to a misspelt one, for `did you mean`."""

from __future__ import annotations

from collections.abc import Iterable

from sim.errors import escaped

_LONGEST_WORD = 64
MOST_EDITS = 2


def distance(a: str, b: str, limit: int = MOST_EDITS) -> int:
    """Edits (insert, delete, replace, swap of neighbours) from `a` to `b`; `limit + 1` once there are more.

    Optimal string alignment, as in Damerau (1964).
    """
    if abs(len(a) - len(b)) > limit:
        return limit + 1
    before: list[int] = []
    row = list(range(len(b) + 1))
    for i, left in enumerate(a, 1):
        earlier, before = before, row
        row = [i]
        for j, right in enumerate(b, 1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (left != right))
            if i > 1 and j > 1 and left == b[j - 2] and a[i - 2] == right:
                cost = min(cost, earlier[j - 2] + 1)
            row.append(cost)
        if min(row) > limit:
            return limit + 1
    return min(row[-1], limit + 1)


def nearest(word: str, allowed: Iterable[str], limit: int = MOST_EDITS) -> str | None:
    """The allowed word at the fewest edits from `word`, at most `limit`; case counts for nothing."""
    if not word or len(word) > _LONGEST_WORD:
        return None
    best, fewest = None, limit + 1
    for candidate in allowed:
        if candidate.lower() == word.lower():
            return candidate
        edits = distance(word, candidate, limit)
        # A word may not be replaced whole: three letters two edits away have nothing to do with each other.
        if edits < fewest and edits < max(len(word), len(candidate)) - (edits > 1):
            best, fewest = candidate, edits
    return best


def did_you_mean(word: str, allowed: Iterable[str]) -> str:
    """`; did you mean 'x'?` with the nearest allowed word, or an empty text."""
    found = nearest(word, allowed)
    return f"; did you mean '{escaped(found)}'?" if found else ""


def one_of(allowed: Iterable[str]) -> str:
    """`'a', 'b' or 'c'` for a message that lists what is allowed."""
    words = [f"'{escaped(w)}'" for w in allowed]
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " or " + words[-1] if words else "nothing"
