"""The files of a PEtab problem: which there are, and their tables as text."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from sim.errors import Problem, ScenarioError, escaped
from sim.scenario.files import FileProblem, read_regular

_MOST_BYTES = 256 << 20
Row = dict[str, str]
Made = TypeVar("Made")


@dataclass(frozen=True)
class Table:
    """A table of text; `lines`: (row,) where each stands in its file."""

    file: Path
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    lines: tuple[int, ...]

    def problem(self, row: int, column: str, message: str) -> Problem:
        return Problem(str(self.file), message, self.lines[row], column)


@dataclass(frozen=True)
class Files:
    """What the YAML file says.

    Attributes:
        version: 1 or 2.
        data: the YAML file as it stands.
    """

    file: Path
    version: int
    data: dict[str, Any]

    def path(self, name: object) -> Path:
        """Of a file that the YAML file names."""
        if not isinstance(name, str) or not name:
            raise ScenarioError(Problem(str(self.file), f"a file's name must be text (got {escaped(name)})"))
        if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:", name):
            message = f"'{escaped(name)}' is not a file here; download it first and name the copy"
            raise ScenarioError(Problem(str(self.file), message))
        return self.file.parent / name


def read_yaml(file: Path) -> Files:
    """The YAML file of a problem.

    Raises:
        ScenarioError: it cannot be read, is no PEtab problem, or of a version that is not known.
    """
    import yaml

    try:
        data = yaml.safe_load(read_regular(file, 16 << 20))
    except FileProblem as error:
        raise ScenarioError(Problem(str(file), str(error))) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        message = f"not YAML: {getattr(error, 'problem', None) or type(error).__name__}"
        raise ScenarioError(Problem(str(file), message, mark.line + 1 if mark else None)) from None
    if not isinstance(data, dict) or "format_version" not in data:
        message = "not a PEtab problem: it has no 'format_version'"
        raise ScenarioError(Problem(str(file), message))
    found = re.fullmatch(r"([12])(\.\d+)*", str(data["format_version"]))
    if found is None:
        message = f"PEtab 1 and 2 are read (got {escaped(data['format_version'])})"
        raise ScenarioError(Problem(str(file), message, None, "format_version"))
    return Files(file, int(found[1]), data)


def has_networks(files: Files) -> bool:
    """Whether the problem uses the extension PEtab-SciML."""
    found = files.data.get("extensions")
    return isinstance(found, dict) and any(isinstance(found.get(k), dict) for k in ("petab_sciml", "sciml"))


def read_table(file: Path, needed: tuple[str, ...]) -> Table:
    """A file of tab-separated values, its empty and "nan" fields as "".

    Raises:
        ScenarioError: it cannot be read, or lacks a column.
    """
    try:
        text = read_regular(file, _MOST_BYTES).decode("utf-8-sig")
    except FileProblem as error:
        raise ScenarioError(Problem(str(file), str(error))) from None
    except UnicodeDecodeError:
        raise ScenarioError(Problem(str(file), "the file is not UTF-8 text")) from None
    import csv

    reader = csv.reader(text.splitlines(), delimiter="\t")
    try:
        rows = [(reader.line_num, row) for row in reader]
    except csv.Error as error:
        raise ScenarioError(Problem(str(file), f"not a table: {error}", reader.line_num)) from None
    rows = [(line, row) for line, row in rows if any(field.strip() for field in row)]
    if not rows:
        raise ScenarioError(
            Problem(str(file), f"the table is empty; it needs the columns {', '.join(needed)}")
        )
    columns = tuple(c.strip() for c in rows[0][1])
    missing = [c for c in needed if c not in columns]
    if missing:
        raise ScenarioError(Problem(str(file), f"no column '{missing[0]}'", rows[0][0]))
    return Table(
        file,
        columns,
        tuple({c: _field(f) for c, f in zip(columns, row)} for _, row in rows[1:]),
        tuple(line for line, _ in rows[1:]),
    )


def joined(tables: list[Table]) -> list[tuple[Table, int, Row]]:
    """The rows of some tables, each with its table and number."""
    return [(t, i, row) for t in tables for i, row in enumerate(t.rows)]


def each(rows: Sequence[tuple[Table, int, Row]], make: Callable[[Table, int], Made]) -> list[Made]:
    """What `make` makes of every row.

    Raises:
        ScenarioError: with the faults of all rows.
    """
    found, problems = [], []
    for table, i, _ in rows:
        try:
            found.append(make(table, i))
        except ScenarioError as error:
            if not error.problems:
                raise
            problems += error.problems
    if problems:
        raise ScenarioError(problems)
    return found


def _field(text: str) -> str:
    text = text.strip()
    return "" if text.lower() in ("nan", "na", "n/a", "none", "<na>") else text


def number(table: Table, row: int, column: str, empty: float | None = None) -> float:
    """The number in a field; `empty` where there is nothing.

    Raises:
        ScenarioError: it is not a number.
    """
    text = table.rows[row].get(column, "")
    if not text and empty is not None:
        return empty
    try:
        return float(text)
    except ValueError:
        raise ScenarioError(table.problem(row, column, f"must be a number (got '{escaped(text)}')")) from None
