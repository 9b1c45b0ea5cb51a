"""The numbers of a sweep are those of single runs, whoever computes them and however often it was stopped."""

import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import nullcontext

import numpy as np
import pytest
import xarray as xr
from scenes import scene

from sim import Scenario
from sim.build import plan
from sim.errors import ScenarioError, StoreError
from sim.interpret.observe import observed
from sim.interpret.outcome import parse_outcome
from sim.simulation import Simulation
from sim.sweeping.form import load_sweep
from sim.sweeping.member import Order, run_member
from sim.sweeping.parts import Parts, gathered, write_dataset
from sim.sweeping.run import sweep

SWEEP = """sweep: 1
scenario: small.yaml
over: {dose: {key: "perturbations[0].to", values: [0 uM, 2 uM]}}
seeds: [3, 4]
outcomes: {alive: count(a) @ 1 h, volume: "mean(cell.volume, a) over 0.5-1 h"}
"""


@pytest.fixture
def file(tmp_path):
    text = scene(
        "perturbations: [{at: 6 min, set: field.drug, to: 1 uM, where: everywhere}]",
        "couplings: [{from: field.drug, to: rate.death, linear: {slope: 0.02}, mode: add}]",
        "outputs: {cells: [rate.death]}",
        fields="{drug: {diffusion: 1e3 um^2/min}}",
        cells="{a: {count: 20, place: {random: {}}, cycle: {division: 1e-3 /min}}}",
        stop="1 h",
        every="30 min",
    ).text
    (tmp_path / "small.yaml").write_text(text)
    (tmp_path / "doses.yaml").write_text(SWEEP)
    return tmp_path / "doses.yaml"


def order(found, member):
    return Order(found.scenario.text, found.scenario.file, member.values, member.seed, found.outcomes)


def kept(found, output, skip=()):
    """All members but some, run here."""
    parts = Parts(output, found, {"sweep": "x"})
    parts.begin(False)
    for m in found.members():
        if m.name not in skip:
            parts.keep(m.name, run_member(order(found, m)))
    return parts


def test_a_member_is_the_run_with_its_values(file):
    found = load_sweep(file)
    member = found.members()[3]
    assert member.values == {"perturbations[0].to": "2 uM"} and member.seed == 4
    result = run_member(order(found, member))
    alone = plan(Scenario.load(file.parent / "small.yaml", overrides={"perturbations[0].to": "2 uM"}, seed=4))
    for name, text in found.outcomes.items():
        assert result["outcomes"][name] == observed(Simulation(alone), parse_outcome(text, alone))
    assert result["summary"]["time"].tolist() == [0, 0.5, 1.0]
    assert result["summary"]["count"][-1, 0] == result["outcomes"]["alive"]
    assert result["units"]["rate.death.mean"] == "1/min"


def test_two_workers_give_the_dataset_that_one_process_gives(file, tmp_path):
    found = load_sweep(file)
    said = []
    result = sweep(found, tmp_path / "out.zarr", workers=2, say=said.append)
    assert (result.done, result.failed, result.earlier) == (4, {}, 0) and "4 of 4 runs" in said
    with xr.open_zarr(tmp_path / "out.zarr") as there:
        got = there.load()
    parts = kept(found, tmp_path / "here.zarr")
    xr.testing.assert_identical(got.drop_attrs(), gathered(found, parts, {}).drop_attrs())
    assert got["alive"].dims == ("dose", "seed") and got["dose"].attrs["units"] == "uM"
    assert got["count"].dims == ("dose", "seed", "time", "type") and got.attrs["status"] == "complete"
    assert got["alive"].sel(dose=2).mean() < got["alive"].sel(dose=0).mean()
    assert not (tmp_path / "out.zarr.parts").exists()
    with pytest.raises(ScenarioError, match="exists; use --resume"):
        sweep(found, tmp_path / "out.zarr")
    assert sweep(found, tmp_path / "out.zarr", resume=True).earlier == 4
    for damaged in ("{}", "[]", "{", '{"attributes": {"identity": 3}}', '{"attributes": {"identity": "[]"}}'):
        (tmp_path / "out.zarr" / "zarr.json").write_text(damaged)
        with pytest.raises(ScenarioError, match="is no sweep of cellweave"):
            sweep(found, tmp_path / "out.zarr", resume=True)


def test_resume_runs_only_what_is_left_and_a_damaged_member_again(file, tmp_path, monkeypatch):
    found = load_sweep(file)
    output = tmp_path / "out.zarr"
    from sim.sweeping import run as runner

    identity = json.loads(runner._attributes(found)["identity"])
    parts = kept(found, output, skip=("1-0",))
    (parts.folder / "identity.json").write_text(json.dumps(identity))
    (parts.folder / "0-0.npz").write_bytes((parts.folder / "0-0.npz").read_bytes()[:50])
    seen = []

    class Here:
        def run(self, function, orders):
            for name, o in orders:
                seen.append(name)
                yield name, function(o)

    monkeypatch.setattr(runner, "pool", lambda *_a: nullcontext(Here()))
    with pytest.raises(ScenarioError, match="use --resume"):
        sweep(found, output)
    result = sweep(found, output, resume=True)
    assert sorted(seen) == ["0-0", "1-0"] and result.earlier == 2 and result.done == 2
    with xr.open_zarr(output) as got:
        assert (got["status"] == "done").all() and not np.isnan(got["alive"]).any()


