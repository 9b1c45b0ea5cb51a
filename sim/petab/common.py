"""What PEtab 1 and 2 share: formulas in tables, values or parameters in fields, observables within formulas."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from mechanistic.codegen.system import dependencies
from mechanistic.errors import ModelError
from mechanistic.network import ReactionNetwork
from mechanistic.parts import Tree
from mechanistic.sbml import read_network
from sim.errors import Problem, ScenarioError, escaped
from sim.petab.math import tree_of
from sim.petab.tables import Files, Table

Transform = Callable[[ReactionNetwork], ReactionNetwork]


def network_of(files: Files, name: object, transform: Transform | None) -> ReactionNetwork:
    """The model of a file; ScenarioError with each of its faults."""
    try:
        network = read_network(files.path(name))
    except ModelError as error:
        problems = [Problem(error.file, p.message, p.line, p.key) for p in error.problems]
        raise ScenarioError(problems) from None
    return network if transform is None else transform(network)


def formula(table: Table, row: int, column: str) -> Tree:
    """The tree of a field."""
    text = table.rows[row].get(column, "")
    if not text:
        raise ScenarioError(table.problem(row, column, "a formula is missing"))
    try:
        return tree_of(text)
    except ValueError as error:
        what = " ".join(str(error).split())
        message = f"not a formula: {escaped(what, 200)} (got '{escaped(text)}')"
        raise ScenarioError(table.problem(row, column, message)) from None


def overrides(table: Table, row: int, column: str) -> list[float | str]:
    """The numbers and ids of a field, between semicolons."""
    text = table.rows[row].get(column, "")
    parts = [part.strip() for part in text.split(";")] if text else []
    found: list[float | str] = []
    for part in parts:
        try:
            found.append(float(part))
        except ValueError:
            if not part.isidentifier():
                message = f"neither a number nor the id of a parameter (got '{escaped(part)}')"
                raise ScenarioError(table.problem(row, column, message)) from None
            found.append(part)
    return found


def replaced(tree: Tree, by: Mapping[str, Tree]) -> Tree:
    """`tree` with some ids replaced."""
    if isinstance(tree, str):
        return by.get(tree, tree)
    if isinstance(tree, list):
        return [tree[0], *(replaced(part, by) for part in tree[1:])]
    return tree


def inlined(formulas: Mapping[str, Tree]) -> dict[str, Tree]:
    """Formulas of observables, those that they name put in their places.

    Raises:
        ScenarioError: one depends on itself.
    """
    done: dict[str, Tree] = {}

    def complete(name: str, within: tuple[str, ...]) -> Tree:
        if name in within:
            raise ScenarioError(f"the observable '{name}' depends on itself ({' -> '.join((*within, name))})")
        if name not in done:
            needed = [d for d in dependencies(formulas[name]) if d in formulas]
            done[name] = replaced(formulas[name], {d: complete(d, (*within, name)) for d in needed})
        return done[name]

    for name in formulas:
        complete(name, ())
    return done
