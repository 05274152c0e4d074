"""Mask head of Mask R-CNN (He et al. 2017)."""

from collections.abc import Sequence

import numpy as np
import torch
from pycocotools import mask as rle
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.ops import roi_align

from visionkit.models.detection.parts.box_head import MultiLevelRoIAlign
from visionkit.models.detection.parts.roi_heads import RoISample
from visionkit.ops.float32 import at_least_float32, full_precision
from visionkit.ops.matching import Objects
from visionkit.structures import Rle

CONVOLUTIONS = 4
"""Number of 3x3 convolutions before the upsampling (He et al. 2017, figure 4, right)."""

MAX_DECODED_PIXELS = 2**25
"""Pixels of masks that are decoded at once: 128 MiB of float32."""


class MaskHead(nn.Module):
    """Predicts a mask per class for each region.

    The predictor has a map for the background, which is never used, so that published weights fit.

    Args:
        pool: from feature maps and regions to [R, C, size, size]; masks have twice the size (14 gives 28).
        inputs: C, channels of the maps.
        channels: channels of the convolutions.
        num_classes: K.
    """

    def __init__(self, pool: MultiLevelRoIAlign, inputs: int, channels: int, num_classes: int) -> None:
        super().__init__()
        self.pool = pool
        self.tower = MaskRCNNHeads(inputs, [channels] * CONVOLUTIONS, dilation=1)
        self.predictor = MaskRCNNPredictor(channels, channels, num_classes + 1)

    def forward(self, maps: dict[str, Tensor], regions: list[Tensor]) -> Tensor:
        """Return mask logits of regions.

        Args:
            maps: feature maps [B, C, h, w] by level.
            regions: per image float32 [S, 4] in pixels; R in total.

        Returns:
            float32 [R, K + 1, 2 size, 2 size].
        """
        dtype = next(iter(maps.values())).dtype
        with full_precision(regions[0]):
            pooled = self.pool({name: at_least_float32(level) for name, level in maps.items()}, regions)
        logits: Tensor = self.predictor(self.tower(pooled.to(dtype)))
        return at_least_float32(logits)

    def loss(
        self,
        maps: dict[str, Tensor],
        sample: RoISample,
        objects: Sequence[Objects],
        sizes: Sequence[tuple[int, int]],
    ) -> Tensor:
        """Compute the binary cross-entropy of the mask of each region's class, mean over pixels (He et al., section 3).

        Args:
            maps: feature maps by level.
            sample: regions of the box head's loss; those that match an object enter the mask loss.
            objects: ground truth of each image, with masks.
            sizes: (height, width) of each image of the model's input in pixels.
        """
        classes = sample.classes.split([len(regions) for regions in sample.regions])
        regions = [boxes[own > 0] for boxes, own in zip(sample.regions, classes, strict=True)]
        logits = self(maps, regions)
        if not len(logits):
            return logits.sum()  # 0, with a gradient of 0 for every parameter
        labels = sample.classes[sample.classes > 0]
        mask_targets = [
            masks_in_regions(
                image_objects.masks, matched, boxes, _mask_frame(image_objects, size, boxes), logits.shape[-1]
            )
            for image_objects, matched, boxes, size in zip(objects, sample.matched, regions, sizes, strict=True)
        ]
        return functional.binary_cross_entropy_with_logits(
            logits[torch.arange(len(labels), device=labels.device), labels], torch.cat(mask_targets)
        )

    def probabilities(self, maps: dict[str, Tensor], boxes: list[Tensor], labels: list[Tensor]) -> list[Tensor]:
        """Return the mask of each detection's class.

        Args:
            maps: feature maps by level.
            boxes: per image float32 [M, 4] in pixels.
            labels: per image int64 [M], 0..K-1.

        Returns:
            Per image float32 [M, 2 size, 2 size] in 0..1, over the area of the box.
        """
        logits = self(maps, boxes)
        of_class = logits[torch.arange(len(logits), device=logits.device), torch.cat(labels) + 1]
        return list(of_class.sigmoid().split([len(image_boxes) for image_boxes in boxes]))


def masks_in_regions(masks: Sequence[Rle] | None, indices: Tensor, regions: Tensor, frame: Tensor, side: int) -> Tensor:
    """Crop the masks of objects to regions.

    Only the masks of matched objects are decoded, a part of them at a time. They keep their stored size; the regions
    are transformed instead.

    Args:
        masks: COCO run-length code of each object of an image.
        indices: int64 [P], the object of each region.
        regions: float32 [P, 4], in pixels of the model's input.
        frame: float32 [4], the part of the model's input that the stored image covers.
        side: cells of the result in each direction.

    Returns:
        float32 [P, side, side] in 0..1, share of each cell that the object covers.
    """
    if not len(indices):
        return regions.new_zeros((0, side, side))
    assert masks is not None
    used, places = indices.unique(return_inverse=True)
    corner, sides = frame[:2].repeat(2), (frame[2:] - frame[:2]).repeat(2)
    height, width = masks[int(used[0])]["size"]
    stored_regions = (regions - corner) / sides * regions.new_tensor([width, height]).repeat(2)
    chunk = max(MAX_DECODED_PIXELS // (height * width), 1)
    cropped = regions.new_empty((len(regions), side, side))
    for part, objects in enumerate(used.split(chunk)):
        decoded = np.stack([rle.decode(masks[index]) for index in objects.tolist()])
        planes = torch.from_numpy(decoded).to(regions)[:, None]
        in_part = torch.where(places // chunk == part)[0]
        rows = torch.cat([places[in_part, None] % chunk, stored_regions[in_part]], dim=1)
        cropped[in_part] = roi_align(planes, rows, side)[:, 0]
    return cropped


def _mask_frame(objects: Objects, size: tuple[int, int], like: Tensor) -> Tensor:
    """Return the part of an image of `size` (height, width) that its objects' masks cover."""
    return objects.frame if objects.frame is not None else like.new_tensor([0, 0, size[1], size[0]])
