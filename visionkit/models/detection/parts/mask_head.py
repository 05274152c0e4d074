"""The mask branch of Mask R-CNN (He et al. 2017): for each region the pixels that belong to its object."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from pycocotools import mask as rle
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.ops import roi_align

from visionkit.models.detection.parts.box_head import MultiLevelRoIAlign
from visionkit.models.detection.parts.roi_heads import RoISample
from visionkit.ops.matching import Objects

CONVOLUTIONS = 4
"""Of 3 x 3 before the map is doubled (He et al. 2017, figure 4, right)."""

MOST_PIXELS = 2**25
"""Of masks that are decoded at once: 128 MiB of float32."""


class MaskHead(nn.Module):
    """Pools regions and says for each class which pixels of them are the object.

    The predictor keeps a map for the background, which is never read, so that published files fit.

    Args:
        pool: from feature maps and regions to [R, C, size, size]; masks are twice as fine (14 gives 28).
        inputs: C, channels of the maps.
        channels: of the convolutions.
        num_classes: K.
    """

    def __init__(self, pool: MultiLevelRoIAlign, inputs: int, channels: int, num_classes: int) -> None:
        super().__init__()
        self.pool = pool
        self.tower = MaskRCNNHeads(inputs, [channels] * CONVOLUTIONS, dilation=1)
        self.predictor = MaskRCNNPredictor(channels, channels, num_classes + 1)

    def forward(self, maps: dict[str, Tensor], regions: list[Tensor]) -> Tensor:
        """Judge the pixels of regions.

        Args:
            maps: feature maps [B, C, h, w] by level.
            regions: per image float32 [S, 4] in pixels; R of them together.

        Returns:
            float32 logits [R, K + 1, 2 size, 2 size].
        """
        dtype = next(iter(maps.values())).dtype
        with torch.autocast(regions[0].device.type, enabled=False):
            pooled = self.pool({name: level.float() for name, level in maps.items()}, regions)
        logits: Tensor = self.predictor(self.tower(pooled.to(dtype)))
        return logits.float()

    def loss(
        self,
        maps: dict[str, Tensor],
        sample: RoISample,
        objects: Sequence[Objects],
        sizes: Sequence[tuple[int, int]],
    ) -> Tensor:
        """Binary cross-entropy of the map of each object's own class, the mean over pixels (He et al., section 3).

        Args:
            maps: feature maps by level.
            sample: regions that the box head learned from; those of objects teach masks.
            objects: of each image, with their masks.
            sizes: (height, width) of each image as the network sees it, in pixels.
        """
        classes = sample.classes.split([len(regions) for regions in sample.regions])
        regions = [boxes[own > 0] for boxes, own in zip(sample.regions, classes, strict=True)]
        logits = self(maps, regions)
        if not len(logits):
            return logits.sum()  # zero, and every parameter gets its gradient of zero
        labels = sample.classes[sample.classes > 0]
        truth = [
            masks_in_regions(one.masks, indices, boxes, _frame(one, size, boxes), logits.shape[-1])
            for one, indices, boxes, size in zip(objects, sample.matched, regions, sizes, strict=True)
        ]
        return functional.binary_cross_entropy_with_logits(
            logits[torch.arange(len(labels), device=labels.device), labels], torch.cat(truth)
        )

    def probabilities(self, maps: dict[str, Tensor], boxes: list[Tensor], labels: list[Tensor]) -> list[Tensor]:
        """For each detection the probability of its own class, pixel by pixel of its box.

        Args:
            maps: feature maps by level.
            boxes: per image float32 [M, 4] in pixels.
            labels: per image int64 [M], 0..K-1.

        Returns:
            Per image float32 [M, 2 size, 2 size] in 0..1.
        """
        logits = self(maps, boxes)
        own = logits[torch.arange(len(logits), device=logits.device), torch.cat(labels) + 1]
        return list(own.sigmoid().split([len(found) for found in boxes]))


def masks_in_regions(
    masks: Sequence[dict[str, Any]] | None, indices: Tensor, regions: Tensor, frame: Tensor, side: int
) -> Tensor:
    """What regions show of their objects' masks.

    Only the masks that are asked for are decoded, a part of them at a time, and they stay at the size they are stored
    in: the regions are carried there instead.

    Args:
        masks: COCO run-length code of each object of an image.
        indices: int64 [P], the object of each region.
        regions: float32 [P, 4], in the pixels of the image as the network sees it.
        frame: float32 [4], where in it the image lies that the masks belong to.
        side: cells of the result in each direction.

    Returns:
        float32 [P, side, side] in 0..1, share of each cell that the object covers.
    """
    if not len(indices):
        return regions.new_zeros((0, side, side))
    assert masks is not None
    asked, places = indices.unique(return_inverse=True)
    corner, sides = frame[:2].repeat(2), (frame[2:] - frame[:2]).repeat(2)
    height, width = masks[int(asked[0])]["size"]
    stored = (regions - corner) / sides * regions.new_tensor([width, height]).repeat(2)
    at_once = max(MOST_PIXELS // (height * width), 1)
    shown = regions.new_empty((len(regions), side, side))
    for part, some in enumerate(asked.split(at_once)):
        decoded = np.stack([rle.decode(masks[index]) for index in some.tolist()])
        planes = torch.from_numpy(decoded).to(regions.device).float()[:, None]
        own = torch.where(places // at_once == part)[0]
        rows = torch.cat([places[own, None] % at_once, stored[own]], dim=1)
        shown[own] = roi_align(planes, rows, side)[:, 0]
    return shown


def _frame(objects: Objects, size: tuple[int, int], like: Tensor) -> Tensor:
    """The part of an image of `size` (height, width) that its objects' masks cover."""
    return objects.frame if objects.frame is not None else like.new_tensor([0, 0, size[1], size[0]])
