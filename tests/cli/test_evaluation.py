"""`visionkit evaluate`: predictions of a checkpoint and of files, and files that do not fit."""

import csv
import json

import cv2
import numpy as np
import pytest
from pycocotools import mask as rle

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
        ({"score": 10**400}, "entry 1: score is 1000"),
        ({"score": None}, "entry 1: score is None"),
        ({"score": 3.5}, "entry 1: score is 3.5, and must be a probability from 0 to 1"),
        ({"score": -0.1}, "apply a sigmoid or softmax"),
        ({"bbox": [0, 0, 5]}, "bbox is [0, 0, 5], and must be [x, y, width, height]"),
        ({"bbox": [0, 0, -5, 5]}, "must be [x, y, width, height]"),
        ({"bbox": [0, 0, 10**400, 5]}, "must be [x, y, width, height]"),
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
        (
            '[{"file_name": "9.png", "category_id": 3, "score": 1, "bbox": [0, 0, 1, 1]}]',
            "file_name '9.png' is not in the split",
        ),
        ('[{"image_id": 7, "category_id": 3, "score": 1}]', "neither a bbox nor a segmentation"),
        ('[{"image_id": 7, "category_id": 3, "bbox": [0, 0, 1, 1]}]', "has no score"),
    ],
)
def test_other_files_are_refused(content, message, boxes, capsys):
    (boxes / "found.json").write_text(content)
    assert main(["evaluate", "found.json", "card.yaml"]) == 2
    assert message in capsys.readouterr().err


def test_file_names_may_have_folders(boxes, capsys):
    truth = json.loads((boxes / "truth.json").read_text())
    for image, folder in zip(truth["images"], "xy", strict=True):
        image["file_name"] = f"{folder}/a.png"
        write_image(boxes / "images" / folder / "a.png")
    (boxes / "truth.json").write_text(json.dumps(truth))
    by_name = [{**row, "file_name": name} for row, name in zip(ROWS, ("x/a.png", "x/a.png", "y/a.png"), strict=True)]
    by_name = [{key: value for key, value in row.items() if key != "image_id"} for row in by_name]
    (boxes / "by_name.json").write_text(json.dumps(by_name))
    (boxes / "found.json").write_text(json.dumps([{**ROWS[1], "image_id": 7}, ROWS[0], ROWS[2]]))
    assert scores("by_name.json", "card.yaml")["overall"] == scores("found.json", "card.yaml")["overall"]
    (boxes / "found.json").write_text(json.dumps([{**ROWS[1], "file_name": "a.png"}]))
    assert main(["evaluate", "found.json", "card.yaml"]) == 2
    assert "entry 1: file_name 'a.png' is the name of several images" in capsys.readouterr().err


def test_a_score_that_rounding_raises_above_1_is_taken(boxes):
    (boxes / "found.json").write_text(json.dumps([{**ROWS[0], "score": 1.0000001}, *ROWS[1:]]))
    assert scores("found.json", "card.yaml")["overall"]["F1"] == 1.0


def test_repeated_rows_are_counted(boxes, capsys):
    (boxes / "found.json").write_text(json.dumps([*ROWS, ROWS[1], ROWS[1]]))
    found = scores("found.json", "card.yaml")
    assert "2 of 5 predictions repeat an earlier one" in capsys.readouterr().err
    assert found["errors"]["all_detections"]["duplicate"] == 2


def mask_code(size):
    code = rle.encode(np.asfortranarray(np.ones(size, np.uint8)))
    return {"size": list(size), "counts": code["counts"].decode()}


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (mask_code((20, 30)), "the mask has the size [20, 30], but its image"),
        ({"counts": "0"}, "the mask has the size None"),
        ({"size": list(SIZE), "counts": [0, 2400]}, "the counts of the mask must be text"),
        ({**mask_code((20, 30)), "size": list(SIZE)}, "the mask is no run-length code of 2400 pixels"),
    ],
)
def test_masks_of_objects_that_do_not_fit_their_image_are_refused(code, message, boxes, capsys):
    truth = json.loads((boxes / "truth.json").read_text())
    polygon = {"segmentation": [[0, 0, 20, 0, 20, 20, 0, 20]]}
    truth["annotations"] = [{**annotation, **polygon} for annotation in truth["annotations"]]
    (boxes / "truth.json").write_text(json.dumps(truth))
    row = {key: value for key, value in ROWS[0].items() if key != "bbox"}
    rows = [{**row, "segmentation": mask_code(SIZE)}, {**row, "segmentation": code}]
    (boxes / "found.json").write_text(json.dumps(rows))
    assert main(["evaluate", "found.json", "card.yaml"]) == 2
    assert f"entry 2: {message}" in capsys.readouterr().err
    (boxes / "found.json").write_text(json.dumps(rows[:1]))
    assert "mask_AP" in scores("found.json", "card.yaml")["overall"]


