"""COMBINE archives (.omex): models and experiments, taken from memory; nothing is unpacked to disk."""

from __future__ import annotations

import base64
import io
import posixpath
import re
import stat
import zipfile

from mechanistic.reading.numbers import shown
from mechanistic.reading.problems import Problems
from mechanistic.reading.sedml import read_experiment
from mechanistic.reading.xmltree import parse

_MOST_MEMBERS = 10_000
_LARGEST_MEMBER = 64 << 20
_MANIFEST = "manifest.xml"
_MOST_NAMED = 6


class Archive:
    """An archive that was looked at: its members, and what its manifest says of them.

    Raises:
        Refused: it is none, or is not safe to open; every fault is noted.
    """

    def __init__(self, data: bytes, problems: Problems):
        self.problems = problems
        try:
            self.archive = zipfile.ZipFile(io.BytesIO(data))
        except (zipfile.BadZipFile, ValueError, OSError) as error:
            raise problems.refuse(f"not a whole zip archive ({shown(str(error))})", None, "omex") from None
        self.members = _members(self.archive, problems)
        if _MANIFEST not in self.members:
            raise problems.refuse("the archive has no manifest.xml", None, "manifest")
        root, _ = parse(self.content(_MANIFEST), problems, "manifest")
        self.listed = [e.attributes for e in root.children if e.tag == "content"]

    def of_format(self, name: str) -> list[str]:
        """The members in a format of COMBINE ("sbml", "sed-ml"), in the manifest's order, the master first."""
        pattern = re.compile(rf"identifiers\.org/combine\.specifications[/:]{name}\b")
        found = [e for e in self.listed if pattern.search(e.get("format", ""))]
        found.sort(key=lambda e: not _is_master(e))
        # one file may be listed under several formats
        names = list(dict.fromkeys(_location(e) for e in found))
        for name in names:
            if name not in self.members:
                message = f"the manifest lists {shown(name)}, which the archive does not hold"
                raise self.problems.refuse(message, None, "manifest")
        return names

    def masters(self, among: list[str]) -> list[str]:
        """Those of some members that the manifest marks as its master, in its order."""
        marked = {_location(e) for e in self.listed if _is_master(e)}
        return [name for name in among if name in marked]

    def content(self, name: str) -> bytes:
        """What a member holds; a size that the directory of the archive understates is cut off."""
        info, problems = self.members[name], self.problems
        try:
            with self.archive.open(info) as stream:
                content = stream.read(_LARGEST_MEMBER + 1)
        except (
            zipfile.BadZipFile,
            NotImplementedError,
            RuntimeError,
            OSError,
            EOFError,
            ValueError,
        ) as error:
            message = f"{shown(info.filename)} cannot be unpacked ({shown(str(error))})"
            raise problems.refuse(message, None, "omex") from None
        if len(content) > _LARGEST_MEMBER:
            raise problems.refuse(f"{shown(info.filename)} is over the limit of size", None, "size")
        return content


def model_of(data: bytes, problems: Problems) -> tuple[bytes, str]:
    """The bytes of the archive's SBML model and its name, or Refused with the fault noted.

    The model is the one SBML file that the manifest lists, or of several the one that it marks as master: the
    specification of archives says nothing of several without a mark, and which is meant is not guessed.
    """
    archive = Archive(data, problems)
    names = archive.of_format("sbml")
    if not names:
        raise problems.refuse("the manifest lists no SBML model", None, "manifest")
    masters = archive.masters(names)
    if len(names) > 1 and len(masters) != 1:
        some = masters or names
        listed = ", ".join(map(shown, some[:_MOST_NAMED])) + (", …" if len(some) > _MOST_NAMED else "")
        how = 'mark one with master="true" in manifest.xml, or take its file out of the archive'
        which = f"marks {len(masters)} as master" if masters else "none is marked as master"
        said = f"the archive holds {len(names)} SBML models and {which}: {listed}; {how}"
        raise problems.refuse(said, None, "manifest")
    return archive.content(names[0]), names[0]


def experiments_of(data: bytes, problems: Problems) -> dict:
    """The SED-ML files of an archive as plain data, and the models that they name.

    Returns:
        "experiments": for each its location, and its data or its problems; "models": bytes by location, as
        base64; "has_model": whether the manifest lists an SBML model.
    """
    archive = Archive(data, problems)
    experiments, models, unpacked = [], {}, 0
    for location in archive.of_format("sed-ml"):
        own = Problems()
        experiment = read_experiment(archive.content(location), own)
        for model in experiment["models"]:
            name = resolved(location, model["source"])
            if model["source"].startswith("#"):
                continue
            if name not in archive.members:
                own.add(f"the archive holds no {shown(model['source'])}", model["line"], model["id"])
            elif name not in models:
                content = archive.content(name)
                unpacked += len(content)
                if unpacked > _LARGEST_MEMBER:
                    raise problems.refuse(
                        "the models of the archive are over the limit of size", None, "size"
                    )
                models[name] = base64.b64encode(content).decode()
        experiments.append({"location": location, "data": experiment, "problems": own.ordered()})
    return {"experiments": experiments, "models": models, "has_model": bool(archive.of_format("sbml"))}


def resolved(location: str, source: str) -> str:
    """Where `source` is that the file at `location` names, both paths with `/`."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(location), source))


def _location(entry: dict) -> str:
    return entry.get("location", "").removeprefix("./")


def _is_master(entry: dict) -> bool:
    return entry.get("master", "").strip() in ("true", "1")  # the two ways of XML to say so


def _members(archive: zipfile.ZipFile, problems: Problems) -> dict[str, zipfile.ZipInfo]:
    members: dict[str, zipfile.ZipInfo] = {}
    entries = archive.infolist()
    if len(entries) > _MOST_MEMBERS:
        raise problems.refuse(f"{len(entries)} files in the archive are over the limit of size", None, "size")
    for info in entries:
        name = info.orig_filename
        if name.startswith(("/", "\\")) or ".." in name.replace("\\", "/").split("/") or ":" in name:
            problems.add(f"a member path leaves the archive (got {shown(name)})", None, shown(name))
        if stat.S_ISLNK(info.external_attr >> 16):
            problems.add(f"a member is a symbolic link (got {shown(name)})", None, shown(name))
        if info.filename in members:
            problems.add(f"two members have one name (got {shown(name)})", None, shown(name))
        if info.file_size > _LARGEST_MEMBER:
            message = (
                f"{shown(name)} unpacks to {info.file_size} bytes, over the limit of size ({_LARGEST_MEMBER})"
            )
            problems.add(message, None, "size")
        members[info.filename] = info
    if problems.entries:
        raise problems.refuse("the archive is not opened", None, "omex")
    return members
