"""COCO's assignment against hotcoco, whose numbers are those of pycocotools."""

import numpy as np
import pytest
from pycocotools import mask as rle

from tests.helpers.metric_cases import random_case
from visionkit.metrics.coco_backends import evaluate_with_hotcoco
from visionkit.metrics.coco_matches import match_as_coco
from visionkit.metrics.detection_columns import DetectionColumns

CLASSES = 3


def box_masks(boxes, size):
    masks = np.zeros((len(boxes), *size), np.uint8)
    for mask, (left, top, right, bottom) in zip(masks, np.asarray(boxes).round().astype(int).clip(0), strict=True):
        mask[top : max(bottom, top + 1), left : max(right, left + 1)] = 1
    return [rle.encode(np.asfortranarray(mask)) for mask in masks]


def curves(columns, matches):
    """Precision [T, 101, K, A] and recall [T, K, A] of the matches, by pycocotools' rule."""
    predicted, true = columns.predicted, columns.true
    areas, thresholds = matches.matched.shape[:2]
    precision = -np.ones((thresholds, 101, CLASSES, areas))
    recall = -np.ones((thresholds, CLASSES, areas))
    for label, area, threshold in np.ndindex(CLASSES, areas, thresholds):
        objects = np.count_nonzero(matches.objects[area] & (true.labels == label))
        if objects:
            rows = np.flatnonzero((predicted.labels == label) & ~matches.ignored[area, threshold])
            rows = rows[np.argsort(-predicted.scores[rows], kind="stable")]
            hits = np.cumsum(matches.matched[area, threshold, rows])
            highest = np.maximum.accumulate((hits / np.arange(1, len(rows) + 1))[::-1])[::-1]
            places = np.searchsorted(hits / objects, np.linspace(0, 1, 101))
            precision[threshold, :, label, area] = np.append(highest, np.zeros(1))[np.minimum(places, len(rows))]
            recall[threshold, label, area] = hits[-1] / objects if len(rows) else 0
    return precision, recall


@pytest.mark.parametrize("difficult", [False, True])
@pytest.mark.parametrize("seed", range(10))
def test_curves_of_the_matches_are_those_of_coco(seed, difficult):
    columns = DetectionColumns.of_images(*random_case(seed, CLASSES, images=8, difficult=difficult))
    expected = evaluate_with_hotcoco(columns, CLASSES, "bbox", [1, 10, 100])
    precision, recall = curves(columns, match_as_coco(columns, CLASSES))
    np.testing.assert_allclose(precision, expected.precision, atol=1e-12)
    np.testing.assert_allclose(recall, expected.recall, atol=1e-12)


@pytest.mark.parametrize("limit", [1, 2])
def test_only_the_first_detections_of_an_image_count(limit):
    columns = DetectionColumns.of_images(*random_case(3, CLASSES, images=8))
    expected = evaluate_with_hotcoco(columns, CLASSES, "bbox", [limit])
    np.testing.assert_allclose(
        curves(columns, match_as_coco(columns, CLASSES, max_detections=limit))[0], expected.precision, atol=1e-12
    )


def test_masks_are_compared_with_masks():
    predictions, targets = random_case(5, CLASSES, images=4)
    for image in (*predictions, *targets):
        image["masks"] = box_masks(image["boxes"], (600, 600))
    columns = DetectionColumns.of_images(predictions, [{**target, "size": (600, 600)} for target in targets])
    expected = evaluate_with_hotcoco(columns, CLASSES, "segm", [1, 10, 100])
    precision, _ = curves(columns, match_as_coco(columns, CLASSES, "segm"))
    np.testing.assert_allclose(precision, expected.precision, atol=1e-12)


def test_images_without_boxes():
    nothing = {"boxes": [], "labels": []}
    columns = DetectionColumns.of_images([{**nothing, "scores": []}], [{**nothing, "image_id": 1}])
    matches = match_as_coco(columns, CLASSES)
    assert matches.matched.shape == (4, 10, 0)
    assert matches.objects.shape == (4, 0)
