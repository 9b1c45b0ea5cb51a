"""YAML of training files, read strictly: lines are known; aliases, tags, doubled keys refused."""

from __future__ import annotations

import re
from typing import Any

from neural.errors import TrainingError

_LARGEST = 1 << 20
_NUMBER = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?\Z")
_DEEPEST = 32


def read(text: str, file: object) -> tuple[dict[str, Any], dict[str, int]]:
    """Content of a YAML mapping and the line of every dotted key. Numbers are int or float, `1e-3` included.

    Raises:
        TrainingError: not YAML, not one mapping, an alias, a tag, a doubled key, too large or too deep.
    """
    import yaml

    if len(text) > _LARGEST:
        raise TrainingError(file, [(1, None, f"is larger than {_LARGEST} bytes (got {len(text)})")])
    try:
        if (line := _too_deep(text)) is not None:
            raise TrainingError(file, [(line, None, f"is nested deeper than {_DEEPEST}")])
        for token in yaml.scan(text):
            if isinstance(token, yaml.AliasToken | yaml.AnchorToken | yaml.TagToken):
                word = type(token).__name__.removesuffix("Token").lower()
                raise TrainingError(
                    file, [(token.start_mark.line + 1, None, f"{word} not allowed here; write it out")]
                )
        nodes = list(yaml.compose_all(text, Loader=yaml.SafeLoader))
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        message = f"the character U+{error.character:04X} is not accepted; remove it"
        raise TrainingError(file, [(line, None, message)]) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        what = getattr(error, "problem", None) or "cannot be read"
        raise TrainingError(file, [(mark.line + 1 if mark else 1, None, f"not valid YAML: {what}")]) from None
    if not nodes or nodes[0] is None:
        raise TrainingError(file, [(1, None, "the file is empty")])
    if len(nodes) > 1:
        raise TrainingError(
            file, [(nodes[1].start_mark.line + 1, None, "holds a second document; only one is read")]
        )
    if not isinstance(nodes[0], yaml.MappingNode):
        raise TrainingError(file, [(1, None, "the top level must be a mapping")])
    lines: dict[str, int] = {}
    problems: list[tuple[int | None, str | None, str]] = []
    content = _value(nodes[0], "", lines, problems)
    if problems:
        raise TrainingError(file, problems)
    return content, lines


def _too_deep(text: str) -> int | None:
    """The line from which flow brackets or indents go too deep, told before the parser recurses."""
    flow = 0
    indents: list[int] = []
    for number, line in enumerate(text.splitlines(), 1):
        deepest = 0
        for c in line:
            flow += (c in "[{") - (c in "]}")
            deepest = max(deepest, flow)
        body = line.lstrip(" ")
        width = len(line) - len(body)
        while indents and indents[-1] >= width:
            indents.pop()
        indents.append(width)
        if max(deepest, len(indents), body.count("- ") if body.startswith("- ") else 0) > _DEEPEST:
            return number
    return None


def _value(
    node: Any, key: str, lines: dict[str, int], problems: list[tuple[int | None, str | None, str]]
) -> Any:
    import yaml

    line = node.start_mark.line + 1
    lines.setdefault(key, line)
    if isinstance(node, yaml.MappingNode):
        out: dict[str, Any] = {}
        for name, child in node.value:
            label = str(name.value) if isinstance(name, yaml.ScalarNode) else "?"
            where = f"{key}.{label}".lstrip(".")
            if label in out:
                problems.append(
                    (
                        name.start_mark.line + 1,
                        where,
                        f"key given twice (first on line {lines[where]}); remove one",
                    )
                )
                continue
            lines[where] = name.start_mark.line + 1
            out[label] = _value(child, where, lines, problems)
        return out
    if isinstance(node, yaml.SequenceNode):
        return [_value(child, f"{key}[{i}]", lines, problems) for i, child in enumerate(node.value)]
    text = node.value
    if node.style is not None:
        return text
    if _NUMBER.match(text):
        return int(text) if re.fullmatch(r"[-+]?\d{1,19}", text) else float(text)
    return {"true": True, "false": False, "null": None, "~": None, "": None}.get(text, text)
