"""`cellweave petab --fit`: from the command to the fitted problem, stopped and gone on with."""

import json

import numpy as np
import pytest
from petab_problems import VERSION_1, VERSION_2, write

from sim.errors import Interrupted, ScenarioError
from sim.fitting import scales
from sim.machine import interrupts
from sim.petab import load
from sim.petab.run import FitRequest, fitted


def test_a_fit_is_written_back_as_a_problem(tmp_path, cellweave):
    file, out = write(tmp_path, VERSION_2), tmp_path / "out"
    done = cellweave("petab", file, "--fit", "--starts", 2, "--explore", 50, "--profiles", "-o", out)
    assert done.code == 0, done.err
    told = json.loads(done.out)
    assert told["starts"] == 2
    assert told["log_posterior"] > load(file).objective().log_posterior
    fitted_problem = load(out / "fitted" / "problem.yaml").objective
    assert fitted_problem().log_posterior == pytest.approx(told["log_posterior"], rel=1e-9)
    rows = (out / "fit.tsv").read_text().splitlines()
    assert len(rows) == 3
    assert float(rows[1].split("\t")[1]) == pytest.approx(told["log_posterior"])
    for name, (low, high) in told["intervals"].items():
        assert low is None or low <= told["parameters"][name] <= high
    for name, interval in told["profiles"].items():
        ends = [interval[end] for end in ("lower", "upper")]
        kinds = ("flat", "one-sided", "bounded")
        assert interval["kind"] == kinds[sum(end is not None for end in ends)]
        assert ends[0] is None or ends[0] <= told["parameters"][name]
    profiles = (out / "profiles.tsv").read_text().splitlines()[1:]
    assert {line.split("\t")[0] for line in profiles} == set(told["parameters"])
    assert len((out / "simulations.tsv").read_text().splitlines()) == 7


def test_at_the_optimum_no_parameter_wants_to_move(tmp_path):
    file = write(tmp_path, VERSION_1)
    told = json.loads(fitted(file, FitRequest(2, 1, 100), None, lambda _: None))
    objective = load(file).objective
    values = np.array([told["parameters"][name] for name in objective.names])
    x = scales.scaled(values, objective.scales)
    found = objective(x, slopes=True)
    inside = (x > objective.lower + 1e-6) & (x < objective.upper - 1e-6)
    # the Laplace noise of one observable has a kink, which information does not know: there a step may stop
    assert np.abs(found.gradient[inside]).max() < 5.0
    assert found.log_posterior >= objective().log_posterior


def test_a_fit_goes_on_where_it_stopped(tmp_path):
    file = write(tmp_path, VERSION_2)
    whole = fitted(file, FitRequest(3, 5, 0), tmp_path / "whole", lambda _: None)
    fitted(file, FitRequest(3, 5, 0), tmp_path / "parts", lambda _: None)
    kept = (tmp_path / "parts/fit.jsonl").read_text().splitlines()
    # one start, and half of the next, as a stopped process leaves it
    (tmp_path / "parts/fit.jsonl").write_text("\n".join(kept[:2]) + "\n" + kept[2][:20])
    again = []
    after = fitted(file, FitRequest(3, 5, 0, resume=True), tmp_path / "parts", again.append)
    assert after == whole
    assert [line.split(" of ")[0] for line in again] == [
        "start 2",
        "start 3",
        f"report: {tmp_path / 'parts/fit.html'}",
    ]
    assert "starts came to the best optimum" in (tmp_path / "parts/fit.html").read_text()
    assert (tmp_path / "parts/fit.tsv").read_text() == (tmp_path / "whole/fit.tsv").read_text()


def test_a_fit_that_is_stopped_at_once_says_how_to_go_on(tmp_path, monkeypatch):
    file = write(tmp_path, VERSION_2)
    monkeypatch.setattr(interrupts, "requested", lambda: 15)
    with pytest.raises(Interrupted) as caught:
        fitted(file, FitRequest(3, 5, 0), tmp_path / "out", lambda _: None)
    assert caught.value.exit_code == 143
    assert str(caught.value) == "stopped: 0 of 3 starts ended" and caught.value.kept


def test_another_fit_is_not_gone_on_with(tmp_path):
    file = write(tmp_path, VERSION_2)
    fitted(file, FitRequest(1, 5, 0), tmp_path / "out", lambda _: None)
    with pytest.raises(ScenarioError, match="pass --resume"):
        fitted(file, FitRequest(1, 5, 0), tmp_path / "out", lambda _: None)
    with pytest.raises(ScenarioError, match="another fit"):
        fitted(file, FitRequest(1, 6, 0, resume=True), tmp_path / "out", lambda _: None)
