"""What kind of file a user has brought, by its looks alone, and which command takes it."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sim.errors import CellweaveError, Problem, escaped


@dataclass(frozen=True)
class Form:
    """A kind of file or folder: what it is called, and the commands that take it, the usual one first."""

    name: str
    commands: tuple[str, ...]


_OF_SCENARIO = ("run", "describe", "explain", "validate")
_FORMS = {
    "scenario": Form("a scenario", _OF_SCENARIO),
    "training": Form("a training file", ("train", "validate")),
    "sweep": Form("a sweep file", ("sweep", "validate")),
    "format_version": Form("a PEtab problem", ("petab", "validate")),
    "run": Form("a run", ("report", "view", "digest", "explain")),
    "results": Form("the dataset of a sweep or of an explanation", ()),
    "model": Form("a pathway model", ("simulate", "validate")),
    "experiment": Form("an experiment or an archive of models", ("simulate", "validate")),
    "weights": Form("a file of weights", ("predict",)),
}
_SUFFIXES = {
    **dict.fromkeys((".xml", ".sbml", ".ant"), "model"),
    **dict.fromkeys((".sedml", ".sedx", ".omex"), "experiment"),
    ".safetensors": "weights",
}
#: keys by which a YAML file says what it is; sweep and training files may name a scenario too
_KEYS = ("training", "sweep", "format_version")
_IS_SCENARIO = re.compile(rb"^\xef?\xbb?\xbf?scenario[ \t]*:[ \t]*[0-9]", re.M)


def key_of(path: Path) -> tuple[str, int]:
    """The key by which a YAML file says what it is, with its line; ("", 0) where none does or it cannot be read."""
    from sim.scenario.files import FileProblem, read_regular
    from sim.scenario.yaml_text import MOST_BYTES, top_keys

    try:
        content = read_regular(path, MOST_BYTES)
    except FileProblem:
        return "", 0
    if found := _IS_SCENARIO.search(content):
        return "scenario", content.count(b"\n", 0, found.start()) + 1
    named = ("", 0)
    if any(key.encode() in content for key in ("scenario", *_KEYS)):
        for key, line in top_keys(content):
            if key in _KEYS:
                return key, line
            if key == "scenario":
                named = key, line
    return named


_TAKING = {command for form in _FORMS.values() for command in form.commands}


def told_misplaced(error: CellweaveError, command: str, words: Sequence[str]) -> Problem | None:
    """What to say in the place of `error` where the file at fault is for another command, or its name is misspelt.

    Args:
        command: what was asked for.
        words: what it was given; the file at fault is the one with which every line of the error begins. What is
            to be written is no such file.
    """
    from sim.scenario.files import meant

    if command not in _TAKING:
        return None
    lines = error.lines()
    for before, word in zip(("", *words), words):
        if not word or before in ("-o", "--output"):
            continue
        begins = tuple(f"cellweave: error: {escaped(word, 200)}{mark}" for mark in (":", "/"))
        if not all(line.startswith(begins) for line in lines):
            continue
        kind, line = _kind_of(word)
        if kind and command not in (form := _FORMS[kind]).commands:
            return Problem(word, _said(word, form, command), line or None, kind if line else None)
        if kind or os.path.lexists(word) or "did you mean" in lines[0]:
            continue
        if hint := meant(Path(word), folders=command in _FORMS["run"].commands):
            return Problem(word, f"no such file{hint}")
    return None


def _said(word: str, form: Form, command: str) -> str:
    use = f"use cellweave {form.commands[0]} {escaped(word)}" if form.commands else "xarray opens it"
    if command == "sweep" and form is _FORMS["scenario"]:
        use += ", or name it in a sweep file (scenario: …, over: …)"
    return f"this is {form.name}, which cellweave {command} does not take; {use}"


def _kind_of(word: str) -> tuple[str, int]:
    """The kind of what `word` names, and the line that tells it where one does."""
    from sim.library import shipped

    path = Path(word)
    if os.path.isdir(word):
        return _kind_of_store(path), 0
    if not os.path.exists(word):
        return ("scenario" if word in shipped() else ""), 0
    if path.suffix.lower() in _SUFFIXES:
        return _SUFFIXES[path.suffix.lower()], 0
    return key_of(path) if path.suffix.lower() in (".yaml", ".yml") else ("", 0)


def _kind_of_store(path: Path) -> str:
    try:
        attributes = json.loads((path / "zarr.json").read_bytes())["attributes"]
    except (OSError, ValueError, KeyError, TypeError):
        return ""
    if "metadata_sha256" in attributes:
        return "run"
    return "results" if "identity" in attributes else ""
