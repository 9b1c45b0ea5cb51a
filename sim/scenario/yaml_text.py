"""Strict YAML: bytes to plain data, with the place of every key and value.

What is read is YAML 1.2's core schema without what scenarios do not need and what harms: anchors, aliases,
merge keys, tags, several documents, duplicate keys. `1e-3` is a number; `010`, `1:30`, `yes` and dates stay
text. Limits are checked before the costly part. Only PyYAML's event stream is used: no object is ever
constructed, and depth is bounded before anything recurses.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from sim.errors import Problem, ScenarioError, escaped

Path = tuple[str | int, ...]

MOST_BYTES = 1 << 20
LONGEST_LINE = 1 << 16
LARGEST_INT = 2**64 - 1
MOST_KEYS = 10_000
MOST_VALUES = 50_000
DEEPEST = 32

_NULL = frozenset(("", "~", "null", "Null", "NULL"))
_BOOL = {w: v for v, words in ((True, "true True TRUE"), (False, "false False FALSE")) for w in words.split()}
_INT = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_SPECIAL = re.compile(r"([-+]?)\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
# Control characters, other line ends, characters that reverse or hide text, and what is no character at all.
_FORBIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ufff9-\ufffb\ufffe\uffff\ud800-\udfff]"
)
_WORDS_OF_PYYAML = (
    ("found character '\\t' that cannot start any token", "a tab is used for indentation; use spaces"),
    ("found character '%' that cannot start any token", "'%' cannot start a value; quote it"),
    ("found character '@' that cannot start any token", "'@' cannot start a value; quote it"),
    ("found character '`' that cannot start any token", "'`' cannot start a value; quote it"),
    ("mapping values are not allowed here", "a second ': ' on this line, or a wrong indentation"),
    ("could not find expected ':'", "a key without ':'"),
    ("expected <block end>", "a wrong indentation, or text after a closed bracket or quote"),
    ("expected ',' or ']'", "a list opened with '[' is not closed, or a comma is missing"),
    ("expected ',' or '}'", "a mapping opened with '{' is not closed, or a comma is missing"),
    ("found unexpected end of stream", "a quoted text is not closed"),
    ("did not find expected", "a bracket or quote is not closed"),
    ("found '<stream end>'", "the file ends in the middle of this; it may be cut short"),
)


class TextError(ScenarioError):
    """The file is not YAML that is accepted; nothing of it was read."""


@dataclass(frozen=True)
class Mark:
    """Where a value is: its key's line, its own line and column (1-based), and its text as written."""

    key_line: int
    line: int
    column: int
    text: str | None


@dataclass
class Document:
    """Plain data with the place of everything in it.

    Attributes:
        data: the top-level mapping.
        marks: path of keys and list positions -> Mark; () is the whole file.
    """

    file: str
    data: dict[str, Any]
    marks: dict[Path, Mark] = field(default_factory=dict)

    def line(self, path: Path) -> int:
        """Line of the value at `path`, of its key if it is a mapping or list, else of the nearest parent."""
        while path and path not in self.marks:
            path = path[:-1]
        mark = self.marks.get(path)
        if mark is None:
            return 1
        return mark.line if mark.text is not None else mark.key_line

    def key_line(self, path: Path) -> int:
        """Line of the key that ends `path`."""
        return self.marks[path].key_line if path in self.marks else self.line(path)


