"""Read and check a model file. The parsing runs in a guarded child process; the parent stays light.

`read_network` never blocks on devices or pipes, never runs anything that a model says, and turns every way
a parser can fail (a crash included) into a ModelError that names file, line and id.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import subprocess
import sys
from pathlib import Path

from mechanistic.errors import ModelError, ModelProblem
from mechanistic.network import ReactionNetwork, from_data

LARGEST_FILE = 64 << 20
_CHILD = Path(__file__).parent / "reading" / "child.py"
_MEGABYTES, _CPU_SECONDS, _WALL_SECONDS = 1000, 5, 30
#: answers that are remembered, and of how many bytes at most: a search plans the same model again and again
_REMEMBERED, _LARGEST_REMEMBERED = 16, 2 << 20
_answers: dict[tuple[bytes, str, int, int], bytes] = {}
_SUFFIXES = {".xml": "sbml", ".sbml": "sbml", ".ant": "antimony", ".txt": "antimony", ".omex": "omex"}


def read_network(path_or_text: str | os.PathLike) -> ReactionNetwork:
    """The network of an SBML or Antimony model, or of the SBML model in a COMBINE archive.

    Args:
        path_or_text: a path, or the text of a model (recognised by a line break, `<`, `;` or `=`).

    Raises:
        ModelError: with every fault found, each with its line and id.
    """
    data, kind, file = _source(path_or_text)
    folder = os.path.dirname(os.path.abspath(file)) if kind == "sbml" and file != "<text>" else ""
    answer = ask_child(data, kind, file, folder)
    if "problems" in answer:
        raise ModelError(file, [ModelProblem(**p) for p in answer["problems"]])
    source = answer["sbml"] or _decoded(data)
    return from_data(answer["network"], source, file)


def antimony_of(network: ReactionNetwork) -> str:
    """The model as Antimony text; what Antimony has no words for is left out by it (layout, fbc, notes).

    Raises:
        ModelError: Antimony cannot say the model.
    """
    answer = ask_child(network.source.encode(), "text", network.file)
    if "problems" in answer:
        raise ModelError(network.file, [ModelProblem(**p) for p in answer["problems"]])
    return answer["text"]


def _source(path_or_text: str | os.PathLike) -> tuple[bytes, str, str]:
    if isinstance(path_or_text, str) and re.search(r"[\n<;=]", path_or_text) and not _is_file(path_or_text):
        kind = "sbml" if path_or_text.lstrip("\ufeff \t\r\n").startswith("<") else "antimony"
        data = path_or_text.encode("utf-8", "surrogatepass")
        if len(data) > LARGEST_FILE:
            raise ModelError(
                "<text>", f"a model of {len(data)} bytes is over the limit of size ({LARGEST_FILE})"
            )
        return data, kind, "<text>"
    file = os.fspath(path_or_text)
    data = read_file(file)
    if data.startswith(b"\x1f\x8b") or file.endswith(".gz"):
        message = "a compressed file is refused: nothing bounds the size it unpacks to; unpack it first"
        raise ModelError(file, [ModelProblem(message, None, "size")])
    kind = "omex" if data.startswith(b"PK\x03\x04") else _SUFFIXES.get(Path(file).suffix.lower())
    if kind is None:
        kind = "sbml" if data[:200].lstrip(b"\xef\xbb\xbf\xff\xfe \t\r\n").startswith(b"<") else "antimony"
    return data, kind, file


def _is_file(text: str) -> bool:
    try:
        return len(text) < 4096 and os.path.isfile(text)
    except ValueError:
        return False


def read_file(file: str) -> bytes:
    """The bytes of a regular file within the limit of size. Opened without blocking, then looked at."""
    try:
        handle = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except ValueError:
        raise ModelError(file.replace("\0", "\\0"), "the path holds a NUL character") from None
    except OSError as error:
        hint = _nearest(file) if isinstance(error, FileNotFoundError) else ""
        raise ModelError(file, f"cannot be read: {error.strerror}{hint}") from None
    try:
        status = os.fstat(handle)
        if stat.S_ISDIR(status.st_mode):
            raise ModelError(file, "is a folder, not a model file")
        if not stat.S_ISREG(status.st_mode):
            raise ModelError(file, "is a device or a pipe, not a file")
        if status.st_size > LARGEST_FILE:
            message = f"{status.st_size} bytes is over the limit of size ({LARGEST_FILE >> 20} MiB)"
            raise ModelError(file, [ModelProblem(message, None, "size")])
        with os.fdopen(handle, "rb", closefd=False) as stream:
            return stream.read(LARGEST_FILE + 1)
    finally:
        os.close(handle)


def _nearest(file: str) -> str:
    """`; did you mean 'x'?` for the file of the folder whose name is nearest."""
    from difflib import get_close_matches

    folder, name = os.path.split(file)
    try:
        names = os.listdir(folder or ".")[:10_000]
    except OSError:
        return ""
    close = get_close_matches(name, names, 1, 0.7)
    return f"; did you mean '{close[0]}'?" if close else ""


def ask_child(data: bytes, kind: str, file: str, folder: str = "") -> dict:
    """What the guarded child says of `data`; see `mechanistic.reading.reader.answer`.

    `folder`: in which it looks for models that `data` takes from files beside it; "" for nowhere. What was asked
    lately in this process is answered from memory, where no such file has a say.

    Raises:
        ModelError: it came to no answer.
    """
    asked = hashlib.sha256(data).digest(), kind, _MEGABYTES, _CPU_SECONDS
    # what lies beside a model may change, unless the model (of one byte a letter) takes nothing from there
    alone = not folder or not (b"externalModelDefinition" in data or b"\0" in data)
    if alone and (answer := _answers.get(asked)):
        return json.loads(answer)
    command = [sys.executable, "-I", str(_CHILD), kind, str(_MEGABYTES), str(_CPU_SECONDS), folder]
    try:
        child = subprocess.run(
            command,
            input=data,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_WALL_SECONDS,
            cwd="/",
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ModelError(file, [_gave_up(f"reading took longer than {_WALL_SECONDS} s", kind)]) from None
    if child.returncode == 0:
        if alone and len(child.stdout) <= _LARGEST_REMEMBERED:
            _answers[asked] = child.stdout
            while len(_answers) > _REMEMBERED:
                _answers.pop(next(iter(_answers)), None)
        return json.loads(child.stdout)
    if -child.returncode in (9, 24):
        reason = f"reading needs more than {_CPU_SECONDS} s or {_MEGABYTES} MB"
        raise ModelError(file, [_gave_up(reason, kind)])
    raise ModelError(file, [_gave_up(f"the parser failed on this file (code {child.returncode})", kind)])


def _gave_up(reason: str, kind: str) -> ModelProblem:
    advice = "is it a model, and not too large?"
    if kind == "antimony":
        advice += " the time that Antimony takes grows with the square of the length, that of SBML does not"
    return ModelProblem(f"{reason}; {advice}", None, "size")


def _decoded(data: bytes) -> str:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16")
    declared = re.match(rb"""<\?xml[^>]*encoding\s*=\s*["']([A-Za-z0-9._-]+)["']""", data[:200])
    return data.decode(declared[1].decode() if declared else "utf-8-sig")
