"""One model, from bytes to plain data or to the list of its faults."""

from __future__ import annotations

from mechanistic.reading.checks import Checker
from mechanistic.reading.document import Document
from mechanistic.reading.problems import Problems, Refused
from mechanistic.reading.rewrite import rewritten
from mechanistic.reading.submodels import flattened, has_submodels
from mechanistic.reading.xmltree import parse


def read(data: bytes, kind: str) -> dict:
    """{"problems": [...]} or {"network": {...}, "sbml": text or None}.

    Args:
        data: the file as it is.
        kind: "sbml", "antimony" or "omex". Unless the file is SBML itself, its SBML is handed back too.
    """
    problems = Problems()
    sbml = None
    try:
        if kind == "omex":
            from mechanistic.reading.omex import model_of

            data, _ = model_of(data, problems)
            sbml = data.decode("utf-8", "replace")
        if kind == "antimony":
            from mechanistic.reading.antimony_text import to_sbml

            data = to_sbml(data, problems)
            sbml = data.decode()
        root, namespaces = parse(data, problems)
        if root.tag == "sbml" and root.attributes.get("level") == "1":
            from mechanistic.reading.level1 import to_level_2

            data = to_level_2(root, data, problems)
            sbml = data.decode()
            root, namespaces = parse(data, problems)
        if has_submodels(root):
            data = flattened(root, data, problems)
            sbml = data.decode()
            root, namespaces = parse(data, problems)
        network = Document(root, namespaces, problems).data
        if not problems.entries or network:
            Checker(network, problems).run()
            solved, moving = network.pop("solved"), network.pop("moving")
            if (solved or moving) and not problems.entries:
                sbml = rewritten(data, solved, moving).decode()
    except Refused:
        network = None
    except MemoryError:
        return {
            "problems": [{"message": "reading needs more memory than the limit", "line": None, "key": "size"}]
        }
    except RecursionError:
        return {
            "problems": [
                {"message": "math is nested beyond the limit of depth", "line": None, "key": "depth"}
            ]
        }
    if problems.entries:
        # lines of a document that was made on the way mean nothing to the reader of the file
        return {"problems": [e | {"line": None} if sbml else e for e in problems.ordered()]}
    return {"network": network, "sbml": sbml}
