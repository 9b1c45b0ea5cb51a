"""Antimony to SBML and back, by the antimony library, after a look at what must not reach it."""

from __future__ import annotations

import re

from mechanistic.reading.numbers import number, shown
from mechanistic.reading.problems import MOST_ARGUMENTS, MOST_DEPTH, Problems

_LONGEST_LINE = 65_536
_SIGNS = re.compile(rf"(?:[-+!]\s*){{{MOST_ARGUMENTS}}}")
_NUMBER = re.compile(r"(?<![\w.])[0-9][0-9.]*(?:[eE][+-]?[0-9]+)?")


def to_sbml(data: bytes, problems: Problems) -> bytes:
    """The SBML document of an Antimony text, or Refused with the fault noted."""
    text = _decoded(data, problems)
    _scan(text, problems)
    import antimony

    if antimony.loadAntimonyString(text) < 0:
        message = " ".join((antimony.getLastError() or "").split())
        match = re.search(r"line (\d+)", message)
        line = int(match[1]) if match else 1
        raise problems.refuse(shown(message.removeprefix("Error in model string, ")), line, "antimony")
    return (antimony.getSBMLString(antimony.getMainModuleName()) or "").encode()


def from_sbml(data: bytes, problems: Problems) -> str:
    """The Antimony text of an SBML document, or Refused with the fault noted."""
    import antimony

    if antimony.loadSBMLString(data.decode("utf-8-sig", "replace")) < 0:
        message = " ".join((antimony.getLastError() or "").split())
        raise problems.refuse(f"Antimony cannot say this model: {message[:300]}", None, "antimony")
    return antimony.getAntimonyString(antimony.getMainModuleName()) or ""


def _decoded(data: bytes, problems: Problems) -> str:
    if not data.strip():
        raise problems.refuse("the file is empty", 1, "empty")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise problems.refuse(f"not valid UTF-8 (byte {data[error.start]:#04x})", line, "UTF-8") from None
    if "\0" in text:
        raise problems.refuse("holds a NUL character", text.count("\n", 0, text.index("\0")) + 1, "NUL")
    return text


def _scan(text: str, problems: Problems) -> None:
    depth = 0
    for i, line in enumerate(text.splitlines(), 1):
        if len(line) > _LONGEST_LINE:
            raise problems.refuse(f"a line of {len(line)} characters (at most {_LONGEST_LINE})", i, "line")
        code = re.sub(r'"[^"]*"', "", line.split("//")[0].split("#")[0])
        if re.match(r"\s*import\b", code):
            raise problems.refuse(
                "import reads another file, which is refused; put the text in this file", i, "import"
            )
        for character in code:
            depth += (character == "(") - (character == ")")
            if depth > MOST_DEPTH:
                raise problems.refuse(f"parentheses are nested beyond a depth of {MOST_DEPTH}", i, "depth")
        if _SIGNS.search(code):
            raise problems.refuse(f"more than {MOST_ARGUMENTS} signs in a row", i, "depth")
        for literal in _NUMBER.findall(code):
            try:
                number(literal)
            except ValueError as error:
                if "overflows" in str(error):
                    raise problems.refuse(f"a number {error}", i, "number") from None
