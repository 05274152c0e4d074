"""`visionkit predict --format`: detections for annotation tools."""

import json
import os
from pathlib import Path
from xml.etree.ElementTree import parse

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as rle
from pycocotools.coco import COCO

from tests.helpers.detector_checkpoint import CLASSES, detector_checkpoint
from tests.helpers.small_classifier import small_checkpoint
from visionkit.cli.main import main

IMAGES = ["photos/a.png", "photos/deep/a.png"]


@pytest.fixture(scope="module", params=["faster_rcnn", "mask_rcnn"])
def checkpoint(request, tmp_path_factory):
    return str(detector_checkpoint(tmp_path_factory.mktemp("run") / "best.ckpt", request.param))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos" / "deep").mkdir(parents=True)
    random = np.random.default_rng(0)
    for name in IMAGES:
        Image.fromarray(random.integers(0, 255, (40, 60, 3), np.uint8)).save(name)
    return tmp_path


def predict(checkpoint, format_name, *more):
    """Predict on all images, and return the detections in predictions.json."""
    words = ["photos", "--output", "out", "--score-threshold", "0.02", "--format", format_name, *more]
    assert main(["predict", checkpoint, *words]) == 0
    rows = json.loads(Path("out/predictions.json").read_text())
    detections = [row["detections"] for row in rows]
    assert all(detections), "without detections the tests would compare nothing"
    return detections


def test_coco_has_all_detections_with_scores_and_masks(checkpoint, folder):
    detections = predict(checkpoint, "coco")
    coco = COCO("out/coco/annotations/instances_train.json")
    assert [image["file_name"] for image in coco.imgs.values()] == ["a.png", "a-2.png"]
    for number, expected in enumerate(detections, start=1):
        found = coco.imgToAnns[number]
        assert [each["score"] for each in found] == pytest.approx([each["score"] for each in expected], abs=1e-5)
        names = [coco.cats[each["category_id"]]["name"] for each in found]
        assert names == [each["name"] for each in expected]
        for one, other in zip(found, expected, strict=True):
            x, y, width, height = one["bbox"]
            assert [x, y, x + width, y + height] == pytest.approx(other["box"], abs=1e-3)
            if "mask" in other:
                np.testing.assert_array_equal(coco.annToMask(one), rle.decode(other["mask"]))
    assert (folder / "out" / "coco" / "images" / "train" / "a-2.png").read_bytes() == (folder / IMAGES[1]).read_bytes()


@pytest.mark.parametrize("more", [[], ["--scores"]])
def test_yolo_has_scores_only_if_asked_for(checkpoint, more, folder):
    detections = predict(checkpoint, "yolo", *more)
    lines = (folder / "out" / "yolo" / "labels" / "train" / "a.txt").read_text().splitlines()
    assert len(lines) == len(detections[0])
    for line, expected in zip(lines, detections[0], strict=True):
        numbers = line.split()
        assert CLASSES[int(numbers[0])] == expected["name"]
        assert len(numbers) % 2 == 1 - bool(more)
        assert float(numbers[-1]) == pytest.approx(expected["score"], abs=1e-5) or not more


def test_labelme_has_a_file_beside_each_image(checkpoint, folder):
    detections = predict(checkpoint, "labelme")
    assert sorted(os.listdir("out/labelme/train")) == ["a-2.json", "a-2.png", "a.json", "a.png"]
    content = json.loads((folder / "out" / "labelme" / "train" / "a.json").read_text())
    expected = [f"score {each['score']:.4f}" for each in detections[0]]
    assert list(dict.fromkeys(shape["description"] for shape in content["shapes"])) == list(dict.fromkeys(expected))


def test_cvat_has_scores_as_attributes(checkpoint, folder):
    detections = predict(checkpoint, "cvat")
    images = parse("out/cvat/train/annotations.xml").getroot().findall("image")
    assert [image.attrib["name"] for image in images] == ["a.png", "a-2.png"]
    scores = [float(shape.findtext("attribute")) for shape in images[0]]
    assert scores == pytest.approx([each["score"] for each in detections[0]], abs=1e-4)


def test_an_earlier_result_is_kept(checkpoint, folder, capsys):
    predict(checkpoint, "coco")
    assert main(["predict", checkpoint, "photos", "--output", "out", "--format", "coco"]) == 2
    assert "out/coco exists already" in capsys.readouterr().err


def test_only_detectors_have_pre_labels(folder, capsys):
    classifier = str(small_checkpoint(folder / "best.ckpt", ["cat", "dog"]))
    assert main(["predict", classifier, "photos", "--format", "coco"]) == 2
    assert "--format coco is for detectors, and this checkpoint is one of classification" in capsys.readouterr().err
    assert not (folder / "predictions").exists()


def test_scores_go_with_yolo(capsys):
    with pytest.raises(SystemExit) as end:
        main(["predict", "best.ckpt", "photos", "--format", "coco", "--scores"])
    assert end.value.code == 2
    assert "--scores goes with --format yolo" in capsys.readouterr().err
