"""What enters a detection network, images padded to one batch and their objects, both checked, and what leaves it."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from visionkit.errors import DataError
from visionkit.ops.boxes import SMALLEST_DETECTION, has_area
from visionkit.ops.matching import Objects
from visionkit.ops.nms import Candidates, NMSOptions
from visionkit.structures import Prediction, Target

LARGEST_NORMALIZED = 10.0
"""In units of 1 / deviation, within which images in 0..1 stay; those in 0..255 pass it."""


class ImageBatch(NamedTuple):
    """Images of several sizes as one tensor.

    Attributes:
        tensor: [B, 3, H, W], channels last in memory; each image in its upper left corner, zeros beyond.
        sizes: (height, width) of each image in pixels.
    """

    tensor: Tensor
    sizes: list[tuple[int, int]]


def pad_to_batch(images: Sequence[Tensor], multiple: int) -> ImageBatch:
    """Put images into one batch whose height and width are multiples of `multiple`.

    Args:
        images: normalized float [3, H, W] each, of any size.
        multiple: in pixels, the largest stride of the backbone.

    Raises:
        DataError: an image is not float [3, H, W].
    """
    for number, image in enumerate(images):
        if image.ndim != 3 or image.shape[0] != 3 or not image.is_floating_point():
            raise DataError(
                f"image {number} of the batch is {image.dtype} {list(image.shape)}; a network takes normalized "
                "float images [3, H, W]"
            )
    sizes = [(image.shape[1], image.shape[2]) for image in images]
    height, width = (-(-max(lengths) // multiple) * multiple for lengths in zip(*sizes, strict=True))
    first = images[0]
    shape = (len(images), 3, height, width)
    batch = torch.empty(shape, dtype=first.dtype, device=first.device, memory_format=torch.channels_last).zero_()
    for place, image in zip(batch, images, strict=True):
        place[:, : image.shape[1], : image.shape[2]].copy_(image)
    return ImageBatch(batch, sizes)


def check_images(batch: ImageBatch, std: Sequence[float]) -> None:
    """Refuse values that no normalization gives.

    Args:
        batch: images.
        std: by which images in 0..1 should have been divided, `Backbone.std`.

    Raises:
        DataError: the batch holds NaN, infinity, or values as large as those of images in 0..255.
    """
    lowest, highest = torch.stack(torch.aminmax(batch.tensor.detach())).tolist()
    if not (lowest * min(std) >= -LARGEST_NORMALIZED and highest * min(std) <= LARGEST_NORMALIZED):
        raise DataError(
            f"the images of this batch reach from {lowest:.4g} to {highest:.4g}: they are not normalized\n"
            "give images in 0..1 less the mean and divided by the deviation (the task's Preprocessing does it)"
        )


def given_proposals(proposals: Sequence[Tensor | None] | None, images: int) -> list[Tensor]:
    """Check proposals that were given for a batch.

    Args:
        proposals: per image float [P, 4], xyxy in its pixels; P may be 0.
        images: how many there are.

    Raises:
        DataError: there are none for an image, or they are something else, not finite, or end before they begin.
    """
    if proposals is None or len(proposals) != images or any(found is None for found in proposals):
        raise DataError(
            "this network finds no regions by itself: give it proposals\n"
            "in a recipe: data.proposals, such as `proposals: {mode: fast}`; in Python: net(images, proposals=...)"
        )
    for number, found in enumerate(proposals):
        if found is None or found.ndim != 2 or found.shape[1] != 4 or not found.is_floating_point():
            shape = None if found is None else [found.dtype, list(found.shape)]
            raise DataError(f"the proposals of image {number} of the batch are {shape}, not float [P, 4]")
    checked = [found.float() for found in proposals if found is not None]
    # One question to the device for the whole batch, as for targets.
    if checked and _wrong_proposals(torch.cat(checked)).any():
        _name_wrong_proposals(checked)
    return checked


def split_targets(targets: Sequence[Target], num_classes: int) -> list[Objects]:
    """Check targets and part their objects from their crowd regions.

    Args:
        targets: per image `boxes` float [N, 4], `labels` int64 [N], and optionally `crowd` bool [N], `masks` (a list
            of N), their `frame` (see `Objects`) and `image_id`.
        num_classes: K; labels are 0..K-1.

    Raises:
        DataError: labels outside 0..K-1, boxes that are not finite or have no area, or arrays of unequal
            length; names the image.
    """
    for index, target in enumerate(targets):
        _check_shapes(target, _image_name(target, index))
    # One question to the device for the whole batch; the images are only looked at singly when it says no.
    boxes = torch.cat([target["boxes"] for target in targets])
    labels = torch.cat([target["labels"] for target in targets])
    crowd = torch.cat([_crowd(target) for target in targets])
    wrong = torch.stack([_wrong_labels(labels, num_classes).any(), _wrong_boxes(boxes).any(), crowd.any()])
    any_wrong_label, any_wrong_box, any_crowd = wrong.tolist()
    if any_wrong_label or any_wrong_box:
        _name_the_wrong(targets, num_classes)
    return [_objects(target, any_crowd) for target in targets]


def detections(candidates: Candidates, nms: NMSOptions) -> Prediction:
    """Leave out what has no area and what `nms` drops.

    Returns:
        boxes [M, 4], scores [M] falling, labels [M].
    """
    sound = torch.where(has_area(candidates.boxes, SMALLEST_DETECTION))[0]
    candidates = Candidates(*(column[sound] for column in candidates))
    kept, scores = nms(candidates)
    return {"boxes": candidates.boxes[kept], "scores": scores, "labels": candidates.labels[kept]}


def _objects(target: Target, may_hold_crowds: bool) -> Objects:
    boxes, labels, masks, frame = target["boxes"].float(), target["labels"], target.get("masks"), target.get("frame")
    if not may_hold_crowds:
        return Objects(boxes, labels, boxes[:0], masks, frame)
    crowd = _crowd(target)
    if masks is not None:
        masks = [mask for mask, is_crowd in zip(masks, crowd.tolist(), strict=True) if not is_crowd]
    return Objects(boxes[~crowd], labels[~crowd], boxes[crowd], masks, frame)


def _crowd(target: Target) -> Tensor:
    crowd = target.get("crowd")
    return crowd if crowd is not None else torch.zeros_like(target["labels"], dtype=torch.bool)


def _wrong_labels(labels: Tensor, num_classes: int) -> Tensor:
    return (labels < 0) | (labels >= num_classes)


def _wrong_boxes(boxes: Tensor) -> Tensor:
    sound = torch.isfinite(boxes).all(-1) & (boxes[:, 2:] > boxes[:, :2]).all(-1)
    return ~sound


def _wrong_proposals(boxes: Tensor) -> Tensor:
    """Unlike objects, proposals may have no area: they then match nothing, and nothing is found in them."""
    sound = torch.isfinite(boxes).all(-1) & (boxes[:, 2:] >= boxes[:, :2]).all(-1)
    return ~sound


def _name_wrong_proposals(proposals: Sequence[Tensor]) -> None:
    for number, boxes in enumerate(proposals):
        wrong = boxes[_wrong_proposals(boxes)].tolist()
        if wrong:
            raise DataError(
                f"image {number} of the batch has proposals that are not finite or end before they begin: {wrong[:3]}"
                "\nthe coordinates must be x1 y1 x2 y2, not a corner and a size"
            )


def _name_the_wrong(targets: Sequence[Target], num_classes: int) -> None:
    for index, target in enumerate(targets):
        name = _image_name(target, index)
        labels = target["labels"][_wrong_labels(target["labels"], num_classes)].tolist()
        if labels:
            raise DataError(
                f"{name} has the labels {labels[:5]}; with {num_classes} classes they are 0..{num_classes - 1}"
            )
        boxes = target["boxes"][_wrong_boxes(target["boxes"])].tolist()
        if boxes:
            raise DataError(f"{name} has boxes that are not finite or have no area (x1 y1 x2 y2): {boxes[:3]}")


def _check_shapes(target: Target, name: str) -> None:
    boxes, labels = target["boxes"], target["labels"]
    if boxes.ndim != 2 or boxes.shape[1] != 4 or not boxes.is_floating_point():
        raise DataError(f"{name}: boxes are {boxes.dtype} {list(boxes.shape)}, not float [N, 4]")
    if labels.dtype != torch.int64 or labels.shape != boxes.shape[:1]:
        raise DataError(f"{name}: labels are {labels.dtype} {list(labels.shape)}, not int64 [{len(boxes)}]")
    if _crowd(target).shape != labels.shape:
        raise DataError(f"{name}: {len(labels)} objects, but {len(_crowd(target))} crowd flags")
    masks = target.get("masks")
    if masks is not None and len(masks) != len(labels):
        raise DataError(f"{name}: {len(labels)} objects, but {len(masks)} masks")


def _image_name(target: Target, index: int) -> str:
    return f"image {target['image_id']!r}" if "image_id" in target else f"image {index} of the batch"
