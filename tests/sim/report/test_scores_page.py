"""The page of trained weights draws every table of the card's scores, what was trained apart from its controls."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from sim.report.scores import rendered, tables, write_scores_page
from sim.report.style import PALETTE

WEIGHTS = Path(__file__).resolve().parents[3] / "scenarios" / "weights"


@pytest.mark.parametrize("name", ["contact", "delta_notch", "pc9_drugs"])
def test_shipped_weights_have_a_page(tmp_path, name):
    shutil.copy(WEIGHTS / f"{name}.safetensors", tmp_path)
    page = write_scores_page(tmp_path / f"{name}.safetensors")
    assert page == tmp_path / f"{name}.html"
    html = (tmp_path / f"{name}.html").read_text()
    assert PALETTE[0] in html and "#a9a7a2" in html
    assert "http" not in html.replace("http://www.w3.org/", "")


def test_nested_scores_become_tables():
    one = {
        "network": {"live": {"rmse": 0.4}},
        "replicate": {"live": {"rmse": None}},
        "HSA": {"live": {"rmse": 0.5}},
    }
    ((title, rows, columns, values),) = tables({"pairs": {"file": one}, "coverage": 0.9})
    assert (title, rows, columns) == ("pairs, file", ["network", "replicate", "HSA"], ["live rmse"])
    np.testing.assert_array_equal(values, [[0.4], [np.nan], [0.5]])


def test_what_is_better_and_what_was_left_out_are_said():
    html = rendered("w", "tissue", {"test": {"law": {"r2": 0.9}, "mean": {"r2": -0.2}}}, {"test": "20 cells"})
    assert html is not None
    assert "r2: larger is better" in html and "20 cells" in html


def test_scores_without_a_table_have_no_page():
    assert rendered("w", "tissue", {"coverage": 0.9}, {}) is None
    assert rendered("w", "tissue", {}, {}) is None


def test_a_picture_that_training_drew_comes_first():
    html = rendered(
        "w", "representation", {"test": {"law": {"r2": 0.9}, "mean": {"r2": 0.2}}}, {}, b"\x89PNG"
    )
    assert html is not None
    assert 0 < html.index("data:image/png;base64,iVBORw==") < html.index("Scores beside their controls</h2>")


def test_scores_by_name_are_a_table_each():
    scores = {
        "right [share]": {"this space (pca)": {"all": 0.5}, "commonest": {"all": 0.1}},
        "explained": {"this space (pca)": {"rna": 0.4}, "mean": {"rna": 0.0}},
    }
    assert [(t, r, c) for t, r, c, _ in tables(scores)] == [
        ("right [share]", ["this space (pca)", "commonest"], ["all"]),
        ("explained", ["this space (pca)", "mean"], ["rna"]),
    ]
