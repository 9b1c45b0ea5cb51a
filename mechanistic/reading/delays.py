"""How much of the past a formula looks up: delays inside delays, through rules, multiply."""

from __future__ import annotations

from mechanistic.reading.functions import references
from mechanistic.reading.problems import MOST_DELAYS, Problems


def refuse_too_many(formulas: dict[str, tuple[object, int]], problems: Problems) -> None:
    """Notes the first formula that looks up more than MOST_DELAYS values of the past for one of its own.

    Args:
        formulas: math and line by the name that it determines at all times; no name determines itself.
    """
    counts: dict[str, int] = {}
    waiting = list(formulas)
    while waiting:
        name = waiting[-1]
        math, line = formulas[name]
        unknown = [n for n in references(math) if n in formulas and n not in counts]
        if unknown:
            waiting.extend(unknown)
            continue
        waiting.pop()
        counts[name] = min(_count(math, counts), MOST_DELAYS + 1)
        if counts[name] > MOST_DELAYS:
            message = f"looks up more than {MOST_DELAYS} values of the past, through delays of delays"
            problems.add(message, line, f"{name}.delay")
            return


def _count(math, counts: dict[str, int]) -> int:
    total, waiting = 0, [math]
    while waiting:
        part = waiting.pop()
        if isinstance(part, str):
            total += counts.get(part, 0)
        elif isinstance(part, list):
            total += part[0] == "delay"
            waiting.extend(part[1:])
    return total
