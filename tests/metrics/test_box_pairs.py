"""Pairs of boxes: the same in one part and in many, and none."""

import numpy as np
import pytest
from pycocotools import mask as rle

from tests.helpers.metric_cases import random_case
from visionkit.metrics import box_pairs
from visionkit.metrics.box_pairs import pairs_of_class, pairs_of_image
from visionkit.metrics.coco import CocoMaskAP
from visionkit.metrics.detection_columns import DetectionColumns


@pytest.mark.parametrize("most", [1, 7])
def test_pairs_do_not_depend_on_how_many_are_compared_at_once(most, monkeypatch):
    columns = DetectionColumns.of_images(*random_case(0, classes=3, images=6))
    whole = pairs_of_class(columns.predicted, columns.true, 3), pairs_of_image(columns.predicted, columns.true)
    monkeypatch.setattr(box_pairs, "MAX_PAIRS", most)
    parts = pairs_of_class(columns.predicted, columns.true, 3), pairs_of_image(columns.predicted, columns.true)
    for one, other in zip(whole, parts, strict=True):
        assert len(one.iou) > most
        for name in ("predicted", "true", "iou"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_pairs_of_a_small_iou_are_left_out():
    columns = DetectionColumns.of_images(*random_case(0, classes=3, images=6))
    found = pairs_of_image(columns.predicted, columns.true, least=0.3)
    every = pairs_of_image(columns.predicted, columns.true)
    np.testing.assert_array_equal(found.iou, every.iou[every.iou >= 0.3])
    assert 0 < len(found.iou) < len(every.iou)


def test_masks_of_classes_that_were_not_predicted_are_scored():
    mask = rle.encode(np.asfortranarray(np.ones((9, 9), np.uint8)))
    box = {"boxes": [[0.0, 0, 9, 9]], "masks": [mask]}
    columns = DetectionColumns.of_images(
        [{**box, "labels": [0], "scores": [0.9]}], [{**box, "labels": [1], "image_id": 1, "size": (9, 9)}]
    )
    metric = CocoMaskAP(["a", "b"])
    resampled = metric.resample(columns, np.ones((1, 1), np.float32))
    assert resampled.overall["mask_AP"].tolist() == [0]
