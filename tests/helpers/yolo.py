"""Ground truth, outputs and slow reference functions of the tests of YOLO."""

import torch

from visionkit.models.detection.parts.one_stage import AnchorOutput
from visionkit.ops.matching import Objects

CLASSES = 3
SHAPES = [[20.0, 20.0], [40.0, 70.0]]
"""Width and height of two anchors in pixels."""


def objects(boxes, labels, crowds=()):
    def as_boxes(plain):
        return torch.tensor(plain, dtype=torch.float32).view(-1, 4)

    return Objects(as_boxes(boxes), torch.tensor(labels, dtype=torch.int64), as_boxes(crowds))


GROUND_TRUTH = [
    # three objects in one cell, two of them with the same best shape; one in the last cell; a large one
    objects(
        [[70, 8, 88, 30], [64, 5, 90, 28], [66, 2, 94, 63], [100, 100, 127, 126], [2, 4, 90, 120]], [0, 1, 2, 2, 1]
    ),
    objects([], []),
    objects([[10, 20, 50, 90]], [1], crowds=[[60, 0, 128, 60]]),
]


def in_crowd(box, crowds):
    area = (box[2] - box[0]) * (box[3] - box[1])
    for crowd in crowds:
        width = min(box[2], crowd[2]) - max(box[0], crowd[0])
        height = min(box[3], crowd[3]) - max(box[1], crowd[1])
        if max(width, 0) * max(height, 0) >= 0.5 * area:
            return True
    return False


def random_output(anchors, spread=1.0):
    generator = torch.Generator().manual_seed(5)
    logits = spread * torch.randn(len(GROUND_TRUTH), len(anchors), 1 + CLASSES, generator=generator)
    deltas = 0.5 + 0.2 * torch.randn(len(GROUND_TRUTH), len(anchors), 4, generator=generator)
    return AnchorOutput(anchors, [len(anchors)], logits, deltas)
