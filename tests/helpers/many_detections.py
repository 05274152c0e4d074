"""Many images with near and far detections of each object, for timings."""

import numpy as np
import torch

from tests.helpers.metric_cases import random_boxes

IMAGES, DETECTIONS, OBJECTS, CLASSES = 1000, 100, 10, 80


def many_detections(images=IMAGES):
    random = np.random.default_rng(0)
    predictions, targets = [], []
    for image_id in range(1, images + 1):
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
