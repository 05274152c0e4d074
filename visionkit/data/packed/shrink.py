"""Smaller copies of samples, for images that are larger than training needs."""

import cv2
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as rle

from visionkit.data.transforms.resize import resize_image
from visionkit.structures import Annotation, Rle, Sample


def shrink(sample: Sample, short_side: int) -> Sample:
    """Return a sample whose shorter side has `short_side` pixels; the same sample if it has no more.

    Boxes and areas are scaled. The mask of an object keeps the pixels of which it covers half, and if there are none,
    those that it touches. A pixel of a semantic mask gets the class of the nearest pixel.

    Args:
        sample: image and annotation.
        short_side: length of the shorter side in pixels.

    Example:
        >>> import numpy as np
        >>> from visionkit.data.packed.shrink import shrink
        >>> from visionkit.structures import Sample
        >>> shrink(Sample(np.zeros((200, 300, 3), np.uint8), 1, "a.jpg"), 100).size
        (100, 150)
    """
    height, width = sample.size
    factor = short_side / min(height, width)
    if factor >= 1:
        return sample
    size = max(round(height * factor), 1), max(round(width * factor), 1)
    return Sample(
        image=resize_image(sample.image, *size),
        image_id=sample.image_id,
        file_name=sample.file_name,
        annotation=_scaled(sample.annotation, (height, width), size),
        semantic=None if sample.semantic is None else _nearest(sample.semantic, size),
        label=sample.label,
        tags=sample.tags,
    )


def _scaled(annotation: Annotation, old: tuple[int, int], new: tuple[int, int]) -> Annotation:
    y, x = new[0] / old[0], new[1] / old[1]
    masks = None if annotation.masks is None else [_smaller(mask, new) for mask in annotation.masks]
    area = annotation.area * np.float32(x * y)
    if masks:
        area = np.asarray(rle.area(masks), np.float32)
    return Annotation(
        boxes=np.minimum(annotation.boxes * np.array([x, y, x, y], np.float32), np.array(2 * new[::-1], np.float32)),
        labels=annotation.labels,
        crowd=annotation.crowd,
        difficult=annotation.difficult,
        area=area,
        masks=masks,
    )


def _smaller(mask: Rle, size: tuple[int, int]) -> Rle:
    covered = cv2.resize(rle.decode(mask).astype(np.float32), size[::-1], interpolation=cv2.INTER_AREA)
    kept = covered >= 0.5
    return rle.encode(np.asfortranarray(kept if kept.any() else covered > 0, np.uint8))


def _nearest(mask: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    return np.asarray(cv2.resize(mask, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT), np.uint8)
