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
from visionkit.ops.boxes import rois_of
from visionkit.ops.float32 import at_least_float32, full_precision
from visionkit.ops.matching import PaddedObjects
from visionkit.ops.roi_align import OUTSIDE
from visionkit.ops.waiting import from_host, rows_of, to_device_of, waits
from visionkit.structures import Rle

CONVOLUTIONS = 4
"""Number of 3x3 convolutions before the upsampling (He et al. 2017, figure 4, right)."""

MAX_UNREAD_MASKS = 100
"""Largest number of an image's masks that are all decoded for a GPU: decoding more takes longer than waiting for it."""

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

    def forward(self, maps: dict[str, Tensor], regions: Tensor | list[Tensor]) -> Tensor:
        """Return mask logits of regions.

        Args:
            maps: feature maps [B, C, h, w] by level.
            regions: per image float32 [S, 4] in pixels, R in total, or all with the number of their image [R, 5].

        Returns:
            float32 [R, K + 1, 2 size, 2 size].
        """
        dtype = next(iter(maps.values())).dtype
        with full_precision(next(iter(maps.values()))):
            pooled = self.pool({name: at_least_float32(level) for name, level in maps.items()}, regions)
        logits: Tensor = self.predictor(self.tower(pooled.to(dtype)))
        return at_least_float32(logits)

    def loss(
        self,
        maps: dict[str, Tensor],
        sample: RoISample,
        objects: PaddedObjects,
        sizes: Sequence[tuple[int, int]],
    ) -> Tensor:
        """Compute the binary cross-entropy of the mask of each region's class, mean over pixels (He et al., section 3).

        Args:
            maps: feature maps by level.
            sample: regions of the box head's loss; those that match an object enter the mask loss.
            objects: ground truth of the images, with masks.
            sizes: (height, width) of each image of the model's input in pixels.
        """
        classes, matched, boxes = (
            column[:, : sample.max_positives] for column in (sample.classes, sample.matched, sample.regions)
        )
        labels, rois = classes.flatten(), rois_of(boxes)
        rows = rows_of(labels > 0)
        labels, logits = labels[rows], self(maps, rois[rows])
        masks = []
        for image, size in enumerate(sizes):
            own = rows_of(classes[image] > 0)
            frame = _mask_frame(objects.frames[image], size, boxes)
            of_objects, regions = objects.masks[image] or [], boxes[image][own]
            masks.append(masks_in_regions(of_objects, matched[image][own], regions, frame, logits.shape[-1]))
        of_class = logits[torch.arange(len(labels), device=labels.device), labels]
        entropy = functional.binary_cross_entropy_with_logits(of_class, torch.cat(masks), reduction="none")
        per_region = entropy.flatten(1).mean(dim=1)
        return per_region.masked_fill(labels == 0, 0.0).sum() / (labels > 0).sum().clamp(min=1)

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


def masks_in_regions(masks: Sequence[Rle], indices: Tensor, regions: Tensor, frame: Tensor, side: int) -> Tensor:
    """Crop the masks of objects to regions.

    Masks are decoded a part of them at a time: on a CPU those that regions match, for a GPU all, unless there are many,
    since it would have to be waited for. They keep their stored size; the regions are transformed instead.

    Args:
        masks: COCO run-length code of each object of an image.
        indices: int64 [P], the object of each region.
        regions: float32 [P, 4], in pixels of the model's input.
        frame: float32 [4], the part of the model's input that the stored image covers.
        side: cells of the result in each direction.

    Returns:
        float32 [P, side, side] in 0..1, share of each cell that the object covers.
    """
    cropped = regions.new_zeros((len(regions), side, side))
    if not len(indices) or not masks:
        return cropped
    used, places = _needed(masks, indices)
    corner, sides = frame[:2].repeat(2), (frame[2:] - frame[:2]).repeat(2)
    height, width = masks[0]["size"]
    stored_regions = (regions - corner) / sides * from_host([width, height, width, height], regions)
    chunk = max(MAX_DECODED_PIXELS // (height * width), 1)
    for start in range(0, len(used), chunk):
        decoded = np.stack([rle.decode(mask) for mask in used[start : start + chunk]])
        planes = to_device_of(torch.from_numpy(decoded), regions).to(regions.dtype)[:, None]
        in_part = (places >= start) & (places < start + chunk)
        rows = rows_of(in_part)
        boxes = stored_regions.masked_fill(~in_part[:, None], OUTSIDE)[rows]
        numbers = (places - start).clamp(0, len(planes) - 1)[rows, None]
        cropped[rows] += roi_align(planes, torch.cat([numbers, boxes], dim=1), side)[:, 0]
    return cropped


def _needed(masks: Sequence[Rle], indices: Tensor) -> tuple[list[Rle], Tensor]:
    """Return the masks to decode, and the index [P] of each region's mask among them."""
    if waits(indices) and len(masks) <= MAX_UNREAD_MASKS:
        return list(masks), indices
    used, places = indices.unique(return_inverse=True)
    return [masks[index] for index in used.tolist()], places


def _mask_frame(frame: Tensor | None, size: tuple[int, int], like: Tensor) -> Tensor:
    """Return the part of an image of `size` (height, width) that its objects' masks cover."""
    return frame if frame is not None else from_host([0, 0, size[1], size[0]], like)
