"""A run is its scenario and seed, and nothing else: threads, kills, stops and resumes leave the same bits."""

import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scenes import scene

from sim import Scenario, open_run, run
from sim.build import plan
from sim.controller import simulate, stops_of
from sim.errors import ScenarioError, SimulationError
from sim.store.verify import digest
from sim.version import VERSION

ROOT = Path(__file__).resolve().parents[2]

#: most of what a run can do, in a second
TEXT = """
scenario: 1
name: everything that steps
seed: 5
time: {stop: 6 h, save_every: 1 h, step: 10 min}
space:
  domain: {x: [-80 um, 80 um], y: [-80 um, 80 um]}
  fields: {drug: {diffusion: 1e4 um^2/min}}
cells:
  a:
    count: 25
    place: {random: {}}
    cycle: {division: 2e-3 /min}
    death: {apoptosis: 1e-3 /min, lysis: 5e-3 /min, clearance: 5e-3 /min}
    motility: {speed: 0.3 um/min, persistence: 20 min, chemotaxis: {field: drug, bias: 0.3}}
    exchange: {drug: {uptake: 1 /min}}
couplings: [{from: field.drug, to: rate.death, linear: {slope: 1e-3}, mode: add}]
perturbations:
  - {at: 95 min, add: field.drug, by: 1 uM, where: {disc: {center: [0 um, 0 um], radius: 50 um}}, every: 95 min}
  - {at: 3 h, kill: {cells: a, fraction: 0.2}}
instruments: {incucyte: {every: 90 min}}
outputs: {cells: [type, position, volume, field.drug, rate.death], fields: all}
"""

#: its first hour, with nothing done to the cells
SHORT = TEXT[: TEXT.index("perturbations:")].replace("stop: 6 h", "stop: 1 h")

#: runs the command line and sends itself a signal before the n-th step; commits at every chance
DRIVER = """
import os, sys
import sim.__main__
import sim.controller
from sim.simulation import Simulation

number, at = int(sys.argv.pop(1)), int(sys.argv.pop(1))
sim.controller._COMMIT_EVERY = 0.0
step, calls = Simulation.step, 0


def counted(self, length, refine=1):
    global calls
    calls += 1
    if calls == at:
        os.kill(os.getpid(), number)
    return step(self, length, refine)


Simulation.step = counted
sim.__main__.main()
"""


@pytest.fixture
def file(tmp_path):
    file = tmp_path / "all.yaml"
    file.write_text(TEXT)
    return file


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """The undisturbed run, in one go."""
    folder = tmp_path_factory.mktemp("reference")
    (folder / "all.yaml").write_text(TEXT)
    result = simulate(plan(Scenario.load(folder / "all.yaml")), folder / "run.zarr")
    assert result.status == "complete"
    return folder / "run.zarr"