def dotted(path: Path) -> str:
    """`couplings[0].hill.power` for ("couplings", 0, "hill", "power")."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def plain_value(text: str) -> Any:
    """An unquoted scalar as null, bool, int, float or the text itself (YAML 1.2 core, decimal only)."""
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    if _INT.fullmatch(text):
        if len(text) > 21 or abs(int(text)) > LARGEST_INT:
            raise ValueError("a whole number may have 19 digits (and be 2^64-1 at most)")
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    special = _SPECIAL.fullmatch(text)
    if special:
        return float("nan") if special.group(3) else float(f"{special.group(1)}inf")
    return text


def read_text(content: bytes, file: str) -> str:
    """The text of the file, line ends as \\n. Raises TextError unless it is UTF-8 within the limits."""

    def stop(message: str, line: int = 1) -> TextError:
        return TextError(Problem(file, message, line))

    if len(content) > MOST_BYTES:
        raise stop(f"the file is larger than 1 MiB (got {len(content) / MOST_BYTES:.1f} MiB)")
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise stop("the file is UTF-16; save it as UTF-8")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise stop(
            f"not UTF-8 (got byte 0x{content[error.start]:02x}); save the file as UTF-8", line
        ) from None
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    for number, line in enumerate(text.split("\n"), 1):
        if len(line) > LONGEST_LINE:
            raise stop(f"the line is longer than 64 KiB (got {len(line)} characters)", number)
    found = _FORBIDDEN.search(text)
    if found:
        name = "a NUL character" if found.group() == "\0" else f"the character U+{ord(found.group()):04X}"
        raise stop(f"{name} is not accepted in a scenario; remove it", text.count("\n", 0, found.start()) + 1)
    return text


def read_yaml(content: bytes, file: str) -> Document:
    """Reads one YAML mapping. Raises TextError with file, line and key of what is not accepted."""
    return _Builder(file).document(read_text(content, file))


def top_keys(content: bytes) -> Iterator[tuple[str, int]]:
    """Keys of the top-level mapping and their lines, as far as the file can be read; nothing is checked."""
    depth = before = (
        0  # how many collections are open, and how many keys and values of the top level came before
    )
    try:
        for event in yaml.parse(read_text(content, ""), Loader=yaml.SafeLoader):
            if depth == 0 and isinstance(event, yaml.SequenceStartEvent):
                return
            if isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
            if depth == 1 and isinstance(event, yaml.NodeEvent):
                before += 1
                if before % 2 and isinstance(event, yaml.ScalarEvent):
                    yield event.value, event.start_mark.line + 1
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
    except (TextError, yaml.YAMLError, ValueError, OverflowError):
        return


@dataclass
class _Open:
    """A mapping or list that is being read."""

    path: Path
    values: dict[str, Any] | list[Any]
    depth: int
    key: str | None = None  # of a mapping: the key that waits for its value
    key_line: int = 0


class _Builder:
    def __init__(self, file: str):
        self.file = file
        self.marks: dict[Path, Mark] = {}
        self.problems: list[Problem] = []
        self.open: list[_Open] = []
        self.keys = self.values = 0
        self.line = 1
        self.root: Any = None

    def stop(self, message: str, line: int, path: Path | None = None) -> TextError:
        path = self.path() if path is None else path
        return TextError([*self.problems, Problem(self.file, message, line, dotted(path) or None)])

    def path(self) -> Path:
        """The path of the value that comes next, as far as known."""
        if not self.open:
            return ()
        top = self.open[-1]
        if isinstance(top.values, list):
            return (*top.path, len(top.values))
        return (*top.path, top.key) if top.key is not None else top.path

    def document(self, text: str) -> Document:
        documents = 0
        for event in self.events(text):
            self.line = event.start_mark.line + 1
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise self.stop("a second document starts here; a scenario is one document", self.line)
                if event.tags or event.version not in (None, (1, 2)):
                    raise self.stop(
                        "directives are not accepted; remove the line that starts with %", self.line
                    )
            elif isinstance(event, yaml.NodeEvent):
                self.node(event)
            elif isinstance(event, yaml.CollectionEndEvent):
                self.open.pop()
        if self.root is None:
            raise self.stop("the file is empty", 1, ())
        if not isinstance(self.root, dict):
            page = "; this looks like a web page" if text.lstrip().startswith("<") else ""
            raise self.stop(
                f"the top level must be a mapping (got {_what(self.root)}){page}", self.marks[()].line, ()
            )
        if self.problems:
            raise TextError(self.problems)
        return Document(self.file, self.root, self.marks)

    def events(self, text: str) -> Iterator[yaml.Event]:
        try:
            yield from yaml.parse(text, Loader=yaml.SafeLoader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line = min(mark.line, text.count("\n")) + 1 if mark else self.line
            raise self.stop(f"not YAML: {_in_words(error)}", line) from None
        except yaml.reader.ReaderError as error:
            raise self.stop(
                "a character that YAML does not allow", text.count("\n", 0, error.position) + 1
            ) from None
        except (ValueError, OverflowError):
            # PyYAML turns escapes such as "\U00110000" into characters without a check of its own.
            raise self.stop("not YAML: an escape that is no character", self.line) from None

    def node(self, event: yaml.NodeEvent) -> None:
        if isinstance(event, yaml.AliasEvent):
            raise self.stop(
                f"aliases are not accepted (got *{escaped(event.anchor)}); write the value out", self.line
            )
        if event.anchor is not None:
            raise self.stop(f"anchors and aliases are not accepted (got &{escaped(event.anchor)})", self.line)
        if event.tag is not None:  # type: ignore[attr-defined]
            raise self.stop(f"tags are not accepted (got {escaped(event.tag)}); remove it", self.line)  # type: ignore[attr-defined]
        self.values += 1
        if self.values > MOST_VALUES + MOST_KEYS:
            raise self.stop(f"the file has more than {MOST_VALUES} values", self.line)
        top = self.open[-1] if self.open else None
        if top is not None and isinstance(top.values, dict) and top.key is None:
            self.begin_entry(top, event)
            return
        path = self.path()
        text = event.value if isinstance(event, yaml.ScalarEvent) else None
        key_line = top.key_line if top is not None and isinstance(top.values, dict) else self.line
        self.marks[path] = Mark(key_line, self.line, event.start_mark.column + 1, text)
        if isinstance(event, yaml.ScalarEvent):
            self.put(top, self.scalar(event))
        else:
            depth = len(self.open) + 1
            if depth > DEEPEST:
                raise self.stop(f"nested deeper than {DEEPEST} levels", self.line, path[:4])
            values: dict[str, Any] | list[Any] = {} if isinstance(event, yaml.MappingStartEvent) else []
            self.put(top, values)
            self.open.append(_Open(path, values, depth))

    def begin_entry(self, top: _Open, event: yaml.NodeEvent) -> None:
        self.keys += 1
        if self.keys > MOST_KEYS:
            raise self.stop(f"the file has more than {MOST_KEYS} keys", self.line)
        if not isinstance(event, yaml.ScalarEvent):
            raise self.stop(f"a key must be text (got {_what_event(event)})", self.line)
        key = event.value
        if key == "<<" and event.implicit[0]:
            raise self.stop("merge keys ('<<') and aliases are not accepted; write the values out", self.line)
        path = (*top.path, key)
        if key in top.values:
            first = self.marks[path].key_line
            message = f"duplicate key '{escaped(key)}' on line {self.line}; it is already on line {first}"
            self.problems.append(Problem(self.file, message, self.line, dotted(path)))
        top.key, top.key_line = key, self.line

    def put(self, top: _Open | None, value: Any) -> None:
        if top is None:
            self.root = value
        elif isinstance(top.values, list):
            top.values.append(value)
        else:
            assert top.key is not None
            top.values[top.key] = value
            top.key = None

    def scalar(self, event: yaml.ScalarEvent) -> Any:
        if not event.value.isascii() and re.search("[\ud800-\udfff]", event.value):
            raise self.stop("not YAML: an escape that is no character", self.line)
        if not event.implicit[0]:  # quoted, or a block of text
            return event.value
        try:
            return plain_value(event.value)
        except ValueError as error:
            raise self.stop(f"{error} (got {escaped(event.value, 40)})", self.line) from None


def _in_words(error: yaml.MarkedYAMLError) -> str:
    problem = error.problem or ""
    for theirs, ours in _WORDS_OF_PYYAML:
        if theirs in problem:
            return ours
    return escaped(problem or error.context or "it cannot be read", 120)


def _what(value: object) -> str:
    return "a list" if isinstance(value, list) else f"'{escaped(value, 40)}'"


def _what_event(event: yaml.NodeEvent) -> str:
    return "a list" if isinstance(event, yaml.SequenceStartEvent) else "a mapping"
