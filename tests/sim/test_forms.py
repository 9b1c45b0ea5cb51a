"""A file that another command takes is told as what it is, in one line, with the command that takes it."""

import json

import pytest

from sim.errors import Problem, ScenarioError, StoreError
from sim.forms import key_of, told_misplaced

SCENARIO = "# one\nscenario: 1\nname: x\n"
SWEEP = "scenario: quickstart\nsweep: 1\nover: {}\n"
TRAINING = "{kind: law, scenario: a.yaml, training: 1}\n"
PETAB = "format_version: 2.0.0\n"


@pytest.mark.parametrize(
    ("text", "key", "line"),
    [
        (SCENARIO, "scenario", 2),
        (SCENARIO + "sweep: 1\n", "scenario", 2),
        (SWEEP, "sweep", 2),
        (TRAINING, "training", 1),
        (PETAB, "format_version", 1),
        ("\ufeff" + SCENARIO[6:], "scenario", 1),
        ("a: {sweep: 1}\n", "", 0),
        ("- sweep\n", "", 0),
        ("sweep: [1\n", "sweep", 1),
    ],
)
def test_a_key_says_what_a_file_is(tmp_path, text, key, line):
    (tmp_path / "it.yaml").write_text(text, encoding="utf-8")
    assert key_of(tmp_path / "it.yaml") == (key, line)


def told(path, command, key="over"):
    return told_misplaced(
        ScenarioError(Problem(str(path), "is wrong", 1, key)), command, ["-o", "x", str(path)]
    )


@pytest.mark.parametrize(
    ("text", "wrong", "right"),
    [
        (SCENARIO, ("sweep", "train", "petab", "simulate", "digest", "predict"), "run"),
        (SWEEP, ("run", "train", "describe", "explain", "petab"), "sweep"),
        (TRAINING, ("run", "sweep", "petab", "report"), "train"),
        (PETAB, ("run", "sweep", "train", "view"), "petab"),
    ],
)
def test_the_right_command_is_named(tmp_path, text, wrong, right):
    file = tmp_path / "it.yaml"
    file.write_text(text)
    for command in wrong:
        found = told(file, command)
        assert found is not None and found.line and f"use cellweave {right} {file}" in found.message
    assert told(file, right) is None and told(file, "validate") is None


def test_what_is_to_be_written_is_not_misplaced(tmp_path):
    (tmp_path / "zarr.json").write_text(json.dumps({"attributes": {"metadata_sha256": "x"}}))
    exists = ScenarioError(Problem(str(tmp_path), "exists; use --resume or --force"))
    assert told_misplaced(exists, "run", ["a.yaml", "-o", str(tmp_path)]) is None
    assert told_misplaced(exists, "run", [str(tmp_path)]) is not None


def test_a_file_that_is_no_yaml_is_not_read_as_one(tmp_path):
    (tmp_path / "it.py").write_text(SCENARIO)
    error = StoreError(f"{tmp_path / 'it.py'}: there is no run here")
    assert told_misplaced(error, "digest", [str(tmp_path / "it.py")]) is None


def test_a_fault_of_another_file_stays_what_it_is(tmp_path):
    (tmp_path / "it.yaml").write_text(SWEEP)
    error = ScenarioError(Problem("other.yaml", "is wrong"))
    assert told_misplaced(error, "run", [str(tmp_path / "it.yaml")]) is None
    assert told_misplaced(StoreError("disk full"), "run", ["", str(tmp_path / "it.yaml")]) is None


def test_where_results_go_is_no_input(tmp_path):
    (tmp_path / "zarr.json").write_text('{"attributes": {"metadata_sha256": "x"}}')
    error = ScenarioError(f"{tmp_path}: exists; use --resume or --force")
    assert told_misplaced(error, "run", ["x.yaml", "-o", str(tmp_path)]) is None
    assert told_misplaced(error, "run", [str(tmp_path)]) is not None


@pytest.mark.parametrize(
    ("attributes", "says"),
    [({"metadata_sha256": "x"}, "a run"), ({"identity": "x"}, "a sweep or"), ({}, None)],
)
def test_stores_are_told_apart(tmp_path, attributes, says):
    (tmp_path / "zarr.json").write_text(json.dumps({"attributes": attributes}))
    found = told_misplaced(
        ScenarioError(Problem(f"{tmp_path}/zarr.json", "damaged")), "train", [str(tmp_path)]
    )
    assert (found is None) if says is None else (found is not None and says in found.message)


def test_the_command_line_says_so(cellweave, tmp_path):
    (tmp_path / "doses.yaml").write_text(SWEEP)
    done = cellweave("run", tmp_path / "doses.yaml")
    assert done.code == 2 and len(done.errors) == 1 and done.out == ""
    assert f"{tmp_path / 'doses.yaml'}:2: sweep: this is a sweep file" in done.errors[0]
    done = cellweave("train", "quickstart")
    assert done.code == 2 and len(done.errors) == 1 and "use cellweave run quickstart" in done.errors[0]


def test_validate_takes_the_names_of_shipped_scenarios(cellweave):
    done = cellweave("validate", "delta_notch", "delta_noch")
    assert done.code == 2 and len(done.errors) == 1 and "did you mean 'delta_notch'" in done.errors[0]


def test_a_misspelt_name_is_told_whoever_reads_it(tmp_path):
    (tmp_path / "run.zarr").mkdir()
    (tmp_path / "study.yaml").write_text(SWEEP)

    def told(command: str, name: str):
        return told_misplaced(
            ScenarioError(f"{tmp_path / name}: there is nothing"), command, [str(tmp_path / name)]
        )

    assert str(told("digest", "run.zar")).endswith("no such file; did you mean 'run.zarr'?")
    assert str(told("train", "stdy.yaml")).endswith("no such file; did you mean 'study.yaml'?")
    assert told("digest", "study.yam") is None and told("train", "other.yaml") is None
    assert told("new", "run.zar") is None
