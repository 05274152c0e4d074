"""Rows of CSV files."""

import pytest

from visionkit.data.io.csv_rows import read_csv_columns, read_csv_pairs
from visionkit.errors import DataError


def written(text, folder):
    (folder / "a.csv").write_text(text)
    return folder / "a.csv"


def test_cells_are_in_the_order_of_the_asked_columns_with_their_lines(tmp_path):
    path = written('x,path,label\n1, a.png ,cat\n\n2,"b,\nc.png",dog\n', tmp_path)
    assert read_csv_columns(path, ["label", "path"], ["crowd"]) == [
        (2, ["cat", "a.png", ""]),
        (5, ["dog", "b,\nc.png", ""]),
    ]


def test_optional_columns_are_read_if_they_are_there(tmp_path):
    assert read_csv_columns(written("path,crowd\na.png,1\n", tmp_path), ["path"], ["crowd"]) == [(2, ["a.png", "1"])]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", r"has no column path; its columns are ''"),
        ("path;label\na;b", r"(?s)has no column path.*must be separated by commas, not by ';'"),
        ("path,path\na,b", "has several columns path"),
        ("path,label\na,b,c", "line 2: the number of columns is not 2"),
        ('path,label\na,"b', "line 2 cannot be read as a CSV file"),
    ],
)
def test_other_files_are_refused_with_their_line(text, said, tmp_path):
    with pytest.raises(DataError, match=said):
        read_csv_columns(written(text, tmp_path), ["path"])


def test_pairs_without_a_header(tmp_path):
    assert read_csv_pairs(written("/m/1,Cat\n/m/2, Dog\n", tmp_path)) == [(1, ["/m/1", "Cat"]), (2, ["/m/2", "Dog"])]
    with pytest.raises(DataError, match="line 2 has 1 columns; it must have 2"):
        read_csv_pairs(written("/m/1,Cat\n/m/2\n", tmp_path))
