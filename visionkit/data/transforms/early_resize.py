"""Resizing of training images to the model's input size before the transforms that cost less on a smaller image.

Transforms that commute with resizing (`commuting`) give nearly the same image before and after it. If they come last,
the image is resized before them. It would be resized after them otherwise, in the preprocessing of the model.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from visionkit.data.transforms.resize import resize_image
from visionkit.data.transforms.stage import MIN_SIDE
from visionkit.structures import Annotation, Sample

InputSize = Callable[[int, int], tuple[int, int] | None]
"""Function of the height and width of an image in pixels that returns those of the model's input without padding; None
if they are not known before the training step."""


def resize_sample(sample: Sample, input_size: InputSize) -> Sample:
    """Return a sample with a smaller image, and boxes and proposals in its pixels. Masks keep their size.

    A sample is unchanged if the model's input is not smaller than the image. Boxes and proposals whose width or height
    is below one pixel of the given image are removed, as after a crop.

    Args:
        sample: the sample.
        input_size: see `InputSize`.

    Raises:
        DataError: the resized image would have too many pixels, see `check_input_size`.
    """
    height, width = sample.size
    size = input_size(height, width)
    if size is None or size[0] * size[1] >= height * width:
        return sample
    scale = np.array([size[1] / width, size[0] / height] * 2, np.float32)
    proposals = sample.proposals
    return dataclasses.replace(
        sample,
        image=resize_image(sample.image, *size),
        annotation=_scaled(sample.annotation, scale),
        proposals=None if proposals is None else proposals[_large(proposals)] * scale,
    )


def _scaled(annotation: Annotation, scale: Any) -> Annotation:
    kept = annotation.select(np.flatnonzero(_large(annotation.boxes)))
    boxes = kept.boxes * scale
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return dataclasses.replace(kept, boxes=boxes, area=area)


def _large(boxes: Any) -> Any:
    """Return which boxes [N, 4] have sides of at least `MIN_SIDE`, bool [N]."""
    return (boxes[:, 2:] - boxes[:, :2] >= MIN_SIDE).all(axis=1)
