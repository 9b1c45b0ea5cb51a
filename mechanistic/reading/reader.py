"""One model, from bytes to plain data or to the list of its faults."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable

from mechanistic.reading.checks import Checker
from mechanistic.reading.document import Document
from mechanistic.reading.problems import Problems, Refused
from mechanistic.reading.rewrite import rewritten
from mechanistic.reading.submodels import flattened, has_submodels
from mechanistic.reading.xmltree import parse


def answer(data: bytes, kind: str, folder: str = "") -> dict:
    """What the parent asked for: a model ("sbml", "antimony", "omex", "changed"), a file's "experiments", or "text".

    Args:
        data: the file as it is; of "text" an SBML document, to be told in Antimony; of "changed" a JSON object:
            "model" (base64), "kind", "changes" (see `sedml`).
        folder: of the file, in which submodels are looked for; "" where there is none.
    """
    if kind == "experiments":
        return _guarded(lambda problems: _experiments(data, problems))
    if kind == "text":
        return _guarded(lambda problems: _text(data, problems))
    if kind == "changed":
        request = json.loads(data)
        return read(base64.b64decode(request["model"]), request["kind"], request["changes"])
    return read(data, kind, folder=folder)


def _text(data: bytes, problems: Problems) -> dict:
    from mechanistic.reading.antimony_text import from_sbml

    return {"text": from_sbml(data, problems)}


def _experiments(data: bytes, problems: Problems) -> dict:
    if data.startswith(b"PK"):
        from mechanistic.reading.omex import experiments_of

        return experiments_of(data, problems)
    from mechanistic.reading.sedml import read_experiment

    experiment = {"location": "", "data": read_experiment(data, problems), "problems": problems.ordered()}
    return {"experiments": [experiment], "models": {}, "has_model": False}


def _guarded(reading: Callable[[Problems], dict]) -> dict:
    """What `reading` gives, or {"problems": [...]} where it cannot go on."""
    problems = Problems()
    try:
        return reading(problems)
    except Refused:
        return {"problems": problems.ordered()}
    except MemoryError:
        return _failed("reading needs more memory than the limit", "size")
    except RecursionError:
        return _failed("math is nested beyond the limit of depth", "depth")


def _failed(message: str, key: str) -> dict:
    return {"problems": [{"message": message, "line": None, "key": key}]}


def read(data: bytes, kind: str, changes: list[dict] | None = None, folder: str = "") -> dict:
    """{"problems": [...]} or {"network": {...}, "sbml": text or None}.

    Args:
        data: the file as it is.
        kind: "sbml", "antimony" or "omex". Unless the file is SBML itself, its SBML is handed back too.
        changes: what a SED-ML file changes in it (see `changes.changed`).
        folder: see `answer`.
    """
    return _guarded(lambda problems: _read(data, kind, changes or [], folder, problems))


def _read(data: bytes, kind: str, changes: list[dict], folder: str, problems: Problems) -> dict:
    network, sbml = None, None
    try:
        if kind == "omex":
            from mechanistic.reading.omex import model_of

            data, _ = model_of(data, problems)
            sbml = data.decode("utf-8", "replace")
        if kind == "antimony":
            from mechanistic.reading.antimony_text import to_sbml

            data = to_sbml(data, problems)
            sbml = data.decode()
        if changes:
            from mechanistic.reading.changes import changed

            data = changed(data, changes, problems)
            sbml = data.decode()
        root, namespaces = parse(data, problems)
        if root.tag == "sbml" and root.attributes.get("level") == "1":
            from mechanistic.reading.level1 import to_level_2

            data = to_level_2(root, data, problems)
            sbml = data.decode()
            root, namespaces = parse(data, problems)
        if has_submodels(root):
            data = flattened(root, data, folder, problems)
            sbml = data.decode()
            root, namespaces = parse(data, problems)
        network = Document(root, namespaces, problems).data
        if not problems.entries or network:
            Checker(network, problems).run()
            solved, moving = network.pop("solved"), network.pop("moving")
            if (solved or moving) and not problems.entries:
                sbml = rewritten(data, solved, moving).decode()
    except Refused:
        pass
    if problems.entries:
        # lines of a document that was made on the way mean nothing to the reader of the file
        return {"problems": [e | {"line": None} if sbml else e for e in problems.ordered()]}
    return {"network": network, "sbml": sbml}