def signalled(file, output, number, at, *options):
    return subprocess.run(
        [
            sys.executable,
            "-c",
            DRIVER,
            str(int(number)),
            str(at),
            "run",
            file,
            "-o",
            output,
            "--no-report",
            "--threads",
            "1",
            *options,
        ],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_scenario_does_what_the_test_needs(reference):
    tree = open_run(reference)
    assert tree.attrs["status"] == "complete"
    lineage, summary = tree["lineage"], tree["summary"]
    assert (lineage["parent"].values >= 0).any()
    assert summary["deaths"].values.sum() > 0
    assert tree["instruments"]
    assert tree["fields"]["field.drug"].values.max() > 0


def test_killed_three_times_and_resumed_the_digest_is_the_same(file, tmp_path, reference):
    output = tmp_path / "run.zarr"
    for at, options in ((4, ()), (11, ("--resume",)), (9, ("--resume",))):
        assert signalled(file, output, signal.SIGKILL, at, *options).returncode == -signal.SIGKILL
        assert open_run(output).attrs["status"] == "running"
    simulate(plan(Scenario.load(file)), output, resume=True)
    assert digest(output) == digest(reference)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_stops_after_a_checkpoint_and_tells_how_to_go_on(file, tmp_path, reference, number, code):
    output = tmp_path / "run.zarr"
    stopped = signalled(file, output, number, 8)
    assert stopped.returncode == code
    assert "--resume" in stopped.stderr and "Traceback" not in stopped.stderr
    assert open_run(output).attrs["status"] == "interrupted"
    simulate(plan(Scenario.load(file)), output, resume=True)
    assert digest(output) == digest(reference)


def test_what_a_stopped_run_says_goes_on_with_it(tmp_path):
    """As a shell reads it, with every option; a seed that was drawn is the one that was drawn."""
    file, output = tmp_path / "my own.yaml", tmp_path / "a run.zarr"
    file.write_text(TEXT.replace("seed: 5\n", ""))
    stopped = signalled(file, output, signal.SIGTERM, 8, "--set", "cells.a.count=20", "--force")
    words = shlex.split(stopped.stderr.split("go on with: ")[1])
    assert words[0] == "cellweave" and "--force" not in words
    began = open_run(output).attrs["seed"]
    command = [sys.executable, "-m", "sim", *words[1:]]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    on = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert on.returncode == 0, on.stderr
    assert open_run(output).attrs["seed"] == began
    whole = Scenario.load(file, overrides={"cells.a.count": "20"}, seed=int(began))
    simulate(plan(whole), tmp_path / "whole.zarr")
    assert digest(output) == digest(tmp_path / "whole.zarr")
    again = Scenario.load(file, overrides={"cells.a.count": "20"})
    assert run(again, output, resume=True).attrs["seed"] == began


def test_a_bad_checkpoint_is_told_in_a_line_like_all_others(file, tmp_path, reference):
    output = tmp_path / "run.zarr"
    signalled(file, output, signal.SIGKILL, 8)
    newest = max((output / ".checkpoints").glob("*.npz"))
    newest.write_bytes(newest.read_bytes()[:-50])
    command = [sys.executable, "-m", "sim", "run", file, "-o", output, "--resume", "--quiet", "--no-report"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stderr.startswith("cellweave: warning: ") and newest.name in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert digest(output) == digest(reference)


def test_a_complete_run_resumes_to_itself(tmp_path):
    output = tmp_path / "run.zarr"
    simulate(plan(Scenario.parse(SHORT)), output)
    before = digest(output)
    assert simulate(plan(Scenario.parse(SHORT)), output, resume=True).status == "complete"
    assert digest(output) == before


def test_a_resume_under_another_scenario_is_refused(file, tmp_path, reference):
    output = tmp_path / "run.zarr"
    signalled(file, output, signal.SIGKILL, 3)
    with pytest.raises(ScenarioError, match="scenario"):
        simulate(plan(Scenario.load(file, seed=6)), output, resume=True)
    simulate(plan(Scenario.load(file)), output, resume=True)
    assert digest(output) == digest(reference)


def test_a_run_begun_with_numbers_of_another_kind_is_refused_in_one_line(tmp_path, monkeypatch):
    output = tmp_path / "run.zarr"
    with monkeypatch.context() as before:  # runs of before numbers were kept by process do not say by what
        before.setattr("sim.version.made_by", lambda: {"version": VERSION})
        simulate(plan(Scenario.parse(SHORT)), output)
    with pytest.raises(ScenarioError, match=r"random_numbers.*--force") as refused:
        simulate(plan(Scenario.parse(SHORT)), output, resume=True)
    assert "\n" not in str(refused.value)


def test_an_existing_run_is_replaced_only_by_force(tmp_path):
    output = tmp_path / "run.zarr"
    simulate(plan(Scenario.parse(SHORT)), output)
    before = digest(output)
    with pytest.raises(ScenarioError, match="--resume or --force"):
        simulate(plan(Scenario.parse(SHORT, seed=9)), output)
    assert digest(output) == before
    simulate(plan(Scenario.parse(SHORT, seed=9)), output, force=True)
    assert digest(output) != before


def test_something_that_is_no_run_is_never_replaced(file, tmp_path):
    precious = tmp_path / "thesis"
    precious.mkdir()
    (precious / "chapter.txt").write_text("words")
    with pytest.raises(ScenarioError, match="not a run"):
        simulate(plan(Scenario.load(file)), precious, force=True)
    assert (precious / "chapter.txt").read_text() == "words"


def test_the_number_of_threads_changes_no_bit(tmp_path):
    from mechanistic.threads import set_threads

    many = scene(
        "couplings: [{from: field.oxygen, to: rate.division, hill: {half_max: 20 mmHg}, mode: scale}]",
        stop="1 h",
        step="10 min",
        domain="{x: [-700 um, 700 um], y: [-700 um, 700 um]}",
        fields="{oxygen: {diffusion: 1e5 um^2/min, initial: 38 mmHg, boundary: 38 mmHg}}",
        cells="""{a: {count: 6000, place: {random: {}}, cycle: {division: 1e-3 /min}, death: {apoptosis: 1e-3 /min},
          exchange: {oxygen: {uptake: 1 /min}}, motility: {speed: 0.5 um/min, persistence: 10 min}}}""",
    )
    digests = []
    for threads in (1, 2):
        set_threads(threads)
        simulate(plan(many), tmp_path / f"{threads}.zarr")
        digests.append(digest(tmp_path / f"{threads}.zarr"))
    assert digests[0] == digests[1]


def test_the_seed_decides(tmp_path):
    for name, seed in (("first", 5), ("same", 5), ("other", 6)):
        simulate(plan(Scenario.parse(SHORT, seed=seed)), tmp_path / f"{name}.zarr")
    digests = [digest(tmp_path / f"{name}.zarr") for name in ("first", "same", "other")]
    assert digests[0] == digests[1] != digests[2]


def test_a_run_without_output_gives_its_results_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    tree = run(Scenario.parse(SHORT))
    assert tree["cells"]["time"].size == 2 and tree["cells"]["x"].size >= 50
    assert os.listdir(tmp_path) == []


def test_every_variable_says_its_unit_and_what_it_is(reference):
    tree = open_run(reference)
    for group in ("cells", "fields", "summary", "lineage", "instruments"):
        for node in tree[group].subtree:
            for name, variable in node.ds.data_vars.items():
                assert variable.attrs.get("units") is not None and variable.attrs.get("long_name"), (
                    f"{group}/{name}"
                )


def test_the_store_tells_where_it_comes_from(reference):
    attrs = open_run(reference).attrs
    assert attrs["scenario"] == TEXT and attrs["seed"] == "5"
    assert "numpy" in json.loads(attrs["versions"])
    assert {n["name"] for n in json.loads(attrs["wiring"])["nodes"]} >= {"field.drug", "life", "mechanics"}
    errors = json.loads(attrs["splitting_error"])
    assert 0 < errors["field.drug"] < 0.2


def test_stops_are_in_order_and_hold_all_that_is_due():
    stops = stops_of(plan(Scenario.parse(TEXT)))
    times = [s.time for s in stops]
    assert times == sorted(set(times)) and times[0] == 0 and times[-1] == 360
    assert [s.time for s in stops if s.frame] == [60.0 * k for k in range(7)]
    assert [s.time for s in stops if s.instruments] == [0, 90, 180, 270, 360]
    assert [s.time for s in stops if s.perturbations] == [95, 180, 190, 285]


@pytest.mark.parametrize("remembered", [2**25, 0])
def test_a_failure_keeps_what_was_saved_and_names_the_cell(tmp_path, monkeypatch, remembered):
    """The first hours of a pathway that explodes later are readable, and a resume fails the same way.

    So it is where the state is too large to be remembered and every stop is stored at once.
    """
    monkeypatch.setattr("sim.controller._REMEMBERED", remembered)
    late = "model b\n compartment c = 1\n species X in c\n X = 1\n k = 0.006\n J: -> X; c*k*X*X\nend\n"
    (tmp_path / "late.ant").write_text(late)
    exploding = scene(
        "pathways: {q: {model: late.ant, time_unit: min}}",
        "outputs: {cells: [pathway.q.X]}",
        stop="4 h",
        cells="{a: {count: 2, place: {random: {}}, pathways: [q]}}",
        folder=tmp_path,
    )
    output = tmp_path / "run.zarr"
    for resume in (False, True):
        with pytest.raises(SimulationError, match=r"pathway\.q: 'X' of cell [01] at t = "):
            simulate(plan(exploding), output, resume=resume)
        tree = open_run(output)
        assert tree.attrs["status"] == "interrupted"
        saved = tree["cells"]["pathway.q.X"].values
        assert tree["cells"]["time"].size == 3 and np.isfinite(saved).all()
        assert saved[-1] == pytest.approx(1 / (1 - 0.006 * 120), rel=1e-3)
