"""Values given on the command line, `--set time.stop=3 h`, put into a document before it is checked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from sim.errors import Problem, ScenarioError, escaped
from sim.scenario.yaml_text import Document, Path, TextError, read_yaml

_STEP = re.compile(r"\.?([^.\[\]]+)|\[([0-9]{1,6})\]")


def key_path(text: str | Path) -> Path:
    """("couplings", 0, "hill") for "couplings[0].hill"; "couplings.0.hill" means the same."""
    if not isinstance(text, str):
        return tuple(text)
    path: list[str | int] = []
    at = 0
    while at < len(text):
        step = _STEP.match(text, at)
        if step is None:
            raise ValueError(f"'{escaped(text)}' is not a key such as time.stop or couplings[0].hill.power")
        name, index = step.groups()
        path.append(int(index) if index is not None else name)
        at = step.end()
    return tuple(path)


def apply(document: Document, given: Mapping[str, str]) -> dict[Path, str]:
    """Replaces values of `document`; returns path -> text given.

    Raises ScenarioError naming each `--set` at fault.
    """
    overridden: dict[Path, str] = {}
    problems: list[Problem] = []
    for key, text in given.items():
        try:
            path = key_path(key)
            if not path:
                raise ValueError("the key is empty")
            path = _put(document.data, path, _value(text))
            overridden[path] = text
            # what stood below it in the file is there no more
            for gone in [p for p in document.marks if p[: len(path)] == path and p != path]:
                del document.marks[gone]
        except ValueError as error:
            name = f"--set {escaped(key, 60)}={escaped(text, 40)}"
            problems.append(Problem(document.file, str(error), None, name))
    if problems:
        raise ScenarioError(problems)
    return overridden


def _value(text: str) -> Any:
    try:
        return read_yaml(f"value: {text}".encode("utf-8", "surrogatepass"), "--set").data["value"]
    except TextError as error:
        raise ValueError(error.problems[0].message) from None


def _put(data: Any, path: Path, value: Any) -> Path:
    """Puts `value` at `path`, making mappings on the way; returns the path with list positions as numbers."""
    taken: list[str | int] = []
    for i, step in enumerate(path):
        last = i == len(path) - 1
        if isinstance(data, list):
            position = int(step) if str(step).isdecimal() else -1
            if not 0 <= position < len(data):
                raise ValueError(f"there is no entry {step}; the list has {len(data)}, counted from 0")
            taken.append(position)
            if last:
                data[position] = value
            data = data[position]
        elif isinstance(data, dict):
            taken.append(str(step))
            if last:
                data[str(step)] = value
            elif data.get(str(step)) is None:
                if isinstance(path[i + 1], int):
                    raise ValueError(f"there is no entry {path[i + 1]}; '{escaped(step)}' is not in the file")
                data[str(step)] = {}
            data = data[str(step)]
        else:
            raise ValueError(f"'{escaped('.'.join(map(str, taken)))}' holds a value, not keys")
    return tuple(taken)
