"""`simulate` from its options to its table: what is chosen, how it is written, what is refused."""

from __future__ import annotations

import csv
import io
import math
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray

from sim.errors import ScenarioError, SimulationError, StoreError
from sim.one_model.time_course import Request, time_course, write
from sim.tables import check_output

# A decays into B in a compartment of size 2: [A] = 3 exp(-k t), [B] = 3 - [A].
DECAY = """model decay
  compartment c = 2;
  species B in c, A in c;
  A = 3; B = 0; k = 0.5; unused = 0;
  total := A + B;
  R: A -> B; c * k * A;
end
"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    file = tmp_path / "decay.ant"
    file.write_text(DECAY)
    return file


def table(request: Request, capsys) -> list[dict[str, str]]:
    write(time_course(request), request, None)
    return list(csv.DictReader(io.StringIO(capsys.readouterr().out)))


def test_csv_holds_time_then_species_in_document_order(model, capsys):
    rows = table(Request(model, 0.0, 4.0, 4, rtol=1e-9), capsys)
    assert list(rows[0]) == ["time", "B", "A"]
    for row in rows:
        exact = 3 * math.exp(-0.5 * float(row["time"]))
        assert float(row["A"]) == pytest.approx(exact, rel=1e-6)
        assert float(row["B"]) == pytest.approx(3 - exact, rel=1e-6)


def test_numbers_read_back_to_the_same_bits(model, capsys):
    request = Request(model, 0.0, 1.0, 7)
    course = time_course(request)
    rows = table(request, capsys)
    assert [float(r["A"]) for r in rows] == course["A"].values[0].tolist()
    assert [float(r["time"]) for r in rows] == course["time"].values.tolist()


def test_amounts_are_concentration_times_size(model, capsys):
    plain = table(Request(model, 0.0, 1.0, 2), capsys)
    amounts = table(Request(model, 0.0, 1.0, 2, amounts=True), capsys)
    assert list(amounts[0]) == ["time", "B", "A"]
    assert [float(r["A"]) for r in amounts] == pytest.approx([2 * float(r["A"]) for r in plain])


def test_any_id_can_be_selected_and_comes_in_document_order(model, capsys):
    rows = table(Request(model, 0.0, 2.0, 2, select="R, k,amount.A ,A,total,time"), capsys)
    assert list(rows[0]) == ["time", "A", "amount.A", "k", "total", "R"]
    for row in rows:
        assert float(row["R"]) == pytest.approx(2 * 0.5 * float(row["A"]))
        assert float(row["total"]) == pytest.approx(3)


def test_a_start_after_zero_shows_the_same_course(model, capsys):
    late = table(Request(model, 2.0, 4.0, 2), capsys)
    assert float(late[0]["A"]) == pytest.approx(3 * math.exp(-1), rel=1e-5)


def test_cells_vary_by_counter_so_that_more_cells_change_none_of_the_first(model, capsys):
    def course(cells: int, seed: int = 7):
        return table(
            Request(model, 0.0, 1.0, 1, vary=("k=lognormal(cv=0.3)",), cells=cells, seed=seed), capsys
        )

    three, five = course(3), course(5)
    assert list(three[0]) == ["time", "cell", "B", "A"]
    assert five[:6] == three
    assert len({row["A"] for row in five if row["time"] == "1.0"}) == 5
    assert course(3, seed=8) != three


def test_variation_is_about_the_value_that_was_set(model):
    request = Request(model, 0.0, 1.0, 1, sets=("k=0.1",), vary=("k=normal(cv=0.05)",), cells=200, select="k")
    k = time_course(request)["k"].values[:, 0]
    # 200 draws: the mean errs by 0.05/sqrt(200) = 0.35 %, taken five-fold
    assert k.mean() == pytest.approx(0.1, rel=0.018)
    assert k.std() == pytest.approx(0.005, rel=0.3)


@pytest.mark.parametrize("suffix", [".csv", ".nc", ".zarr"])
def test_written_files_hold_the_course(model, tmp_path, suffix):
    request = Request(model, 0.0, 1.0, 4, cells=2)
    course = time_course(request)
    output = tmp_path / f"out{suffix}"
    write(course, request, output)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["decay.ant", f"out{suffix}"]
    if suffix == ".csv":
        rows = list(csv.DictReader(output.open()))
        found = np.array([float(r["A"]) for r in rows]).reshape(2, 5)
    elif suffix == ".nc":
        found = xarray.load_dataset(output, engine="scipy")["A"].values
    else:
        found = xarray.open_zarr(output)["A"].values
    assert np.array_equal(found, course["A"].values)


@pytest.mark.parametrize("suffix", [".csv", ".nc", ".zarr"])
def test_no_room_for_a_file_is_told_by_name_and_leaves_nothing(model, tmp_path, suffix):
    request = Request(model, 0.0, 1.0, 4000)
    course, output = time_course(request), tmp_path / "results" / f"out{suffix}"
    output.parent.mkdir()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300, hard))
    try:
        with pytest.raises(StoreError, match=f"out{suffix}: .*; raise the limit") as caught:
            write(course, request, output)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.exit_code == 4
    assert list(output.parent.iterdir()) == []


def test_a_reader_that_has_seen_enough_ends_the_command_in_silence(model):
    code = "from sim.__main__ import main; main()"
    words = [sys.executable, "-c", code, "simulate", str(model), "--end", "1", "--steps", "20000"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as command:
        assert command.stdout.readline() == "time,B,A\n"
        command.stdout.close()
        said = command.stderr.read()
    assert (command.returncode, said) == (141, "")


def test_every_wrong_option_is_named_at_once(model):
    request = Request(model, 0, 1, sets=("kk=1", "k=fast", "A"), vary=("B=normal", "k=normal(cv=0.1)"))
    with pytest.raises(ScenarioError) as caught:
        time_course(request)
    lines = caught.value.lines()
    assert len(lines) == 4
    assert "--set: 'kk' is not in the model; did you mean 'k'?" in lines[0]
    assert "'k' needs a number (got 'fast')" in lines[1]
    assert "ID=VALUE (got 'A')" in lines[2]
    assert "--vary: 'B' is not a distribution" in lines[3]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"select": "A,totl"}, "'totl' is not in the model; did you mean 'total'?"),
        ({"sets": ("total=1",)}, "'total' cannot be set"),
        ({"sets": ("k=1", "k=2")}, "'k' is given twice"),
        ({"sets": ("A=-1",)}, "must not be negative"),
        ({"vary": ("unused=normal(cv=1)",)}, "is a factor on it; use uniform"),
        ({"method": "euler"}, "unknown method 'euler'"),
        ({"end": 0.0}, "--end: must be after the start"),
        ({"end": math.nan}, "--end: must be finite"),
        ({"rtol": 0.0}, "--rtol: must be above 0"),
        ({"atol": math.inf}, "--atol: must be above 0"),
        ({"steps": 0}, "--steps"),
        ({"cells": 0}, "--cells"),
        ({"seed": 1 << 64}, "--seed"),
    ],
)
def test_a_wrong_option_is_refused(model, changes, message):
    with pytest.raises(ScenarioError) as caught:
        time_course(Request(model, **{"start": 0.0, "end": 1.0} | changes))
    assert message in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_wrong_model_names_its_line(tmp_path):
    file = tmp_path / "bad.xml"
    file.write_text("<?xml version='1.0'?>\n<sbml>\n<model></sbml>\n")
    with pytest.raises(ScenarioError) as caught:
        time_course(Request(file, 0, 1))
    assert f"{file}:3:" in caught.value.lines()[0]


def test_a_failed_integration_names_cell_and_time(tmp_path):
    # x' = x^2 from 1 reaches infinity at t = 1
    file = tmp_path / "blows_up.ant"
    file.write_text("model b\n compartment c = 1; species x in c; x = 1;\n R: -> x; c*x^2;\nend\n")
    with pytest.raises(SimulationError) as caught:
        time_course(Request(file, 0, 2, 4))
    assert caught.value.exit_code == 3
    assert "cell 0" in str(caught.value)


@pytest.mark.parametrize("name", ["out.txt", "nowhere/out.csv", "there.zarr"])
def test_an_output_that_cannot_be_written_is_refused_before_the_run(tmp_path, name):
    (tmp_path / "there.zarr").mkdir()
    with pytest.raises(ScenarioError):
        check_output(tmp_path / name)


def test_what_does_not_fit_the_memory_is_refused_before_it_is_made(model):
    for options in ({"cells": 10**12}, {"steps": 10**12}):
        with pytest.raises(ScenarioError, match=r"needs .* GiB, .* GiB free"):
            time_course(Request(model, end=1.0, **options))
