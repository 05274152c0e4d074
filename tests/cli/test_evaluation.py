"""`visionkit evaluate`: predictions of a checkpoint and of files, and files that do not fit."""

import csv
import json

import cv2
import numpy as np
import pytest

from visionkit.cli.main import main

CLASSES = ["cat", "dog"]
SIZE = (40, 60)


def write_image(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((*SIZE, 3), 90, np.uint8))


@pytest.fixture
def desk(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def boxes(desk):
    """Two images in COCO's format, with an object of each class in the first."""
    images = [{"id": 7 + place, "file_name": f"{place}.png", "height": SIZE[0], "width": SIZE[1]} for place in (0, 1)]
    for image in images:
        write_image(desk / "images" / image["file_name"])
    annotations = [
        {"id": number, "image_id": 7, "category_id": 3 + number, "bbox": box, "area": box[2] * box[3], "iscrowd": 0}
        for number, box in enumerate([[0, 0, 20, 20], [30, 10, 20, 20]])
    ]
    categories = [{"id": 3, "name": "cat"}, {"id": 4, "name": "dog"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (desk / "truth.json").write_text(json.dumps(content))
    (desk / "card.yaml").write_text(
        "data: {format: coco, root: ., splits: {test: {images: images, annotations: truth.json}}}\n"
    )
    return desk


ROWS = [
    {"image_id": 7, "category_id": 3, "bbox": [0, 0, 20, 20], "score": 0.9},
    {"file_name": "0.png", "category_id": 4, "bbox": [30, 10, 20, 20], "score": 0.8},
    {"image_id": 8, "category_id": 4, "bbox": [0, 0, 9, 9], "score": 0.1},
]


def scores(*words):
    assert main(["evaluate", *words, "--output", "out"]) == 0
    return json.loads(open("out/metrics.json").read())


def test_boxes_by_image_id_and_by_file_name(boxes):
    (boxes / "found.json").write_text(json.dumps(ROWS))
    found = scores("found.json", "card.yaml")
    assert (found["split"], found["overall"]["F1"]) == ("test", 1.0)
    assert found["overall"]["AP"] == pytest.approx(1.0)
    assert found["overall"]["voc07_AP50"] == pytest.approx(1.0)
    assert found["errors"]["all_detections"]["background"] == 1
    found = scores("found.json", "card.yaml", "--metric", "voc07")
    assert found["overall"]["AP50"] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_id": 9}, "entry 1: image_id 9 is not in the split"),
        ({"category_id": 5}, "entry 1: category_id 5 is not in the split"),
        ({"score": float("nan")}, "entry 1: score is nan"),
        ({"score": None}, "entry 1: score is None"),
        ({"bbox": [0, 0, 5]}, "bbox is [0, 0, 5], and must be [x, y, width, height]"),
        ({"bbox": [0, 0, -5, 5]}, "must be [x, y, width, height]"),
        ({"image_id": [7]}, "image_id [7] is not in the split"),
    ],
)
def test_wrong_rows_are_named(change, message, boxes, capsys):
    (boxes / "found.json").write_text(json.dumps([{**ROWS[0], **change}]))
    assert main(["evaluate", "found.json", "card.yaml"]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) <= 5


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{}", "must be a list of predictions"),
        ("[3]", "is no prediction"),
        ("[", "is not JSON"),
        ('[{"file_name": "9.png", "category_id": 3, "score": 1, "bbox": [0, 0, 1, 1]}]', "file_name '9.png'"),
        ('[{"image_id": 7, "category_id": 3, "score": 1}]', "neither a bbox nor a segmentation"),
        ('[{"image_id": 7, "category_id": 3, "bbox": [0, 0, 1, 1]}]', "has no score"),
    ],
)
def test_other_files_are_refused(content, message, boxes, capsys):
    (boxes / "found.json").write_text(content)
    assert main(["evaluate", "found.json", "card.yaml"]) == 2
    assert message in capsys.readouterr().err


def test_polygons_are_refused(boxes, capsys):
    polygon = [[0, 0, 20, 0, 20, 20, 0, 20]]
    truth = json.loads((boxes / "truth.json").read_text())
    truth["annotations"] = [{**annotation, "segmentation": polygon} for annotation in truth["annotations"]]
    (boxes / "truth.json").write_text(json.dumps(truth))
    (boxes / "found.json").write_text(json.dumps([{**ROWS[0], "segmentation": polygon}]))
    assert main(["evaluate", "found.json", "card.yaml"]) == 2
    assert "entry 1: segmentation must be RLE" in capsys.readouterr().err