@pytest.mark.parametrize("seeds", ["seeds: 2", "seeds: [3, 4]"])
def test_a_sweep_whose_seed_was_drawn_goes_on_with_it(file, tmp_path, monkeypatch, seeds):
    from sim.sweeping import run as runner

    small = file.parent / "small.yaml"
    small.write_text("\n".join(line for line in small.read_text().splitlines() if "seed:" not in line))
    file.write_text(SWEEP.replace("seeds: [3, 4]", seeds))
    output, begun = tmp_path / "out.zarr", load_sweep(file)
    assert begun.scenario.seed_was_drawn
    parts = kept(begun, output, skip=("1-0",))
    (parts.folder / "identity.json").write_text(runner._attributes(begun)["identity"])
    for _ in range(2):
        assert sweep(load_sweep(file), output, workers=1, resume=True).earlier in (3, 4)
    with xr.open_zarr(output) as got:
        assert got["seed"].values.tolist() == list(begun.seeds)
        assert (got["status"] == "done").all()


def test_members_of_another_sweep_are_not_taken(file, tmp_path):
    found = load_sweep(file)
    kept(found, tmp_path / "out.zarr", skip=("0-1", "1-0", "1-1"))
    with pytest.raises(ScenarioError, match="is another one"):
        sweep(found, tmp_path / "out.zarr", resume=True)


def test_members_are_written_into_no_folder_elsewhere(file, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out.zarr.parts").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match="is a link"):
        Parts(tmp_path / "out.zarr", load_sweep(file), {"sweep": "x"}).begin(False)
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_sweep_of_which_nothing_is_finished_begins_again(file, tmp_path):
    found = load_sweep(file)
    Parts(tmp_path / "out.zarr", found, {"sweep": "x"}).begin(False)
    Parts(tmp_path / "out.zarr", found, {"sweep": "y"}).begin(False)
    Parts(tmp_path / "out.zarr", found, {"sweep": "y"}).keep("0-0", {"status": "done"})
    with pytest.raises(ScenarioError, match="use --resume"):
        Parts(tmp_path / "out.zarr", found, {"sweep": "y"}).begin(False)


def test_a_member_that_fails_is_told_and_the_others_are_there(file, tmp_path):
    found = load_sweep(file)
    failing = run_member(
        Order(found.scenario.text, found.scenario.file, {"time.stop": "1 kelvin"}, 3, found.outcomes)
    )
    assert failing["status"] == "failed" and "kelvin" in failing["log"]
    parts = kept(found, tmp_path / "out.zarr", skip=("1-1", "0-1"))
    parts.keep("1-1", failing)
    got = gathered(found, parts, {})
    assert got["status"].values.tolist() == [["done", "waiting"], ["done", "failed"]]
    assert "kelvin" in str(got["log"].values[1, 1]) and np.isnan(got["alive"].values[1, 1])
    write_dataset(got, tmp_path / "out.zarr")
    with xr.open_zarr(tmp_path / "out.zarr") as back:
        assert back["status"].values.tolist() == got["status"].values.tolist()


@pytest.mark.parametrize("scheduler", ["slurm", "tcp://", "tcp://host", "tcp://host:x", "tcp://host:99999"])
def test_a_scheduler_that_is_none_is_refused(file, tmp_path, scheduler):
    with pytest.raises(ScenarioError, match="must be local or an address"):
        sweep(load_sweep(file), tmp_path / "out.zarr", scheduler=scheduler)


def test_a_scheduler_that_does_not_answer_is_told_before_anything_is_written(file, tmp_path, monkeypatch):
    monkeypatch.setattr("sim.machine.workers._ANSWER", 0.2)
    before = sorted(tmp_path.iterdir())
    with socket.socket() as unheard:  # bound, and nobody listens
        unheard.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{unheard.getsockname()[1]}"
        with pytest.raises(StoreError, match="no Dask scheduler answers there") as told:
            sweep(load_sweep(file), tmp_path / "out.zarr", scheduler=address)
    assert address in told.value.text and "\n" not in told.value.text
    assert sorted(tmp_path.iterdir()) == before


def test_a_scheduler_at_an_address_loses_nothing_when_a_worker_is_killed(file, tmp_path):
    """A cluster of two processes at tcp://; one is killed as soon as the first member is there."""
    from distributed import LocalCluster

    found = load_sweep(file)
    killed = []
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, host="127.0.0.1") as cluster:

        def kill_one(text):
            if text.startswith("1 of 4") and not killed:
                killed.append(next(iter(cluster.workers.values())).pid)
                os.kill(killed[0], signal.SIGKILL)

        address = cluster.scheduler_address
        result = sweep(found, tmp_path / "out.zarr", scheduler=address, say=kill_one)
    assert address.startswith("tcp://") and killed
    assert (result.done, result.failed) == (4, {})
    with xr.open_zarr(tmp_path / "out.zarr") as there:
        got = there.load()
    parts = kept(found, tmp_path / "here.zarr")
    xr.testing.assert_identical(got.drop_attrs(), gathered(found, parts, {}).drop_attrs())


def test_term_waits_for_no_member_and_what_is_finished_is_kept(file, tmp_path):
    """All members but the first would take hours: only a sweep that lets go of them ends at all."""
    text = SWEEP.replace(
        '{dose: {key: "perturbations[0].to", values: [0 uM, 2 uM]}}', "{time.stop: [1 h, 100000 h]}"
    )
    file.write_text(text.replace("[3, 4]", "1"))
    command = [sys.executable, "-m", "sim", "sweep", file, "-o", tmp_path / "out.zarr", "--workers", "2"]
    run = subprocess.Popen([str(c) for c in command], stderr=subprocess.PIPE, text=True)
    assert run.stderr is not None
    assert any("1 of 2 runs" in line for line in run.stderr)
    run.send_signal(signal.SIGTERM)
    said = run.stderr.read()
    assert run.wait(timeout=120) == 143 and "--resume" in said and "Traceback" not in said
    with xr.open_zarr(tmp_path / "out.zarr") as there:
        assert there["status"].values.ravel().tolist() == ["done", "waiting"]
        assert there.attrs["status"] == "interrupted"
