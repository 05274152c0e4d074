"""Exports of Label Studio."""

import cmath
import json
import math

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as rle

from tests.helpers.brush_code import CODE, MASK
from tests.helpers.real_data import real_data
from visionkit.data.datasets.found_objects import box_of
from visionkit.data.datasets.label_studio import LabelStudio
from visionkit.data.io.images import ORIENTATION_TAG
from visionkit.errors import DataError


def result(kind="rectanglelabels", label="cat", size=(48, 64), **value):
    value = value or {"x": 25, "y": 50, "width": 50, "height": 25}
    height, width = size
    return {"type": kind, "original_width": width, "original_height": height, "value": {**value, kind: [label]}}


def task(image, *results):
    return {"data": {"image": image}, "annotations": [{"result": list(results)}]}


@pytest.fixture
def written(tmp_path):
    """A function that writes an export and images, and returns the dataset."""

    def write(*tasks, names=("a.jpg",), size=(64, 48), **options):
        for name in names:
            (tmp_path / "images" / name).parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", size).save(tmp_path / "images" / name, "JPEG")
        (tmp_path / "e.json").write_text(json.dumps(list(tasks)))
        return LabelStudio(tmp_path, "e.json", "images", **options)

    return write


def test_percent_become_pixels(written):
    dataset = written(task("a.jpg", result(), result(label="dog", x=0, y=0, width=100, height=100)))
    annotation = dataset[0].annotation
    assert (annotation.boxes.tolist(), annotation.labels.tolist()) == ([[16, 24, 48, 36], [0, 0, 64, 48]], [0, 1])
    assert (dataset.class_names, dataset.report) == (["cat", "dog"], {})


def test_polygons_ellipses_and_brushes_are_masks(written):
    triangle = result("polygonlabels", points=[[0, 0], [50, 0], [50, 100]])
    ellipse = result("ellipselabels", x=50, y=50, radiusX=25, radiusY=25)
    annotation = written(task("a.jpg", triangle, ellipse, result()), masks=True).annotation(0)
    areas = [int(rle.area(mask)) for mask in annotation.masks]
    assert areas == [pytest.approx(32 * 48 / 2, rel=0.03), pytest.approx(math.pi * 16 * 12, rel=0.02), 32 * 12]
    assert annotation.area == pytest.approx([32 * 48 / 2, math.pi * 16 * 12, 32 * 12], rel=0.002)


def test_brushes_are_masks_and_empty_ones_are_counted(written):
    brush, empty = (result("brushlabels", size=(3, 5), format="rle", rle=codes) for codes in (CODE, []))
    dataset = written(task("a.jpg", brush, empty), size=(5, 3), masks=True)
    assert (rle.decode(dataset.annotation(0).masks[0]) == MASK).all()
    assert dataset.annotation(0).boxes.tolist() == [[0, 0, 4, 2]]
    assert dataset.report == {"brushes that painted nothing left out": 1}


def test_rotated_rectangles_are_refused_or_become_their_hull(written):
    rotated = result(x=50, y=25, width=25, height=25, rotation=90)
    with pytest.raises(
        DataError, match=r"(?s)entry 0 of the export, result 0: .* rotated by 90 degrees.*rotated_boxes: hull"
    ):
        written(task("a.jpg", rotated))
    dataset = written(task("a.jpg", rotated), rotated_boxes="hull", masks=True)
    assert dataset.annotation(0).boxes.tolist() == [pytest.approx([20, 12, 32, 28])]
    assert dataset.report["rotated rectangles, of which the box around is taken"] == 1


def test_other_results_are_refused_or_counted(written):
    other = result("keypointlabels", x=1, y=1, width=1)
    with pytest.raises(DataError, match=r"(?s)result 1: the type 'keypointlabels' is not read.*other_shapes: skip"):
        written(task("a.jpg", result(), other))
    dataset = written(task("a.jpg", result(), other), other_shapes="skip")
    assert (len(dataset.objects), dataset.report) == (1, {"results of the type keypointlabels left out": 1})


