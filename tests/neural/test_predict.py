"""Tables of conditions: predictions with intervals, and tables that are refused."""

from pathlib import Path

import numpy as np
import pytest

from neural import Manipulator
from neural.errors import TrainingError
from neural.predict import predict_table, read_conditions

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
