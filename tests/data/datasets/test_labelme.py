"""Datasets of LabelMe's JSON files."""

import json

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as rle

from tests.helpers.real_data import real_data
from visionkit.data.datasets.labelme import Labelme
from visionkit.errors import DataError

RECTANGLE = {"label": "cat", "shape_type": "rectangle", "points": [[40, 36], [24, 12]]}
TRIANGLE = {"label": "dog", "shape_type": "polygon", "points": [[16, 12], [48, 12], [48, 36]]}
POINT = {"label": "eye", "shape_type": "point", "points": [[3, 4]]}


def write(folder, shapes, name="a", image=True, **more):
    """Write a JSON file with shapes, and its image of 64 x 48 pixels."""
    folder.mkdir(parents=True, exist_ok=True)
    if image:
        Image.new("RGB", (64, 48)).save(folder / f"{name}.png")
    content = {"version": "5.7.0", "flags": {}, "imagePath": f"{name}.png", "imageData": None, "shapes": shapes}
    (folder / f"{name}.json").write_text(json.dumps({**content, "imageHeight": 48, "imageWidth": 64, **more}))
    return folder


def test_rectangles_and_polygons(tmp_path):
    dataset = Labelme(write(tmp_path, [RECTANGLE, TRIANGLE]), masks=True)
    annotation = dataset[0].annotation
    assert annotation.boxes.tolist() == [[24, 12, 40, 36], [16, 12, 48, 36]]
    assert annotation.area.tolist() == [16 * 24, 32 * 24 / 2]
    assert (dataset.class_names, annotation.labels.tolist()) == (["cat", "dog"], [0, 1])
    assert dataset.report == {"objects without polygon, whose box is their mask": 1}


def test_a_circle_is_a_polygon(tmp_path):
    circle = {"label": "cat", "shape_type": "circle", "points": [[30, 20], [33, 24]]}
    annotation = Labelme(write(tmp_path, [circle]), masks=True)[0].annotation
    assert annotation.boxes.tolist() == [[25, 15, 35, 25]]
    assert annotation.area[0] == pytest.approx(np.pi * 25, rel=0.002)


def test_polygons_of_a_group_and_label_are_one_object(tmp_path):
    right = {**TRIANGLE, "points": [[50, 0], [60, 0], [60, 10]], "group_id": 1}
    shapes = [{**TRIANGLE, "group_id": 1}, TRIANGLE, right, {**right, "label": "cat"}, {**RECTANGLE, "group_id": 1}]
    dataset = Labelme(write(tmp_path, shapes), masks=True)
    annotation = dataset[0].annotation
    assert annotation.boxes.tolist() == [[16, 0, 60, 36], [16, 12, 48, 36], [50, 0, 60, 10], [24, 12, 40, 36]]
    assert annotation.area.tolist() == [384 + 50, 384, 50, 384]
    assert rle.area(annotation.masks[0]) == pytest.approx(434, abs=30)


def test_labels_txt_gives_the_classes(tmp_path):
    shapes = [RECTANGLE, {**RECTANGLE, "label": "__ignore__"}, {**TRIANGLE, "label": "_background_"}]
    write(tmp_path / "data", shapes)
    (tmp_path / "labels.txt").write_text("__ignore__\n_background_\ncow\ncat\n\n")
    dataset = Labelme(tmp_path, "data")
    assert (dataset.class_names, dataset.annotation(0).labels.tolist()) == (["cow", "cat"], [1])
    assert dataset.report == {
        "shapes labeled __ignore__ skipped": 1,
        "shapes labeled _background_ skipped": 1,
    }
    (tmp_path / "mine.txt").write_text("dog\n")
    with pytest.raises(DataError, match=r"a\.json shape 0: unknown class 'cat'; known: dog"):
        Labelme(tmp_path, "data", labels="mine.txt")


def test_splits_of_one_folder_have_the_same_classes(tmp_path):
    write(tmp_path, [RECTANGLE])
    write(tmp_path, [TRIANGLE, POINT], "b.rf.12")
    (tmp_path / "train.txt").write_text("a\n")
    (tmp_path / "val.txt").write_text("b.rf.12.png\n\n")
    splits = [Labelme(tmp_path, list_file=f"{name}.txt", other_shapes="skip") for name in ("train", "val")]
    assert [split.class_names for split in splits] == [["cat", "dog"]] * 2
    assert [split.image_ids[0] for split in splits] == ["a.png", "b.rf.12.png"]
    assert len(Labelme(tmp_path, list_file="train.txt").objects) == 1  # the point is in the other split
    for lines, message in (("b\n", "b has no JSON file in"), ("a\na.png\n", "1 files occur more than once")):
        (tmp_path / "val.txt").write_text(lines)
        with pytest.raises(DataError, match=rf"val\.txt: {message}"):
            Labelme(tmp_path, list_file="val.txt")