@pytest.fixture
def masks(desk):
    truth = np.zeros(SIZE, np.uint8)
    truth[:, 30:] = 1
    for name in ("a", "b"):
        write_image(desk / "images" / f"{name}.png")
        (desk / "masks").mkdir(exist_ok=True)
        cv2.imwrite(str(desk / "masks" / f"{name}.png"), truth)
    splits = "{val: {images: images, masks: masks}}"
    (desk / "card.yaml").write_text(f"data: {{format: masks, root: ., classes: [cat, dog], splits: {splits}}}\n")
    return desk, truth


def write_mask(path, mask):
    path.parent.mkdir(exist_ok=True)
    cv2.imwrite(str(path), mask)


def test_masks_of_the_split(masks):
    desk, truth = masks
    half = truth.copy()
    half[:, 30:45] = 0
    write_mask(desk / "found" / "a.png", truth)
    write_mask(desk / "found" / "b.png", half)
    found = scores("found", "card.yaml")
    assert found["split"] == "val"
    assert found["per_class"]["IoU"] == pytest.approx({"cat": 60 / 75, "dog": 45 / 60})
    assert found["overall"]["pixel_accuracy"] == pytest.approx(105 / 120)
    assert "mIoU" in found["confidence_intervals"]["overall"]


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (None, "no mask of 1 of 2 images: b.png"),
        (np.zeros((20, 30), np.uint8), "is 30 x 20, but its image 60 x 40"),
        (np.full(SIZE, 2, np.uint8), "has the value 2: classes are 0 to 1"),
        (np.full(SIZE, 255, np.uint8), "has the value 255: give every pixel a class"),
    ],
)
def test_wrong_masks_are_named(mask, message, masks, capsys):
    desk, truth = masks
    write_mask(desk / "found" / "a.png", truth)
    if mask is not None:
        write_mask(desk / "found" / "b.png", mask)
    assert main(["evaluate", "found", "card.yaml"]) == 2
    assert message in capsys.readouterr().err


@pytest.fixture
def classes(desk):
    for name in CLASSES:
        for number in (0, 1):
            write_image(desk / "val" / name / f"{name}{number}.png")
    (desk / "card.yaml").write_text("data: {format: folder, root: ., splits: {val: {path: val}}}\n")
    return desk


def write_csv(path, rows, header=("image", *CLASSES)):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])


GOOD = [["cat0.png", 0.9, 0.1], ["val/cat/cat1.png", 0.6, 0.4], ["dog0.png", 0.2, 0.8], ["dog1.png", 0.7, 0.3]]


def test_probabilities_of_the_split(classes):
    write_csv(classes / "found.csv", GOOD)
    found = scores("found.csv", "card.yaml")
    assert found["overall"]["top1"] == 0.75
    assert found["per_class"]["recall"] == {"cat": 1.0, "dog": 0.5}
    assert json.loads((classes / "out" / "curves.json").read_text())["curves"]["classes"]["cat"][
        "AUC"
    ] == pytest.approx(0.75)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (GOOD[:3], "no row for 1 of 4 images: dog1.png"),
        ([*GOOD, GOOD[0]], "found.csv:6: a second row for cat0.png"),
        ([*GOOD[:3], ["dog9.png", 0.5, 0.5]], "found.csv:5: dog9.png is not in the split"),
        ([*GOOD[:3], ["dog1.png", 0.5, 0.6]], "the probabilities add up to 1.1"),
        ([*GOOD[:3], ["dog1.png", 1.5, -0.5]], "cat is '1.5', and must be a probability"),
        ([*GOOD[:3], ["dog1.png", "nan", 0.5]], "cat is 'nan'"),
        ([*GOOD[:3], ["dog1.png", "much", 0.5]], "cat is 'much'"),
    ],
)
def test_wrong_probabilities_are_named(rows, message, classes, capsys):
    write_csv(classes / "found.csv", rows)
    assert main(["evaluate", "found.csv", "card.yaml"]) == 2
    assert message in capsys.readouterr().err


def test_a_missing_class_and_another_kind_of_file(classes, capsys):
    write_csv(classes / "found.csv", [row[:2] for row in GOOD], ("image", "cat"))
    assert main(["evaluate", "found.csv", "card.yaml"]) == 2
    assert "dog" in capsys.readouterr().err
    (classes / "found.txt").write_text("")
    assert main(["evaluate", "found.txt", "card.yaml"]) == 2
    assert "is of no known kind" in capsys.readouterr().err
    assert main(["evaluate", "missing.json", "card.yaml"]) == 2
    write_csv(classes / "found.csv", GOOD)
    assert main(["evaluate", "found.csv", "card.yaml", "--metric", "coco"]) == 2
    assert "--metric goes with predicted boxes" in capsys.readouterr().err
