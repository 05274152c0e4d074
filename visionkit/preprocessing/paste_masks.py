"""Masks of objects: from probabilities inside each box to the pixels of the image."""

from collections.abc import Sequence

import numpy as np
import torch
from pycocotools import mask as rle
from torch import Tensor
from torchvision.models.detection.roi_heads import paste_masks_in_image

from visionkit.structures import Rle

THRESHOLD = 0.5
"""Probability from which a pixel belongs to the object (He et al. 2017, section 3.1)."""

MAX_PIXELS = 2**25
"""Pixels of the masks that are pasted at once; 128 MiB of float32."""


def paste_masks(probabilities: Tensor, boxes: Tensor, size: tuple[int, int]) -> list[Rle]:
    """Paste the masks of boxes into their image.

    Args:
        probabilities: float32 [M, m, m] in 0..1, inside each box.
        boxes: float32 [M, 4], xyxy in the image's pixels.
        size: height and width of the image in pixels.

    Returns:
        COCO run-length encoding (RLE) of each mask.
    """
    at_once = max(MAX_PIXELS // (size[0] * size[1]), 1)
    chunks = zip(probabilities.split(at_once), boxes.split(at_once), strict=True)
    return [code for masks, places in chunks for code in _encoded(paste_masks_in_image(masks[:, None], places, size))]


def _encoded(masks: Tensor) -> Sequence[Rle]:
    """Return the RLE of probabilities [M, 1, H, W] above the threshold."""
    planes = (masks[:, 0] >= THRESHOLD).to(torch.uint8).permute(1, 2, 0).cpu().numpy()
    codes: Sequence[Rle] = rle.encode(np.asfortranarray(planes))
    return codes
