"""Datasets of Create ML's JSON files."""

import json
import math

import pytest
from PIL import Image

from tests.helpers.real_data import real_data
from visionkit.data.datasets.createml import Createml
from visionkit.errors import DataError

FILE = "_annotations.createml.json"


def box(label="cat", **changes):
    return {"label": label, "coordinates": {"x": 32, "y": 24.5, "width": 16, "height": 24, **changes}}


def write(folder, images, name=FILE):
    """Write the file, and an image of 64 x 48 pixels with each list of annotations."""
    folder.mkdir(exist_ok=True)
    for image in images:
        Image.new("RGB", (64, 48)).save(folder / f"{image}.png")
    content = [{"image": f"{image}.png", "annotations": found} for image, found in images.items()]
    (folder / name).write_text(json.dumps(content))
    return folder


def test_boxes_have_their_center_and_size_in_pixels(tmp_path):
    dataset = Createml(write(tmp_path, {"a": [box("dog"), box()], "b": []}))
    assert dataset.annotation(0).boxes.tolist() == [[24, 12.5, 40, 36.5]] * 2
    assert (dataset.class_names, dataset.annotation(0).labels.tolist()) == (["cat", "dog"], [1, 0])
    assert (len(dataset.annotation(1).boxes), dataset.report) == (0, {})


def test_the_keys_of_apples_documentation(tmp_path):
    write(tmp_path, {"a": []})
    (tmp_path / FILE).write_text(json.dumps([{"imagefilename": "a.png", "annotation": [box()]}]))
    assert Createml(tmp_path).annotation(0).boxes.tolist() == [[24, 12.5, 40, 36.5]]


def test_a_folder_of_files(tmp_path):
    for name in ("a", "b"):
        write(tmp_path / "train", {name: [box(name)]}, f"{name}.json")
    dataset = Createml(tmp_path, "train")
    assert (list(dataset.image_ids), dataset.class_names) == (["train/a.png", "train/b.png"], ["a", "b"])
    write(tmp_path / "train", {"a": [box()]}, "c.json")
    with pytest.raises(DataError, match="1 images occur more than once"):
        Createml(tmp_path, "train")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty has no \.json files"):
        Createml(tmp_path, "empty")


def test_images_of_another_folder_and_missing_images(tmp_path):
    write(tmp_path, {"a": [box()], "b": [box("dog")]})
    (tmp_path / "photos").mkdir()
    (tmp_path / "a.png").rename(tmp_path / "photos" / "a.png")
    (tmp_path / "b.png").unlink()
    with pytest.raises(DataError, match=r"1 of 2 images are missing: b\.png"):
        Createml(tmp_path, images="photos")
    dataset = Createml(tmp_path, images="photos", on_bad_file="skip")
    assert (list(dataset.image_ids), dataset.class_names) == (["photos/a.png"], ["cat", "dog"])
    assert dataset.report == {"missing images skipped": 1}


def test_classes_of_the_card(tmp_path):
    dataset = Createml(write(tmp_path, {"a": [box("dog"), box()]}), classes=["cow", "dog"])
    assert (dataset.class_names, dataset.annotation(0).labels.tolist()) == (["cow", "dog"], [1])
    assert dataset.report == {"objects of other classes skipped": 1}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({}, "the images must be a list"),
        ([{"annotations": []}], "entry 0 of the images has no image"),
        ([{"image": "a.png"}], "entry 0 of the images has no annotations"),
        ([{"image": "a.png", "annotations": [3]}], r"entry 0 of the annotations of 'a\.png' must be an object"),
        ([{"image": "a.png", "annotations": [{"label": "a"}]}], "has no coordinates"),
        ([{"image": "a.png", "annotations": [box(" ")]}], "has the label ' '"),
        (
            [{"image": "a.png", "annotations": [box(), box(x=math.nan)]}],
            r"'a\.png' annotation 1 has the coord.*nan",
        ),
        ([{"image": "a.png", "annotations": [box(x="1")]}], "they must be finite numbers"),
        ([{"image": "a.png", "annotations": [{"label": "a", "coordinates": {"x": 1}}]}], "no y and no width and no he"),
        ([{"image": "a.png", "annotations": []}], "has no objects"),
    ],
)
def test_malformed_files_are_refused_with_the_place(content, said, tmp_path):
    write(tmp_path, {"a": []})
    (tmp_path / FILE).write_text(json.dumps(content))
    with pytest.raises(DataError, match=said):
        Createml(tmp_path)


def test_files_of_labelimg():
    folder = real_data("annotation-formats") / "iteam1_2label_many"
    dataset = Createml(folder, "CreateML", "images")
    assert (len(dataset), len(dataset.objects)) == (4, 2 + 1 + 5 + 17)
    assert dataset.class_names == ["bird", "circle", "crack", "ellipse", "line", "rectangle", "strawberry", "triangle"]
