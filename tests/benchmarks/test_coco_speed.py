"""Speed of COCO evaluation of 1,000 images with 100 detections each, compared with pycocotools in one process."""

import statistics
import time

import numpy as np
import pytest
import torch

from tests.helpers.metric_cases import flat, random_boxes
from visionkit.metrics.coco import CocoAP

IMAGES, DETECTIONS, OBJECTS, CLASSES = 1000, 100, 10, 80
ROUNDS = 3


def cases():
    random = np.random.default_rng(0)
    predictions, targets = [], []
    for image_id in range(1, IMAGES + 1):
        boxes = random_boxes(random, OBJECTS)
        labels = random.integers(0, CLASSES, OBJECTS)
        near = np.repeat(boxes, DETECTIONS // OBJECTS, axis=0) + random.normal(0, 8, (DETECTIONS, 4))
        near[:, 2:] = np.maximum(near[:, 2:], near[:, :2] + 1)
        predictions.append(
            {
                "boxes": torch.tensor(near, dtype=torch.float32),
                "scores": torch.tensor(random.random(DETECTIONS), dtype=torch.float32),
                "labels": torch.tensor(np.repeat(labels, DETECTIONS // OBJECTS)),
            }
        )
        targets.append(
            {
                "image_id": image_id,
                "size": (480, 640),
                "boxes": torch.tensor(boxes, dtype=torch.float32),
                "labels": torch.tensor(labels),
            }
        )
    return predictions, targets


def evaluate(backend, predictions, targets):
    metric = CocoAP([str(label) for label in range(CLASSES)], backend=backend)
    start = time.perf_counter()
    metric.update(predictions, targets)
    metrics = metric.compute()
    return time.perf_counter() - start, flat(metrics)


@pytest.mark.benchmark
def test_evaluation_is_25_times_as_fast_as_pycocotools(capsys):
    predictions, targets = cases()
    fast, plain = [], []
    for _ in range(ROUNDS):
        seconds, metrics = evaluate("hotcoco", predictions, targets)
        fast.append(seconds)
        seconds, expected = evaluate("pycocotools", predictions, targets)
        plain.append(seconds)
        assert metrics == pytest.approx(expected, abs=1e-9, nan_ok=True)
    ratio = statistics.median(plain) / statistics.median(fast)
    with capsys.disabled():
        print(
            f"\npycocotools {statistics.median(plain):.2f} s, ours {statistics.median(fast):.2f} s, ratio {ratio:.1f}"
        )
    assert ratio >= 25
