"""The same photos in the files of several annotation tools, read by every format."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.real_data import real_data
from visionkit.data.datasets.coco import Coco
from visionkit.data.datasets.createml import Createml
from visionkit.data.datasets.cvat import Cvat
from visionkit.data.datasets.labelme import Labelme
from visionkit.data.datasets.via import Via
from visionkit.data.datasets.voc import Voc


@pytest.fixture
def folder():
    return real_data("annotation-formats") / "iteam1_2label_many"


@pytest.fixture
def cvat(folder):
    return Cvat(folder, "cvat1.1/annotations.xml", masks=True, other_shapes="skip")


def objects(dataset, name):
    """Return (class, box) of the objects of an image."""
    index = [Path(file).stem for file in dataset.file_names].index(name)
    annotation = dataset.annotation(index)
    return [(dataset.class_names[label], box) for label, box in zip(annotation.labels, annotation.boxes, strict=True)]


def distances(dataset, reference, name):
    """Return the largest difference of the edges of each box from the nearest box of its class in the reference."""
    truth = objects(reference, name)
    return [
        min(np.abs(box - other).max() for other_label, other in truth if other_label == label)
        for label, box in objects(dataset, name)
    ]


def overlaps(dataset, reference, name):
    """Return the intersection over union of each box with the best box of the reference, whatever their classes are."""
    return [
        max(_iou(box, other) for _, other in objects(reference, name)) for _, box in objects(dataset, name)
    ]  # fmt: skip


def _iou(first, second):
    sides = np.minimum(first[2:], second[2:]) - np.maximum(first[:2], second[:2])
    shared = np.maximum(sides, 0).prod()
    return shared / ((first[2:] - first[:2]).prod() + (second[2:] - second[:2]).prod() - shared)


def test_coco_and_voc_exports_of_cvat_equal_its_own_file(folder, cvat, tmp_path):
    coco = Coco(folder, "coco1.0/annotations/instances_default.json", "images")
    assert (cvat.class_names, len(cvat.objects)) == (coco.class_names, len(coco.objects))
    for name in ("birds", "strawberry"):
        assert max(distances(coco, cvat, name)) < 0.01
    # CVAT turns ellipses into masks for COCO, whose boxes are of whole pixels.
    assert max(distances(coco, cvat, "shapes")) < 1.5
    shutil.copytree(folder / "voc1.1", tmp_path / "voc")
    shutil.copytree(folder / "images", tmp_path / "voc" / "JPEGImages")
    voc = Voc(tmp_path / "voc", "default")
    assert len(voc.objects) == 18
    for name in ("shapes", "strawberry"):  # CVAT does not count pixels from 1, as VOC and our reader do
        assert max(distances(voc, cvat, name)) <= 1.001


def test_the_json_and_csv_files_of_via_are_equal(folder):
    first, second = (
        Via(folder, f"via/via_region_data.{kind}", "images", other_shapes="skip") for kind in ("json", "csv")
    )
    assert len(first.objects) == len(second.objects) == 23
    for name in ("birds", "shapes", "strawberry"):
        assert max(distances(first, second, name)) == 0
    assert first.report.pop("repeated objects dropped") == 17
    assert first.report == second.report == {"shapes of other kinds skipped (polyline)": 2}


def test_photos_annotated_by_hand_in_another_tool_have_nearly_the_same_boxes(folder, cvat):
    others = {
        "labelme": Labelme(folder, "labelme", "images", other_shapes="skip"),
        "via": Via(folder, "via/via_region_data.json", "images", other_shapes="skip"),
        "createml": Createml(folder, "CreateML", "images"),
    }
    for other in others.values():
        assert len(objects(other, "strawberry")) == len(objects(cvat, "strawberry")) == 17
        assert max(distances(other, cvat, "strawberry")) < 7.5
        assert min(overlaps(other, cvat, "birds")) > 0.9
    for other in ("labelme", "via"):
        assert min(overlaps(others[other], cvat, "shapes")) > 0.95
