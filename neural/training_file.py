"""How a training file of any kind is opened: its keys checked, all faults told at once. Light: no torch."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from neural.errors import TrainingError, shown
from neural.files import is_there, meant, no_place_for_weights, read_text
from neural.spelling import nearest
from neural.strict_yaml import read
from neural.training_keys import Key, Problems, check


def said_in(path: str | os.PathLike) -> dict[str, Any]:
    """What a training file holds, unchecked; nothing where it cannot be read, for its own reader to say why."""
    try:
        return read(read_text(path), path)[0]
    except TrainingError:
        return {}


class TrainingFile:
    """A training file whose keys are those of its kind.

    Attributes:
        path: the file; spec: what it holds; lines: key -> line.
        problems: what is wrong with it, so far.

    Args:
        schemas: kind -> its keys.
        further: kind -> what else is asked of it, `check(spec, lines, problems)`, which fills `problems`.

        elsewhere: kinds that others read, of which one may be meant.

    Raises:
        TrainingError: it cannot be read, is of another kind, or its keys are not those of its kind; every problem.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        schemas: Mapping[str, dict[str, Key]],
        further: Mapping[str, Callable[[dict[str, Any], dict[str, int], Problems], None]] = {},
        elsewhere: Sequence[str] = (),
    ):
        self.path = Path(path)
        self.problems: Problems = []
        self.spec, self.lines = read(read_text(path), path)
        kind: Any = self.spec.get("kind")
        if not isinstance(kind, str) or kind not in schemas:
            known = (*schemas, *elsewhere)
            hint = nearest(str(kind)[:100], known, f"known: {', '.join(known)}")
            self.fault("kind", f"unknown kind of training (got {shown(kind)}){hint}")
            self.refuse()
        check(self.spec, schemas[kind], "", self.lines, self.problems)
        if not self.problems and self.spec["training"] != 1:
            self.fault("training", f"this version reads training: 1 (got {self.spec['training']})")
        self._require_place()
        if kind in further:
            further[kind](self.spec, self.lines, self.problems)
        self.refuse()

    def _require_place(self) -> None:
        """The weights must have where to go, before hours are spent on them."""
        if not self.problems and (wrong := no_place_for_weights(self.output)) is not None:
            key = "output" if "output" in self.spec else "name"
            self.fault(key, f"the weights go to {shown(str(self.output))}, which {wrong}")

    def fault(self, key: str, message: str) -> None:
        """Something is wrong at `key`."""
        self.problems.append((self.lines.get(key, 1), key, message))

    def needs(self, key: str, file: Path, hint: str = "") -> None:
        """`file`, which stands at `key`, must be there."""
        if not is_there(file):
            self.fault(key, f"no such file (got {shown(file.name)}){meant(file) or hint}")

    def bounds(self, key: str, said: Any) -> tuple[float, float]:
        """A lower and an upper bound above 0; a fault where `said` is none."""
        plain = isinstance(said, list) and len(said) == 2
        plain = plain and all(isinstance(v, int | float) and not isinstance(v, bool) for v in said)
        if plain and 0 < said[0] < said[1] < float("inf"):
            return float(said[0]), float(said[1])
        self.fault(key, f"must be a lower and an upper bound above 0, as [0.1, 10] (got {shown(said)})")
        return 1.0, 1.0

    def refuse(self) -> None:
        """Raises TrainingError with every problem, if there is any."""
        if self.problems:
            raise TrainingError(self.path, sorted(self.problems, key=lambda p: p[0] or 0))

    @property
    def output(self) -> Path:
        """Where the weights go."""
        written = self.spec.get("output", f"{self.spec['name']}.safetensors")
        return Path(os.path.normpath(self.path.parent / written))
