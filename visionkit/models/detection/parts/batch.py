"""Checks and conversions of a detector's inputs and outputs: padded batches, objects, proposals, detections."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from visionkit.errors import DataError
from visionkit.ops.boxes import SMALLEST_DETECTION, has_area
from visionkit.ops.matching import Objects
from visionkit.ops.nms import Candidates, NMSOptions
from visionkit.structures import Prediction, Target

MAX_NORMALIZED = 10.0
"""Bound on a normalized value times the standard deviation; images in 0..1 are within it, images in 0..255 are not."""


class ImageBatch(NamedTuple):
    """Images of several sizes in one tensor.

    Attributes:
        tensor: [B, 3, H, W], channels last in memory; each image is at the top left, padded with zeros.
        sizes: (height, width) of each image in pixels.
    """

    tensor: Tensor
    sizes: list[tuple[int, int]]


def pad_to_batch(images: Sequence[Tensor], multiple: int) -> ImageBatch:
    """Pad images to one batch whose height and width are multiples of `multiple`.

    Args:
        images: normalized float [3, H, W] each, of any size.
        multiple: pixels, the largest stride of the backbone.

    Raises:
        DataError: an image is not float [3, H, W].
    """
    for number, image in enumerate(images):
        if image.ndim != 3 or image.shape[0] != 3 or not image.is_floating_point():
            raise DataError(
                f"image {number} of the batch is {image.dtype} {list(image.shape)}; a detector takes normalized "
                "float images [3, H, W]"
            )
    sizes = [(image.shape[1], image.shape[2]) for image in images]
    height, width = (-(-max(lengths) // multiple) * multiple for lengths in zip(*sizes, strict=True))
    first = images[0]
    shape = (len(images), 3, height, width)
    batch = torch.empty(shape, dtype=first.dtype, device=first.device, memory_format=torch.channels_last).zero_()
    for padded, image in zip(batch, images, strict=True):
        padded[:, : image.shape[1], : image.shape[2]].copy_(image)
    return ImageBatch(batch, sizes)


def check_images(batch: ImageBatch, std: Sequence[float]) -> None:
    """Raise an error if the images are not normalized.

    Args:
        batch: images.
        std: standard deviations of the normalization, `Backbone.std`.

    Raises:
        DataError: the batch contains NaN, infinity, or values as large as those of images in 0..255.
    """
    lowest, highest = torch.stack(torch.aminmax(batch.tensor.detach())).tolist()
    if not (lowest * min(std) >= -MAX_NORMALIZED and highest * min(std) <= MAX_NORMALIZED):
        raise DataError(
            f"the images of this batch have values from {lowest:.4g} to {highest:.4g}: they are not normalized\n"
            "scale them to 0..1, subtract the mean and divide by the standard deviation, as the pipeline does"
        )


def check_proposals(proposals: Sequence[Tensor | None] | None, num_images: int) -> list[Tensor]:
    """Return the proposals of a batch as float32.

    Args:
        proposals: per image float [P, 4], xyxy in its pixels; P may be 0.
        num_images: number of images in the batch.

    Raises:
        DataError: proposals are missing, have another shape or type, are not finite, or end before they begin.
    """
    given = [] if proposals is None else [boxes for boxes in proposals if boxes is not None]
    if proposals is None or not len(proposals) == len(given) == num_images:
        raise DataError(
            "this model classifies given proposals, and there are none\n"
            "in a recipe: data.proposals, such as `proposals: {mode: fast}`; in Python: model(images, proposals=...)"
        )
    for number, boxes in enumerate(given):
        if boxes.ndim != 2 or boxes.shape[1] != 4 or not boxes.is_floating_point():
            raise DataError(
                f"the proposals of image {number} of the batch are {boxes.dtype} {list(boxes.shape)}, not float [P, 4]"
            )
    checked = [boxes.float() for boxes in given]
    # One synchronization with the device for the whole batch, as for targets.
    if checked and _invalid_proposals(torch.cat(checked)).any():
        _raise_invalid_proposals(checked)
    return checked


def split_targets(targets: Sequence[Target], num_classes: int) -> list[Objects]:
    """Check targets, and separate objects from crowd regions.

    Args:
        targets: per image `boxes` float [N, 4], `labels` int64 [N], and optionally `crowd` bool [N], `masks` (a list
            of N), `frame` (see `Objects`) and `image_id`.
        num_classes: K; labels are 0..K-1.

    Raises:
        DataError: labels outside 0..K-1, boxes that are not finite or have no area, or arrays of different lengths;
            the message names the image.
    """
    for index, target in enumerate(targets):
        _check_shapes(target, _image_name(target, index))
    # One synchronization with the device for the whole batch; single images are checked only to name the invalid one.
    boxes = torch.cat([target["boxes"] for target in targets])
    labels = torch.cat([target["labels"] for target in targets])
    crowd = torch.cat([_crowd(target) for target in targets])
    checks = torch.stack([_invalid_labels(labels, num_classes).any(), _invalid_boxes(boxes).any(), crowd.any()])
    any_invalid_label, any_invalid_box, any_crowd = checks.tolist()
    if any_invalid_label or any_invalid_box:
        _raise_invalid_target(targets, num_classes)
    return [_objects(target, any_crowd) for target in targets]


def filter_detections(candidates: Candidates, nms: NMSOptions) -> Prediction:
    """Drop boxes without area, and apply NMS.

    Returns:
        boxes [M, 4], scores [M] in descending order, labels [M].
    """
    valid = torch.where(has_area(candidates.boxes, SMALLEST_DETECTION))[0]
    candidates = Candidates(*(column[valid] for column in candidates))
    kept, scores = nms(candidates)
    return {"boxes": candidates.boxes[kept], "scores": scores, "labels": candidates.labels[kept]}


def _objects(target: Target, check_crowd: bool) -> Objects:
    boxes, labels, masks, frame = target["boxes"].float(), target["labels"], target.get("masks"), target.get("frame")
    if not check_crowd:
        return Objects(boxes, labels, boxes[:0], masks, frame)
    crowd = _crowd(target)
    if masks is not None:
        masks = [mask for mask, is_crowd in zip(masks, crowd.tolist(), strict=True) if not is_crowd]
    return Objects(boxes[~crowd], labels[~crowd], boxes[crowd], masks, frame)


def _crowd(target: Target) -> Tensor:
    crowd = target.get("crowd")
    return crowd if crowd is not None else torch.zeros_like(target["labels"], dtype=torch.bool)


def _invalid_labels(labels: Tensor, num_classes: int) -> Tensor:
    return (labels < 0) | (labels >= num_classes)


def _invalid_boxes(boxes: Tensor) -> Tensor:
    return ~(torch.isfinite(boxes).all(-1) & (boxes[:, 2:] > boxes[:, :2]).all(-1))


def _invalid_proposals(boxes: Tensor) -> Tensor:
    """Return which proposals [P, 4] are not finite or end before they begin. Unlike objects, they may have no area."""
    return ~(torch.isfinite(boxes).all(-1) & (boxes[:, 2:] >= boxes[:, :2]).all(-1))


def _raise_invalid_proposals(proposals: Sequence[Tensor]) -> None:
    for number, boxes in enumerate(proposals):
        invalid = boxes[_invalid_proposals(boxes)].tolist()
        if invalid:
            raise DataError(
                f"image {number} of the batch has proposals that are not finite or end before they begin: "
                f"{invalid[:3]}\nthe coordinates must be x1 y1 x2 y2, not a corner and a size"
            )


def _raise_invalid_target(targets: Sequence[Target], num_classes: int) -> None:
    for index, target in enumerate(targets):
        name = _image_name(target, index)
        labels = target["labels"][_invalid_labels(target["labels"], num_classes)].tolist()
        if labels:
            raise DataError(
                f"{name} has the labels {labels[:5]}; with {num_classes} classes they are 0..{num_classes - 1}"
            )
        boxes = target["boxes"][_invalid_boxes(target["boxes"])].tolist()
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
