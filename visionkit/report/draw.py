"""Boxes drawn on pictures."""

import colorsys

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import ImageFont
from torchvision.utils import draw_bounding_boxes

from visionkit.engine.predict import Detections

GOLDEN_ANGLE = 0.618034
"""Of the colour circle: consecutive classes get hues far apart, for any number of classes."""


def class_colour(label: int) -> tuple[int, int, int]:
    """A bright RGB colour for a class, the same in every picture."""
    red, green, blue = colorsys.hsv_to_rgb(label * GOLDEN_ANGLE % 1, 0.75, 0.95)
    return round(red * 255), round(green * 255), round(blue * 255)


def draw_detections(picture: NDArray[np.uint8], found: Detections) -> NDArray[np.uint8]:
    """Draw boxes with class names and scores.

    Args:
        picture: uint8 [H, W, 3], RGB; not changed.
        found: boxes in the pixels of `picture`.

    Returns:
        A uint8 [H, W, 3] copy with the boxes.
    """
    if not len(found):
        return picture.copy()
    scale = max(picture.shape[:2]) / 640
    drawn = draw_bounding_boxes(
        torch.from_numpy(picture.transpose(2, 0, 1).copy()),
        torch.from_numpy(found.boxes),
        labels=[f"{name} {score:.2f}" for name, score in zip(found.names, found.scores, strict=True)],
        colors=[class_colour(int(label)) for label in found.labels],
        width=max(1, round(2 * scale)),
        **_font(max(10, round(12 * scale))),
    )
    return drawn.permute(1, 2, 0).numpy()


def _font(size: int) -> dict[str, object]:
    """The drawing function's font arguments: a scalable font where the system has one."""
    try:
        ImageFont.truetype("DejaVuSans.ttf", size)
    except OSError:
        return {}
    return {"font": "DejaVuSans.ttf", "font_size": size}
