"""The faults found while reading one model, and the limits on what is read."""

from __future__ import annotations

# Limits of one model. Each is far above any curated model and low enough for a check within five seconds.
MOST_DEPTH = 400
MOST_SPECIES = 5000
MOST_REACTIONS = 10000
MOST_REFERENCES = 2000
MOST_ARGUMENTS = 500
MOST_SUBMODELS = 1000
MOST_TERMS = 20_000
MOST_DELAYS = 200
LONGEST_ID = 256
MOST_ATTRIBUTES = 200
LONGEST_ATTRIBUTE = 1 << 20


class Refused(Exception):
    """The file cannot be read further. Its problem is already in the list."""


class Problems:
    """Collects one entry per fault: message, line (1-based) and key (the id of the element at fault)."""

    def __init__(self) -> None:
        self.entries: list[dict] = []

    def add(self, message: str, line: int | None = None, key: str | None = None) -> None:
        entry = {
            "message": _printable(message),
            "line": line,
            "key": None if key is None else _printable(key),
        }
        if entry not in self.entries[-50:]:
            self.entries.append(entry)

    def refuse(self, message: str, line: int | None = None, key: str | None = None) -> Refused:
        """Adds a fault after which nothing further can be read: `raise problems.refuse(...)`."""
        self.add(message, line, key)
        return Refused(message)

    def ordered(self) -> list[dict]:
        return sorted(self.entries, key=lambda e: e["line"] or 0)


def _printable(text: str) -> str:
    """`text` with control, ANSI and bidi characters escaped: it may quote the file."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def closest(word: str, words) -> str:
    """`; did you mean 'x'?` for the nearest of `words` within edit distance 2, else an empty text.

    One that differs by nothing but the case of its letters is nearest.
    """
    best, distance = None, 3
    for candidate in words:
        if candidate != word and candidate.casefold() == word.casefold():
            return f"; did you mean '{candidate}'?"
        if abs(len(candidate) - len(word)) < distance and candidate != word:
            d = _edit_distance(word, candidate, distance)
            if d < distance:
                best, distance = candidate, d
    return f"; did you mean '{best}'?" if best is not None and distance <= max(1, len(word)) else ""


def _edit_distance(a: str, b: str, enough: int) -> int:
    if len(a) > 64 or len(b) > 64:
        return enough
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        previous, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (x != y))
        if min(row) >= enough:
            return enough
    return row[-1]
