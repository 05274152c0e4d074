"""The best threshold against a plain loop over all thresholds, and the confusion matrix by hand."""

import math

import numpy as np
import pytest
import torch

from tests.helpers.metric_cases import flat, random_case
from visionkit.metrics.detection_columns import DetectionColumns
from visionkit.metrics.operating_point import BestF1, best_thresholds, find_operating_point


def overlap(a, b):
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0, 0.0
    own, other = (a[2] - a[0]) * (a[3] - a[1]), (b[2] - b[0]) * (b[3] - b[1])
    return width * height / (own + other - width * height), width * height / own


def counts_at(threshold, predictions, targets, label):
    """Return true positives, counted boxes and objects of one class, for boxes above the threshold."""
    hits = taken = objects = 0
    for prediction, target in zip(predictions, targets, strict=True):
        there = list(zip(*(target[k].tolist() for k in ("boxes", "labels", "crowd")), strict=True))
        free = [box for box, cls, crowd in there if cls == label and not crowd]
        crowds = [box for box, cls, crowd in there if cls == label and crowd]
        objects += len(free)
        rows = zip(*(prediction[k].tolist() for k in ("scores", "boxes", "labels")), strict=True)
        detections = sorted((row for row in rows if row[2] == label and row[0] >= threshold), key=lambda row: -row[0])
        for _, box, _ in detections:
            best = max(free, key=lambda other: overlap(box, other)[0], default=None)
            if best is not None and overlap(box, best)[0] >= 0.5:
                free.remove(best)
                hits, taken = hits + 1, taken + 1
            elif not any(overlap(box, crowd)[1] >= 0.5 for crowd in crowds):
                taken += 1
    return hits, taken, objects


@pytest.mark.parametrize("seed", range(8))
def test_random_cases_equal_the_plain_loop(seed):
    predictions, targets = random_case(seed, classes=3)
    metric = BestF1(["a", "b", "c"])
    metric.update(predictions, targets)
    metrics = metric.compute()
    for label, name in enumerate("abc"):
        thresholds = sorted(
            {score for prediction in predictions for score in prediction["scores"].tolist()}, reverse=True
        )
        curve = [counts_at(threshold, predictions, targets, label) for threshold in thresholds]
        best = max(2 * hits / (taken + objects) for hits, taken, objects in curve)
        assert metrics.per_class["F1"][name] == pytest.approx(best)
        hits, taken, objects = counts_at(metrics.per_class["threshold"][name], predictions, targets, label)
        assert metrics.per_class["precision"][name] == pytest.approx(hits / taken)
        assert metrics.per_class["recall"][name] == pytest.approx(hits / objects)
    assert metrics.overall["F1"] == pytest.approx(np.mean([metrics.per_class["F1"][name] for name in "abc"]))


def image(objects, detections, image_id=1, crowd=()):
    """Objects (place, label) and boxes (place, label, score) on places that do not touch each other."""
    place = [[20.0 * index, 0, 20.0 * index + 10, 10] for index in range(10)]
    target = {
        "image_id": image_id,
        "size": (20, 200),
        "boxes": torch.tensor([place[where] for where, _ in objects]).reshape(-1, 4),
        "labels": torch.tensor([label for _, label in objects], dtype=torch.long),
        "crowd": torch.tensor([where in crowd for where, _ in objects], dtype=torch.bool),
    }
    prediction = {
        "boxes": torch.tensor([place[where] for where, _, _ in detections]).reshape(-1, 4),
        "scores": torch.tensor([score for _, _, score in detections]),
        "labels": torch.tensor([label for _, label, _ in detections], dtype=torch.long),
    }
    return prediction, target


def at_best(*images, classes="ab"):
    metric = BestF1(list(classes))
    for prediction, target in images:
        metric.update([prediction], [target])
    return metric.compute(), metric.operating_point


