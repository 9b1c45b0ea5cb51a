"""COMBINE archives (.omex): the model inside, taken from memory; nothing is unpacked to disk."""

from __future__ import annotations

import io
import stat
import zipfile

from mechanistic.reading.numbers import shown
from mechanistic.reading.problems import Problems
from mechanistic.reading.xmltree import parse

_MOST_MEMBERS = 10_000
_LARGEST_MEMBER = 64 << 20
_MANIFEST = "manifest.xml"


def model_of(data: bytes, problems: Problems) -> tuple[bytes, str]:
    """The bytes of the archive's SBML model and its name, or Refused with the fault noted.

    The model is the master file if that is SBML, else the first SBML file that the manifest lists.
    """
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
    except (zipfile.BadZipFile, ValueError, OSError) as error:
        raise problems.refuse(f"not a whole zip archive ({shown(str(error))})", None, "omex") from None
    members = _members(archive, problems)
    if _MANIFEST not in members:
        raise problems.refuse("the archive has no manifest.xml", None, "manifest")
    root, _ = parse(_content(archive, members[_MANIFEST], problems), problems)
    listed = [e.attributes for e in root.children if e.tag == "content"]
    models = [e for e in listed if "identifiers.org/combine.specifications/sbml" in e.get("format", "")]
    models.sort(key=lambda e: e.get("master") != "true")
    for entry in models:
        name = entry.get("location", "").removeprefix("./")
        if name in members:
            return _content(archive, members[name], problems), name
        raise problems.refuse(
            f"the manifest lists {shown(name)}, which the archive does not hold", None, "manifest"
        )
    raise problems.refuse("the manifest lists no SBML model", None, "manifest")


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


def _content(archive: zipfile.ZipFile, info: zipfile.ZipInfo, problems: Problems) -> bytes:
    """What a member holds; a size that the directory of the archive understates is cut off."""
    try:
        with archive.open(info) as stream:
            content = stream.read(_LARGEST_MEMBER + 1)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError, EOFError, ValueError) as error:
        raise problems.refuse(
            f"{shown(info.filename)} cannot be unpacked ({shown(str(error))})", None, "omex"
        ) from None
    if len(content) > _LARGEST_MEMBER:
        raise problems.refuse(f"{shown(info.filename)} is over the limit of size", None, "size")
    return content
