"""Targets of torchvision-style datasets: labels, dicts of boxes, and semantic masks."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as rle
from torch import Tensor
from torchvision import tv_tensors
from torchvision.ops import box_area, box_convert

from visionkit.data.datasets.repair_boxes import repair_boxes
from visionkit.data.io.image_types import as_array
from visionkit.errors import DataError
from visionkit.ops.ignore import IGNORE
from visionkit.structures import Annotation, Rle, Sample


class PairTargets:
    """Conversion of targets to annotations.

    The kind of a target follows from its type:

    - an integer: the class of the image;
    - a vector of K zeros and ones: the classes of the image (multi-label);
    - a mask [H, W] or a PIL image: the class of each pixel, 0..K-1, 255 = ignore;
    - a dict: `boxes` [N, 4] (xyxy in pixels, or `tv_tensors.BoundingBoxes` of any format) and `labels` [N], and
      optionally `masks` [N, H, W], `area`, `iscrowd` and `difficult` [N] and `image_id`, as in torchvision. Instead
      of objects the dict may have `label`, `tags` (class indices) or `semantic`.

    Args:
        class_count: number of classes K.
        first_label: label of the first class, which becomes class 0; it does not apply to semantic masks.

    Example:
        >>> import numpy as np
        >>> import visionkit as vk
        >>> image = vk.Sample(np.zeros((48, 64, 3), np.uint8), image_id=0, file_name="0")
        >>> vk.PairTargets(class_count=3, first_label=1).annotate(image, 2, report={}).label
        1
    """

    def __init__(self, class_count: int, first_label: int) -> None:
        self.class_count, self.first_label = class_count, first_label

    def annotate(self, sample: Sample, target: object, report: dict[str, int]) -> Sample:
        """Return the sample with the annotation of its target.

        Args:
            sample: the image with its name.
            target: the target, see the class.
            report: counts of repairs by reason, which are added to.

        Raises:
            DataError: the target has another type, does not fit the image, or has unknown classes.
        """
        if isinstance(target, Mapping):
            return self._from_dict(sample, target, report)
        if isinstance(target, Image.Image):
            return replace(sample, semantic=self._semantic(target, sample))
        if not isinstance(target, (int, np.generic, np.ndarray, Tensor)):
            raise DataError(f"{sample.file_name}: a target is an int, a dict or a mask, not {type(target).__name__}")
        values = as_array(target)
        if values.ndim == 0:
            label = int(self._classes(values.reshape(1), sample)[0])
            return replace(sample, label=label, tags=np.array([label]))
        if values.ndim == 1:
            return replace(sample, tags=self._multi_label(values, sample))
        return replace(sample, semantic=self._semantic(values, sample))

    def _from_dict(self, sample: Sample, target: Mapping[str, Any], report: dict[str, int]) -> Sample:
        if not {"boxes", "label", "tags", "semantic"} & target.keys():
            raise DataError(f"{sample.file_name}: a target dict has boxes, label, tags or semantic, not {[*target]}")
        if "image_id" in target:
            sample = replace(sample, image_id=_image_id(target["image_id"]))
        if "boxes" in target:
            annotation = self._objects(sample, target, report)
            sample = replace(sample, annotation=annotation, tags=np.unique(annotation.labels))
        if "tags" in target:
            sample = replace(sample, tags=np.unique(self._classes(as_array(target["tags"]), sample)))
        if "label" in target:
            label = int(self._classes(as_array(target["label"]).reshape(1), sample)[0])
            sample = replace(sample, label=label, tags=np.array([label]) if sample.tags is None else sample.tags)
        if "semantic" in target:
            sample = replace(sample, semantic=self._semantic(target["semantic"], sample))
        return sample

    def _objects(self, sample: Sample, target: Mapping[str, Any], report: dict[str, int]) -> Annotation:
        if "labels" not in target:
            raise DataError(f"{sample.file_name}: the target has boxes, but no labels")
        boxes = _xyxy(target["boxes"], sample)
        count = len(boxes)
        labels = self._classes(_column(target["labels"], "labels", count, sample), sample)
        sizes = np.tile(np.array(sample.size), (count, 1))
        boxes, kept = repair_boxes(boxes, sizes, [sample.file_name] * count, "drop", report)
        masks = None if target.get("masks") is None else _masks(target["masks"], count, sample)
        area = _column(target["area"], "area", count, sample) if "area" in target else _areas(boxes, masks)
        crowd, difficult = (
            _column(target.get(key, np.zeros(count)), key, count, sample) for key in ("iscrowd", "difficult")
        )
        return Annotation(
            boxes=boxes[kept],
            labels=labels[kept],
            crowd=crowd[kept].astype(bool),
            difficult=difficult[kept].astype(bool),
            area=area[kept].astype(np.float32),
            masks=None if masks is None else [mask for mask, keep in zip(masks, kept, strict=True) if keep],
        )

    def _classes(self, labels: NDArray[Any], sample: Sample) -> NDArray[np.int64]:
        """Return labels as class indices 0..K-1."""
        if labels.size and not np.issubdtype(labels.dtype, np.integer):
            raise DataError(f"{sample.file_name}: labels are integers, not {labels.dtype}")
        classes = labels.astype(np.int64) - self.first_label
        wrong = (classes < 0) | (classes >= self.class_count)
        if wrong.any():
            last = self.first_label + self.class_count - 1
            raise DataError(
                f"{sample.file_name}: label {int(labels[wrong][0])} is outside {self.first_label}..{last}\n"
                "class_names has one name per label; if the labels start at 1, pass first_label=1"
            )
        return classes

    def _multi_label(self, values: NDArray[Any], sample: Sample) -> NDArray[np.int64]:
        if len(values) != self.class_count or not np.isin(values, (0, 1)).all():
            raise DataError(
                f"{sample.file_name}: a vector as target has {self.class_count} zeros and ones, one per class; "
                f"not {values.tolist()}"[:300]
            )
        return np.flatnonzero(values).astype(np.int64)

    def _semantic(self, mask: object, sample: Sample) -> NDArray[np.uint8]:
        values = as_array(mask)
        values = values[0] if values.ndim == 3 and len(values) == 1 else values
        if values.shape != sample.size:
            raise DataError(f"{sample.file_name}: the image has {sample.size} pixels, its mask {values.shape}")
        unknown = np.unique(values[~np.isin(values, [*range(self.class_count), IGNORE])])
        if len(unknown):
            raise DataError(
                f"{sample.file_name}: the mask has the values {unknown[:8].tolist()}, "
                f"which are neither classes (0..{self.class_count - 1}) nor {IGNORE} (ignore)"
            )
        return values.astype(np.uint8)


def _xyxy(boxes: object, sample: Sample) -> NDArray[np.float32]:
    """Return boxes as float32 [N, 4], xyxy."""
    if isinstance(boxes, tv_tensors.BoundingBoxes):
        boxes = box_convert(boxes.as_subclass(Tensor), boxes.format.value.lower(), "xyxy")
    values = as_array(boxes).astype(np.float32)
    values = values.reshape(0, 4) if values.size == 0 else values
    if values.ndim != 2 or values.shape[1] != 4:
        raise DataError(f"{sample.file_name}: boxes have the shape [N, 4] (xyxy in pixels), not {list(values.shape)}")
    return values


def _column(values: object, key: str, count: int, sample: Sample) -> NDArray[Any]:
    """Return one value per object, [N]."""
    array = as_array(values).reshape(-1)
    if len(array) != count:
        raise DataError(f"{sample.file_name}: {count} boxes, but {len(array)} {key}")
    return array


def _areas(boxes: NDArray[np.float32], masks: list[Rle] | None) -> NDArray[Any]:
    """Return the area of each object in square pixels: that of its mask, or of its box without masks."""
    return np.asarray(rle.area(masks)) if masks else box_area(torch.from_numpy(boxes)).numpy()


def _masks(masks: object, count: int, sample: Sample) -> list[Rle]:
    """Return the RLE of each object's mask."""
    values = as_array(masks)
    values = values.reshape(0, *sample.size) if values.size == 0 else values
    if values.shape != (count, *sample.size):
        raise DataError(
            f"{sample.file_name}: masks have the shape [N, H, W] = {[count, *sample.size]}, not {list(values.shape)}"
        )
    encoded: list[Rle] = rle.encode(np.asfortranarray(np.moveaxis(values > 0, 0, -1).astype(np.uint8)))
    return encoded


def _image_id(value: object) -> int | str:
    """Return an image id; torchvision's tutorials give it as a tensor."""
    return value if isinstance(value, str) else int(as_array(value).reshape(-1)[0])
