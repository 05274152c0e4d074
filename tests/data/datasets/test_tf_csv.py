"""Tables of boxes of TensorFlow's object detection."""

import numpy as np
import pytest
from PIL import Image

from tests.helpers.real_data import real_data
from visionkit.data.datasets.tf_csv import TFCsv
from visionkit.data.datasets.voc import Voc
from visionkit.data.datasets.yolo import Yolo
from visionkit.errors import DataError

HEADER = "filename,width,height,class,xmin,ymin,xmax,ymax"
CAT = "a.jpg,64,48,cat,8,4,28,14"
DOG = "b.jpg,64,48,dog,10.5,0,20,48"


@pytest.fixture
def written(tmp_path):
    """A function that writes a table and images, and returns the dataset."""

    def write(*rows, names=("a.jpg", "b.jpg"), header=HEADER, **options):
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (64, 48)).save(tmp_path / name, "JPEG")
        (tmp_path / "_annotations.csv").write_text("\n".join([header, *rows]) + "\n")
        return TFCsv(tmp_path, **options)

    return write


def test_boxes_are_edges_in_pixels(written):
    dataset = written(DOG, CAT)
    assert [dataset.image_id(index) for index in (0, 1)] == ["b.jpg", "a.jpg"]
    assert dataset[0].annotation.boxes.tolist() == [[10.5, 0, 20, 48]]
    assert dataset[1].annotation.boxes.tolist() == [[8, 4, 28, 14]]
    assert [dataset.class_names[dataset.annotation(index).labels[0]] for index in (0, 1)] == ["dog", "cat"]
    assert dataset.report == {}


def test_names_of_other_machines_and_of_other_case_are_found(written):
    dataset = written(CAT, r"C:\data\b.JPG,64,48,dog,1,1,9,9", names=("inner/a.JPG", "b.jpg"))
    assert [dataset.image_id(index) for index in (0, 1)] == ["inner/a.JPG", "b.jpg"]


def test_repeated_rows_are_dropped_and_counted(written):
    dataset = written(CAT, DOG, CAT, CAT.replace("cat", "dog"))
    assert (len(dataset.objects), dataset.report) == (3, {"repeated rows dropped": 1})


def test_rows_without_box_stand_for_images_without_objects(written):
    dataset = written(CAT, "b.jpg,64,48,,,,,")
    assert [len(dataset.annotation(index)) for index in (0, 1)] == [1, 0]


def test_images_without_rows_are_left_out_or_empty(written):
    assert written(CAT).report == {"images of the folder without rows left out": 1}
    dataset = written(CAT, unlisted="empty")
    assert ([len(dataset.annotation(index)) for index in (0, 1)], dataset.report) == (
        [1, 0],
        {"images of the folder without rows, taken as images without objects": 1},
    )


def test_the_label_map_gives_the_order_of_the_classes(written, tmp_path):
    (tmp_path / "map.pbtxt").write_text(
        "item { id: 1 name: 'dog' } item { id: 2 name: 'cow' } item { id: 3 name: 'cat' }"
    )
    assert written(CAT, DOG, label_map="map.pbtxt").class_names == ["dog", "cow", "cat"]
    with pytest.raises(DataError, match=r"_annotations\.csv line 2: unknown class 'bat'; known: dog, cow, cat"):
        written(CAT.replace("cat", "bat"), label_map="map.pbtxt")


def test_classes_of_the_card_may_be_absent_from_a_split(written):
    dataset = written(CAT, DOG, classes=["cow", "cat"])
    assert (dataset.class_names, dataset.report) == (["cow", "cat"], {"objects of other classes skipped": 1})


def test_missing_images_are_refused_or_skipped(written):
    with pytest.raises(DataError, match=r"1 of 2 images are missing: c\.jpg"):
        written(CAT, DOG.replace("b.jpg", "c.jpg"))
    dataset = written(CAT, DOG.replace("b.jpg", "c.jpg"), on_bad_file="skip")
    assert (len(dataset), dataset.report["missing images skipped"]) == (1, 1)


