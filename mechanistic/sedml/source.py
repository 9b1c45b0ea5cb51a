"""Where experiments come from: a SED-ML file with its models beside it, or a COMBINE archive."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any

from mechanistic.errors import ModelError, ModelProblem
from mechanistic.network import ReactionNetwork
from mechanistic.network import from_data as network_from
from mechanistic.reading.problems import Problems
from mechanistic.sbml import ask_child, read_file
from mechanistic.sedml.description import Experiment, from_data

_SUFFIXES = {".ant": "antimony", ".txt": "antimony"}


def is_experiment(path: str | os.PathLike) -> bool:
    """Whether a file is a SED-ML file or a COMBINE archive, by its suffix."""
    return Path(path).suffix.lower() in (".sedml", ".sedx", ".omex")


def read_experiments(path: str | os.PathLike) -> list[Experiment]:
    """The experiments of a SED-ML file or a COMBINE archive, each with its models; an archive may have none.

    A model is a file beside the SED-ML file or below its folder, or in the archive; nothing is downloaded and
    nothing is unpacked to disk.

    Raises:
        ModelError: with every fault of the first file at fault, each with its line and id.
    """
    file = os.fspath(path)
    data = read_file(file)
    answer = ask_child(data, "experiments", file)
    if "problems" in answer:
        raise ModelError(file, [ModelProblem(**p) for p in answer["problems"]])
    is_archive = data.startswith(b"PK")
    experiments = []
    for found in answer["experiments"]:
        label = f"{file}/{found['location']}" if is_archive else file
        if found["problems"]:
            raise ModelError(label, [ModelProblem(**p) for p in found["problems"]])
        models = _Models(label, found["data"]["models"])
        for model in found["data"]["models"]:
            source = model["source"]
            if source.startswith("#") or source in models.declared:
                continue
            if is_archive:
                location = _resolved(found["location"], source)
                models.contents[source] = base64.b64decode(answer["models"][location])
                models.labels[source] = f"{file}/{location}"
            else:
                models.labels[source] = _beside(file, source, model)
                models.contents[source] = read_file(models.labels[source])
        networks = {model["id"]: models.network(model["id"]) for model in found["data"]["models"]}
        experiments.append(from_data(found["data"], networks, label))
    return experiments


def _resolved(location: str, source: str) -> str:
    from mechanistic.reading.omex import resolved

    return resolved(location, source)


def _beside(file: str, source: str, model: dict) -> str:
    """The path of a model of the SED-ML file `file`, which may not leave its folder."""
    folder = os.path.realpath(os.path.dirname(os.path.abspath(file)))
    path = os.path.realpath(os.path.join(folder, source))
    if os.path.commonpath([folder, path]) != folder:
        message = f"a model must lie beside the file or below its folder (got {source})"
        raise ModelError(file, [ModelProblem(message, model["line"], model["id"])])
    return path


class _Models:
    """The models of one experiment; a model may be another one, changed further.

    Attributes:
        contents, labels: bytes and name of every file that is a source.
    """

    def __init__(self, file: str, models: list[dict]):
        self.file = file
        self.declared = {m["id"]: m for m in models}
        self.contents: dict[str, bytes] = {}
        self.labels: dict[str, str] = {}

    def network(self, name: str) -> ReactionNetwork:
        source, changes = self._origin(name)
        file = self.labels[source]
        kind = _SUFFIXES.get(Path(source).suffix.lower(), "sbml")
        request: dict[str, Any] = {
            "model": base64.b64encode(self.contents[source]).decode(),
            "kind": kind,
            "changes": changes,
        }
        answer = ask_child(json.dumps(request).encode(), "changed", file)
        if "problems" in answer:
            problems = [ModelProblem(**p) for p in answer["problems"]]
            # a change that fails is a fault of the experiment, and so is its line
            at_fault = self.file if all(p.key == "change" for p in problems) else file
            raise ModelError(at_fault, problems)
        text = answer["sbml"] or self.contents[source].decode("utf-8-sig", "replace")
        return network_from(answer["network"], text, file)

    def _origin(self, name: str) -> tuple[str, list[dict]]:
        """The file that a model comes from, and all changes on the way, in order."""
        model = self.declared[name]
        source, changes = model["source"], model["changes"]
        other = source.removeprefix("#")
        if source.startswith("#") or other in self.declared:
            if other not in self.declared:
                problems = Problems()
                problems.add(f"the source '{source}' is not a model of this file", model["line"], name)
                raise ModelError(self.file, [ModelProblem(**p) for p in problems.entries])
            origin, earlier = self._origin(other)
            return origin, [*earlier, *changes]
        return source, changes
