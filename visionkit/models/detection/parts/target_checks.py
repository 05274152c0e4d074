"""Checks of a detector's targets and proposals. Values are checked on the CPU, since reading them on a GPU waits."""

from collections.abc import Sequence

import torch
from torch import Tensor

from visionkit.errors import DataError
from visionkit.ops.waiting import waits
from visionkit.structures import Target


def check_target_shapes(targets: Sequence[Target]) -> None:
    """Check types and lengths.

    Raises:
        DataError: a type is wrong, or arrays have different lengths; the message names the image.
    """
    for index, target in enumerate(targets):
        _check_shapes(target, _image_name(target, index))


def check_target_values(targets: Sequence[Target], num_classes: int) -> None:
    """Check values.

    Args:
        targets: per image `boxes` float [N, 4], `labels` int64 [N] and optionally `image_id`.
        num_classes: K; labels are 0..K-1.

    Raises:
        DataError: labels outside 0..K-1, or boxes that are not finite or have no area; the message names the image.
    """
    # Single images are checked only to name the invalid one.
    boxes = torch.cat([target["boxes"] for target in targets])
    labels = torch.cat([target["labels"] for target in targets])
    if _invalid_labels(labels, num_classes).any() or _invalid_boxes(boxes).any():
        _raise_invalid_target(targets, num_classes)


def check_proposals(proposals: Sequence[Tensor | None] | None, num_images: int, training: bool = False) -> list[Tensor]:
    """Return the proposals of a batch as float32.

    Args:
        proposals: per image float [P, 4], xyxy in its pixels; P may be 0.
        num_images: number of images in the batch.
        training: whether values on a GPU are not checked, since each training step would wait for it.

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
    reads_values = checked and not (training and waits(checked[0]))
    if reads_values and _invalid_proposals(torch.cat(checked)).any():
        _raise_invalid_proposals(checked)
    return checked


def crowd_of(target: Target) -> Tensor:
    """Return which rows of a target are crowd regions, bool [N]."""
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
    if crowd_of(target).shape != labels.shape:
        raise DataError(f"{name}: {len(labels)} objects, but {len(crowd_of(target))} crowd flags")
    masks = target.get("masks")
    if masks is not None and len(masks) != len(labels):
        raise DataError(f"{name}: {len(labels)} objects, but {len(masks)} masks")


def _image_name(target: Target, index: int) -> str:
    return f"image {target['image_id']!r}" if "image_id" in target else f"image {index} of the batch"
