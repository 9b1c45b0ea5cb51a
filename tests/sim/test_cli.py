"""The command line: exit codes, one-line errors, data on stdout, nothing written in vain."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

SCENARIOS = Path(__file__).resolve().parents[2] / "scenarios"
WEIGHTS = SCENARIOS / "weights" / "pc9_drugs.safetensors"

GOOD = """
scenario: 1
name: two hours
seed: 3
time: {stop: 2 h, save_every: 1 h}
space:
  domain: {x: [-50 um, 50 um], y: [-50 um, 50 um]}
  fields: {drug: {diffusion: 1e4 um^2/min, initial: 1 uM}}
cells: {a: {count: 10, place: {random: {}}, cycle: {division: 1e-3 /min}}}
couplings: [{from: field.drug, to: rate.death, linear: {slope: 1e-3}, mode: add}]
"""


@pytest.fixture
def file(tmp_path):
    file = tmp_path / "good.yaml"
    file.write_text(GOOD)
    return file


@pytest.fixture
def bad(tmp_path):
    file = tmp_path / "bad.yaml"
    file.write_text(
        GOOD.replace("count: 10", "count: ten").replace("division: 1e-3 /min", "division: 1e-3 um")
    )
    return file


def test_examples_of_help_are_commands_with_options_that_there_are():
    from typer.main import get_command

    import sim.cli

    commands = get_command(sim.cli.app).commands  # pyright: ignore[reportAttributeAccessIssue]
    examples = {name: c.epilog.removeprefix("For example: ") for name, c in commands.items() if c.epilog}
    assert {"run", "explain", "simulate", "train", "petab", "sweep"} <= set(examples)
    for name, example in examples.items():
        first, command, *words = shlex.split(example)
        assert (first, command) == ("cellweave", name)
        commands[name].make_context(
            name, words
        )  # fails at an option that is not there, or an argument that is missing


def test_help_lists_every_command_of_the_contract(cellweave_process):
    done = cellweave_process("--help")
    assert done.code == 0
    for command in (
        "run",
        "scenarios",
        "new",
        "validate",
        "schema",
        "describe",
        "digest",
        "simulate",
        "train",
        "predict",
        "explain",
        "report",
    ):
        assert re.search(rf"^\W*{command}\b", done.out, re.M), command


def test_asked_for_nothing_it_tells_what_there_is(cellweave_process):
    done = cellweave_process()
    assert (done.code, done.err) == (0, "") and "simulate" in done.out


def test_predictions_go_to_stdout_or_to_a_file(cellweave, tmp_path):
    (tmp_path / "c.csv").write_text("erlotinib,hours\n0.1,3\n")
    asked = ("predict", WEIGHTS, "--conditions", tmp_path / "c.csv")
    assert cellweave(*asked, "-o", tmp_path / "out.csv").code == 0
    assert (tmp_path / "out.csv").read_text() == cellweave(*asked).out


def test_run_writes_a_store_and_says_where(cellweave_process, cellweave, file, tmp_path):
    done = cellweave_process("run", file, "-o", tmp_path / "run.zarr", "--no-report", "--threads", "1")
    assert done.code == 0, done.err
    assert done.out == "" and "complete" in done.err and "run.zarr" in done.err
    first = cellweave_process("digest", tmp_path / "run.zarr")
    assert first.code == 0 and re.fullmatch(r"[0-9a-f]{64}\n", first.out) and first.err == ""

    again = cellweave("run", file, "-o", tmp_path / "run.zarr", "--no-report")
    assert again.code == 2
    assert again.errors == [f"cellweave: error: {tmp_path / 'run.zarr'}: exists; use --resume or --force"]

    forced = cellweave_process(
        "run", file, "-o", tmp_path / "run.zarr", "--no-report", "--force", "--quiet", "--threads", "2"
    )
    assert forced.code == 0 and forced.err == ""
    assert cellweave("digest", tmp_path / "run.zarr").out == first.out

    missing = next((tmp_path / "run.zarr" / "lineage" / "cell").glob("c*/0"), None)
    missing = missing or next((tmp_path / "run.zarr" / "lineage" / "cell").glob("c.*"))
    missing.unlink()
    drawn = cellweave("report", tmp_path / "run.zarr")
    assert drawn.code == 2 and "lineage/cell" in drawn.err and "missing" in drawn.err


def test_every_error_of_a_file_is_one_line_with_its_place(cellweave, bad, tmp_path):
    for command in (("validate", bad), ("run", bad, "-o", tmp_path / "run.zarr"), ("describe", bad)):
        done = cellweave(*command)
        assert done.code == 2 and done.out == ""
        assert len(done.errors) == 2
        assert (
            done.errors[0].startswith(f"cellweave: error: {bad}:9: cells.a.count: ")
            and "(got ten)" in done.errors[0]
        )
        assert "cells.a.cycle.division" in done.errors[1]
    assert not (tmp_path / "run.zarr").exists()


def test_a_fault_of_the_wiring_is_told_like_any_other(cellweave, tmp_path):
    file = tmp_path / "wired.yaml"
    file.write_text(GOOD.replace("to: rate.death", "to: cell.volume"))
    done = cellweave("validate", file)
    assert done.code == 2
    assert done.errors[0].startswith(f"cellweave: error: {file}:10: couplings[0].to: ")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("runn",), "runn"),
        (("run",), "SCENARIO"),
        (("run", "quickstat"), "did you mean 'quickstart'"),
        (("run", "quickstart", "--set", "time.stop"), "KEY=VALUE"),
        (("run", "quickstart", "--device", "gpu"), "cpu or cuda"),
        (("validate", "/nowhere/at/all.yaml"), "/nowhere/at/all.yaml"),
        (("digest", "/nowhere.zarr"), "/nowhere.zarr"),
        (("digest", __file__), "there is no run here"),
        (("new", "quickstat"), "did you mean 'quickstart'"),
        (("new", "quickstart", __file__), "is not a folder"),
        (("predict", WEIGHTS, "--conditions", __file__, "-o", SCENARIOS), "is a folder"),
        (("predict", WEIGHTS, "--conditions", __file__, "-o", "/dev/null"), "is a device"),
        (
            ("predict", WEIGHTS, "--conditions", __file__, "-o", "/nowhere/x.csv"),
            "there is no folder /nowhere",
        ),
        (("explain", "quickstart", "--outcome", "count(pc8) @ 1 h"), "did you mean 'pc9'"),
        (("explain", "quickstart", "--outcome", "count() @ 1 h", "--method", "magic"), "--method magic"),
    ],
)
def test_a_wrong_call_ends_with_2_and_one_line(cellweave, tmp_path, arguments, words):
    done = cellweave(
        *arguments, *(("-o", tmp_path / "x.zarr") if arguments[0] == "run" and len(arguments) > 1 else ())
    )
    assert done.code == 2, done.err
    assert done.out == "" and len(done.errors) == 1 and words in done.errors[0]
    assert list(tmp_path.iterdir()) == []


def test_set_and_seed_replace_values_and_a_wrong_one_is_named_by_its_option(cellweave, file, tmp_path):
    done = cellweave("run", file, "--set", "time.stop=two hours", "-o", tmp_path / "run.zarr")
    assert done.code == 2 and "--set time.stop=two hours" in done.errors[0]
    described = cellweave("describe", file, "--set", "time.stop=1 h", "--set", "cells.a.count=7")
    assert "until 1 h" in described.out and "a: 7 cells" in described.out


def test_validate_is_silent_or_tells_conversions_and_checks_models_too(cellweave, file):
    done = cellweave(
        "validate", file, SCENARIOS / "models" / "egfr_mapk.xml", SCENARIOS / "models" / "delta_notch.ant"
    )
    assert (done.code, done.err) == (0, "")


def test_shipped_scenarios_are_listed_copied_and_valid(cellweave, tmp_path):
    listed = cellweave("scenarios")
    names = [line.split()[0] for line in listed.out.splitlines()]
    assert names[0] == "quickstart" and set(names) == {f.stem for f in SCENARIOS.glob("*.yaml")}
    made = cellweave("new", "delta_notch", tmp_path / "mine")
    assert (
        made.code == 0
        and (tmp_path / "mine" / "delta_notch.yaml").exists()
        and (tmp_path / "mine" / "models").is_dir()
    )
    assert cellweave("validate", tmp_path / "mine" / "delta_notch.yaml").code == 0
    assert cellweave("new", "delta_notch", tmp_path / "mine").code == 2


def test_schema_is_json_schema(cellweave):
    done = cellweave("schema")
    schema = json.loads(done.out)
    assert {"time", "space", "cells"} <= set(schema["properties"])


def test_describe_shows_the_wiring_in_words_and_as_a_picture(cellweave, file, tmp_path):
    done = cellweave("describe", file, "-o", tmp_path / "graph.svg")
    assert done.code == 0, done.err
    assert "field.drug → rate.death  (add, 0.001 x)" in done.out
    assert "<svg" in (tmp_path / "graph.svg").read_text()[:500]


def test_explain_prints_a_table_or_json(cellweave, file, tmp_path):
    table = cellweave(
        "explain", file, "--outcome", "count(a) @ 1 h", "--seeds", "2", "-o", tmp_path / "why.zarr", "--quiet"
    )
    assert table.code == 0 and table.err == "" and "field.drug → rate.death" in table.out
    assert (tmp_path / "why.zarr" / "zarr.json").exists()
    again = cellweave("explain", file, "--outcome", "count(a) @ 1 h", "-o", tmp_path / "why.zarr")
    assert again.code == 2 and "exists" in again.errors[0] and "run 1 of" not in again.err
    rows = json.loads(
        cellweave("explain", file, "--outcome", "count(a) @ 1 h", "--seeds", "2", "--json", "--quiet").out
    )
    assert {r["quantity"] for r in rows} == {"field.drug → rate.death"}
    assert [(r["method"], r["kind"]) for r in rows] == [("ablation", "total"), ("direct", "direct")]


def test_explain_takes_a_run(cellweave, file, tmp_path):
    assert cellweave("run", file, "-o", tmp_path / "run.zarr", "--no-report", "--quiet").code == 0
    rows = json.loads(
        cellweave(
            "explain", tmp_path / "run.zarr", "--outcome", "count(a) @ 1 h", "--seeds", "2", "--json"
        ).out
    )
    assert len(rows) == 2


def test_linear_algebra_of_the_command_runs_on_one_thread():
    """The last digits of its sums hang on the number of threads."""
    told = "import sys, os, sim.__main__; assert 'numpy' not in sys.modules; print(os.environ['OPENBLAS_NUM_THREADS'])"
    bare = {name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"}
    for given, expected in (({}, "1"), ({"OPENBLAS_NUM_THREADS": "3"}, "3")):
        run = subprocess.run(
            [sys.executable, "-c", told], env=bare | given, capture_output=True, text=True, check=True
        )
        assert run.stdout.split() == [expected]


def test_a_picture_that_cannot_be_drawn_is_told_before_anything(cellweave, file, tmp_path):
    for place, words in (
        (tmp_path / "x.exe", ".svg, .png, .pdf"),
        (tmp_path / "no" / "x.svg", "there is no folder"),
    ):
        done = cellweave("describe", file, "-o", place)
        assert (done.code, done.out, len(done.errors)) == (2, "", 1) and words in done.errors[0]
