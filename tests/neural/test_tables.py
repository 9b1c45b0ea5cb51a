"""Tables of measurements: what is no number is told with its column and row, and never left out in silence."""

import numpy as np
import pytest

from neural.tables import read_measurements


def sheet(folder, text):
    (folder / "t.csv").write_text(text)
    return read_measurements(folder / "t.csv")


def test_a_word_among_numbers_is_told_with_its_row_and_a_column_of_words_left_out(tmp_path):
    table = sheet(tmp_path, "name,a,b\nx,1,2\ny,n/a?,4\nz,5,6\n")
    with pytest.raises(ValueError, match=r"column 'a' holds text among its numbers \(got 'n/a\?' in row 2\)"):
        table.matrix()
    with pytest.raises(
        ValueError, match=r"column 'a' holds text where numbers are needed \(got 'n/a\?' in row 2\)"
    ):
        table.matrix(features=["a"])
    values, names = table.matrix(leave=["a"])
    assert names == ["b"] and values[:, 0].tolist() == [2, 4, 6]


@pytest.mark.parametrize("content", [b"a,b\n1,2\n", b"", b"PK\x03\x04 broken"])
def test_what_is_no_archive_is_told_without_a_library_s_words(tmp_path, content):
    (tmp_path / "t.npz").write_bytes(content)
    with pytest.raises(ValueError, match="is not a NumPy archive of plain arrays, as"):
        read_measurements(tmp_path / "t.npz")


def test_one_array_or_objects_are_no_archive(tmp_path):
    with open(tmp_path / "t.npz", "wb") as file:
        np.save(file, np.ones(3))
    with pytest.raises(ValueError, match="is not a NumPy archive"):
        read_measurements(tmp_path / "t.npz")
    np.savez(tmp_path / "o.npz", a=np.array([None, 1], dtype=object))
    with pytest.raises(ValueError, match="is not a NumPy archive"):
        read_measurements(tmp_path / "o.npz")
