"""Metrics of resampled images against the metric of images that are given several times."""

import time

import numpy as np
import pytest

from tests.helpers.many_detections import many_detections
from tests.helpers.metric_cases import random_case
from visionkit.metrics.bootstrap import draw_counts
from visionkit.metrics.coco import CocoAP
from visionkit.metrics.detection_columns import DetectionColumns
from visionkit.metrics.voc import VocAP

NAMES = ["a", "b", "c"]
IMAGES = 9


def repeated(predictions, targets, counts):
    """Each image as often as it is counted."""
    rows = np.repeat(np.arange(len(counts)), counts.astype(int))
    return [predictions[row] for row in rows], [{**targets[row], "image_id": place} for place, row in enumerate(rows)]


@pytest.mark.parametrize("make", [CocoAP, VocAP, lambda names: VocAP(names, mode="all-point")])
@pytest.mark.parametrize("seed", range(5))
def test_metrics_of_counted_images_are_those_of_repeated_images(make, seed):
    predictions, targets = random_case(seed, classes=3, images=IMAGES)
    random = np.random.default_rng(seed)
    for prediction in predictions:  # without equal scores, whose order is another one in repeated images
        prediction["scores"] = random.random(len(prediction["scores"]))
    columns, counts = DetectionColumns.of_images(predictions, targets), draw_counts(IMAGES, 4, seed)
    found = make(NAMES).resample(columns, counts)
    for place in range(counts.shape[1]):
        metric = make(NAMES)
        metric.update(*repeated(predictions, targets, counts[:, place]))
        expected = metric.compute()
        overall = {name: values[place] for name, values in found.overall.items()}
        assert overall == pytest.approx(expected.overall, abs=1e-6, nan_ok=True)
        for name, by_class in found.per_class.items():
            values = {of: value[place] for of, value in by_class.items()}
            assert values == pytest.approx(expected.per_class[name], abs=1e-6, nan_ok=True)


@pytest.mark.benchmark
def test_a_thousand_resamples_of_a_thousand_images_take_less_than_ten_seconds(capsys):
    predictions, targets = many_detections()
    columns = DetectionColumns.of_images(predictions, targets)
    start = time.perf_counter()
    CocoAP([str(label) for label in range(80)]).resample(columns, draw_counts(len(columns)))
    seconds = time.perf_counter() - start
    with capsys.disabled():
        print(f"\n1,000 resamples of {len(columns)} images with 100 detections: {seconds:.1f} s")
    assert seconds < 10
