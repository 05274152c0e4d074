"""Predicted and true boxes of many images as columns, so that they are scored without a loop over images."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, cast

import numpy as np
import torch
from numpy.typing import DTypeLike, NDArray
from pycocotools import mask as rle
from torch import Tensor

from visionkit.errors import VisionkitError
from visionkit.metrics.image_ids import ImageId, plain_id, sort_key
from visionkit.structures import Rle

IGNORED_FIELDS = ("crowd", "iscrowd", "difficult")
"""Fields of a target that mark ignored objects. `iscrowd` is torchmetrics' name of `crowd`."""

IouType = Literal["bbox", "segm"]
"""Whether the IoU of boxes or of masks is computed, in COCO's words."""


@dataclass(frozen=True)
class BoxColumns:
    """Boxes of many images as columns of equal length L, the images in order.

    Attributes:
        images: int64 [L], index of the image.
        boxes: float64 [L, 4], xyxy in pixels of the original image.
        labels: int64 [L], 0..K-1.
        scores: float64 [L]; 1 for ground truth.
        areas: float64 [L], square pixels: that of a true object as annotated, that of a predicted box.
        ignored: bool [L], crowd regions and difficult objects: detections of them count neither as true nor as false
            positives.
        masks: L RLEs, or None where a box has none.
    """

    images: NDArray[np.int64]
    boxes: NDArray[np.float64]
    labels: NDArray[np.int64]
    scores: NDArray[np.float64]
    areas: NDArray[np.float64]
    ignored: NDArray[np.bool_]
    masks: list[Rle | None]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: NDArray[Any], images: NDArray[np.int64] | None = None) -> "BoxColumns":
        """Return some rows.

        Args:
            rows: indices of the rows, or bool [L].
            images: new image of each row; None keeps it.
        """
        indices = np.flatnonzero(rows) if rows.dtype == np.bool_ else rows
        columns = {field.name: getattr(self, field.name)[indices] for field in fields(self)[:-1]}
        columns |= {} if images is None else {"images": images}
        return BoxColumns(**columns, masks=[self.masks[index] for index in indices.tolist()])

    def ranked(self, label: int) -> NDArray[np.int64]:
        """Return the rows of a class in descending order of score; equal scores keep their order."""
        rows = np.flatnonzero(self.labels == label)
        return rows[np.argsort(-self.scores[rows], kind="stable")]

    def required_masks(self, side: str) -> list[Rle]:
        """Return the masks.

        Args:
            side: "target" or "prediction", for the message.

        Raises:
            VisionkitError: a box has none.
        """
        if None in self.masks:
            raise VisionkitError(
                f"masks are to be scored, but a {side} has none: compare boxes (iou_type='bbox') or add masks"
            )
        return cast(list[Rle], self.masks)

    def compared_areas(self, iou_type: IouType) -> NDArray[np.float64]:
        """Return the areas of predictions [L], which are those of the masks if masks are compared.

        Raises:
            VisionkitError: masks are compared, and a prediction has none.
        """
        if iou_type == "bbox" or not len(self):
            return self.areas
        return np.array([rle.area(mask) for mask in self.required_masks("prediction")], np.float64)


