"""Files that a scenario names: inside its folder, regular, of the right kind. They are not read here."""

from __future__ import annotations

import itertools
import os
import re
import stat
from pathlib import Path

from sim.errors import escaped
from sim.spelling import nearest

#: What the package ships: scenarios, models, weights.
SHIPPED = Path(__file__).resolve().parents[2] / "scenarios"

MODELS = (".xml", ".sbml", ".ant", ".omex")
WEIGHTS = (".safetensors",)
TABLES = (".npz", ".csv")
CSV = (".csv",)
_PICKLES = (".pkl", ".pickle", ".pt", ".pth", ".ckpt", ".joblib", ".bin")

_LONGEST_PATH = 1000
_LONGEST_PART = 255
_MOST_LISTED = 2000
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://|file:|data:", re.ASCII)


class FileProblem(ValueError):
    """Why a named file cannot be used; the message is for the user and quotes no content."""


def read_regular(path: str | Path, limit: int) -> bytes:
    """At most `limit` + 1 bytes of a regular file. Never blocks on a FIFO or device. Raises FileProblem."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise FileProblem(f"no such file{meant(Path(path))}") from None
    except (OSError, ValueError) as error:
        raise FileProblem(_reason(error)) from None
    try:
        _regular(os.fstat(handle))
        with os.fdopen(handle, "rb", closefd=False) as file:
            return file.read(limit + 1)
    except OSError as error:
        raise FileProblem(_reason(error)) from None
    finally:
        os.close(handle)


def resolve(
    value: str, folder: Path, *, extensions: tuple[str, ...] = (), allow_outside: bool = False
) -> Path:
    """The absolute path of `value`, looked for in `folder`, then in what is shipped. Raises FileProblem."""
    _check_text(value)
    target = Path(os.path.normpath(folder / value))
    if not allow_outside and not target.is_relative_to(os.path.normpath(folder)):
        raise FileProblem("is outside the scenario folder; copy the file into it, or pass --allow-outside")
    _check_extension(value, extensions)
    places = [target]
    if not os.path.isabs(value):
        shipped = Path(os.path.normpath(SHIPPED / value))
        places += [shipped] if shipped.is_relative_to(SHIPPED) else []
    for place in places:
        try:
            status = os.stat(place)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except (OSError, ValueError) as error:
            raise FileProblem(_reason(error)) from None
        real, home = Path(os.path.realpath(place)), Path(os.path.realpath(folder))
        # What an installer linked into the package is trusted; a link that a scenario brings is not.
        if place == target and not allow_outside and home != SHIPPED and not real.is_relative_to(home):
            raise FileProblem(
                "is a link that leads outside the scenario folder; pass --allow-outside to follow it"
            )
        _regular(status)
        if not os.access(place, os.R_OK):
            raise FileProblem("cannot be read: permission denied")
        return place
    raise FileProblem(f"no such file{meant(target, folder)}")


def _check_text(value: str) -> None:
    if not value.strip():
        raise FileProblem("must not be empty")
    if len(value) > _LONGEST_PATH or any(len(part) > _LONGEST_PART for part in value.split("/")):
        raise FileProblem("is too long for the path of a file")
    if not value.isprintable():
        raise FileProblem("has characters that the path of a file may not have")
    if _URL.match(value):
        raise FileProblem("is a web address; download the file into the scenario folder (nothing is fetched)")


def _check_extension(value: str, extensions: tuple[str, ...]) -> None:
    suffix = os.path.splitext(value)[1].lower()
    if extensions and suffix not in extensions:
        wanted = " or ".join(extensions)
        if suffix in _PICKLES:
            raise FileProblem(f"may hold a pickle, which could run code and is never loaded; use {wanted}")
        raise FileProblem(f"must be a {wanted} file")


def _regular(status: os.stat_result) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise FileProblem("is a folder; name a file")
    if not stat.S_ISREG(status.st_mode):
        raise FileProblem("is not a regular file (a device, pipe or socket)")


def _reason(error: OSError | ValueError) -> str:
    return (
        f"cannot be read: {(error.strerror or 'error').lower()}"
        if isinstance(error, OSError)
        else "is not a path"
    )


def meant(target: Path, folder: Path = Path(), *, folders: bool = False) -> str:
    """`; did you mean 'models/egfr.xml'?` with the nearest name in the same folder: of a file, or of a folder."""
    parents = [target.parent]
    if folder != Path() and target.is_relative_to(folder):
        parents.append(SHIPPED / target.parent.relative_to(folder))
    names: list[str] = []
    for parent in parents:
        try:
            with os.scandir(parent) as entries:
                some = itertools.islice(entries, _MOST_LISTED)
                names += [entry.name for entry in some if entry.is_dir(follow_symlinks=False) is folders]
        except OSError:
            continue
    found = nearest(target.name, sorted(names))
    return f"; did you mean '{escaped(found)}'?" if found else ""
