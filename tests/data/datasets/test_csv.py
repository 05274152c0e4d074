import os
import pickle

import pytest
from PIL import Image

from visionkit.data.datasets.csv import CsvDataset
from visionkit.errors import ConfigError, DataError

TABLE = "path,label\nb.png,dog\na.png,cat\ninner/c.png,dog\n"


@pytest.fixture
def small(tmp_path):
    """A function that writes three images and a table, and returns the folder."""

    def write(text=TABLE):
        (tmp_path / "images" / "inner").mkdir(parents=True, exist_ok=True)
        for number, name in enumerate(("a.png", "b.png", "inner/c.png")):
            Image.new("RGB", (10, 6), (number, 0, 0)).save(tmp_path / "images" / name)
        (tmp_path / "labels.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
        return tmp_path

    return write


def read(root, **options):
    return CsvDataset(root, "labels.csv", **{"images": "images", **options})


def test_images_keep_the_order_of_the_table_and_classes_that_of_the_alphabet(small):
    table = read(small())
    assert table.class_names == ["cat", "dog"]
    assert [(table.name(index), table.label(index), table.tags(index).tolist()) for index in range(3)] == [
        ("b.png", 1, [1]),
        ("a.png", 0, [0]),
        ("inner/c.png", 1, [1]),
    ]
    assert table[0].image[0, 0].tolist() == [1, 0, 0]
    assert (table[2].image_id, table[2].label, table.image_size(2)) == ("inner/c.png", 1, (6, 10))


def test_listed_classes_have_their_order(small):
    assert read(small(), classes=["dog", "cow", "cat"]).labels.tolist() == [0, 2, 0]


def test_other_columns_spaces_quotes_and_what_spreadsheets_write_do_no_harm(small):
    text = '\ufeffid;label;path\r\n7; dog ;"b.png"\r\n\r\n8;"cat";a.png\r\n'
    table = read(small(text), delimiter=";")
    assert (table.class_names, table.labels.tolist()) == (["cat", "dog"], [1, 0])


def test_several_labels_become_tags(small):
    table = read(small("path,label\nb.png,wet|red|wet\na.png,\ninner/c.png, cold | red\n"), separator="|")
    assert table.class_names == ["cold", "red", "wet"]
    assert [table.tags(index).tolist() for index in range(3)] == [[1, 2], [], [0, 1]]
    assert [table.label(index) for index in range(3)] == [None] * 3
    sample = pickle.loads(pickle.dumps(table))[2]
    assert (sample.tags.tolist(), sample.tags.dtype, sample.label) == ([0, 1], "int64", None)


def test_one_tag_is_enough_where_images_may_have_none(small):
    assert read(small("path,label\nb.png,crack\na.png,\n"), separator="|").class_names == ["crack"]


TAGGED = "split,file,tags\ntrain,b.png,wet|red\nval,a.png,old|cold\ntrain,inner/c.png,cold|old|new\n"
OF_TAGGED = {"path_column": "file", "label_column": "tags", "separator": "|"}


def tags(table):
    return {table.name(index): table.tags(index).tolist() for index in range(len(table))}


def test_columns_may_have_other_names(small):
    table = read(small("id,path,file,kind\n7,x,b.png,dog\n8,x,a.png,cat\n"), path_column="file", label_column="kind")
    assert [(table.name(index), table.label(index)) for index in range(2)] == [("b.png", 1), ("a.png", 0)]


def test_rows_are_those_with_all_the_given_cells(small):
    root = small(TAGGED)
    train = read(root, rows={"split": "train"}, **OF_TAGGED)
    assert tags(train) == {"b.png": [3, 4], "inner/c.png": [0, 1, 2]}
    assert train.class_names == ["cold", "new", "old", "red", "wet"]
    val = read(root, rows={"split": "val", "file": "a.png"}, **OF_TAGGED)
    assert (tags(val), val.class_names) == ({"a.png": [0, 1]}, ["cold", "old"])
    assert len(read(root, rows={}, **OF_TAGGED)) == 3


def test_rows_that_are_left_out_need_no_image_and_no_label(small):
    root = small(TAGGED + "other,gone.png,\nother,gone.png,|\nother,,red\n")
    assert len(read(root, rows={"split": "train"}, **OF_TAGGED)) == 2


def test_other_labels_are_skipped_and_counted_where_asked(small):
    options = {"classes": ["red", "cold"], "other_labels": "skip", **OF_TAGGED}
    table = read(small(TAGGED), **options)
    assert tags(table) == {"b.png": [0], "a.png": [1], "inner/c.png": [1]}
    assert table.report == {"labels of other classes skipped": 4}
    train = read(small(TAGGED), rows={"split": "train"}, **{**options, "classes": ["red"]})
    assert tags(train) == {"b.png": [0], "inner/c.png": []}
    assert train.report == {"labels of other classes skipped": 4}
    assert read(small(TAGGED), **{**options, "classes": ["red", "wet", "old", "cold", "new"]}).report == {}


def test_skipped_labels_are_counted_beside_skipped_files(small):
    root = small(TAGGED)
    (root / "images" / "b.png").write_text("no image")
    table = read(root, classes=["red", "cold"], other_labels="skip", on_bad_file="skip", **OF_TAGGED)
    assert tags(table) == {"a.png": [1], "inner/c.png": [1]}
    assert table.report == {"labels of other classes skipped": 4, "unreadable images skipped": 1}


@pytest.mark.parametrize(
    ("options", "missing"),
    [
        ({"classes": ["cat", "dog"]}, "separator"),
        ({"separator": "|"}, "classes"),
        ({}, "separator and classes"),
    ],
)
def test_labels_are_skipped_only_from_lists_of_tags_with_classes(small, options, missing):
    with pytest.raises(ConfigError, match=f"csv: other_labels 'skip' also needs {missing}$"):
        read(small(), other_labels="skip", **options)


def lines(*rows):
    return "\n".join(["path,label", *rows])


BAD = {
    "no header": ("a.png,cat\nb.png,dog\n", {}, "no column path and label; its columns are 'a.png, cat'"),
    "other signs": (TABLE.replace(",", ";"), {}, "(?s)has no column path and label.*set delimiter: ';'"),
    "one column": ("path\na.png\n", {}, "no column label"),
    "nothing": ("", {}, "no column path and label"),
    "header alone": ("path,label\n", {}, "no rows below its header"),
    "short line": (lines("a.png,cat", "b.png"), {}, "line 3: the number of columns is not 2"),
    "long line": (lines("a.png,cat", "b.png,dog,3"), {}, "line 3: the number of columns is not 2"),
    "open quote": (lines('a.png,"cat'), {}, r"labels\.csv, line 2 cannot be read as a CSV file"),
    "Latin-1": ("path,label\na.png,B\xe4r\n".encode("latin-1"), {}, r"labels\.csv is not a UTF-8 text file"),
    "empty label": (lines("a.png,cat", "b.png,"), {}, "line 3: the label is empty"),
    "empty path": (lines(",cat"), {}, "line 2: the path is empty"),
    "half a list": (lines("a.png,wet|", "b.png,red"), {"separator": "|"}, "line 2: the label is empty"),
    "unknown label": (lines("a.png,cat", "b.png,dgo"), {"classes": ["cat", "dog"]}, "line 3: .*'dgo'; did you mean"),
    "unknown tag": (lines("a.png,cat|cow"), {"classes": ["cat"], "separator": "|"}, "line 2: unknown label 'cow'"),
    "missing file": (lines("a.png,cat", "x.png,dog", "y.png,dog"), {}, r"line 3: the image .*x\.png does not exist; 2"),
    "climbing path": (lines("../labels.csv,cat", "a.png,dog"), {}, "line 2: the path '../labels.csv' is outside"),
    "absolute path": (lines("a.png,dog", "/etc/passwd,cat"), {}, "line 3: the path '/etc/passwd' is outside"),
    "zero byte": (lines("a.png,dog", "a\0.png,cat"), {}, "is outside|line 3 .* contains NUL"),
    "repeated": (lines("a.png,cat", "b.png,dog", "./a.png,dog"), {}, "line 4: ./a.png is already in line 2"),
    "no such column": (TABLE, {"path_column": "file"}, "no column file; its columns are 'path, label'"),
    "no such labels": (TABLE, {"label_column": "tags"}, "(?s)no column tags;.*path_column, label_column and rows"),
    "no such condition": (TABLE, {"rows": {"split": "val"}}, "no column split; its columns are 'path, label'"),
    "no such row": (TAGGED, {**OF_TAGGED, "rows": {"split": "vla"}}, "no row with split: vla\nsplit has train, val$"),
    "no row with both": (
        TAGGED,
        {**OF_TAGGED, "rows": {"split": "val", "file": "b.png"}},
        "no row with split: val, file: b.png\nsplit has train, val\nfile has a.png, b.png, inner/c.png",
    ),
    "no label is a class": (
        TAGGED,
        {**OF_TAGGED, "classes": ["Red"], "other_labels": "skip"},
        "no label of the classes Red\nits labels are cold, new, old, red, wet",
    ),
    "one class": (lines("a.png,cat", "b.png,cat"), {}, r"has 1 class \(cat\)"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_tables_are_refused_with_the_line(small, case):
    text, options, message = BAD[case]
    with pytest.raises(DataError, match=message) as caught:
        read(small(text), **options)
    assert len(str(caught.value).splitlines()) <= 5


@pytest.mark.parametrize("wrong", [{"delimiter": ""}, {"delimiter": ", "}, {"separator": ""}], ids=str)
def test_signs_that_cannot_separate_are_refused(small, wrong):
    with pytest.raises(ConfigError, match="csv: delimiter"):
        read(small(), **wrong)


def test_a_missing_table_is_named(small):
    with pytest.raises(DataError, match=r"annotation file .*other\.csv does not exist"):
        CsvDataset(small(), "other.csv")


def test_a_link_out_of_the_folder_is_refused(small, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "x.png"
    Image.new("RGB", (4, 4)).save(elsewhere)
    root = small(lines("a.png,cat", "x.png,dog"))
    os.symlink(elsewhere, root / "images" / "x.png")
    with pytest.raises(DataError, match=r"line 3: the path 'x\.png' is outside"):
        read(root)


def test_bad_files_are_skipped_by_policy_with_their_labels_and_tags(small):
    root = small(lines("b.png,dog", "a.png,cat", "inner/c.png,cow"))
    (root / "images" / "a.png").write_text("no image")
    with pytest.raises(DataError, match=r"a\.png cannot be read"):
        read(root)[1]
    table = read(root, on_bad_file="skip")
    assert (len(table), table.name(1), table.label(1)) == (2, "inner/c.png", 1)
    assert table.report == {"unreadable images skipped": 1}
    tagged = read(root, on_bad_file="skip", separator="|")
    assert [tagged.tags(index).tolist() for index in range(2)] == [[2], [1]]


def test_a_column_that_occurs_twice_is_refused(small):
    with pytest.raises(DataError, match=r"labels\.csv has several columns label"):
        read(small("path,label,label\na.png,cat,dog\n"))


@pytest.mark.parametrize(
    "text",
    [
        "path,label\na.png," + "x" * 200_000 + "\n",
        "path,label\n" + "a" * 5000 + ".png,cat\nb.png,dog\n",
        "path,label\n" + "a" * 300 + "/b.png,cat\nb.png,dog\n",
        'path,label\n"a.png,cat\n',
        "path,label\na\0.png,cat\nb.png,dog\n",
    ],
)
def test_hostile_cells_are_refused_with_their_line(small, text):
    with pytest.raises(DataError, match=r"labels\.csv, line \d"):
        read(small(text))


def test_a_pipe_is_refused(small):
    root = small()
    (root / "labels.csv").unlink()
    os.mkfifo(root / "labels.csv")
    with pytest.raises(DataError, match=r"labels\.csv is not a regular file"):
        read(root)