def test_confusion_by_hand():
    objects = [(0, 0), (1, 0), (2, 1), (3, 1), (4, 1)]
    detections = [(0, 0, 0.9), (1, 1, 0.8), (2, 1, 0.9), (3, 1, 0.7), (9, 0, 0.9), (8, 0, 0.1)]
    metrics, point = at_best(image(objects, detections))
    # Rows a, b, background: one a is predicted as b, one b is missed, one a is on the background.
    assert point.confusion.tolist() == [[1, 1, 0], [0, 2, 1], [1, 0, 0]]
    assert metrics.per_class["threshold"]["a"] == pytest.approx(0.9)
    assert metrics.per_class["threshold"]["b"] == pytest.approx(0.7)
    assert metrics.per_class["precision"]["b"] == pytest.approx(2 / 3)
    assert metrics.per_class["recall"]["b"] == pytest.approx(2 / 3)


def test_boxes_in_a_crowd_region_are_not_false_positives():
    metrics, point = at_best(image([(0, 0), (1, 0)], [(0, 0, 0.8), (1, 0, 0.9), (1, 0, 0.85)], crowd=(1,)))
    assert metrics.per_class["F1"]["a"] == 1
    assert point.confusion.tolist() == [[1, 0, 0], [0, 0, 0], [0, 0, 0]]


def test_equal_scores_are_taken_together():
    metrics, _ = at_best(image([(0, 0)], [(0, 0, 0.5), (1, 0, 0.5)]))
    assert metrics.per_class["precision"]["a"] == 0.5
    assert metrics.per_class["recall"]["a"] == 1


def test_undefined_values_are_nan():
    metrics, _ = at_best(image([(0, 0)], [(1, 1, 0.5)]))
    assert (metrics.per_class["recall"]["a"], metrics.per_class["F1"]["a"]) == (0, 0)
    assert all(
        math.isnan(flat(metrics)[name]) for name in ("precision/a", "threshold/a", "F1/b", "recall/b", "precision/b")
    )
    nothing, point = at_best(image([], [(1, 1, 0.5)]), image([], [], image_id=2))
    assert all(math.isnan(value) for value in flat(nothing).values())
    assert point.confusion.sum() == 0


def test_reset_removes_the_operating_point():
    metric = BestF1(["a"])
    prediction, target = image([(0, 0)], [(0, 0, 0.5)])
    metric.update([prediction], [target])
    assert metric.compute().overall["F1"] == 1
    metric.reset()
    assert metric.operating_point is None


def columns_of(*images):
    return DetectionColumns.of_images(*zip(*images, strict=True))


def test_given_thresholds_are_used_as_they_are():
    """The best threshold of class a would be 0.9; class b has none."""
    objects = [(0, 0), (1, 0), (2, 1)]
    detections = [(0, 0, 0.9), (5, 0, 0.6), (1, 0, 0.4), (2, 1, 0.9)]
    point = find_operating_point(columns_of(image(objects, detections)), 2, thresholds=[0.5, None])
    assert point.threshold.tolist() == pytest.approx([0.5, math.nan], nan_ok=True)
    assert point.precision.tolist() == pytest.approx([0.5, math.nan], nan_ok=True)
    assert (point.recall.tolist(), point.f1.tolist()) == ([0.5, 0], [0.5, 0])
    assert point.confusion.tolist() == [[1, 0, 1], [0, 0, 1], [1, 0, 0]]


def test_a_class_without_objects_has_no_f1_at_a_given_threshold():
    point = find_operating_point(columns_of(image([(0, 0)], [(0, 0, 0.9), (1, 1, 0.9)])), 2, thresholds=[0.5, 0.5])
    assert (point.f1[0], math.isnan(point.f1[1])) == (1, True)
    assert point.confusion.tolist() == [[1, 0, 0], [0, 0, 0], [0, 1, 0]]


def test_thresholds_of_one_split_serve_another():
    metric = BestF1(["a", "b"])
    prediction, target = image([(0, 0), (1, 1)], [(0, 0, 0.75), (5, 0, 0.25)])
    metric.update([prediction], [target])
    assert best_thresholds(metric) == [0.75, None]
    same = find_operating_point(columns_of((prediction, target)), 2)
    again = find_operating_point(columns_of((prediction, target)), 2, thresholds=best_thresholds(metric))
    assert same.results("ab").to_dict() == again.results("ab").to_dict()
