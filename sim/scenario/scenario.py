"""Scenario: a checked scenario file, with the place of every key for those who find a fault later."""

from __future__ import annotations

import copy
import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path as FilePath
from typing import Any

from pydantic import PrivateAttr, ValidationError

from sim.errors import Problem, ScenarioError
from sim.scenario import files, overrides
from sim.scenario.consistency import consistency_faults, file_faults
from sim.scenario.names import Fault
from sim.scenario.problems import in_file_order, problem_at, schema_problems
from sim.scenario.references import reference_faults
from sim.scenario.schema import ScenarioSpec
from sim.scenario.yaml_text import MOST_BYTES, Document, Path, read_yaml
from sim.scenario.yaml_write import write_yaml


class Scenario(ScenarioSpec):
    """A scenario whose text, values, names and files were found to be right.

    Made by `load` or `parse`. Attributes have the names of the keys; quantities are floats in the units used
    inside (min, um, um^3, um/min, 1/min; values of a field in the field's unit) that remember how they were
    written. `seed` is always set.
    """

    _document: Document = PrivateAttr()
    _overridden: dict[Path, str] = PrivateAttr(default_factory=dict)
    _text: str = PrivateAttr(default="")
    _allow_outside: bool = PrivateAttr(default=False)
    _drawn: bool = PrivateAttr(default=False)

    @classmethod
    def load(
        cls,
        path: str | FilePath,
        *,
        overrides: Mapping[str, str] | None = None,
        seed: int | None = None,
        allow_outside: bool = False,
    ) -> Scenario:
        """Reads a scenario file.

        `overrides` maps dotted keys ("time.stop", "couplings[0].hill.power") to YAML text that replaces
        their values before anything is checked; `seed` replaces the scenario's. With `allow_outside` the
        scenario may name files outside its folder. Raises ScenarioError with every problem of the first stage
        that has any: text, then keys and values, then names, then units and files.
        """
        try:
            content = files.read_regular(path, MOST_BYTES)
        except files.FileProblem as problem:
            raise ScenarioError(Problem(str(path), str(problem))) from None
        return cls._read(content, str(path), overrides or {}, seed, allow_outside)

    @classmethod
    def parse(
        cls,
        text: str,
        file: str | FilePath = "<text>",
        *,
        overrides: Mapping[str, str] | None = None,
        seed: int | None = None,
        allow_outside: bool = False,
    ) -> Scenario:
        """Reads a scenario from text; `file` says where from, for messages and for the files it names."""
        return cls._read(
            text.encode("utf-8", "surrogatepass"), str(file), overrides or {}, seed, allow_outside
        )

    @classmethod
    def _read(
        cls, content: bytes, file: str, given: Mapping[str, str], seed: int | None, allow_outside: bool
    ) -> Scenario:
        document = read_yaml(content, file)
        written = copy.deepcopy(document.data)
        overridden = overrides.apply(document, given)
        if seed is not None:
            document.data["seed"] = seed
            overridden[("seed",)] = str(seed)
        drawn = "seed" not in document.data
        if drawn:
            document.data["seed"] = int.from_bytes(os.urandom(8), "big") >> 1
        error = None
        try:
            scenario = cls.model_validate(document.data)
        except ValidationError as found:
            error = found
        problems = schema_problems(error, document, overridden, ScenarioSpec)
        if problems or error:
            raise ScenarioError(problems)
        scenario._document, scenario._overridden, scenario._drawn = document, overridden, drawn
        scenario._allow_outside = allow_outside
        scenario._text = (
            content.decode("utf-8-sig") if document.data == written else write_yaml(document.data)
        )
        scenario._check()
        return scenario

    def _check(self) -> None:
        """References, then consistency and files. Raises ScenarioError."""
        self._stop_at(reference_faults(self, self._document.key_line))
        self._stop_at([*consistency_faults(self), *file_faults(self, self._find)])

    def _stop_at(self, faults: Iterable[Fault]) -> None:
        problems = [problem_at(self._document, self._overridden, *fault) for fault in faults]
        if problems:
            raise ScenarioError(in_file_order(problems))

    def _find(self, value: str, extensions: tuple[str, ...]) -> FilePath:
        return files.resolve(value, self.folder, extensions=extensions, allow_outside=self._allow_outside)

    def with_values(self, values: Mapping[str, str]) -> Scenario:
        """This scenario with other values: dotted keys to YAML text, as `load` takes them. Raises ScenarioError."""
        return type(self).parse(self._text, self.file, overrides=values, allow_outside=self._allow_outside)

    def begun_with(self, seed: int) -> Scenario:
        """This scenario with the seed that was drawn when its run began; itself where it says one."""
        if not self._drawn:
            return self
        data = {**self._document.data, "seed": seed}
        begun = self.model_copy(update={"seed": seed})
        begun._document, begun._text = replace(self._document, data=data), write_yaml(data)
        return begun

    @property
    def file(self) -> str:
        """The path as the user gave it."""
        return self._document.file

    @property
    def folder(self) -> FilePath:
        """The absolute folder of the file; that of the process for text."""
        return FilePath(os.path.abspath(self.file)).parent

    @property
    def text(self) -> str:
        """YAML text that reads back to this scenario, with its seed and overrides: what a store keeps."""
        return self._text

    @property
    def sha256(self) -> str:
        """Hex digest of `text`."""
        return hashlib.sha256(self._text.encode()).hexdigest()

    @property
    def seed_was_drawn(self) -> bool:
        """True where neither the file nor the caller gave a seed."""
        return self._drawn

    def where(self, key_path: str | Path) -> int:
        """The 1-based line of a key: "time.stop", or ("couplings", 0, "hill")."""
        return self._document.line(overrides.key_path(key_path))

    def problem(self, key_path: str | Path, message: str, *, at_key: bool = False) -> Problem:
        """A Problem at a key of this scenario; the value got is put into the message.

        With `at_key` the key itself is at fault, and no value is shown.
        """
        return problem_at(self._document, self._overridden, overrides.key_path(key_path), message, at_key)

    def resolve(self, key_path: str | Path, value: str, *extensions: str) -> FilePath:
        """The absolute path of a file named at `key_path`. Raises ScenarioError where it may not be used."""
        try:
            return self._find(value, extensions)
        except files.FileProblem as problem:
            raise ScenarioError(self.problem(key_path, str(problem))) from None

    def to_plain(self) -> dict[str, Any]:
        """The scenario as it was written, with seed and overrides: plain dicts, lists and scalars."""
        return copy.deepcopy(self._document.data)
