"""Plain data as YAML text that sim.scenario.yaml_text reads back to equal data."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from typing import Any

from sim.scenario.yaml_text import plain_value

_SAFE = re.compile(r"([A-Za-z/]|-?[0-9])[A-Za-z0-9_./^()=*+-]*( [A-Za-z0-9_./^()=*+-]+)*")


def write_yaml(data: dict[str, Any]) -> str:
    """Block style, keys in order; text is quoted unless it is read back as the same text."""
    return "\n".join(_lines(data, "")) + "\n"


def _lines(value: dict[str, Any] | list[Any], indent: str) -> Iterator[str]:
    entries = value.items() if isinstance(value, dict) else ((None, v) for v in value)
    for key, item in entries:
        head = f"{indent}-" if key is None else f"{indent}{_scalar(key)}:"
        if isinstance(item, dict | list) and item:
            yield head
            yield from _lines(item, indent + "  ")
        else:
            yield f"{head} {_scalar(item)}"


def _scalar(value: Any) -> str:
    if isinstance(value, str):
        plain = _SAFE.fullmatch(value) and plain_value(value) == value
        return value if plain else json.dumps(value)
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, float) and not math.isfinite(value):
        return ".nan" if math.isnan(value) else f"{'-' if value < 0 else ''}.inf"
    return repr(value)
