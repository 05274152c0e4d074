"""VOC average precision against a plain loop by the devkit's rules, in 1-based inclusive pixels."""

import math

import pytest
import torch

from tests.helpers.metric_cases import random_case
from visionkit.metrics.detection import detection_metrics
from visionkit.metrics.results import MetricResults
from visionkit.metrics.voc import VocAP


def plain_ap(predictions, targets, label, mode, threshold=0.5):
    """One class by the devkit's loop: sort, find the highest overlap with the +1 rule, mark matched objects."""
    truth, positives = {}, 0
    for target in targets:
        rows = []
        columns = (target[key].tolist() for key in ("boxes", "labels", "difficult"))
        for box, cls, hard in zip(*columns, strict=True):
            if cls == label:
                rows.append({"box": inclusive(box), "difficult": hard, "taken": False})
                positives += not hard
        truth[target["image_id"]] = rows
    if positives == 0:
        return math.nan
    detections = []
    for prediction, target in zip(predictions, targets, strict=True):
        columns = (prediction[key].tolist() for key in ("boxes", "scores", "labels"))
        for box, score, cls in zip(*columns, strict=True):
            if cls == label:
                detections.append((score, target["image_id"], inclusive(box)))
    detections.sort(key=lambda row: -row[0])
    hits, misses, curve = 0, 0, []
    for _, image_id, box in detections:
        best, best_overlap = None, -math.inf
        for row in truth[image_id]:
            overlap = plain_overlap(box, row["box"])
            if overlap > best_overlap:
                best, best_overlap = row, overlap
        if best is not None and best_overlap >= threshold:
            if best["difficult"]:
                continue
            if best["taken"]:
                misses += 1
            else:
                hits += 1
                best["taken"] = True
        else:
            misses += 1
        curve.append((hits / positives, hits / (hits + misses)))
    return eleven(curve) if mode == "11-point" else area(curve)


def inclusive(box):
    return [box[0] + 1, box[1] + 1, box[2], box[3]]


def plain_overlap(a, b):
    width = min(a[2], b[2]) - max(a[0], b[0]) + 1
    height = min(a[3], b[3]) - max(a[1], b[1]) + 1
    if width <= 0 or height <= 0:
        return 0.0
    both = (a[2] - a[0] + 1) * (a[3] - a[1] + 1) + (b[2] - b[0] + 1) * (b[3] - b[1] + 1) - width * height
    return width * height / both


def eleven(curve):
    return sum(max([p for r, p in curve if r >= k / 10], default=0.0) for k in range(11)) / 11


def area(curve):
    total, last = 0.0, 0.0
    for index, (recall, _) in enumerate(curve):
        total += (recall - last) * max(p for _, p in curve[index:])
        last = recall
    return total


@pytest.mark.parametrize("mode", ["11-point", "all-point"])
@pytest.mark.parametrize("seed", range(15))
def test_random_cases_equal_the_plain_loop(seed, mode):
    predictions, targets = random_case(seed, classes=3, images=10, difficult=True)
    metric = VocAP(["a", "b", "c"], mode=mode)
    metric.update(predictions, targets)
    metrics = metric.compute()
    expected = [plain_ap(predictions, targets, label, mode) for label in range(3)]
    assert [metrics.per_class["AP50"][name] for name in "abc"] == pytest.approx(expected, abs=1e-9, nan_ok=True)
    defined = [value for value in expected if not math.isnan(value)]
    assert metrics.overall["AP50"] == pytest.approx(sum(defined) / len(defined))


def case(objects, detections, difficult=None):
    """One image of one class; boxes as corners, detections with scores in descending order."""
    target = {
        "image_id": "x",
        "boxes": torch.tensor(objects, dtype=torch.float32).reshape(-1, 4),
        "labels": torch.zeros(len(objects), dtype=torch.long),
        "difficult": torch.tensor(difficult or [False] * len(objects)),
    }
    prediction = {
        "boxes": torch.tensor(detections, dtype=torch.float32).reshape(-1, 4),
        "scores": torch.linspace(1, 0.5, len(detections)),
        "labels": torch.zeros(len(detections), dtype=torch.long),
    }
    metric = VocAP(["a"], mode="all-point")
    metric.update([prediction], [target])
    return metric.compute().overall["AP50"]


BOX, OTHER = [0, 0, 10, 10], [50, 50, 70, 70]


def test_by_hand():
    assert case([BOX], [BOX]) == 1
    assert case([BOX, OTHER], [BOX]) == pytest.approx(0.5)
    assert case([BOX, OTHER], [BOX, BOX, OTHER]) == pytest.approx(0.5 + 0.5 * 2 / 3)
    assert case([BOX], []) == 0


def test_matches_with_difficult_objects_are_ignored():
    assert case([BOX, OTHER], [OTHER, BOX], difficult=[False, True]) == 1
    assert case([BOX, OTHER], [BOX], difficult=[False, True]) == 1
    assert math.isnan(case([BOX], [BOX], difficult=[True]))


def test_metrics_are_named_by_their_iou_threshold():
    metric = VocAP(["a"], iou_threshold=0.75)
    prediction = {"boxes": [[0, 0, 10, 7]], "scores": [1.0], "labels": [0]}
    metric.update([prediction], [{"image_id": 1, "boxes": [BOX], "labels": [0]}])
    assert metric.main_metric == "AP75"
    assert metric.compute() == MetricResults({"AP75": 0.0}, {"AP75": {"a": 0.0}})


def test_both_rules_are_registered():
    assert detection_metrics.get("voc07")(class_names=["a"]).mode == "11-point"
    assert detection_metrics.get("voc10")(class_names=["a"]).mode == "all-point"
