"""SBML Level 1, whose formulas are text, to Level 2, by libsbml, after a look at what must not reach it."""

from __future__ import annotations

import re

from mechanistic.reading.numbers import shown
from mechanistic.reading.problems import MOST_DEPTH, Problems
from mechanistic.reading.xmltree import Element


def to_level_2(root: Element, data: bytes, problems: Problems) -> bytes:
    """The same model as an SBML Level 2 document, or Refused with the fault noted. Lines are those of the result."""
    waiting = [(root, "")]
    while waiting:
        element, owner = waiting.pop()
        owner = element.attributes.get("name", owner)
        if "formula" in element.attributes:
            _check_formula(element.attributes["formula"], element.line, owner, problems)
        waiting.extend((child, owner) for child in reversed(element.children))
    if problems.entries:
        raise problems.refuse("a formula cannot be read", root.line, "math")
    import libsbml

    text = re.sub(r"^\s*<\?xml.*?\?>", "", data.decode("utf-8-sig", "replace"), count=1, flags=re.DOTALL)
    # libsbml wants the encoding said, which XML does not
    document = libsbml.readSBMLFromString(f'<?xml version="1.0" encoding="UTF-8"?>{text}')
    severe = [document.getError(i) for i in range(document.getNumErrors())]
    for error in severe:
        if error.getSeverity() >= libsbml.LIBSBML_SEV_ERROR:
            raise problems.refuse(shown(" ".join(error.getMessage().split())), error.getLine(), "level 1")
    if not document.setLevelAndVersion(2, 4, False):
        raise problems.refuse("this Level 1 model cannot be brought to Level 2", root.line, "level")
    return libsbml.writeSBMLToString(document).encode()


def _check_formula(text: str, line: int, owner: str, problems: Problems) -> None:
    depth = deepest = 0
    for character in text:
        depth += (character == "(") - (character == ")")
        deepest = max(deepest, depth)
        if depth < 0:
            break
    if deepest > MOST_DEPTH:
        raise problems.refuse(
            f"parentheses are nested beyond a depth of {MOST_DEPTH}", line, f"{owner}.depth"
        )
    if depth != 0:
        problems.add(f"unbalanced parentheses (got {shown(text)})", line, owner)
