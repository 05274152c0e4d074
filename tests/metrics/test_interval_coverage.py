"""Share of the confidence intervals that hold the true value, in simulated test sets."""

import numpy as np
import pytest
import torch

from visionkit.metrics.coco import CocoAP
from visionkit.metrics.detection_columns import DetectionColumns
from visionkit.metrics.scored_detections import ScoredDetections
from visionkit.metrics.scored_labels import ScoredSingleLabels

NAMES = ["a", "b", "c"]
IMAGES, SETS = 100, 1000
RESAMPLES = 500


def detections(random, image_id):
    """An image, whose difficulty all of its objects share."""
    found, count = random.beta(3, 2), random.poisson(3)
    corner, sides = random.uniform(0, 300, (count, 2)), random.uniform(10, 120, (count, 2))
    boxes, labels = np.concatenate([corner, corner + sides], axis=1), random.integers(0, 3, count)
    seen = random.random(count) < found
    near = boxes[seen] + random.normal(0, 0.08, (seen.sum(), 4)) * np.tile(sides[seen], 2)
    others = random.poisson(2.5 - 2 * found)
    corner = random.uniform(0, 300, (others, 2))
    wrong = np.concatenate([corner, corner + random.uniform(10, 120, (others, 2))], axis=1)
    prediction = {
        "boxes": np.concatenate([near, wrong]),
        "scores": np.concatenate([random.beta(4, 2, seen.sum()), random.beta(2, 4, others)]),
        "labels": np.concatenate([labels[seen], random.integers(0, 3, others)]),
    }
    return prediction, {"image_id": image_id, "boxes": boxes, "labels": labels}


def scored_detections(random):
    columns = DetectionColumns.of_images(*zip(*(detections(random, place) for place in range(IMAGES)), strict=True))
    return ScoredDetections(columns, {"": CocoAP(NAMES)}, np.full(3, 0.5))


def scored_labels(random):
    logits, targets = random.normal(0, 1, (IMAGES, 3)), random.integers(0, 3, IMAGES)
    logits[np.arange(IMAGES), targets] += 1
    probabilities = torch.tensor(logits).softmax(1)
    return ScoredSingleLabels(dict(enumerate(zip(probabilities, torch.tensor(targets), strict=True))), NAMES)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "names"), [(scored_detections, ["AP", "AP50", "AR100", "F1"]), (scored_labels, ["top1", "mean_recall"])]
)
def test_93_to_97_percent_of_the_intervals_hold_the_true_value(make, names, capsys):
    """The true value is the mean metric of test sets of this size."""
    random = np.random.default_rng(0)
    measured, intervals = {name: [] for name in names}, {name: [] for name in names}
    for seed in range(SETS):
        scored = make(random)
        found = scored.intervals(RESAMPLES, seed).overall
        once = scored.resample(np.ones((IMAGES, 1), np.float32)).overall
        for name in names:
            measured[name].append(once[name][0])
            intervals[name].append(found[name])
    for name in names:
        low, high = np.array(intervals[name]).T
        covered = np.mean((low <= np.mean(measured[name])) & (np.mean(measured[name]) <= high))
        with capsys.disabled():
            print(f"\n{name}: {100 * covered:.1f} % of {SETS} intervals hold the mean value")
        assert 0.93 <= covered <= 0.97