def test_keys_that_have_no_effect_are_refused(boxes, capsys):
    (boxes / "found.json").write_text(json.dumps(ROWS))
    for word in ("model.name=unet", "inference.score_threshold=0.5", "evaluation.metrik=coco"):
        assert main(["evaluate", "found.json", "card.yaml", word]) == 2
        assert f"{word.partition('=')[0]} has no effect here" in capsys.readouterr().err
    assert "AP50" in scores("found.json", "card.yaml", "evaluation.metric=voc07", "data.batch_size=2")["overall"]


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
    path.parent.mkdir(parents=True, exist_ok=True)
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
        (np.full(SIZE, 255, np.uint8), "give each pixel of a prediction its most probable class"),
        (np.eye(*SIZE, dtype=np.uint8) * 255, "write 1 in place of 255"),
    ],
)
def test_wrong_masks_are_named(mask, message, masks, capsys):
    desk, truth = masks
    write_mask(desk / "found" / "a.png", truth)
    if mask is not None:
        write_mask(desk / "found" / "b.png", mask)
    assert main(["evaluate", "found", "card.yaml"]) == 2
    assert message in capsys.readouterr().err


def test_masks_in_the_folders_of_their_images(masks, capsys):
    """Two images with one name: a mask that only one of them has is not that of the other."""
    desk, truth = masks
    for folder in ("x", "y"):
        write_image(desk / "images" / folder / "c.png")
        write_mask(desk / "masks" / folder / "c.png", truth)
    for name in ("a", "b", "x/c"):
        write_mask(desk / "found" / f"{name}.png", truth)
    assert main(["evaluate", "found", "card.yaml"]) == 2
    assert "no mask of 1 of 4 images: y/c.png" in capsys.readouterr().err
    write_mask(desk / "found" / "y" / "c.png", 1 - truth)
    assert scores("found", "card.yaml")["overall"]["pixel_accuracy"] == 0.75
    (desk / "found" / "x" / "c.png").unlink()
    (desk / "found" / "y" / "c.png").rename(desk / "found" / "c.png")
    assert main(["evaluate", "found", "card.yaml"]) == 2
    assert "put masks in the folders of their images" in capsys.readouterr().err


def test_boundary_f1_of_masks(masks):
    desk, truth = masks
    for name in ("a", "b"):
        write_mask(desk / "found" / f"{name}.png", truth)
    found = scores("found", "card.yaml", "evaluation.boundaries=true")["overall"]
    assert found["boundary_F1"] == 1
    assert "calibration_error" not in found, "masks have no probabilities"


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
        ([*GOOD[:3], ["dog1.png", -0.5, 1.5]], "apply a softmax"),
        ([*GOOD[:3], ["dog1.png", "nan", 0.5]], "cat is 'nan'"),
        ([*GOOD[:3], ["dog1.png", "much", 0.5]], "cat is 'much'"),
    ],
)
def test_wrong_probabilities_are_named(rows, message, classes, capsys):
    write_csv(classes / "found.csv", rows)
    assert main(["evaluate", "found.csv", "card.yaml"]) == 2
    assert message in capsys.readouterr().err


def test_other_columns_are_named(classes, capsys):
    write_csv(classes / "found.csv", [[*row, "x", 0.1] for row in GOOD], ("image", *CLASSES, "set", "bird"))
    assert scores("found.csv", "card.yaml")["overall"]["top1"] == 0.75
    assert "no class of the card, and not used: the columns set, bird" in capsys.readouterr().err


def test_a_missing_class_and_another_kind_of_file(classes, capsys):
    write_csv(classes / "found.csv", [row[:2] for row in GOOD], ("image", "cat"))
    assert main(["evaluate", "found.csv", "card.yaml"]) == 2
    assert "dog" in capsys.readouterr().err
    (classes / "found.txt").write_text("")
    assert main(["evaluate", "found.txt", "card.yaml"]) == 2
    assert "is of no known kind" in capsys.readouterr().err
    assert main(["evaluate", "missing.json", "card.yaml"]) == 2
    write_csv(classes / "found.csv", GOOD)
    for words in (["--metric", "coco"], ["evaluation.metric=coco"]):
        assert main(["evaluate", "found.csv", "card.yaml", *words]) == 2
        assert "--metric goes with predicted boxes" in capsys.readouterr().err