def test_semicolons(written):
    with pytest.raises(DataError, match="set delimiter: ';'"):
        written(CAT.replace(",", ";"), header=HEADER.replace(",", ";"))
    assert len(written(CAT.replace(",", ";"), header=HEADER.replace(",", ";"), delimiter=";")) == 1


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([], "has no rows"),
        ([CAT.replace("a.jpg", "")], "line 2: the filename is empty"),
        ([CAT.replace("cat", "")], "line 2: the class is empty"),
        ([CAT, "b.jpg,64,48,cat,8,4,28,"], "line 3: ymax is '', not a finite number"),
        ([CAT, "b.jpg,64,48,cat,8,4,28,nan"], "line 3: ymax is 'nan', not a finite number"),
        ([CAT.replace("8,4", "1e400,4")], "xmin is '1e400', not a finite number"),
        ([CAT.replace(",8,4", ",1e30,4")], "NaN, infinite or too large"),
        ([CAT.replace("64", "63")], r"line 2 says that the image has 48 x 63 pixels .* but a\.jpg has 48 x 64"),
        ([CAT.replace("64,48", "48,64")], r"line 2 says that the image has 64 x 48 pixels .* but a\.jpg has 48 x 64"),
        ([CAT, CAT.replace("64", "63")], "line 3: a.jpg has width and height 63, 48, but 64, 48 in line 2"),
        ([CAT.replace("64", "64.5")], "line 2: the width and height 64.5, 48 are not positive integers"),
        ([CAT, CAT.replace("a.jpg", "A.jpg")], r"line 3: A\.jpg and a\.jpg are both a\.jpg"),
        ([CAT.replace("a.jpg", "../a.jpg/..")], "is outside"),
    ],
)
def test_wrong_rows_are_named(rows, said, written):
    with pytest.raises(DataError, match=said) as caught:
        written(*rows)
    assert len(str(caught.value).splitlines()) <= 5


def test_images_outside_of_the_folder_are_not_read(written, tmp_path, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "x.jpg"
    Image.new("RGB", (64, 48)).save(elsewhere)
    (tmp_path / "c.jpg").symlink_to(elsewhere)
    with pytest.raises(DataError, match="outside"):
        written(CAT.replace("a.jpg", "c.jpg"))


def test_cards_of_labelimg_equal_their_xml_files(tmp_path):
    folder = real_data("annotation-formats") / "tf_csv_voc_cards"
    table = TFCsv(folder, "test_labels.csv", "test", "labelmap.pbtxt")
    (tmp_path / "ImageSets" / "Main").mkdir(parents=True)
    for name in ("Annotations", "JPEGImages"):
        (tmp_path / name).symlink_to(folder / "test")
    ids = [path.stem for path in sorted((folder / "test").glob("*.xml"))]
    (tmp_path / "ImageSets" / "Main" / "test.txt").write_text("\n".join(ids))
    voc = Voc(tmp_path, "test", classes=table.class_names)
    assert (len(table), len(table.objects), table.report) == (14, 29, {})
    by_id = {table.image_id(index).removesuffix(".JPG"): table.annotation(index) for index in range(len(table))}
    for index in range(len(voc)):
        expected, found = voc.annotation(index), by_id[voc.image_id(index)]
        assert found.labels.tolist() == expected.labels.tolist()
        assert (found.boxes - expected.boxes).tolist() == [[1, 1, 0, 0]] * len(found)  # VOC counts pixels from 1


def test_boxes_of_roboflow_are_around_its_polygons():
    folder = real_data("annotation-formats")
    table = TFCsv(folder, "tf_csv_potholes_roboflow/_annotations.csv", "yolo_segment_potholes/images/val")
    yolo = Yolo(folder / "yolo_segment_potholes", "val")
    assert (len(table), len(table.objects), len(yolo.objects)) == (14, 72, 72)
    boxes = {table.image_id(index): table.annotation(index).boxes for index in range(len(table))}
    for index in range(len(yolo)):
        found, expected = boxes[yolo.image_id(index).removeprefix("images/val/")], yolo.annotation(index).boxes
        assert np.abs(found[:, None] - expected[None]).max(axis=2).min(axis=1).max() <= 0.5, yolo.image_id(index)
