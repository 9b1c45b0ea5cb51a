"""XML to a tree of elements with line numbers: expat, no DOCTYPE, bounded depth and size."""

from __future__ import annotations

import re
from collections.abc import Iterator
from xml.parsers import expat

from mechanistic.reading.problems import (
    LONGEST_ATTRIBUTE,
    MOST_ATTRIBUTES,
    MOST_DEPTH,
    MOST_REACTIONS,
    MOST_SPECIES,
    Problems,
    Refused,
)

# Free text that no reader of ours looks into; their nesting still counts against the limit of depth.
_SKIPPED = frozenset({"notes", "annotation", "message"})
# Counted while parsing, so that a file of a million of them is refused before it fills the memory.
_COUNTED = {"species": ("species", MOST_SPECIES), "reaction": ("reactions", MOST_REACTIONS)}


class Element:
    """One XML element: local name, namespace, attributes by local name, children, text and line."""

    __slots__ = ("attributes", "children", "line", "namespace", "prefixed", "tag", "text")

    def __init__(self, tag: str, namespace: str, attributes: dict, prefixed: dict, line: int):
        self.tag, self.namespace, self.line = tag, namespace, line
        self.attributes, self.prefixed = attributes, prefixed
        self.children: list[Element] = []
        self.text = ""

    def child(self, tag: str) -> Element | None:
        return next((c for c in self.children if c.tag == tag), None)

    def listed(self, list_tag: str) -> list[Element]:
        """The children of the child `list_tag` (for example listOfSpecies)."""
        return [e for c in self.children if c.tag == list_tag for e in c.children]

    def walk(self) -> Iterator[Element]:
        """The element and everything below it, in document order."""
        waiting: list[Element] = [self]
        while waiting:
            e = waiting.pop()
            yield e
            waiting.extend(reversed(e.children))


class _Builder:
    def __init__(self, problems: Problems):
        self.problems = problems
        self.parser = expat.ParserCreate(namespace_separator=" ")
        self.parser.buffer_text = True
        self.parser.StartElementHandler = self.start
        self.parser.EndElementHandler = self.end
        self.parser.CharacterDataHandler = self.data
        self.parser.StartDoctypeDeclHandler = self.doctype
        self.stack: list[Element] = []
        self.root: Element | None = None
        self.namespaces: dict[str, str] = {}
        self.parser.StartNamespaceDeclHandler = self.namespace
        self.depth = self.skipping = 0
        self.counts: dict[str, int] = {}

    def namespace(self, prefix, uri):
        if not self.stack:
            self.namespaces[prefix or ""] = uri or ""

    def doctype(self, *_):
        line = self.parser.CurrentLineNumber
        raise self.problems.refuse(
            "a DOCTYPE is refused: it can pull in other files and grow without bound; remove it",
            line,
            "DOCTYPE",
        )

    def start(self, name, attributes):
        self.depth += 1
        line = self.parser.CurrentLineNumber
        if self.depth > MOST_DEPTH:
            raise self.problems.refuse(f"elements are nested beyond a depth of {MOST_DEPTH}", line, "depth")
        namespace, _, tag = name.rpartition(" ")
        if tag in _COUNTED:
            self.counts[tag] = self.counts.get(tag, 0) + 1
            what, most = _COUNTED[tag]
            if self.counts[tag] > most:
                raise self.problems.refuse(f"more than {most} {what} in the model", line, what)
        if len(attributes) > MOST_ATTRIBUTES:
            message = f"{len(attributes)} attributes on one element (at most {MOST_ATTRIBUTES})"
            raise self.problems.refuse(message, line, tag)
        if self.skipping or tag in _SKIPPED:
            self.skipping += 1
            return
        plain, prefixed = {}, {}
        for key, value in attributes.items():
            if len(value) > LONGEST_ATTRIBUTE:
                message = f"an attribute of {len(value)} characters is over the limit of size"
                raise self.problems.refuse(message, line, key.rpartition(" ")[2])
            uri, _, local = key.rpartition(" ")
            if uri:
                prefixed[uri, local] = value
            else:
                plain[local] = value
        element = Element(tag, namespace, plain, prefixed, line)
        if tag == "sep" and self.stack:
            self.stack[-1].text += "\x1f"  # parts of <cn>1<sep/>2</cn> stay apart; U+001F cannot occur in XML
        if self.stack:
            self.stack[-1].children.append(element)
        else:
            self.root = element
        self.stack.append(element)

    def end(self, _name):
        self.depth -= 1
        if self.skipping:
            self.skipping -= 1
        else:
            self.stack.pop()

    def data(self, text):
        if not self.skipping and self.stack:
            self.stack[-1].text += text


def parse(data: bytes, problems: Problems, form: str = "SBML") -> tuple[Element, dict[str, str]]:
    """The root element and the namespaces declared on it, or Refused with the problem noted.

    `form`: what kind of file it should be, for messages.
    """
    if not data.strip():
        raise problems.refuse("the file is empty", 1, "empty")
    _check_encoding(data, problems)
    builder = _Builder(problems)
    try:
        builder.parser.Parse(data, True)
    except Refused:
        raise
    except (LookupError, ValueError):
        # what expat does not know itself it asks Python for, which has encodings of one byte a character only
        message = "the encoding that the file declares cannot be read; save the file as UTF-8"
        raise problems.refuse(message, 1, "encoding") from None
    except expat.ExpatError as error:
        line, key, no = error.lineno, "sbml" if form == "SBML" else form, f"this is no {form} file"
        reason = expat.errors.messages.get(error.code) or "not well-formed"
        if builder.root is None and not data.lstrip().startswith(
            (b"<", b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")
        ):
            raise problems.refuse(f"{no} (it is no XML)", line, key) from None
        if builder.root is not None and builder.root.tag.lower() == "html":
            raise problems.refuse(f"{no} but a web page", line, key) from None
        if builder.root is None:
            raise problems.refuse(f"{no} ({reason})", line, key) from None
        raise problems.refuse(f"not well-formed XML: {reason} (line {line})", line, "xml") from None
    assert builder.root is not None
    return builder.root, builder.namespaces


def _check_encoding(data: bytes, problems: Problems) -> None:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return
    declared = re.match(
        rb"""(?:\xef\xbb\xbf)?<\?xml[^>]*encoding\s*=\s*["']([A-Za-z0-9._-]+)["']""", data[:200]
    )
    if declared and declared[1].lower() not in (b"utf-8", b"us-ascii", b"ascii"):
        return
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        message = f"not valid UTF-8 (byte {data[error.start]:#04x}); save the file as UTF-8"
        raise problems.refuse(message, line, "UTF-8") from None
