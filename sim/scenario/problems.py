"""What pydantic found wrong, told in one line each: file, line, key, fault, value got, nearest word."""

from __future__ import annotations

import re
import types
from collections.abc import Mapping
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from sim.errors import Problem, escaped
from sim.scenario.instruments import KINDS, TAG, Instrument
from sim.scenario.values import Part
from sim.scenario.yaml_text import Document, Path, dotted
from sim.spelling import did_you_mean, nearest

Overridden = Mapping[Path, str]  # path -> the text given with --set

_TYPES = {
    "model_type": "must be a mapping",
    "model_attributes_type": "must be a mapping",
    "dict_type": "must be a mapping",
    "tuple_type": "must be a list",
    "list_type": "must be a list",
    "bool_type": "must be true or false",
    "string_type": "must be text",
}


def schema_problems(
    error: ValidationError | None, document: Document, overridden: Overridden, root: type[Part]
) -> list[Problem]:
    """Every fault of the schema, in the order of the file."""
    empty = [
        path
        for path, mark in document.marks.items()
        if mark.text is not None and _at(document.data, path) is None
    ]
    found = [_empty(document, path) for path in empty]
    errors = error.errors(include_url=False) if error else []
    unknown: dict[Path, list[str]] = {}
    for e in errors:
        if e["type"] == "extra_forbidden":
            place = _keys(e["loc"])
            unknown.setdefault(place[:-1], []).append(str(place[-1]))
    for e in errors:
        path, at_key = _path(e)
        if any(path[: len(p)] == p or (e["type"] == "cellweave" and p[: len(path)] == path) for p in empty):
            continue  # that a key has no value is told; what follows from it is not
        if e["type"] == "missing" and any(nearest(w, [str(path[-1])]) for w in unknown.get(path[:-1], ())):
            continue  # the misspelt key is named; that it is missing follows
        found.append((path, _message(e, path, root, document.data), at_key))
    placed = [
        (problem_at(document, overridden, path, message, at_key), path) for path, message, at_key in found
    ]
    return in_file_order([p for p, _ in placed])


def _empty(document: Document, path: Path) -> tuple[Path, str, bool]:
    """What to say of a key without value. `{a: 1,5}` is read as a: 1 and 5 without value."""
    parent = _at(document.data, path[:-1])
    if isinstance(parent, dict) and str(path[-1]).isdecimal():
        keys = list(parent)
        before = keys[keys.index(path[-1]) - 1]
        if type(parent[before]) is int and before != path[-1]:
            pair = f"{parent[before]}.{path[-1]}"
            message = f"has a decimal comma; write {pair} (got {pair.replace('.', ',')})"
            return (*path[:-1], before), message, True
    return path, "has no value; give one or remove the key", False


def in_file_order(problems: list[Problem]) -> list[Problem]:
    """By line; what has no line (it was given with --set) comes first."""
    return sorted(problems, key=lambda p: p.line or 0)


def problem_at(
    document: Document, overridden: Overridden, path: Path, message: str, at_key: bool = False
) -> Problem:
    """A Problem with the line of the value at `path` (or of its key) and the value got."""
    for given, text in overridden.items():
        if path[: len(given)] == given:
            told = f"{dotted(path)}: {message if at_key else _with_got(message, text)}"
            return Problem(document.file, told, None, f"--set {dotted(given)}={escaped(text, 40)}")
    mark = document.marks.get(path)
    if mark is None or at_key:
        return Problem(document.file, message, document.key_line(path), dotted(path))
    value = _at(document.data, path)
    got = mark.text if mark.text is not None else None
    if got is None and message.startswith("must be"):
        got = "a list" if isinstance(value, list) else "a mapping"
    if mark.text == "":
        got = "empty text" if value == "" else None
    return Problem(document.file, _with_got(message, got), document.line(path), dotted(path))


def _with_got(message: str, got: str | None) -> str:
    if got is None or f"'{escaped(got)}'" in message or f"(got {escaped(got)})" in message:
        return message
    head, mark, tail = message.partition("; did you mean")
    return f"{head} (got {escaped(got)}){mark}{tail}"


def _at(data: Any, path: Path) -> Any:
    for part in path:
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            return None
    return data


def _path(error: ErrorDetails) -> tuple[Path, bool]:
    """The path of keys and positions, and whether the key itself is at fault."""
    path, at_key = (*_keys(error["loc"]), *error.get("ctx", {}).get("below", ())), False
    if path and path[-1] == "[key]":
        path, at_key = path[:-1], True
    return path, at_key or error["type"] == "extra_forbidden"


def _keys(place: Path) -> Path:
    """A place without the marks of the kinds of instruments, which are no keys of the file."""
    return tuple(p for p in place if not (isinstance(p, str) and p.startswith(TAG)))


def _message(error: ErrorDetails, path: Path, root: type[Part], data: Any) -> str:
    kind, context = error["type"], error.get("ctx", {})
    if kind == "cellweave":
        return context["message"]
    if kind == "missing":
        return f"'{path[-1]}' is missing; add it"
    if kind == "extra_forbidden":
        part = part_at(root, path[:-1], data)
        allowed = keys_of(part) if part else []
        hint = did_you_mean(str(path[-1]), allowed) or f"; use {', '.join(allowed[:16])}" * bool(allowed)
        return f"unknown key '{escaped(path[-1])}'{hint}"
    if kind == "literal_error":
        words = re.findall(r"'([^']*)'", str(context.get("expected")))
        got = error["input"]
        return f"must be {context['expected']}" + (did_you_mean(got, words) if isinstance(got, str) else "")
    if kind in ("too_short", "too_long"):
        bound = context.get("min_length", context.get("max_length"))
        return f"must have at {'least' if kind == 'too_short' else 'most'} {bound} values"
    return _TYPES.get(kind, escaped(error["msg"]))


def keys_of(part: type[Part]) -> list[str]:
    """The keys of a mapping as they are written in the file."""
    return [f.alias or name for name, f in part.model_fields.items()]


def part_at(root: type[Part], path: Path, data: Any) -> type[Part] | None:
    """The model of the mapping at `path` of `data`, found by following the annotations from `root`."""
    kind: Any = root
    for depth, step in enumerate(path):
        kind = _bare(kind, path[:depth], data)
        if isinstance(kind, type) and issubclass(kind, Part):
            field = next((f for name, f in kind.model_fields.items() if step in (name, f.alias)), None)
            kind = field.annotation if field else None
        elif get_origin(kind) is dict:
            kind = get_args(kind)[1]
        elif get_origin(kind) is tuple:
            arguments = get_args(kind)
            kind = (
                arguments[0]
                if Ellipsis in arguments or not isinstance(step, int)
                else arguments[min(step, len(arguments) - 1)]
            )
        else:
            return None
    kind = _bare(kind, path, data)
    return kind if isinstance(kind, type) and issubclass(kind, Part) else None


def _bare(kind: Any, path: Path, data: Any) -> Any:
    """The annotation of what stands at `path` without Annotated and Optional; of the instruments, that of its kind."""
    while True:
        origin = get_origin(kind)
        if origin is Annotated:
            if kind is Instrument:
                value = _at(data, path)
                said = value.get("kind") if isinstance(value, Mapping) else None
                return KINDS.get(str(said or path[-1]))
            kind = get_args(kind)[0]
        elif origin in (Union, types.UnionType):
            kind = next((a for a in get_args(kind) if a is not type(None)), None)
        else:
            return kind
