"""What an error prints: one line each, safe for a terminal, at most twenty."""

from __future__ import annotations

import pytest

from sim.errors import Interrupted, Problem, ScenarioError, SimulationError, StoreError, escaped


def test_a_problem_is_one_line():
    error = ScenarioError([Problem("a.yaml", "is wrong", 3, "time.stop"), Problem("b.yaml", "is missing")])
    assert error.lines() == [
        "cellweave: error: a.yaml:3: time.stop: is wrong",
        "cellweave: error: b.yaml: is missing",
    ]
    assert ScenarioError("disk\x1b[31m\nfull").lines() == ["cellweave: error: disk\\x1b[31m\\nfull"]


def test_at_most_twenty_lines_say_how_many_there_are():
    lines = ScenarioError([Problem("f\x1b.yaml", f"fault {i}", i) for i in range(1, 51)]).lines()
    assert len(lines) == 20
    assert lines[-1] == "cellweave: error: f\\x1b.yaml: and 31 more"
    assert len(ScenarioError([Problem("f", "x")] * 20).lines()) == 20


@pytest.mark.parametrize("text", ["\x1b[31mred\x07", "a\u202eb", "a\nb\r", "\ud800", "\0", "\u2028"])
def test_escaped_shows_no_control_or_bidi_character(text: str):
    assert escaped(text).isprintable()
    assert "\\" in escaped(text)


def test_escaped_is_cut():
    assert escaped("x" * 80) == "x" * 80
    assert escaped("x" * 1000) == "x" * 79 + "…"
    assert len(escaped("\0" * 1000)) == 80


def test_exit_codes():
    codes = [ScenarioError("x").exit_code, SimulationError("x").exit_code, StoreError("x").exit_code]
    assert codes == [2, 3, 4]
    assert Interrupted(15).exit_code == 143
