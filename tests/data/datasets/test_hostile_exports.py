"""Exports of labeling tools in which random values are replaced: samples, or one error soon."""

import json
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.helpers.brush_code import CODE
from tests.helpers.hostile import BYTES, TEXTS, damaged, mutations, read_all, survives
from tests.helpers.label_studio_tasks import SIZE, TASKS, result
from visionkit.data.datasets.label_map import read_label_map
from visionkit.data.datasets.label_studio import LabelStudio
from visionkit.data.datasets.open_images import OpenImages
from visionkit.data.datasets.tf_csv import TFCsv
from visionkit.errors import DataError

CELLS = [
    *TEXTS,
    "1e30",
    "-1",
    "0x1",
    "1_0",
    "a.png",
    "b.png",
    "../a.png",
    '"',
    '"a',
    "a,b",
    "a;b",
    "\0",
    "\r",
    "/",
    ".",
]


@pytest.fixture
def folder(tmp_path):
    for name in ("a.png", "b.png"):
        Image.new("RGB", SIZE).save(tmp_path / name)
    Image.new("1", SIZE, 1).save(tmp_path / "m.png")
    return tmp_path


OPTIONS = {"masks": True, "rotated_boxes": "hull", "other_shapes": "skip"}


def test_the_valid_files_are_read(folder):
    """Otherwise the tests below would change nothing that is read."""
    (folder / "e.json").write_text(json.dumps(TASKS))
    dataset = LabelStudio(folder, "e.json", **OPTIONS)
    assert [len(dataset[index].annotation) for index in (0, 1)] == [4, 1]
    assert len(TFCsv(folder, write_table(folder, TF_CSV)).objects) == 2
    assert len(open_images(folder).objects) == 2


@settings(settings.get_profile("hostile"), max_examples=300)
@given(content=mutations(TASKS))
def test_label_studio(folder, content):
    (folder / "e.json").write_text(json.dumps(content))
    survives(lambda: read_all(LabelStudio(folder, "e.json", **OPTIONS)))


def test_deep_json_is_refused(folder):
    (folder / "e.json").write_text('[{"data":' * 100_000)
    with pytest.raises(DataError, match="nested too deeply"):
        LabelStudio(folder, "e.json")


@settings(settings.get_profile("hostile"), max_examples=100)
@given(codes=st.lists(st.integers(0, 255), max_size=30), kept=st.integers(0, len(CODE)))
def test_brushes_of_label_studio(folder, codes, kept):
    tasks = [
        {"data": {"image": "a.png"}, "annotations": [{"result": [result("brushlabels", rle=[*CODE[:kept], *codes])]}]}
    ]
    (folder / "e.json").write_text(json.dumps(tasks))
    survives(lambda: read_all(LabelStudio(folder, "e.json", masks=True)))


TF_CSV = [
    ["filename", "width", "height", "class", "xmin", "ymin", "xmax", "ymax"],
    ["a.png", "5", "3", "cat", "0", "0", "2", "2"],
    ["b.png", "5", "3", "dog", "1", "1", "4", "2"],
]
BOXES = [
    ["ImageID", "LabelName", "XMin", "XMax", "YMin", "YMax", "IsGroupOf"],
    ["a", "/m/1", "0", "0.5", "0", "0.9", "0"],
    ["b", "/m/2", "0.1", "0.5", "0", "0.9", "1"],
]
MASKS = [
    ["MaskPath", "ImageID", "LabelName", "BoxXMin", "BoxXMax", "BoxYMin", "BoxYMax"],
    ["m.png", "a", "/m/1", "0", "0.5", "0", "0.9"],
]
CLASSES = [["/m/1", "Cat"], ["/m/2", "Dog"]]


def write_table(folder, rows, name="t.csv"):
    (folder / name).write_text("\n".join(map(",".join, rows)), encoding="utf-8", errors="ignore", newline="")
    return name


def with_cells(rows):
    """Tables in which some cells are replaced."""
    place = st.tuples(st.integers(0, len(rows) - 1), st.integers(0, len(rows[0]) - 1))
    changes = st.lists(st.tuples(place, st.sampled_from(CELLS) | st.text(string.printable, max_size=4)), max_size=3)

    def replaced(changes):
        copy = [list(row) for row in rows]
        for (row, column), text in changes:
            copy[row][column] = text
        return copy

    return changes.map(replaced)


def open_images(folder, boxes=BOXES, masks=MASKS, classes=CLASSES):
    for rows, name in ((boxes, "b.csv"), (masks, "m.csv"), (classes, "c.csv")):
        write_table(folder, rows, name)
    options = {"masks": True, "segmentations": "m.csv", "mask_folder": "", "unlisted": "empty"}
    return OpenImages(folder, "b.csv", class_descriptions="c.csv", **options)


@settings(settings.get_profile("hostile"), max_examples=200)
@given(rows=with_cells(TF_CSV))
def test_tf_csv(folder, rows):
    write_table(folder, rows)
    survives(lambda: read_all(TFCsv(folder, "t.csv", unlisted="empty")))


@settings(settings.get_profile("hostile"), max_examples=200)
@given(boxes=with_cells(BOXES), masks=with_cells(MASKS), classes=with_cells(CLASSES))
def test_open_images(folder, boxes, masks, classes):
    survives(lambda: read_all(open_images(folder, boxes, masks, classes)))


@settings(settings.get_profile("hostile"), max_examples=100)
@given(changes=BYTES, cut=st.just(0) | st.integers(0, 50))
def test_damaged_tables(folder, changes, cut):
    (folder / "t.csv").write_bytes(damaged("\n".join(map(",".join, TF_CSV)).encode(), changes, cut))
    survives(lambda: read_all(TFCsv(folder, "t.csv")))


@settings(settings.get_profile("hostile"), max_examples=100)
@given(text=st.text("item{}:id1name'\"a \n#,", max_size=60))
def test_label_maps(folder, text):
    (folder / "map.pbtxt").write_text(text)
    survives(lambda: read_label_map(folder / "map.pbtxt"))
