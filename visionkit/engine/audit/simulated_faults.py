"""Simulated faulty boxes, from which a quick model learns what annotated boxes do not look like."""

import numpy as np
import torch
from numpy.typing import NDArray
from torchvision.ops import box_iou

from visionkit.engine.audit.subject import AuditImage

MOST_FAULTY = 15_000
"""Approximate number of simulated boxes of a dataset."""

TOO_SIMILAR = 0.4
"""IoU with an annotated box from which a simulated box is no fault."""

SMALLEST_SIDE = 2.0
"""Smallest side of a simulated box in pixels."""

KINDS = ("shifted", "shifted", "larger", "smaller", "elsewhere", "x and y swapped")


def faults_per_box(boxes: int) -> int:
    """Return the number of simulated boxes for each annotated one, 1 to the number of kinds."""
    return min(max(MOST_FAULTY // max(boxes, 1), 1), len(KINDS))


def simulate_faults(image: AuditImage, boxes: NDArray[np.float32], per_box: int) -> NDArray[np.float32]:
    """Return faulty boxes of an image, float32 [M, 4], xyxy in pixels, the same ones in every run.

    Args:
        image: the image, whose content is the seed.
        boxes: float32 [N, 4], annotated boxes.
        per_box: number of kinds that are drawn for each box.
    """
    random = np.random.default_rng(int.from_bytes(image.digest[:8], "little"))
    count = len(boxes)
    kinds = np.argsort(random.random((count, len(KINDS))), axis=1)[:, :per_box].ravel()
    center = np.repeat((boxes[:, :2] + boxes[:, 2:]) / 2, per_box, axis=0)
    sides = np.repeat(boxes[:, 2:] - boxes[:, :2], per_box, axis=0)
    faulty = np.zeros((len(kinds), 4), np.float32)
    for kind in range(len(KINDS)):
        rows = kinds == kind
        middle, extent = _change(KINDS[kind], center[rows], sides[rows], image.size, random)
        faulty[rows] = np.concatenate([middle - extent / 2, middle + extent / 2], axis=1)
    height, width = image.size
    faulty = np.clip(faulty, 0, np.array([width, height, width, height], np.float32)).astype(np.float32)
    is_large = (faulty[:, 2:] - faulty[:, :2]).min(axis=1, initial=np.inf) > SMALLEST_SIDE
    if count:
        overlap = box_iou(torch.from_numpy(faulty), torch.from_numpy(boxes)).amax(dim=1).numpy()
        is_large &= overlap < TOO_SIMILAR
    return faulty[is_large]


def _change(
    kind: str,
    center: NDArray[np.float32],
    sides: NDArray[np.float32],
    size: tuple[int, int],
    random: np.random.Generator,
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Return the centers and sides [M, 2] of faulty boxes."""
    count = len(center)
    if kind == "shifted":
        angle, distance = random.uniform(0, 2 * np.pi, count), random.uniform(0.5, 1.2, count)
        return center + np.stack([np.cos(angle), np.sin(angle)], 1) * distance[:, None] * sides, sides
    if kind == "larger":
        return center + random.uniform(-0.3, 0.3, (count, 2)) * sides, sides * random.uniform(1.7, 3, (count, 1))
    if kind == "smaller":
        return center + random.uniform(-0.2, 0.2, (count, 2)) * sides, sides * random.uniform(0.3, 0.6, (count, 1))
    if kind == "elsewhere":
        return random.uniform(0, 1, (count, 2)) * np.array(size[::-1]), sides
    return center[:, ::-1], sides[:, ::-1]
