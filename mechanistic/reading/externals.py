"""Models that a document takes from files beside it (package "comp"), put into the document itself.

Only files in the folder of the model, or below it, are read: no path leads out of it, nothing is fetched.
"""

from __future__ import annotations

import os
import re
import stat
from typing import Any

from mechanistic.reading.numbers import shown
from mechanistic.reading.problems import MOST_SUBMODELS, Problems, Refused
from mechanistic.reading.xmltree import Element, parse

_LARGEST = 16 << 20
_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_. -]*(/[A-Za-z0-9_][A-Za-z0-9_. -]*)*")


def included(root: Element, data: bytes, folder: str, problems: Problems) -> bytes:
    """The same document with every external model definition as a definition of its own.

    Args:
        folder: of the model's file; "" where it comes from no file.

    Raises:
        Refused: a file that is not there, leads out of the folder or is no such model; models in a circle.
    """
    first = next((e for e in root.walk() if e.tag == "externalModelDefinition"), None)
    if first is None:
        return data
    if not folder:
        message = "comp: an external model definition is followed only from a model in a file"
        raise problems.refuse(message, first.line, "external")
    import libsbml

    document = libsbml.readSBMLFromString(data.decode("utf-8", "replace"))
    if document.getPlugin("comp") is None:
        raise problems.refuse("comp: the package is declared wrongly", first.line, "external")
    inclusion = _Inclusion(document, folder, first.line, problems)
    inclusion.run()
    return libsbml.writeSBMLToString(document).encode()


class _Inclusion:
    def __init__(self, document: Any, folder: str, line: int, problems: Problems):
        self.document, self.plugin = document, document.getPlugin("comp")
        self.folder, self.line, self.problems = os.path.realpath(folder), line, problems
        self._open: dict[str, Any] = {}
        self._made: dict[tuple[str, str], str] = {}
        self._path: list[tuple[str, str]] = []

    def run(self) -> None:
        names = {}
        for e in [self.plugin.getExternalModelDefinition(i) for i in range(self._externals(self.plugin))]:
            names[e.getId()] = self._definition(self._file(self.folder, e.getSource()), e.getModelRef())
        while self._externals(self.plugin):
            self.plugin.removeExternalModelDefinition(0)
        definitions = [self.plugin.getModelDefinition(i) for i in range(self.plugin.getNumModelDefinitions())]
        for model in [self.document.getModel(), *definitions]:
            for part in _submodels(model):
                if part.getModelRef() in names:
                    part.setModelRef(names[part.getModelRef()])

    @staticmethod
    def _externals(plugin: Any) -> int:
        return plugin.getNumExternalModelDefinitions()

    def _definition(self, file: str, name: str) -> str:
        """The id, in the document, of the model `name` ("": the main one) of `file`."""
        key = (file, name)
        if key in self._path:
            raise self._refuse(f"'{shown(os.path.basename(file))}' contains itself")
        if key not in self._made:
            self._path.append(key)
            self._made[key] = self._copied(file, name)
            self._path.pop()
        return self._made[key]

    def _copied(self, file: str, name: str) -> str:
        import libsbml

        other = self._opened(file)
        plugin, model = other.getPlugin("comp"), other.getModel()
        if name and model.getId() != name:
            model = plugin.getModelDefinition(name) if plugin is not None else None
            external = plugin.getExternalModelDefinition(name) if plugin is not None else None
            if model is None and external is not None:
                source = self._file(os.path.dirname(file), external.getSource())
                return self._definition(source, external.getModelRef())
        if model is None:
            raise self._refuse(f"there is no model '{shown(name)}' in '{shown(os.path.basename(file))}'")
        copy = libsbml.ModelDefinition(model)
        if len(self._made) >= MOST_SUBMODELS:
            raise self._refuse(f"more than {MOST_SUBMODELS} models")
        for part in _submodels(copy):
            part.setModelRef(self._definition(file, part.getModelRef()))
        copy.setId(self._free(f"{model.getId() or 'model'}_{len(self._made)}"))
        if self.plugin.addModelDefinition(copy) != libsbml.LIBSBML_OPERATION_SUCCESS:
            what = f"'{shown(os.path.basename(file))}' is of another level or version than the model"
            raise self._refuse(what)
        return copy.getId()

    def _free(self, name: str) -> str:
        while self.plugin.getModelDefinition(name) is not None or self.document.getModel().getId() == name:
            name += "_"
        return name

    def _file(self, folder: str, source: str) -> str:
        """The file that `source` names, seen from `folder`."""
        source = source.removeprefix("./")
        inside = os.path.realpath(os.path.join(folder, source)) if _PLAIN.fullmatch(source) else ""
        if not inside.startswith(self.folder + os.sep):
            raise self._refuse(
                f"'{shown(source)}' does not lie beside the model: only its folder is looked into"
            )
        return inside

    def _opened(self, file: str) -> Any:
        if file not in self._open:
            import libsbml

            data = self._read(file)
            try:
                parse(data, self.problems)
            except Refused:
                raise self._refuse(f"'{shown(os.path.basename(file))}' cannot be read") from None
            document = libsbml.readSBMLFromString(data.decode("utf-8", "replace"))
            if document.getModel() is None:
                raise self._refuse(f"'{shown(os.path.basename(file))}' holds no model")
            self._open[file] = document
        return self._open[file]

    def _read(self, file: str) -> bytes:
        """Opened without blocking, then looked at."""
        name = shown(os.path.basename(file))
        try:
            handle = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError as error:
            raise self._refuse(f"'{name}' cannot be read: {error.strerror}") from None
        with os.fdopen(handle, "rb") as stream:
            status = os.fstat(handle)
            if not stat.S_ISREG(status.st_mode) or status.st_size > _LARGEST:
                raise self._refuse(f"'{name}' is no file of at most {_LARGEST >> 20} MiB")
            return stream.read(_LARGEST)

    def _refuse(self, why: str) -> Refused:
        return self.problems.refuse(f"comp: external model definition: {why}", self.line, "external")


def _submodels(model: Any) -> list:
    plugin = model.getPlugin("comp")
    return [] if plugin is None else [plugin.getSubmodel(i) for i in range(plugin.getNumSubmodels())]
