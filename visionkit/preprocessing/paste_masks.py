"""Masks of single objects: from what a network says of a box to the pixels of the image."""

from collections.abc import Sequence

import numpy as np
import torch
from pycocotools import mask as rle
from torch import Tensor
from torchvision.models.detection.roi_heads import paste_masks_in_image

from visionkit.structures import Rle

THRESHOLD = 0.5
"""Probability from which a pixel belongs to the object (He et al. 2017, section 3.1)."""

MOST_PIXELS = 2**25
"""Of masks that are decoded at once: 128 MiB of float32."""


def paste_masks(probabilities: Tensor, boxes: Tensor, size: tuple[int, int]) -> list[Rle]:
    """Bring masks of boxes into their image.

    Args:
        probabilities: float32 [M, m, m] in 0..1, of the pixels of each box.
        boxes: float32 [M, 4], xyxy in the image's pixels.
        size: height and width of the image in pixels.

    Returns:
        COCO run-length code of each mask.
    """
    at_once = max(MOST_PIXELS // (size[0] * size[1]), 1)
    chunks = zip(probabilities.split(at_once), boxes.split(at_once), strict=True)
    return [code for some, own in chunks for code in _encoded(paste_masks_in_image(some[:, None], own, size))]


def _encoded(masks: Tensor) -> Sequence[Rle]:
    """Run-length code of probabilities [M, 1, H, W]."""
    planes = (masks[:, 0] >= THRESHOLD).to(torch.uint8).permute(1, 2, 0).cpu().numpy()
    codes: Sequence[Rle] = rle.encode(np.asfortranarray(planes))
    return codes
