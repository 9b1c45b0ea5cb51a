"""A model's document with the changes that a SED-ML file makes to it."""

from __future__ import annotations

from xml.etree import ElementTree

from mechanistic.reading.numbers import shown
from mechanistic.reading.problems import Problems
from mechanistic.reading.xmltree import parse
from mechanistic.reading.xpath import found_by


def changed(data: bytes, changes: list[dict], problems: Problems) -> bytes:
    """`data` with attributes set and elements removed; a change that points at nothing is a fault.

    Args:
        changes: those of `sedml.read_experiment` of the kinds changeAttribute and removeXML, in order.
    """
    changes = [c for c in changes if c["kind"] != "computeChange"]
    if not changes:
        return data
    # no DOCTYPE and no depth without end gets past this
    parse(data, problems)
    root = ElementTree.fromstring(data)
    for change in changes:
        found = found_by(change["steps"], root)
        path = "".join(
            f"/{s['tag']}" + "".join(f"[@{k}='{v}']" for k, v in s["attributes"].items())
            for s in change["steps"]
        )
        if not found:
            problems.add(
                f"the change points at nothing in the model ({shown(path)})", change["line"], "change"
            )
            continue
        for e in found:
            if change["kind"] == "changeAttribute":
                key = next(
                    (k for k in e.attrib if k.rpartition("}")[2] == change["attribute"]), change["attribute"]
                )
                e.set(key, change["value"])
            else:
                _remove(root, e)
    if problems.entries:
        raise problems.refuse("the model is not changed", None, "change")
    return ElementTree.tostring(root, encoding="utf-8")


def _remove(root: ElementTree.Element, gone: ElementTree.Element) -> None:
    for parent in root.iter():
        if gone in list(parent):
            parent.remove(gone)
            return
