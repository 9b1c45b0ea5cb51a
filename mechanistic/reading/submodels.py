"""Models made of submodels (SBML's package "comp") to one plain model, by libsbml."""

from __future__ import annotations

from mechanistic.reading.externals import included
from mechanistic.reading.functions import find_cycle
from mechanistic.reading.numbers import shown
from mechanistic.reading.problems import MOST_SUBMODELS, Problems
from mechanistic.reading.xmltree import Element, parse

COMP = "http://www.sbml.org/sbml/level3/version1/comp/version1"


def has_submodels(root: Element) -> bool:
    """Whether the document uses "comp", and not merely declares it."""
    return any(e.namespace == COMP or any(uri == COMP for uri, _ in e.prefixed) for e in root.walk())


def flattened(root: Element, data: bytes, folder: str, problems: Problems) -> bytes:
    """The same model without submodels, or Refused with the fault noted. Lines are those of the result.

    The element `x` of the submodel `s` is called `s__x`. Nothing but `data` and models of `folder` is read.
    """
    if any(e.tag == "externalModelDefinition" for e in root.walk()):
        # put in here: libsbml would go and open whatever they name
        data = included(root, data, folder, problems)
        root, _ = parse(data, problems)
    _refuse_without_end(root, problems)
    import libsbml

    document = libsbml.readSBMLFromString(data.decode("utf-8", "replace"))
    _refuse_errors(document, problems, libsbml)
    options = libsbml.ConversionProperties()
    options.addOption("flatten comp", True)
    options.addOption("leavePorts", False)
    options.addOption("listModelDefinitions", False)
    options.addOption("performValidation", False)
    options.addOption("abortIfUnflattenable", "all")
    status = document.convert(options)
    _refuse_errors(document, problems, libsbml)
    if status != libsbml.LIBSBML_OPERATION_SUCCESS:
        raise problems.refuse("the submodels (package 'comp') cannot be joined to one model", None, "comp")
    return libsbml.writeSBMLToString(document).encode()


def _refuse_without_end(root: Element, problems: Problems) -> None:
    """Models that contain themselves, and those that grow to more than MOST_SUBMODELS when joined."""
    parts: dict[str, list[str]] = {}
    lines: dict[str, int] = {}
    for e in root.walk():
        if e.tag in ("model", "modelDefinition"):
            name = e.attributes.get("id", "")
            lines[name] = e.line
            inner = e.listed("listOfSubmodels")
            parts[name] = [_comp_attribute(s, "modelRef") for s in inner]
    cycle = find_cycle(parts)
    if cycle:
        message = f"comp: models contain each other in a circle: {shown(' -> '.join(cycle))}"
        raise problems.refuse(message, lines[cycle[0]], cycle[0])
    copies: dict[str, int] = {}
    waiting = list(parts)
    while waiting:
        name = waiting[-1]
        unknown = [p for p in parts[name] if p in parts and p not in copies]
        if unknown:
            waiting.extend(unknown)
            continue
        copies[waiting.pop()] = 1 + sum(copies.get(p, 1) for p in parts[name])
    main = next((e.attributes.get("id", "") for e in root.children if e.tag == "model"), "")
    if copies.get(main, 1) > MOST_SUBMODELS:
        message = f"comp: joining the submodels gives {copies[main]} models (at most {MOST_SUBMODELS})"
        raise problems.refuse(message, lines[main], "submodels")


def _comp_attribute(e: Element, name: str) -> str:
    return e.prefixed.get((COMP, name), e.attributes.get(name, ""))


def _refuse_errors(document, problems: Problems, libsbml) -> None:
    for i in range(document.getNumErrors()):
        error = document.getError(i)
        if error.getSeverity() >= libsbml.LIBSBML_SEV_ERROR:
            message = shown(" ".join(error.getMessage().split()))
            raise problems.refuse(f"comp: {message}", error.getLine() or None, "comp")
