"""Datasets of the VGG Image Annotator."""

import json

import numpy as np
import pytest
from PIL import Image

from tests.helpers.real_data import real_data
from visionkit.data.datasets.via import Via
from visionkit.errors import DataError

RECT = {"name": "rect", "x": 24, "y": 12, "width": 16, "height": 24}
TRIANGLE = {"name": "polygon", "all_points_x": [16, 48, 48], "all_points_y": [12, 12, 36]}


def region(shape=None, **attributes):
    return {"shape_attributes": shape or RECT, "region_attributes": attributes}


def write(folder, *regions, **images):
    """Write the file, and an image of 64 x 48 pixels with each list of regions."""
    content = {}
    for name, of_image in {"a": list(regions), **images}.items():
        Image.new("RGB", (64, 48)).save(folder / f"{name}.png")
        content[f"{name}.png99"] = {"filename": f"{name}.png", "size": 99, "regions": of_image, "file_attributes": {}}
    (folder / "via_region_data.json").write_text(json.dumps(content))
    return folder


def test_rectangles_and_polygons(tmp_path):
    dataset = Via(write(tmp_path, region(kind="dog"), region(TRIANGLE, kind="cat"), b=[]), masks=True)
    annotation = dataset[0].annotation
    assert annotation.boxes.tolist() == [[24, 12, 40, 36], [16, 12, 48, 36]]
    assert annotation.area.tolist() == [16 * 24, 32 * 24 / 2]
    assert (dataset.class_names, annotation.labels.tolist()) == (["cat", "dog"], [1, 0])
    assert (len(dataset), len(dataset.annotation(1).boxes)) == (2, 0)
    assert dataset.report == {"objects without polygon, whose box is their mask": 1}


def test_the_class_attribute_is_the_only_one_with_values(tmp_path):
    write(tmp_path, region(kind="cat", color=""), region(kind="dog", color=None))
    assert Via(tmp_path).class_names == ["cat", "dog"]
    write(tmp_path, region(kind="cat", color="red"))
    said = "has 2 attributes of regions; set class_attribute to the one that is the class: color, kind"
    with pytest.raises(DataError, match=said):
        Via(tmp_path)
    assert Via(tmp_path, class_attribute="color").class_names == ["red"]
    with pytest.raises(DataError, match=r"has no attribute 'size'; .*: color, kind"):
        Via(tmp_path, class_attribute="size")


def test_the_option_of_checkboxes_that_is_set_is_the_class(tmp_path):
    assert Via(write(tmp_path, region(kind={"cat": True, "dog": False}))).class_names == ["cat"]
    write(tmp_path, region(kind="cat"), region(kind={"cat": True, "dog": True}))
    with pytest.raises(DataError, match=r"entry 1 of the regions of 'a\.png' has the kind .*; it must be one class"):
        Via(tmp_path)


@pytest.mark.parametrize("value", ["", " ", None, 3, {}, ["cat"]])
def test_regions_without_class_are_refused(value, tmp_path):
    write(tmp_path, region(kind="cat"), region(kind=value))
    with pytest.raises(DataError, match=r"entry 1 of the regions of 'a\.png' has the kind .*; it must be one class"):
        Via(tmp_path)


def test_regions_without_attributes_are_of_the_class_in_the_card(tmp_path):
    write(tmp_path, region(), {"shape_attributes": TRIANGLE})
    dataset = Via(tmp_path, classes=["balloon"])
    assert dataset.annotation(0).labels.tolist() == [0, 0]
    for classes in (None, ["a", "b"]):
        with pytest.raises(DataError, match=r"(?s)no region has an attribute .*data\.classes"):
            Via(tmp_path, classes=classes)


def test_other_shapes_are_refused_or_counted(tmp_path):
    write(tmp_path, region(kind="cat"), region({"name": "polyline", "all_points_x": [1], "all_points_y": [1]}))
    with pytest.raises(DataError, match=r"(?s)entry 1 of the regions of 'a\.png' is a polyline; .*other_shapes: skip"):
        Via(tmp_path)
    dataset = Via(tmp_path, other_shapes="skip")
    assert (len(dataset.objects), dataset.report) == (1, {"shapes of other kinds skipped (polyline)": 1})


def test_missing_images_are_refused_or_skipped(tmp_path):
    write(tmp_path, region(kind="cat"), b=[region(kind="dog"), region({"name": "point"}, kind="dog")])
    (tmp_path / "b.png").unlink()
    with pytest.raises(DataError, match=r"1 of 2 images are missing: b\.png"):
        Via(tmp_path)
    dataset = Via(tmp_path, on_bad_file="skip")
    assert (dataset.class_names, len(dataset), dataset.report) == (["cat", "dog"], 1, {"missing images skipped": 1})


def test_images_of_another_folder(tmp_path):
    write(tmp_path, region(kind="cat"))
    (tmp_path / "photos").mkdir()
    (tmp_path / "a.png").rename(tmp_path / "photos" / "a.png")
    assert Via(tmp_path, images="photos").image_ids[0] == "photos/a.png"


def test_unknown_kinds_of_shapes_have_a_name(tmp_path):
    write(tmp_path, region({"x": 1}, kind="cat"))
    with pytest.raises(DataError, match=r"entry 0 of the regions of 'a\.png' has a shape with the name None"):
        Via(tmp_path)


def test_damaged_cars():
    folder = real_data("annotation-formats") / "via_car_damage" / "val"
    names = ("via_region_data.json", "car-damage-val.json", "via_region_data.csv")
    json_file, project, table = (Via(folder, name, masks=True) for name in names)
    assert (len(json_file), len(json_file.objects), json_file.class_names) == (8, 12, ["damage"])
    for other in (project, table):
        assert other.image_ids[:] == json_file.image_ids[:]
        for index in range(8):
            assert np.array_equal(other.annotation(index).boxes, json_file.annotation(index).boxes)
    parts = Via(folder, "val_multiclass.json", masks=True)
    assert parts.class_names == ["door", "front_bumper", "headlamp", "hood", "rear_bumper"]
    assert len(parts.objects) == 24
    with pytest.raises(DataError, match="the image 'region' has no regions"):
        Via(folder, "car-damage-val_attributes.json")
