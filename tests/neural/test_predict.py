"""Tables of conditions: predictions with intervals, and tables that are refused."""

from pathlib import Path

import numpy as np
import pytest

from neural import Manipulator
from neural.errors import TrainingError
from neural.predict import predict_table, read_conditions
from neural.uncertainty import value_by_members, value_of_measuring

WEIGHTS = Path(__file__).parents[2] / "scenarios" / "weights" / "pc9_drugs.safetensors"


def test_a_row_per_condition_and_time(tmp_path):
    table = tmp_path / "c.csv"
    table.write_text("erlotinib,live_area,hours\n0,8,12\n0.1,8,13.5\n3,8,12\n\n")
    rows = predict_table(WEIGHTS, table)
    assert rows.groupby("condition").size().tolist() == [5, 6, 5]
    assert rows.loc[rows.condition == 1, "time"].tolist() == [0, 3, 6, 9, 12, 13.5]
    assert rows.groupby("condition").extrapolated.first().tolist() == [False, False, True]
    for q in ("decoder.division", "channel.live_area", "channel.dead_dna"):
        assert (rows[f"{q}.lower"] <= rows[q]).all() and (rows[q] <= rows[f"{q}.upper"]).all()
    end = rows[rows.time == 12].set_index("condition")
    assert end.loc[1, "channel.live_area"] < end.loc[0, "channel.live_area"]


def test_numbers_are_those_of_evolve(tmp_path):
    table = tmp_path / "c.csv"
    table.write_text("thz1,confluence,hours\n0.1,0.3,6\n")
    rows = predict_table(WEIGHTS, table, every=2.0)
    model = Manipulator.load(WEIGHTS)
    course = model.evolve(model.initial("untreated"), [0, 120, 240, 360], {"thz1": 0.1}, message=0.3)
    want = course["mean"].sel(quantity="decoder.apoptosis").values[0]
    np.testing.assert_array_equal(rows["decoder.apoptosis"], want)
    assert not any(c.startswith("channel.") for c in rows.columns)


@pytest.mark.parametrize(
    ("text", "line", "column", "message"),
    [
        ("erlotinb\n1\n", 1, "erlotinb", "did you mean 'erlotinib'"),
        ("erlotinib,erlotinib\n1,2\n", 1, "erlotinib", "given twice"),
        ("erlotinib\n-1\n", 2, "erlotinib", "number from 0 \\(got '-1'\\)"),
        ("erlotinib\n0\nmuch\n", 3, "erlotinib", "got 'much'"),
        ("erlotinib\nnan\n", 2, "erlotinib", "got 'nan'"),
        ("erlotinib\ninf\n", 2, "erlotinib", "got 'inf'"),
        ("erlotinib,live_area\n1,140\n", 2, "live_area", "from 0 to 100"),
        ("erlotinib,live_area\n1\n", 2, None, "1 values for 2 columns"),
        ("live_area,confluence\n10,0.1\n", 1, "confluence", "not both"),
        ("", 1, None, "no condition"),
        ("erlotinib\n", 1, None, "no condition"),
        ("erlotinib;hours\n1;2\n", 1, None, "separated by commas"),
        ("erlotinib\thours\n1\t2\n", 1, None, "separated by commas"),
        ("erlotinib\n1e300\n", 2, "erlotinib", "at most 1e\\+30"),
        ("erlotinib,at\n1,6\n", 2, "at", "first row of a condition is at 0"),
        ("erlotinib,at\n1,0\n0,6\n2,6\n", 4, "at", "after that of the row above"),
        ("erlotinib,at\n1,0\n0,72\n", 3, "at", "before the end at 72 h"),
        ("erlotinib,at,hours\n1,0,24\n0,6,48\n", 3, "hours", "that of the row above"),
    ],
)
def test_wrong_tables_name_line_and_column(tmp_path, text, line, column, message):
    table = tmp_path / "c.csv"
    table.write_text(text)
    with pytest.raises(TrainingError, match=message) as caught:
        read_conditions(table, ["erlotinib"])
    assert caught.value.problems[0][1:3] == (line, column)