@pytest.mark.parametrize(
    ("image", "file"),
    [
        ("/data/upload/1/0123abcd-a%20b.jpg", "0123abcd-a b.jpg"),
        ("/data/upload/1/0123abcd-a.jpg", "a.jpg"),
        ("/data/local-files/?d=photos%2Fa.jpg", "a.jpg"),
        ("/data/local-files/?d=photos\\a.jpg", "inner/a.jpg"),
        ("s3://bucket/folder/a.jpg", "a.jpg"),
        ("https://host/x%2Fa.jpg?Expires=0&d=3&Signature=abc", "a.jpg"),
        ("/data/upload/1/a#b.jpg", "a#b.jpg"),
        ("C:\\photos\\A.JPG", "a.jpg"),
    ],
)
def test_images_are_found_by_their_base_name(image, file, written):
    assert written(task(image, result()), names=(file, "other.jpg")).image_id(0) == file


def test_the_base_name_must_be_unique(written):
    with pytest.raises(DataError, match=r"entry 0 of the export: '/x/a\.jpg' can be any of 1/a\.jpg, 2/a\.jpg"):
        written(task("s3://b/x/a.jpg", result()), names=("1/a.jpg", "2/a.jpg"))
    assert written(task("s3://b/2/a.jpg", result())).image_id(0) == "2/a.jpg"


def test_two_tasks_cannot_have_the_same_image(written):
    with pytest.raises(DataError, match=r"entry 1 of the export has the image a\.jpg, like .*entry 0 of the export"):
        written(task("s3://b/a.jpg", result()), task("a.jpg", result()))


def test_an_image_list_names_the_files_of_urls(written, tmp_path):
    (tmp_path / "list.csv").write_text("https://host/1.png,a.jpg\nhttps://host/2.png?x=1,b.jpg\n")
    tasks = [task("https://host/1.png?x=1", result()), task("https://host/2.png?x=1", result())]
    dataset = written(*tasks, names=("a.jpg", "b.jpg"), image_list="list.csv")
    assert [dataset.image_id(index) for index in (0, 1)] == ["a.jpg", "b.jpg"]
    for text, said in (("u,../../x.jpg", "outside"), ("u,a.jpg\nu,b.jpg", "line 2: the URL 'u' occurs twice")):
        (tmp_path / "list.csv").write_text(text)
        with pytest.raises(DataError, match=said):
            written(task("u", result()), image_list="list.csv")


def test_missing_images_are_refused_or_skipped(written):
    tasks = task("a.jpg", result()), task("https://host/gone.jpg?x=1", result(label="dog"))
    with pytest.raises(DataError, match=r"1 of 2 images are missing: gone\.jpg"):
        written(*tasks)
    dataset = written(*tasks, on_bad_file="skip")
    assert (len(dataset), dataset.class_names, dataset.report) == (1, ["cat"], {"missing images skipped": 1})


def test_images_without_results_have_no_objects(written):
    dataset = written(task("a.jpg", result()), task("b.jpg"), names=("a.jpg", "b.jpg"))
    assert [len(dataset.annotation(index)) for index in (0, 1)] == [1, 0]


def test_the_size_of_an_image_must_be_that_of_its_results(written):
    with pytest.raises(
        DataError, match=r"entry 0 of the export says that the image has 64 x 48 pixels .* but a\.jpg has 48 x 64"
    ):
        written(task("a.jpg", result(), result(size=(64, 48))))
    assert len(written(task("a.jpg", {key: value for key, value in result().items() if "original" not in key}))) == 1