@dataclass(frozen=True)
class DetectionColumns:
    """Predictions and ground truth of I images.

    Attributes:
        image_ids: id of each image.
        sizes: int64 [I, 2], height and width in pixels.
        predicted, true: the boxes, whose `images` are indices of these images.

    Example:
        >>> from visionkit.metrics.detection_columns import DetectionColumns
        >>> prediction = {"boxes": [[0.0, 0, 9, 9]], "scores": [0.5], "labels": [0]}
        >>> target = {"image_id": 7, "boxes": [[0.0, 0, 9, 9], [20, 0, 30, 9]], "labels": [0, 1]}
        >>> columns = DetectionColumns.of_images([prediction], [target])
        >>> columns.image_ids, len(columns.predicted), columns.true.labels.tolist()
        ([7], 1, [0, 1])
    """

    image_ids: list[ImageId]
    sizes: NDArray[np.int64]
    predicted: BoxColumns
    true: BoxColumns

    def __len__(self) -> int:
        return len(self.image_ids)

    @classmethod
    def of_images(
        cls, predictions: Sequence[Mapping[str, Any]], targets: Sequence[Mapping[str, Any]]
    ) -> "DetectionColumns":
        """Return the columns of predictions and targets, see `DetectionMetric.update`.

        Raises:
            VisionkitError: a score or box is not finite, or the fields of an image differ in length.
        """
        ids = [plain_id(target["image_id"]) for target in targets]
        predictions, targets = ([_with_boxes(image) for image in images] for images in (predictions, targets))
        predicted = _columns(predictions, ids, "predicted", ("scores",))
        wrong = ~(np.isfinite(predicted.scores) & np.isfinite(predicted.boxes).all(axis=1))
        if wrong.any():
            image_id = ids[predicted.images[wrong.argmax()]]
            raise VisionkitError(f"image {image_id}: the model predicted NaN or infinite boxes or scores")
        sizes = np.array([target.get("size", (0, 0)) for target in targets], np.int64).reshape(-1, 2)
        return cls(ids, sizes, predicted, _columns(targets, ids, "true", ("crowd", "iscrowd", "difficult", "area")))

    @classmethod
    def joined(cls, parts: Iterable["DetectionColumns"]) -> "DetectionColumns":
        """Return the images of all parts, sorted by id; of an image in several parts, those of the last one."""
        parts = list(parts)
        ids = [image_id for part in parts for image_id in part.image_ids]
        offsets = np.cumsum([0, *map(len, parts)])
        whole = cls(
            ids,
            np.concatenate([np.zeros((0, 2), np.int64), *(part.sizes for part in parts)]),
            _stacked([part.predicted for part in parts], offsets),
            _stacked([part.true for part in parts], offsets),
        )
        last = {image_id: index for index, image_id in enumerate(ids)}
        order = [last[image_id] for image_id in sorted(last, key=sort_key)]
        return whole if order == list(range(len(ids))) else whole.select(order)

    def select(self, images: Sequence[int]) -> "DetectionColumns":
        """Return some images in the given order."""
        order = np.array(images, np.int64)
        places = np.full(len(self), -1)
        places[order] = np.arange(len(order))
        ids = [self.image_ids[index] for index in images]
        return DetectionColumns(ids, self.sizes[order], _moved(self.predicted, places), _moved(self.true, places))

    def predictions(self) -> list[dict[str, Any]]:
        """Return the predictions of each image: `image_id`, `boxes`, `scores`, `labels`, `masks`."""
        bounds = np.searchsorted(self.predicted.images, np.arange(len(self) + 1)).tolist()
        predicted = self.predicted
        return [
            {
                "image_id": image_id,
                "boxes": predicted.boxes[start:end],
                "scores": predicted.scores[start:end],
                "labels": predicted.labels[start:end],
                "masks": predicted.masks[start:end],
            }
            for image_id, start, end in zip(self.image_ids, bounds, bounds[1:], strict=False)
        ]

    def check_labels(self, num_classes: int) -> None:
        """Check the labels, because wrong ones would be scored silently.

        Raises:
            VisionkitError: a label is not in 0..K-1.
        """
        for side, columns in (("predicted", self.predicted), ("true", self.true)):
            wrong = (columns.labels < 0) | (columns.labels >= num_classes)
            if wrong.any():
                row = wrong.argmax()
                raise VisionkitError(
                    f"image {self.image_ids[columns.images[row]]}: {side} label {columns.labels[row]}, "
                    f"but labels are 0 to {num_classes - 1}"
                )


def as_array(values: Any, dtype: DTypeLike) -> NDArray[Any]:
    """Return a tensor, array or list as an array of `dtype` on the CPU."""
    return np.asarray(values.detach().cpu() if isinstance(values, Tensor) else values).astype(dtype, copy=False)


def as_floats(values: Any) -> NDArray[np.float64]:
    """Return a tensor, array or list as float64, also from bfloat16, which numpy does not have."""
    return as_array(values.detach().double() if isinstance(values, Tensor) else values, np.float64)


