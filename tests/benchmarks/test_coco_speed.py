"""Speed of COCO evaluation of 1,000 images with 100 detections each, compared with pycocotools in one process."""

import statistics
import time

import pytest

from tests.helpers.many_detections import CLASSES, many_detections
from tests.helpers.metric_cases import flat
from visionkit.metrics.coco import CocoAP

ROUNDS = 3


def evaluate(backend, predictions, targets):
    metric = CocoAP([str(label) for label in range(CLASSES)], backend=backend)
    start = time.perf_counter()
    metric.update(predictions, targets)
    metrics = metric.compute()
    return time.perf_counter() - start, flat(metrics)


@pytest.mark.benchmark
def test_evaluation_is_25_times_as_fast_as_pycocotools(capsys):
    predictions, targets = many_detections()
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
