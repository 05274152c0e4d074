"""Random predictions and ground truth for comparing metrics with references, and a helper for comparisons."""

import numpy as np
import torch


def random_case(seed, classes, images=14, difficult=False):
    """Predictions and targets with equal scores, crowds or difficult objects, and empty images."""
    random = np.random.default_rng(seed)
    predictions, targets = [], []
    for image_id in range(1, images + 1):
        objects = int(random.integers(0, 6))
        boxes = random_boxes(random, objects)
        near = np.repeat(boxes, 2, axis=0) + random.normal(0, 6, (2 * objects, 4))
        detections = np.concatenate([near, random_boxes(random, int(random.integers(0, 4)))])
        detections[:, 2:] = np.maximum(detections[:, 2:], detections[:, :2] + 1)
        labels = random.integers(0, classes, objects)
        others = len(detections) - 2 * objects
        predicted = np.concatenate([np.repeat(labels, 2), random.integers(0, classes, others)])
        flags = random.random(objects) < 0.25
        sides = boxes[:, 2:] - boxes[:, :2]
        targets.append(
            {
                "image_id": image_id,
                "size": (480, 640),
                "boxes": torch.tensor(boxes),
                "labels": torch.tensor(labels),
                "crowd": torch.tensor(flags & (not difficult)),
                "difficult": torch.tensor(flags & difficult),
                "area": torch.tensor(sides.prod(axis=1)),
            }
        )
        # One decimal, so that many scores are equal.
        scores = torch.tensor(random.random(len(detections)).round(1))
        predictions.append({"boxes": torch.tensor(detections), "scores": scores, "labels": torch.tensor(predicted)})
    return predictions, targets


def random_boxes(random, count):
    """Return integer boxes, so that IoUs equal to a threshold occur."""
    corner = random.integers(0, 400, (count, 2))
    return np.concatenate([corner, corner + random.integers(5, 150, (count, 2))], axis=1).astype(np.float64)


def flat(results):
    """The metrics of `MetricResults` as one dict of numbers, which pytest.approx can compare."""
    per_class = results.per_class.items()
    return {**results.overall, **{f"{name}/{of}": value for name, by in per_class for of, value in by.items()}}