def test_other_shapes_are_refused_or_counted(tmp_path):
    write(tmp_path, [RECTANGLE, POINT, {**POINT, "shape_type": "line"}])
    with pytest.raises(DataError, match=r"(?s)a\.json: entry 1 of shapes is of the shape_type 'point'.*other_shapes"):
        Labelme(tmp_path)
    dataset = Labelme(tmp_path, other_shapes="skip")
    assert (dataset.class_names, len(dataset.objects)) == (["cat"], 1)
    assert dataset.report == {"shapes of other kinds skipped (point)": 1, "shapes of other kinds skipped (line)": 1}


def test_images_are_found_beside_the_json_file_or_in_their_folder(tmp_path):
    write(tmp_path / "labels" / "deep", [RECTANGLE], imagePath="..\\photos\\a.png")
    with pytest.raises(DataError, match="1 of 1 images are missing"):
        Labelme(write(tmp_path / "other", [RECTANGLE], image=False))
    assert Labelme(tmp_path, "labels").image_ids[0] == "labels/deep/a.png"
    (tmp_path / "photos").mkdir()
    (tmp_path / "labels" / "deep" / "a.png").rename(tmp_path / "photos" / "a.png")
    assert Labelme(tmp_path, "labels", images="photos").image_ids[0] == "photos/a.png"


def test_an_image_that_is_only_in_the_json_file_is_named(tmp_path):
    write(tmp_path, [RECTANGLE])
    write(tmp_path, [RECTANGLE], "b", image=False, imageData="aGFsbG8=")
    with pytest.raises(DataError, match=r"(?s)b\.json: its image b\.png does not exist as a file.*imageData"):
        Labelme(tmp_path)
    dataset = Labelme(tmp_path, on_bad_file="skip")
    assert (len(dataset), dataset.report) == (1, {"missing images skipped": 1})


def test_images_without_shapes_are_kept(tmp_path):
    write(tmp_path, [])
    write(tmp_path, [RECTANGLE], "b")
    dataset = Labelme(tmp_path)
    assert [len(dataset.annotation(index).boxes) for index in (0, 1)] == [0, 1]


def test_classes_of_the_card_may_be_absent_from_a_split(tmp_path):
    dataset = Labelme(write(tmp_path, [RECTANGLE, TRIANGLE]), classes=["cow", "dog"])
    assert (dataset.class_names, dataset.annotation(0).labels.tolist()) == (["cow", "dog"], [1])
    assert dataset.report == {"objects of other classes skipped": 1}


def test_another_size_than_that_of_the_image_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"a\.json says that the image has 64 x 48 pixels"):
        Labelme(write(tmp_path, [RECTANGLE], imageHeight=64, imageWidth=48))
    assert len(Labelme(write(tmp_path, [RECTANGLE], imageHeight=None, imageWidth=None))) == 1


def test_official_examples_of_labelme():
    folder = real_data("annotation-formats") / "labelme_official"
    boxes = Labelme(folder / "bbox_detection", "data_annotated")
    assert (len(boxes), len(boxes.objects), len(boxes.class_names)) == (3, 9, 20)
    instances = Labelme(folder / "instance_segmentation", "data_annotated", masks=True)
    assert len(instances.objects) == 3 + 6 + 3  # of 18 shapes, 2 are ignored, and two groups have 2 and 4 polygons
    assert instances.report == {"shapes labeled __ignore__ skipped": 2, "boxes clipped by up to 2 px": 1}
    with pytest.raises(DataError, match=r"primitives\.json: entry 4 of shapes is of the shape_type 'line'"):
        Labelme(folder / "primitives")
    primitives = Labelme(folder / "primitives", masks=True, other_shapes="skip")
    assert primitives.class_names == ["circle", "polygon", "rectangle"]
    assert sum(primitives.report.values()) - primitives.report["objects without polygon, whose box is their mask"] == 4
    grapes = Labelme(folder.parent / "labelme_grapes_iteam1", masks=True)
    assert (len(grapes), len(grapes.objects), grapes.class_names) == (3, 10, ["black_grape", "green_grape"])
