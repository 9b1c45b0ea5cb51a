"""The scenarios that ship with cellweave: found by name, listed, copied to edit."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from sim.errors import ScenarioError
from sim.spelling import did_you_mean


@dataclass(frozen=True)
class Shipped:
    """A shipped scenario: its name, its file, and the sentence in its opening comment."""

    name: str
    file: Path
    about: str


@cache
def folder() -> Path:
    """Where the shipped scenarios, models and weights are."""
    import scenarios

    return Path(next(iter(scenarios.__path__)))


@cache
def shipped() -> dict[str, Shipped]:
    """All shipped scenarios by name, quickstart first."""
    files = sorted(folder().glob("*.yaml"), key=lambda f: (f.stem != "quickstart", f.stem))
    return {f.stem: Shipped(f.stem, f, _about(f)) for f in files}


def find(name_or_path: str) -> str:
    """A path as given, or the file of the shipped scenario of that name where no such file is there.

    Raises:
        ScenarioError: neither, and the text looks like a name.
    """
    if os.path.lexists(name_or_path) or not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name_or_path):
        return name_or_path
    if name_or_path in shipped():
        return str(shipped()[name_or_path].file)
    names = ", ".join(shipped())
    raise ScenarioError(
        f"{name_or_path}: no such file or shipped scenario ({names}){did_you_mean(name_or_path, shipped())}"
    )


def copy(name: str, target: Path) -> list[Path]:
    """Copy a shipped scenario with the models and weights it names into the folder `target`; the files made.

    Raises:
        ScenarioError: no scenario of that name, or a file would be overwritten.
        StoreError: the disk.
    """
    from sim.store.disk import disk_errors, replace_files

    if name not in shipped():
        raise ScenarioError(
            f"no shipped scenario '{name}'; there are {', '.join(shipped())}{did_you_mean(name, shipped())}"
        )
    if os.path.lexists(target) and not target.is_dir():
        raise ScenarioError(f"{target}: is not a folder")
    source = shipped()[name].file
    named = re.findall(r"\b(?:models|weights)/[A-Za-z0-9_.-]+", source.read_text(encoding="utf-8"))
    wanted = [source.name, "schema.json", *dict.fromkeys(named)]
    for relative in wanted:
        if relative != "schema.json" and os.path.lexists(target / relative):
            raise ScenarioError(f"{target / relative}: exists; choose another folder")
    made = []
    for relative in wanted:
        place = target / relative
        with disk_errors(place):
            place.parent.mkdir(parents=True, exist_ok=True)
            replace_files([(place, (folder() / relative).read_bytes())])
        made.append(place)
    return made


def _about(file: Path) -> str:
    """The opening comment's first sentence, without the editor's line."""
    words = []
    for line in file.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        if "yaml-language-server" not in line:
            words.append(line.lstrip("# ").strip())
    text = " ".join(words)
    return text.split(". ")[0].rstrip(".")
