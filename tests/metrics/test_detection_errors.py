"""TIDE's kinds of errors, on single boxes and against hotcoco."""

import numpy as np
import pytest

from tests.helpers.metric_cases import random_case
from visionkit.metrics.coco_backends import hotcoco_evaluation
from visionkit.metrics.detection_columns import DetectionColumns
from visionkit.metrics.detection_errors import ERROR_KINDS, IGNORED, NO_ERROR, find_errors
from visionkit.metrics.operating_point import match_at

OBJECT = [0.0, 0, 100, 100]
SHIFTED = [40.0, 0, 140, 100]
"""IoU 0.43 with the object."""
FAR = [300.0, 300, 400, 400]


def errors(detections, objects, **target):
    """Errors of detections and objects (box, label); scores fall in the given order."""
    prediction = {
        "boxes": [box for box, _ in detections],
        "labels": [label for _, label in detections],
        "scores": np.linspace(0.9, 0.5, len(detections)),
    }
    truth = {"image_id": 1, "boxes": [box for box, _ in objects], "labels": [label for _, label in objects], **target}
    columns = DetectionColumns.of_images([prediction], [truth])
    return find_errors(columns, match_at(columns, 2))


@pytest.mark.parametrize(
    ("detections", "expected", "missed"),
    [
        ([(OBJECT, 0)], ["correct"], 0),
        ([(OBJECT, 1)], ["classification"], 0),
        ([(SHIFTED, 0)], ["localization"], 0),
        ([(SHIFTED, 1)], ["both"], 1),
        ([(OBJECT, 0), (OBJECT, 0)], ["correct", "duplicate"], 0),
        ([(FAR, 0)], ["background"], 1),
        ([], [], 1),
    ],
)
def test_each_kind(detections, expected, missed):
    found = errors(detections, [(OBJECT, 0)])
    names = ["correct" if kind == NO_ERROR else ERROR_KINDS[kind] for kind in found.kinds]
    assert names == expected
    assert found.missed.sum() == missed
    assert found.undetected.tolist() == ["correct" not in expected]


def test_detections_of_ignored_objects_are_no_errors():
    found = errors([(OBJECT, 0)], [(OBJECT, 0)], crowd=[True])
    assert found.kinds.tolist() == [IGNORED]
    assert not found.missed.any()


@pytest.mark.parametrize("seed", range(8))
def test_counts_are_those_of_hotcoco(seed):
    predictions, targets = random_case(seed, classes=3, images=10)
    random = np.random.default_rng(seed)
    for prediction in predictions:
        prediction["labels"] = random.integers(0, 3, len(prediction["labels"]))
    columns = DetectionColumns.of_images(
        predictions, [{**target, "crowd": target["crowd"] & False} for target in targets]
    )
    found = find_errors(columns, match_at(columns, 3))
    evaluation = hotcoco_evaluation(columns, 3, "bbox")
    evaluation.evaluate()
    expected = evaluation.tide_errors()["counts"]
    everything = np.ones(len(columns.predicted), bool), np.ones(len(columns.true), bool)
    assert [*found.counts(*everything).values()] == [
        expected[name] for name in ("Cls", "Loc", "Both", "Dupe", "Bkg", "Miss")
    ]
