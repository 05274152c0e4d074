"""Conversions of a detector's inputs and outputs: padded images, objects and proposals, and detections."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from visionkit.errors import DataError
from visionkit.models.detection.parts.target_checks import check_target_shapes, check_target_values, crowd_of
from visionkit.ops.boxes import SMALLEST_DETECTION, has_area
from visionkit.ops.matching import PaddedObjects
from visionkit.ops.nms import Candidates, NMSOptions
from visionkit.ops.waiting import from_host, waits
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


def check_images(batch: ImageBatch, std: Sequence[float], training: bool) -> None:
    """Raise an error if the images are not normalized.

    Args:
        batch: images.
        std: standard deviations of the normalization, `Backbone.std`.
        training: whether images on a GPU are not checked, since each training step would wait for it.

    Raises:
        DataError: the batch contains NaN, infinity, or values as large as those of images in 0..255.
    """
    if training and waits(batch.tensor):
        return
    lowest, highest = torch.stack(torch.aminmax(batch.tensor.detach())).tolist()
    if not (lowest * min(std) >= -MAX_NORMALIZED and highest * min(std) <= MAX_NORMALIZED):
        raise DataError(
            f"the images of this batch have values from {lowest:.4g} to {highest:.4g}: they are not normalized\n"
            "scale them to 0..1, subtract the mean and divide by the standard deviation, as the pipeline does"
        )


def pad_targets(targets: Sequence[Target], num_classes: int) -> PaddedObjects:
    """Check targets, and pad them to the same number of rows.

    Args:
        targets: per image `boxes` float [N, 4], `labels` int64 [N], and optionally `crowd` bool [N], `masks` (a list
            of N), `frame` (see `PaddedObjects`) and `image_id`.
        num_classes: K; labels are 0..K-1.

    Raises:
        DataError: arrays of different lengths, or on a CPU invalid values, see `check_target_values`.
    """
    check_target_shapes(targets)
    on_cpu = not waits(targets[0]["boxes"])
    if on_cpu:
        check_target_values(targets, num_classes)
    boxes, in_target = pad_rows([target["boxes"].float() for target in targets])
    labels = _padded([target["labels"] for target in targets])
    if all(target.get("crowd") is None for target in targets):
        is_crowd = None
    else:
        is_crowd = _padded([crowd_of(target) for target in targets])
        if on_cpu and not is_crowd.any():
            is_crowd = None
    return PaddedObjects(
        boxes,
        labels,
        valid=in_target if is_crowd is None else in_target & ~is_crowd,
        crowds=None if is_crowd is None else boxes.masked_fill(~is_crowd[..., None], 0.0),
        counts=[len(target["labels"]) for target in targets],
        masks=[target.get("masks") for target in targets],
        frames=[target.get("frame") for target in targets],
    )


def pad_rows(rows: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Return rows [N, ...] of each image as one tensor [B, max N, ...] of at least one row, and which are not padding.

    Returns:
        [B, max N, ...] and bool [B, max N].
    """
    padded = _padded(rows)
    counts = from_host([len(own) for own in rows], padded, torch.int64)
    return padded, torch.arange(padded.shape[1], device=padded.device) < counts[:, None]


def filter_detections(candidates: Candidates, nms: NMSOptions) -> Prediction:
    """Drop boxes without area, and apply NMS.

    Returns:
        boxes [M, 4], scores [M] in descending order, labels [M].
    """
    valid = torch.where(has_area(candidates.boxes, SMALLEST_DETECTION))[0]
    candidates = Candidates(*(column[valid] for column in candidates))
    kept, scores = nms(candidates)
    return {"boxes": candidates.boxes[kept], "scores": scores, "labels": candidates.labels[kept]}


def _padded(rows: Sequence[Tensor]) -> Tensor:
    """Return the first result of `pad_rows`."""
    padded = pad_sequence(list(rows), batch_first=True)
    return padded if padded.shape[1] else padded.new_zeros(len(rows), 1, *padded.shape[2:])
