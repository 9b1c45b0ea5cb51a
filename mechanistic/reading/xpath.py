"""The XPaths with which SED-ML points into a model: steps by name, with attributes or positions.

`/sbml:sbml/sbml:model/sbml:listOfParameters/sbml:parameter[@id='k']/@value`. Elements go by their local names:
documents write the namespace of another version of SBML than the model has.
"""

from __future__ import annotations

import re
from xml.etree import ElementTree

_STEP = re.compile(r"""(//?)(?:[A-Za-z_][\w.-]*:)?([A-Za-z_][\w.-]*|\*)((?:\[[^\[\]]*\])*)""")
_PREDICATE = re.compile(
    r"""\[\s*(?:@(?:[A-Za-z_][\w.-]*:)?([A-Za-z_][\w.-]*)\s*=\s*(?:'([^']*)'|"([^"]*)")|([0-9]{1,6}))\s*\]"""
)
_ATTRIBUTE = re.compile(r"/@(?:[A-Za-z_][\w.-]*:)?([A-Za-z_][\w.-]*)$")
_LONGEST = 2000


def steps_of(path: str) -> list[dict] | None:
    """The steps of a path without the attribute at its end; None where it is none of the supported kind."""
    path = _ATTRIBUTE.sub("", path.strip())
    if not path or len(path) > _LONGEST:
        return None
    steps, at = [], 0
    while at < len(path):
        match = _STEP.match(path, at)
        if match is None:
            return None
        attributes, position, rest = {}, None, match[3]
        while rest:
            predicate = _PREDICATE.match(rest)
            if predicate is None:
                return None
            if predicate[1]:
                attributes[predicate[1]] = predicate[2] if predicate[2] is not None else predicate[3]
            else:
                position = int(predicate[4])
            rest = rest[predicate.end() :]
        steps.append(
            {"anywhere": match[1] == "//", "tag": match[2], "attributes": attributes, "position": position}
        )
        at = match.end()
    return steps


def attribute_of(path: str) -> str | None:
    """The attribute at the end of a path, or None."""
    match = _ATTRIBUTE.search(path.strip())
    return match[1] if match else None


def named_by(steps: list[dict]) -> str | None:
    """The id of the quantity that a path points at; a local parameter by its promoted id."""
    name = steps[-1]["attributes"].get("id")
    reaction = next((s["attributes"].get("id") for s in steps[:-1] if s["tag"] == "reaction"), None)
    if name and reaction and steps[-1]["tag"] in ("parameter", "localParameter"):
        return f"{reaction}_{name}"
    return name


def found_by(steps: list[dict], root: ElementTree.Element) -> list[ElementTree.Element]:
    """The elements of a document that a path points at."""
    above = ElementTree.Element("document")
    above.append(root)
    found = [above]
    for step in steps:
        following = []
        for e in found:
            inside = [c for c in e.iter() if c is not e] if step["anywhere"] else list(e)
            matching = [c for c in inside if _matches(c, step)]
            if step["position"] is not None:
                matching = matching[step["position"] - 1 : step["position"]] if step["position"] else []
            following.extend(matching)
        found = following
    return found


def _matches(e: ElementTree.Element, step: dict) -> bool:
    if step["tag"] not in ("*", str(e.tag).rpartition("}")[2]):
        return False
    own = {key.rpartition("}")[2]: value for key, value in e.attrib.items()}
    return all(own.get(key) == value for key, value in step["attributes"].items())
