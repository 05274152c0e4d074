"""Tables of image labels of Open Images."""

import shutil

import pytest
from PIL import Image

from tests.helpers.hostile import read_all
from tests.helpers.real_data import real_data
from visionkit.data.datasets.open_images_labels import OpenImagesLabels
from visionkit.data.folder_card import card_of_folder
from visionkit.errors import ConfigError, DataError

HEADER = "ImageID,Source,LabelName,Confidence"
ROWS = ["a,verification,/m/2,1", "a,verification,/m/1,1", "a,machine,/m/3,0.7", "b,verification,/m/1,0"]


@pytest.fixture
def folder(tmp_path):
    for name in ("a.jpg", "b.png", "c.png"):
        (tmp_path / "images").mkdir(exist_ok=True)
        Image.new("RGB", (8, 6)).save(tmp_path / "images" / name)
    (tmp_path / "names.csv").write_text("/m/3,Cow\n/m/2,Cat\n/m/1,Dog\n/m/4,Owl\n")
    return tmp_path


def read(folder, rows=ROWS, **options):
    (folder / "t.csv").write_text("\n".join([HEADER, *rows]))
    return OpenImagesLabels(folder, "t.csv", "images", **options)


def test_classes_that_are_present_are_the_tags(folder):
    dataset = read(folder, class_descriptions="names.csv")
    assert dataset.class_names == ["Cow", "Cat", "Dog", "Owl"]
    assert [dataset[index].tags.tolist() for index in range(len(dataset))] == [[1, 2], []]
    assert (dataset.label(0), dataset.image_id(1), dataset.image_size(1)) == (None, "b.png", (6, 8))
    assert dataset.report == {
        "labels below min_confidence, taken as absent": 2,
        "images of the folder without rows left out": 1,
    }


def test_labels_of_machines_and_without_names(folder):
    dataset = read(folder, min_confidence=0.5, unlisted="empty")
    assert dataset.class_names == ["/m/1", "/m/2", "/m/3"]
    assert [dataset.tags(index).tolist() for index in range(3)] == [[0, 1, 2], [], []]


def test_other_classes_are_skipped_and_counted(folder):
    dataset = read(folder, class_descriptions="names.csv", classes=["Owl", "Dog"])
    assert [dataset.tags(index).tolist() for index in range(2)] == [[1], []]
    assert dataset.report["labels of other classes skipped"] == 2


def test_missing_images_are_refused_or_skipped(folder):
    rows = [*ROWS, "gone,verification,/m/1,1"]
    with pytest.raises(DataError, match=r"1 of 3 images are missing: gone\nset on_bad_file: skip"):
        read(folder, rows)
    dataset = read(folder, rows, on_bad_file="skip")
    assert ([*dataset.names], dataset.report["missing images skipped"]) == (["a.jpg", "b.png"], 1)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("a,x,/m/9,1", "line 2: the label '/m/9' is not in the class descriptions"),
        (",x,/m/1,1", "line 2: the ImageID is empty"),
        ("a,x,/m/1,1.5", "line 2: the Confidence '1.5' is not within 0 to 1"),
        ("a,x,/m/1,nan", "line 2: Confidence is 'nan', not a finite number"),
        ("a,x,/m/1", "line 2: the number of columns"),
    ],
)
def test_wrong_rows_are_named(row, said, folder):
    with pytest.raises(DataError, match=said):
        read(folder, [row], class_descriptions="names.csv")


def test_wrong_options_are_refused(folder):
    with pytest.raises(DataError, match="no class Bat"):
        read(folder, class_descriptions="names.csv", classes=["Bat"])
    with pytest.raises(ConfigError, match="min_confidence"):
        read(folder, min_confidence=0.0)
    with pytest.raises(DataError, match="has no rows"):
        read(folder, [])


def test_a_folder_without_tables_of_boxes_is_recognized(folder):
    read(folder)
    (folder / "names.csv").rename(folder / "class-descriptions.csv")
    (folder / "t.csv").rename(folder / "train-human-imagelabels.csv")
    card = card_of_folder(folder).values["data"]
    assert card["format"] == "open_images_labels"
    assert len(OpenImagesLabels(folder, **card["splits"]["train"])) == 2
    boxes = "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsGroupOf\na,x,/m/1,1,0,1,0,1,0\n"
    (folder / "train-bbox.csv").write_text(boxes)
    assert card_of_folder(folder).values["data"]["format"] == "open_images"


def test_the_tiny_open_images_of_datumaro(tmp_path):
    source = real_data("annotation-formats") / "datumaro_tiny" / "open_images_dataset" / "v6"
    shutil.copytree(source, tmp_path / "set")
    names = "annotations/oidv6-class-descriptions.csv"
    table = "annotations/oidv6-train-annotations-human-imagelabels.csv"
    dataset = OpenImagesLabels(tmp_path / "set", table, "images/train", names)
    assert len(dataset.class_names) >= 4
    assert [(dataset.name(index), dataset.tags(index).tolist()) for index in range(2)] == [
        ("a.jpg", [0]),
        ("b.jpg", []),
    ]
    read_all(dataset)
