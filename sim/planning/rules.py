"""PhysiCell's tables: rules of cell behaviour (CSV, versions 0 to 3) and places of cells, read into our names.

The grammar is that of Johnson et al. 2025 (doi:10.1016/j.cell.2025.06.048). Numbers are in PhysiCell's units, min and
um, and the units of the fields.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sim.errors import Problem, ScenarioError, escaped
from sim.spelling import did_you_mean

#: columns of a rule by how many there are; 8 are versions 2 and 3, 9 version 1, 10 version 0
_COLUMNS = {
    8: ("cell type", "signal", "direction", "behavior", "saturation", "half-max", "Hill power", "applies to dead"),
    9: (
        "cell type", "signal", "direction", "behavior", "base", "saturation", "half-max", "Hill power",
        "applies to dead",
    ),
    10: (
        "cell type", "behavior", "min", "base", "max", "signal", "direction", "half-max", "Hill power",
        "applies to dead",
    ),
}  # fmt: skip
_UP = ("increases", "increase", "promotes")
_DOWN = ("decreases", "decrease", "inhibits")
_MOST_BYTES = 64 << 20


@dataclass(frozen=True)
class RuleRow:
    """One rule of a table, in our names.

    Attributes:
        line: its line in the file.
        cells: the cell type.
        signal, behaviour: quantity names.
        rises: whether the behaviour increases with the signal.
        base: value without signal where the table gives one (versions 0 and 1), else None: the cell's own.
        to, half_max, power: of the Hill response.
        dead: whether dying and dead cells follow.
    """

    line: int
    cells: str
    signal: str
    behaviour: str
    rises: bool
    base: float | None
    to: float
    half_max: float
    power: float
    dead: bool


@dataclass(frozen=True)
class Vocabulary:
    """PhysiCell's words for the signals and behaviours of one scenario, and our names for them."""

    signals: Mapping[str, str]
    behaviours: Mapping[str, Mapping[str, str]]

    @classmethod
    def of(cls, fields: Sequence[str], phases: Mapping[str, Sequence[str]]) -> Vocabulary:
        """For these fields, and cell types with their phases in order (none: one phase, live)."""
        types = list(phases)
        signals = {
            "pressure": "cell.pressure",
            "volume": "cell.volume",
            "damage": "cell.damage",
            "dead": "cell.dead",
            "apoptotic": "cell.apoptotic",
            "necrotic": "cell.necrotic",
            "current time": "clock.time",
            "time": "clock.time",
            "contact with live cell": "contact.live",
            "contact with dead cell": "contact.dead",
        }
        shared = {
            "apoptosis": "rate.death",
            "necrosis": "rate.necrosis",
            "migration speed": "motility.speed",
            "migration bias": "motility.bias",
            "migration persistence time": "motility.persistence",
            "cell-cell adhesion": "mechanics.adhesion",
            "cell-cell repulsion": "mechanics.repulsion",
            "cell attachment rate": "rate.attachment",
            "cell detachment rate": "rate.detachment",
            "phagocytose dead cell": "phagocytosis.dead",
            "damage rate": "rate.damage",
            "attack damage rate": "rate.damage",
            "damage repair rate": "rate.repair",
        }
        for f in fields:
            signals |= {
                f: f"field.{f}",
                f"{f} gradient": f"gradient.{f}",
                f"intracellular {f}": f"inside.{f}",
                f"internalized {f}": f"inside.{f}",
            }
            shared |= {
                f"{f} secretion": f"secretion.{f}",
                f"{f} secretion target": f"saturation.{f}",
                f"{f} secretion saturation density": f"saturation.{f}",
                f"{f} uptake": f"uptake.{f}",
                f"{f} export": f"export.{f}",
                f"chemotactic response to {f}": f"chemotaxis.{f}",
                f"chemotactic sensitivity to {f}": f"chemotaxis.{f}",
            }
        for t in types:
            signals[f"contact with {t}"] = f"contact.{t}"
            shared |= {
                f"phagocytose {t}": f"phagocytosis.{t}",
                f"attack {t}": f"attack.{t}",
                f"fuse to {t}": f"fusion.{t}",
                f"transform to {t}": f"transform.{t}",
                f"transition to {t}": f"transform.{t}",
            }
        behaviours = {}
        for t, names in phases.items():
            entry = next((n for n in names if n in ("Ki67_negative", "quiescent")), names[0] if names else "")
            own = {"cycle entry": f"exit.{entry}" if entry else "rate.division"}
            own |= {f"exit from cycle phase {k}": f"exit.{n}" for k, n in enumerate(names)}
            if not names:
                own["exit from cycle phase 0"] = "rate.division"
            behaviours[t] = {**shared, **own}
        return cls(signals, behaviours)


def read_rules(path: Path, shown: str, vocabulary: Vocabulary) -> list[RuleRow]:
    """The rules of a PhysiCell table.

    Raises:
        ScenarioError: every fault with its line and column.
    """
    rows, problems = [], []
    for line, cells in _rows(path, shown):
        try:
            rows.append(_rule(line, cells, vocabulary))
        except _Fault as fault:
            problems.append(Problem(shown, fault.message, line, fault.column))
    if problems:
        raise ScenarioError(problems)
    return rows


