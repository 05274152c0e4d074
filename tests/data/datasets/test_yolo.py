"""YOLO datasets in the layouts of Ultralytics, Roboflow, CVAT and Darknet."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from tests.helpers.real_data import real_data
from tests.helpers.yolo_files import SIZE, write_yolo
from visionkit.data.datasets.coco import Coco
from visionkit.data.datasets.yolo import Yolo
from visionkit.data.folder_card import card_of_folder
from visionkit.errors import DataError

BOX = "1 0.5 0.5 0.25 0.5"
TRIANGLE = "0 0.25 0.25 0.75 0.25 0.75 0.75"


def test_boxes_and_polygons_of_one_file(tmp_path):
    dataset = Yolo(write_yolo(tmp_path, {"a": f"{BOX}\n{TRIANGLE}\n"}), masks=True)
    annotation = dataset[0].annotation
    assert annotation.boxes.tolist() == [[24, 12, 40, 36], [16, 12, 48, 36]]
    assert annotation.area.tolist() == [16 * 24, 32 * 24 / 2]
    assert [dataset.class_names[label] for label in annotation.labels] == ["dog", "cat"]
    assert [mask["size"] for mask in annotation.masks] == [[48, 64]] * 2
    assert dataset.report == {"objects without polygon, whose box is their mask": 1}


def test_images_without_objects_and_without_label_files_are_kept(tmp_path):
    dataset = Yolo(write_yolo(tmp_path, {"a": BOX, "b": "", "c": None}))
    assert [len(dataset.annotation(index).boxes) for index in range(3)] == [1, 0, 0]
    assert dataset.report == {"images without label file, taken as images without objects": 1}


def test_names_with_spaces_signs_and_several_dots(tmp_path):
    names = ["my photo", "a#b", "c.rf.0123", "ä"]
    dataset = Yolo(write_yolo(tmp_path, dict.fromkeys(names, BOX)))
    assert sorted(dataset.image_ids) == sorted(f"images/train/{name}.png" for name in names)
    assert [len(dataset.annotation(index).boxes) for index in range(4)] == [1] * 4


def test_foreign_paths_and_other_names_of_val_are_found(tmp_path):
    write_yolo(tmp_path, {"a": BOX}, split="validate")
    (tmp_path / "data.yaml").write_text("path: C:\\data\\mine\nval: ..\\images\\valid \nnames: {0: cat, 1: dog}\n")
    assert len(Yolo(tmp_path, "val").objects) == 1


def test_the_layout_of_roboflow(tmp_path):
    write_yolo(tmp_path / "all", {"a": BOX})
    for name in ("images", "labels"):
        shutil.move(tmp_path / "all" / name / "train", tmp_path / "train" / name)
    (tmp_path / "data.yaml").write_text("train: ../train/images\nnc: 2\nnames: ['cat', 'dog']\n")
    assert len(Yolo(tmp_path).objects) == 1


def test_the_layout_of_darknet_and_cvat(tmp_path):
    inner = tmp_path / "obj_train_data"
    inner.mkdir()
    Image.new("RGB", SIZE).save(inner / "a.png")
    (inner / "a.txt").write_text(BOX)
    (tmp_path / "obj.names").write_text("cat\ncoffee mug\n\n")
    (tmp_path / "obj.data").write_text("classes = 2\ntrain = data/train.txt\nnames = data/obj.names\n")
    (tmp_path / "train.txt").write_text("data/obj_train_data/a.png\n")
    dataset = Yolo(tmp_path, dataset="obj.data")
    assert (dataset.class_names, len(dataset.objects), dataset.report) == (["cat", "coffee mug"], 1, {})


def test_a_list_of_names_with_a_folder(tmp_path):
    write_yolo(tmp_path, {"a": BOX})
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    assert len(Yolo(tmp_path, dataset="classes.txt", images="images").objects) == 1


def test_images_and_labels_beside_the_list_of_names(tmp_path):
    """The card of such a folder has `images: .`."""
    Image.new("RGB", SIZE).save(tmp_path / "a.png")
    for name, text in (("a.txt", BOX), ("classes.txt", "cat\ndog\n")):
        (tmp_path / name).write_text(text)
    options = card_of_folder(tmp_path).values["data"]["splits"]["train"]
    assert options == {"dataset": "classes.txt", "images": "."}
    assert len(Yolo(tmp_path, **options).objects) == 1


def test_other_classes_are_skipped_and_counted(tmp_path):
    dataset = Yolo(write_yolo(tmp_path, {"a": f"{BOX}\n{TRIANGLE}"}), classes=["dog"])
    assert (len(dataset.objects), dataset.report) == (1, {"objects of other classes skipped": 1})


def test_what_is_repaired_is_counted(tmp_path):
    write_yolo(tmp_path, {"a": f"{BOX}\n{BOX}\n0 0.99 0.5 0.1 0.1\n0 0.5 0.5 0 0.2"})
    (tmp_path / "labels" / "train" / "other.txt").write_text(BOX)
    (tmp_path / "images" / "train" / "#temp").write_text(" ")
    assert Yolo(tmp_path).report == {
        "files that are not images skipped (no extension)": 1,
        "repeated lines dropped": 1,
        "label files without image": 1,
        "boxes without area dropped": 1,
        "boxes clipped by more than 2 px": 1,
    }


def test_missing_images_are_refused_or_skipped(tmp_path):
    write_yolo(tmp_path, {"a": BOX, "b": BOX})
    (tmp_path / "train.txt").write_text("images/train/a.png\nimages/train/gone.png\n")
    with pytest.raises(DataError, match=r"(?s)1 of 2 images are missing: images/train/gone.png.*on_bad_file: skip"):
        Yolo(tmp_path, images="train.txt")
    dataset = Yolo(tmp_path, images="train.txt", on_bad_file="skip")
    assert (len(dataset), dataset.report) == (1, {"missing images skipped": 1})


@pytest.mark.parametrize(
    ("label", "said"),
    [
        ("2 0.5 0.5 0.1 0.1", "a.txt line 1: class 2, but data.yaml names 2 classes"),
        (f"{BOX}\n0 24 12 40 36", "a.txt line 2: the coordinate 40 is not a share"),
        ("cat 0.5 0.5 0.1 0.1", "are not numbers"),
    ],
)
def test_wrong_lines_are_named(label, said, tmp_path):
    with pytest.raises(DataError, match=said):
        Yolo(write_yolo(tmp_path, {"a": label}))


def test_paths_outside_of_the_folder_are_not_read(tmp_path):
    write_yolo(tmp_path / "inside", {"a": BOX})
    write_yolo(tmp_path / "outside", {"b": BOX})
    (tmp_path / "inside" / "train.txt").write_text("../outside/images/train/b.png\n")
    with pytest.raises(DataError, match="is outside"):
        Yolo(tmp_path / "inside", images="train.txt")


def test_the_boxes_of_coco_mini_equal_those_of_its_json(tmp_path):
    folder = real_data("coco-mini")
    shutil.copytree(folder / "val2017", tmp_path / "images")
    shutil.copytree(folder / "labels-yolo" / "val2017", tmp_path / "labels")
    shutil.copy(folder / "labels-yolo" / "classes.txt", tmp_path)
    yolo = Yolo(tmp_path, dataset="classes.txt", images="images")
    coco = Coco(folder, "annotations/instances_val2017.json", "val2017")
    content = json.loads((folder / "annotations" / "instances_val2017.json").read_text())
    names = [category["name"] for category in sorted(content["categories"], key=lambda category: category["id"])]
    assert yolo.class_names == names == coco.class_names
    matched = 0
    for index in range(len(coco)):
        found, truth = yolo.annotation(index), coco.annotation(index)
        truth_boxes = truth.boxes[~truth.crowd]
        distance = np.abs(found.boxes[:, None] - truth_boxes[None]).max(axis=-1)
        same = found.labels[:, None] == truth.labels[~truth.crowd][None]
        matched += int(((distance < 2.5) & same).any(axis=1).sum())
    assert matched / len(yolo.objects) > 0.9  # the JSON file was made from panoptic masks, where objects do not overlap


def test_exports_of_real_tools():
    ships = real_data("annotation-formats") / "yolo_detect_ships_roboflow"
    train = Yolo(ships)
    assert (len(train), len(train.objects)) == (28, 42)
    with pytest.raises(DataError, match=r"class 3, but data\.yaml names 1 classes"):
        Yolo(ships, "val")
    potholes = [Yolo(ships.parent / "yolo_segment_potholes", split, masks=True) for split in ("train", "val")]
    assert [(len(split), len(split.objects)) for split in potholes] == [(10, 19), (14, 72)]