def _columns(
    images: Sequence[Mapping[str, Any]], ids: Sequence[ImageId], side: str, others: Sequence[str]
) -> BoxColumns:
    """Return the boxes of all images, with defaults for the fields that an image lacks.

    Raises:
        VisionkitError: the fields of an image differ in length.
    """
    counts = [len(image["boxes"]) for image in images]
    for name in ("labels", "masks", *others):
        _check_lengths(images, name, counts, ids, side)
    boxes = _joined([image["boxes"] for image in images], np.float64).reshape(-1, 4)
    total = len(boxes)
    present = [name for name in others if any(name in image for image in images)]
    fields = {name: _field(images, name, counts) for name in present}
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    given = fields.get("area", np.full(total, np.nan))
    masks = _masks(images, counts)
    if "area" in others:  # of an object with a mask and no annotated area, that of the mask
        unknown = [index for index in np.flatnonzero(np.isnan(given)).tolist() if masks[index] is not None]
        given[unknown] = [rle.area(masks[index]) for index in unknown]
    return BoxColumns(
        images=np.repeat(np.arange(len(images)), counts),
        boxes=boxes,
        labels=_joined([image["labels"] for image in images], np.int64),
        scores=fields.get("scores", np.ones(total)),
        areas=np.where(np.isnan(given), areas, given),
        ignored=np.any([fields.get(name, np.zeros(total)) == 1 for name in IGNORED_FIELDS], axis=0),
        masks=masks,
    )


def _with_boxes(image: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return an image whose masks are RLEs, and which has boxes: those of the masks if it has none."""
    masks = image.get("masks")
    if isinstance(masks, Tensor | np.ndarray):
        planes = as_array(masks, np.uint8).reshape(-1, *masks.shape[-2:])
        masks = [rle.encode(np.asfortranarray(plane)) for plane in planes]
        image = {**image, "masks": masks}
    if "boxes" in image or masks is None:
        return image
    boxes = np.array([rle.toBbox(mask) for mask in masks], np.float64).reshape(-1, 4)
    return {**image, "boxes": np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)}


def _field(images: Sequence[Mapping[str, Any]], name: str, counts: Sequence[int]) -> NDArray[np.float64]:
    """Return a field of all boxes; NaN for images that lack it."""
    return _joined(
        [image[name] if name in image else np.full(count, np.nan) for image, count in zip(images, counts, strict=True)],
        np.float64,
    )


def _joined(values: list[Any], dtype: DTypeLike) -> NDArray[Any]:
    """Return the values of all images as one array."""
    if values and all(isinstance(value, Tensor) for value in values):
        filled = [value for value in values if len(value)]
        values = [torch.cat(filled)] if filled else []  # one copy from the device
    arrays = [as_floats(value) if dtype == np.float64 else as_array(value, dtype) for value in values]
    arrays = [array for array in arrays if array.size]  # empty lists of boxes have one dimension
    return np.concatenate(arrays) if arrays else np.zeros(0, dtype)


def _masks(images: Sequence[Mapping[str, Any]], counts: Sequence[int]) -> list[Rle | None]:
    masks: list[Rle | None] = []
    for image, count in zip(images, counts, strict=True):
        own = image.get("masks")
        masks += [None] * count if own is None else own
    return masks


def _check_lengths(
    images: Sequence[Mapping[str, Any]], name: str, counts: Sequence[int], ids: Sequence[ImageId], side: str
) -> None:
    for image, count, image_id in zip(images, counts, ids, strict=True):
        values = image.get(name)
        if values is not None and len(values) != count:
            raise VisionkitError(f"image {image_id}: {count} {side} boxes, but {len(values)} {name}")


def _stacked(parts: Sequence[BoxColumns], offsets: NDArray[np.int64]) -> BoxColumns:
    """Return the rows of all parts; the images of part i are numbered from `offsets[i]`."""
    if not parts:
        return _columns([], [], "", ())
    columns = {
        field.name: np.concatenate([getattr(part, field.name) for part in parts])
        for field in fields(BoxColumns)[:-1]
        if field.name != "images"
    }
    images = np.concatenate([part.images + offset for part, offset in zip(parts, offsets, strict=False)])
    return BoxColumns(images=images, **columns, masks=[mask for part in parts for mask in part.masks])


def _moved(columns: BoxColumns, places: NDArray[np.int64]) -> BoxColumns:
    """Return the rows of images that have a place, in the order of the places."""
    images = places[columns.images]
    rows = np.flatnonzero(images >= 0)
    rows = rows[np.argsort(images[rows], kind="stable")]
    return columns.take(rows, images[rows])