def test_an_annotation_without_the_exif_rotation_of_its_image_is_refused(written, tmp_path):
    written(task("a.jpg", result()))
    rotated = Image.new("RGB", (64, 48))
    rotated.getexif()[ORIENTATION_TAG] = 6
    rotated.save(tmp_path / "images" / "a.jpg", exif=rotated.getexif())
    with pytest.raises(DataError, match=r"has 48 x 64 pixels .* but a\.jpg has 64 x 48 \(after EXIF rotation\)"):
        LabelStudio(tmp_path, "e.json", "images")
    (tmp_path / "e.json").write_text(json.dumps([task("a.jpg", result(size=(64, 48)))]))
    assert LabelStudio(tmp_path, "e.json", "images")[0].annotation.boxes.tolist() == [[12, 32, 36, 48]]


@pytest.mark.parametrize("labels", [[], ["cat", "dog"], "cat", [3], None])
def test_a_result_has_one_label(labels, written):
    wrong = result()
    wrong["value"]["rectanglelabels"] = labels
    with pytest.raises(DataError, match="entry 0 of the export, result 0: rectanglelabels must be a list of one label"):
        written(task("a.jpg", wrong))


def test_chicory_equals_the_labels_of_its_authors():
    folder = real_data("annotation-formats") / "label_studio_chicory"
    with pytest.raises(DataError, match="keypointlabels"):
        LabelStudio(folder, "label_studio.json", "images", "url_to_file.csv")
    dataset = LabelStudio(folder, "label_studio.json", "images", "url_to_file.csv", other_shapes="skip")
    assert (len(dataset), len(dataset.objects)) == (8, 8)
    assert dataset.report == {
        "results of the type keypointlabels left out": 16,
        "brushes that painted nothing left out": 8,
    }
    for index in range(len(dataset)):
        text = (folder / "labels_txt" / dataset.image_id(index)).with_suffix(".txt").read_text()
        assert dataset[index].annotation.boxes.tolist() == [list(map(float, text.split()[:4]))]


def converter_test(name, folder):
    """Copy an export of the converter's tests, write images of the stated sizes, and return the export."""
    source = real_data("annotation-formats") / "label_studio_converter_tests" / name
    content = json.loads(source.read_text())
    lines = []
    for number, entry in enumerate(content):
        stated = entry["annotations"][0]["result"][0]
        Image.new("L", (stated["original_width"], stated["original_height"])).save(folder / f"{number}.png")
        lines.append(f"{entry['data']['image']},{number}.png\n")
    (folder / "list.csv").write_text("".join(lines))
    (folder / "e.json").write_bytes(source.read_bytes())
    return content


def test_rotated_boxes_of_the_converter_are_those_of_its_formula(tmp_path):
    content = converter_test("test_export_yolo/data_obb.json", tmp_path)
    dataset = LabelStudio(tmp_path, "e.json", image_list="list.csv", rotated_boxes="hull")
    assert (len(dataset), len(dataset.objects)) == (3, 25)
    for index, entry in enumerate(content):
        height, width = dataset.image_size(index)
        hulls = []
        for value in (found["value"] for found in entry["annotations"][0]["result"]):
            x, y, along, down = (
                value[key] * side / 100
                for key, side in zip(("x", "y", "width", "height"), (width, height) * 2, strict=True)
            )
            turn = cmath.exp(1j * math.radians(value["rotation"]))
            points = [complex(x, y) + point * turn for point in (0, along, 1j * down, along + 1j * down)]
            corners = [number for point in points for number in (point.real, point.imag)]
            hulls.append(np.clip(box_of([corners]), 0, [width, height] * 2))
        assert np.abs(dataset.annotation(index).boxes - np.array(hulls)).max() < 1e-3


def test_polygons_and_several_annotations_of_the_converter(tmp_path):
    converter_test("test_export_yolo/data_polygons.json", tmp_path)
    polygons = LabelStudio(tmp_path, "e.json", image_list="list.csv", masks=True)
    assert (len(polygons.objects), polygons.class_names) == (1, ["Airplane"])
    converter_test("test_export_yolo/data.json", tmp_path)
    boxes = LabelStudio(tmp_path, "e.json", image_list="list.csv")
    assert (len(boxes), len(boxes.objects)) == (2, 4)
    assert boxes.report == {"older annotations of the same task left out": 1}