def read_cells(path: Path, shown: str, types: Sequence[str]) -> dict[str, list[tuple[float, float, float]]]:
    """Places of cells [um] by type: columns x, y, z, type, named in a header or, as in PhysiCell's version 1, by
    position with the type's number.

    Raises:
        ScenarioError: every fault with its line and column.
    """
    found: dict[str, list[tuple[float, float, float]]] = {t: [] for t in types}
    names, problems = ["x", "y", "z", "type"], []
    for k, (line, cells) in enumerate(_rows(path, shown)):
        if k == 0 and cells[0].lower() == "x":
            names = [c.lower() for c in cells]
            missing = [c for c in ("x", "y", "type") if c not in names]
            if missing:
                message = f"has no column {', '.join(missing)}; it needs x, y, z, type"
                raise ScenarioError(Problem(shown, message, line))
            continue
        try:
            if len(cells) < min(4, len(names)):
                raise _Fault("", f"has {len(cells)} values; it needs {', '.join(names[:4])}")
            row = dict(zip(names, cells))
            place = tuple(_number(row.get(axis, "0"), axis) for axis in "xyz")
            found[_type(row["type"], types)].append(place)  # type: ignore[arg-type]
        except _Fault as fault:
            problems.append(Problem(shown, fault.message, line, fault.column or None))
    if problems:
        raise ScenarioError(problems)
    return found


# ---- parts


class _Fault(Exception):
    def __init__(self, column: str, message: str):
        super().__init__(message)
        self.column, self.message = column, message


def _rows(path: Path, shown: str) -> Iterator[tuple[int, list[str]]]:
    """Lines with values, without comments (//, #) and empty ones."""
    if path.stat().st_size > _MOST_BYTES:
        raise ScenarioError(Problem(shown, f"is larger than {_MOST_BYTES >> 20} MiB; split it"))
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ScenarioError(Problem(shown, "is not UTF-8 text; save it as such")) from None
    for line, raw in enumerate(text.splitlines(), start=1):
        if not raw.strip() or raw.lstrip().startswith(("//", "#")):
            continue
        try:
            cells = [c.strip() for c in next(csv.reader([raw]))]
        except csv.Error as error:
            raise ScenarioError(Problem(shown, f"is not a row of a table: {error}", line)) from None
        if any(cells):
            yield line, cells


def _rule(line: int, cells: list[str], vocabulary: Vocabulary) -> RuleRow:
    if len(cells) not in _COLUMNS:
        raise _Fault("", f"has {len(cells)} columns; a rule has 8 ({', '.join(_COLUMNS[8])})")
    row = dict(zip(_COLUMNS[len(cells)], cells))
    cell_type = _known(row["cell type"], {t: t for t in vocabulary.behaviours}, "cell type", "cell type")
    direction = row["direction"].lower()
    if direction not in (*_UP, *_DOWN):
        raise _Fault("direction", f"must be increases or decreases (got {escaped(row['direction'])})")
    rises = direction in _UP
    if "saturation" not in row:
        row["saturation"] = row["max" if rises else "min"]
    half_max, power = _number(row["half-max"], "half-max"), _number(row["Hill power"], "Hill power")
    for column, value in (("half-max", half_max), ("Hill power", power)):
        if not value > 0:
            raise _Fault(column, f"must be greater than 0 (got {value:g})")
    if row["applies to dead"].lower() not in ("0", "1", "true", "false"):
        raise _Fault("applies to dead", f"must be 0 or 1 (got {escaped(row['applies to dead'])})")
    return RuleRow(
        line=line,
        cells=cell_type,
        signal=_known(row["signal"], vocabulary.signals, "signal", "signal"),
        behaviour=_known(row["behavior"], vocabulary.behaviours[cell_type], "behavior", "behaviour"),
        rises=rises,
        base=_number(row["base"], "base") if "base" in row else None,
        to=_number(row["saturation"], "saturation"),
        half_max=half_max,
        power=power,
        dead=row["applies to dead"].lower() in ("1", "true"),
    )


def _known(word: str, names: Mapping[str, str], column: str, kind: str) -> str:
    found = {_plain(k): v for k, v in names.items()}.get(_plain(word))
    if found is None:
        raise _Fault(column, f"no {kind} '{escaped(word)}'{did_you_mean(word, list(names))}")
    return found


def _plain(word: str) -> str:
    return " ".join(word.replace("_", " ").split()).lower()


def _type(word: str, types: Sequence[str]) -> str:
    if word in types:
        return word
    number = word.removesuffix(".0")
    if number.isdigit() and int(number) < len(types):
        return types[int(number)]
    raise _Fault("type", f"no cell type '{escaped(word)}'{did_you_mean(word, types)}")


def _number(word: str, column: str) -> float:
    try:
        value = float(word)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise _Fault(column, f"must be a finite number (got {escaped(word) or 'nothing'})")
    return value