def test_a_missing_table_is_named(tmp_path):
    with pytest.raises(TrainingError, match="cannot be read"):
        read_conditions(tmp_path / "none.csv", ["erlotinib"])


def test_what_the_wells_have_no_say_in_is_flagged(tmp_path):
    """Doses above the range, more drugs together than were learned of; and a gain for every condition."""
    table = tmp_path / "c.csv"
    table.write_text("erlotinib,thz1,lcl161\n0.1,0,0\n9,0,0\n0.1,0.1,0\n0.1,0.1,1\n")
    found = predict_table(WEIGHTS, table, every=36.0).groupby("condition").first()
    assert found["flag"].tolist() == [
        "",
        "erlotinib above 0.33333",
        "",
        "3 drugs together, at most 2 were learned of",
    ]
    assert found["gain"].between(0, 1).all()
    assert found["gain"].nunique() > 1


def test_a_condition_has_the_same_bits_in_any_company_and_many_go_together(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    lines = [f"{rng.uniform(0, 0.3)},{rng.uniform(0, 0.2)},{rng.choice([3, 6, 4.5])}" for _ in range(150)]
    courses = []
    evolve = Manipulator.evolve
    monkeypatch.setattr(Manipulator, "evolve", lambda *a, **k: courses.append(1) or evolve(*a, **k))
    table = tmp_path / "c.csv"
    table.write_text("erlotinib,thz1,hours\n" + "\n".join(lines) + "\n")
    whole = predict_table(WEIGHTS, table)
    assert len(courses) <= 4
    for i in (0, 77, 149):
        table.write_text("erlotinib,thz1,hours\n" + lines[i] + "\n")
        alone = predict_table(WEIGHTS, table).drop(columns=["condition", "gain"])
        rows = whole[whole.condition == i].drop(columns=["condition", "gain"]).reset_index(drop=True)
        assert rows.equals(alone)


def test_doses_that_change_are_those_of_evolve_and_flagged(tmp_path):
    """A wash-out at 5 h: as a course with a break, and as the same course up to there."""
    table = tmp_path / "c.csv"
    table.write_text("thz1,at,hours\n0.1,0,9\n0.1,0,9\n0,5,9\n0.1,0,90\n")
    rows = predict_table(WEIGHTS, table)
    held, washed = (rows[rows.condition == k].set_index("time") for k in (0, 1))
    assert washed["thz1"].tolist() == [0.1, 0.1, 0.0, 0.0]
    death = "decoder.apoptosis"
    assert washed[death][3] == held[death][3] and washed[death][9] < held[death][9]
    model = Manipulator.load(WEIGHTS)
    doses = [{"thz1": 0.1}, {"thz1": 0.0}]
    times, start = np.arange(4) * 180.0, model.initial("untreated")
    course = model.evolve(start, times, doses, live_area=10.0, breaks=[300.0])
    np.testing.assert_array_equal(washed[death], course["mean"].sel(quantity=death)[0])
    exact = model.evolve(start, times, doses, live_area=10.0, breaks=[300.0], method="dopri5")
    live = "channel.live_area"
    np.testing.assert_allclose(washed[live], exact["mean"].sel(quantity=live)[0], rtol=1e-3)
    assert washed["flag"].iloc[0] == "doses change, those learned of were held"
    assert rows[rows.condition == 2]["flag"].iloc[0] == "hours above 72"


def test_what_members_tell_of_a_measurement_is_what_their_covariance_tells():
    apart = np.random.default_rng(0).normal(size=(7, 5))
    whole = value_of_measuring(apart @ apart.T / 5, 0.3)
    np.testing.assert_allclose(value_by_members(apart, 0.3), whole, rtol=1e-12)
