"""Samples for augmentation, and the axes of a color shift."""

import numpy as np
from pycocotools import mask as rle

from visionkit.structures import Annotation, Sample

AXES = {"eigenvalues": [0.2, 0.1, 0.0], "eigenvectors": [[1, 0, 0], [0, 1, 0], [0, 0, 1]]}


def sample(objects: int, seed: int = 0) -> Sample:
    """A 60 x 80 image whose objects are filled rectangles, with boxes, masks, flags and semantic mask."""
    random = np.random.default_rng(seed)
    corners = random.integers(0, [60, 40], (objects, 2))
    sides = random.integers(4, 20, (objects, 2))
    boxes = np.concatenate([corners, corners + sides], axis=1).astype(np.float32)
    masks, semantic = [], np.zeros((60, 80), np.uint8)
    for index, (x1, y1, x2, y2) in enumerate(boxes.astype(int)):
        plane = np.zeros((60, 80), np.uint8, order="F")
        plane[y1:y2, x1:x2] = 1
        masks.append(rle.encode(plane))
        semantic[y1:y2, x1:x2] = index % 3 + 1
    flags = random.random((2, objects)) < 0.5
    annotation = Annotation(
        boxes, np.arange(objects) % 3, flags[0], flags[1], rle.area(masks).astype(np.float32), masks
    )
    return Sample(random.integers(0, 256, (60, 80, 3), np.uint8), "a", "a.png", annotation, semantic)


def gray(height=50, width=70, value=100):
    return Sample(np.full((height, width, 3), value, np.uint8), "a", "a.png")
