"""Scored images: their metrics in a single resample are those of the metrics themselves."""

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, roc_auc_score

from tests.helpers.metric_cases import random_case
from visionkit.metrics.classification import MultiLabelMetrics, SingleLabelMetrics
from visionkit.metrics.coco import CocoAP
from visionkit.metrics.detection_columns import DetectionColumns
from visionkit.metrics.operating_point import find_operating_point
from visionkit.metrics.scored_detections import ScoredDetections
from visionkit.metrics.scored_labels import ScoredMultiLabels, ScoredSingleLabels
from visionkit.metrics.scored_masks import ScoredMasks
from visionkit.metrics.segmentation import SegmentationMetrics

NAMES = list("abcdefg")
IMAGES = 12
ONCE = np.ones((IMAGES, 1), np.float32)


def assert_same(resampled, results):
    """The metrics that both have are the same."""
    common = set(resampled.overall) & set(results.overall)
    assert common
    for name in common:
        assert resampled.overall[name][0] == pytest.approx(results.overall[name], abs=1e-6, nan_ok=True), name
    for name in set(resampled.per_class) & set(results.per_class):
        values = {of: value[0] for of, value in resampled.per_class[name].items()}
        assert values == pytest.approx(results.per_class[name], abs=1e-6, nan_ok=True), name


def probabilities(seed):
    return torch.tensor(np.random.default_rng(seed).normal(0, 2, (IMAGES, len(NAMES))), dtype=torch.float32)


def test_one_label_per_image():
    found, targets = probabilities(0).softmax(1), torch.tensor(np.random.default_rng(1).integers(0, 6, IMAGES))
    metric = SingleLabelMetrics(NAMES)
    metric.update(found, targets)
    scored = ScoredSingleLabels(dict(enumerate(zip(found, targets, strict=True))), NAMES)
    assert_same(scored.resample(ONCE), metric.compute())
    assert scored.image_scores.mean() == pytest.approx(metric.compute().overall["top1"])
    analysis = scored.analysis()
    assert analysis["calibration"]["error"] == pytest.approx(metric.compute().overall["calibration_error"], abs=1e-6)
    label = int(targets[0])
    curve = analysis["curves"]["classes"][NAMES[label]]
    truth = targets.numpy() == label
    assert curve["AUC"] == pytest.approx(roc_auc_score(truth, found[:, label].numpy()), abs=1e-5)
    assert curve["AP"] == pytest.approx(average_precision_score(truth, found[:, label].numpy()), abs=1e-5)
    assert NAMES[6] not in analysis["curves"]["classes"], "a class without images"


def test_several_labels_per_image():
    found = (probabilities(0) * 2).round().sigmoid()  # with equal probabilities
    targets = torch.tensor(np.random.default_rng(1).random((IMAGES, len(NAMES))) < 0.4).float()
    targets[:, 2] = 0
    metric = MultiLabelMetrics(NAMES)
    metric.update(found, targets)
    rows = dict(enumerate(zip(found, targets, strict=True)))
    scored = ScoredMultiLabels(rows, NAMES, [0.5001] * len(NAMES))  # torchmetrics takes probabilities above 0.5
    assert_same(scored.resample(ONCE), metric.compute())
    thresholds = [0.0 if value is None else value for value in metric.best_thresholds()]
    assert metric.best_thresholds()[2] is None
    best = ScoredMultiLabels(rows, NAMES, thresholds)
    assert_same(best.resample(ONCE), best.at_thresholds())
    assert best.at_thresholds().overall["F1"] >= metric.compute().overall["F1"]


def test_pixels():
    random, metric, rows = np.random.default_rng(0), SegmentationMetrics(NAMES, boundaries=True, calibration=True), {}
    for image_id in range(IMAGES):
        labels, truth = (torch.tensor(random.integers(0, 6, (20, 30))) for _ in range(2))
        truth[:3] = 255
        rows[image_id] = metric.update_image(labels, truth, torch.tensor(random.random((20, 30))))
    scored = ScoredMasks(rows, NAMES)
    assert_same(scored.resample(ONCE), metric.compute())
    assert scored.resample(ONCE).overall.keys() == metric.compute().overall.keys()
    assert scored.image_scores.shape == (IMAGES,)


@pytest.mark.filterwarnings("error")
def test_images_that_are_added_one_by_one_count_in_the_next_result_and_keep_their_own_pixels_only():
    metric = SegmentationMetrics(NAMES, boundaries=True)
    truth = torch.zeros(8, 8, dtype=torch.uint8)
    first = metric.update_image(truth, truth)
    assert metric.compute().overall["pixel_accuracy"] == 1
    metric.update_image(truth + 1, truth)
    assert metric.compute().overall["pixel_accuracy"] == 0.5
    assert first.correct.untyped_storage().nbytes() == len(NAMES) * first.correct.element_size()


def test_boxes():
    names = list("abc")
    columns = DetectionColumns.of_images(*random_case(2, classes=3, images=IMAGES))
    point, metric = find_operating_point(columns, 3), CocoAP(names)
    scored = ScoredDetections(columns, {"": metric}, point.threshold)
    assert_same(scored.resample(ONCE), metric.score(columns) | point.results(names))
    intervals = scored.intervals(resamples=100)
    assert intervals.overall["AP"].low < metric.score(columns).overall["AP"] < intervals.overall["AP"].high
    analysis = scored.analysis()
    errors = analysis["errors"]
    assert sum(errors["at_thresholds"].values()) <= sum(errors["all_detections"].values())
    per_class = errors["at_thresholds_per_class"].values()
    for kind, count in errors["at_thresholds"].items():
        assert count == sum(of_class[kind] for of_class in per_class)
    ap50 = np.mean([np.mean(curve["all"]) for curve in analysis["curves"]["precision"].values() if curve])
    assert ap50 == pytest.approx(metric.score(columns).overall["AP50"], abs=1e-4)
    assert scored.image_scores.shape == (IMAGES,)
