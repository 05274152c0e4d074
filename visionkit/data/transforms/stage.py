"""A part of the random augmentation: albumentations transforms that change a sample's arrays together."""

import dataclasses
import random
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from visionkit.data.transforms.import_albumentations import albumentations
from visionkit.errors import ConfigError, VisionkitError
from visionkit.structures import Annotation, Sample

MIN_SIDE = 1.0
"""Minimum width and height in pixels of a box after a crop."""

# Proposals are passed as points: if they were boxes, transforms that crop around objects would treat them as objects.
CORNERS = albumentations.KeypointParams(format="xy", remove_invisible=False)


class ComposedTransforms:
    """Transforms that albumentations applies one after another.

    Args:
        transforms: albumentations transforms in order.
        options: options of `albumentations.Compose`.
    """

    def __init__(self, transforms: Sequence[Any], **options: Any) -> None:
        self.transforms = transforms
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Got processor for bboxes, but no transform to process it")
            warnings.filterwarnings("ignore", message="Got processor for keypoints, but no transform to process it")
            self._pipeline = albumentations.Compose([*transforms], **options)

    def set_random_state(self, generator: np.random.Generator, python_random: random.Random) -> None:
        """Set the random generators of all transforms."""
        self._pipeline.set_random_state(generator, python_random)

    def run(self, inputs: dict[str, Any], sample: Sample) -> dict[str, Any]:
        """Return what albumentations makes of the inputs; `sample` is for messages.

        Raises:
            ConfigError: a transform cannot be applied to the image, which may be too small.
        """
        try:
            result: dict[str, Any] = self._pipeline(**inputs)
        except (VisionkitError, MemoryError):
            raise
        except Exception as error:  # albumentations has errors of its own, and plugins may raise any
            raise self._refusal(sample, error) from error
        return result

    def _refusal(self, sample: Sample, error: Exception) -> ConfigError:
        """Return the error for an image that a transform does not accept."""
        height, width = sample.size
        steps = ", ".join(type(transform).__name__ for transform in self.transforms)
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        return ConfigError(
            f"data.augment: {steps} cannot be applied to the image {sample.image_id} of {width} x {height} pixels: "
            f"{reason}\nchange the step, or put one before it that enlarges small images, such as PadIfNeeded"
        )


class Stage(ComposedTransforms):
    """Transforms of a sample: its image, boxes, masks, semantic mask and proposals together.

    Args:
        transforms: albumentations transforms in order.
        min_visibility: minimum share of a box's area, 0..1, that must remain after a crop to keep the object.

    Example:
        >>> from visionkit.data.datasets.shapes import Shapes
        >>> from visionkit.data.transforms.create import create_transform
        >>> from visionkit.data.transforms.stage import Stage
        >>> stage = Stage([create_transform({"name": "HorizontalFlip", "p": 1.0})])
        >>> sample = Shapes(size=64)[0]
        >>> bool((stage(sample).image == sample.image[:, ::-1]).all())
        True
    """

    def __init__(self, transforms: Sequence[Any], min_visibility: float = 0.1) -> None:
        boxes = albumentations.BboxParams(
            format="pascal_voc",
            label_fields=["object_index", "crowd"],
            min_visibility=min_visibility,
            min_width=MIN_SIDE,
            min_height=MIN_SIDE,
        )
        super().__init__(transforms, bbox_params=boxes, keypoint_params=CORNERS)

    def __call__(self, sample: Sample) -> Sample:
        """Return the changed sample. Objects outside the new image are removed from all arrays.

        Raises:
            ConfigError: a transform cannot be applied to the image, which may be too small, or to proposals.
        """
        original = sample.annotation
        inputs: dict[str, Any] = {
            "image": sample.image,
            "bboxes": original.boxes.astype(np.float64),
            "object_index": np.arange(len(original)),
            "crowd": original.crowd.astype(np.float64),
        }
        planes = mask_planes(sample)
        if planes is not None:
            inputs["masks"] = planes
        if sample.proposals is not None:
            inputs["keypoints"] = _corners(sample.proposals)
        result = self.run(inputs, sample)
        kept = np.asarray(result["object_index"], dtype=np.int64)
        boxes = np.asarray(result["bboxes"], dtype=np.float32).reshape(-1, 4)
        masks, semantic = unpack_planes(result.get("masks"), sample, kept)
        annotation = Annotation(
            boxes=boxes,
            labels=original.labels[kept],
            crowd=original.crowd[kept],
            difficult=original.difficult[kept],
            area=(boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]),
            masks=masks,
        )
        image = np.ascontiguousarray(result["image"])
        proposals = None
        if sample.proposals is not None:
            self._check_corners(len(result["keypoints"]), 4 * len(sample.proposals))
            proposals = _boxes_around(result["keypoints"], *image.shape[:2])
        return dataclasses.replace(sample, image=image, annotation=annotation, semantic=semantic, proposals=proposals)

    def _check_corners(self, remaining: int, expected: int) -> None:
        """Raise if a transform dropped points: the remaining points could not be assigned to proposals."""
        if remaining != expected:
            steps = ", ".join(type(transform).__name__ for transform in self.transforms)
            raise ConfigError(
                f"data.augment: only {remaining} of {expected} corners of the proposals remain after {steps}\n"
                "warps such as GridDistortion drop points; remove them from data.augment if data.proposals is set"
            )


def _corners(boxes: np.ndarray) -> np.ndarray:
    """Return the corners of boxes [P, 4] as points [4 P, 2], in pixel indices (edges minus half a pixel)."""
    return boxes[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 2).astype(np.float64) - 0.5


def _boxes_around(corners: Any, height: int, width: int) -> np.ndarray:
    """Return the boxes, float32 [P, 4], around each four points, clipped; boxes outside the image are dropped."""
    points = np.asarray(corners, np.float64).reshape(-1, 4, 2) + 0.5
    boxes = np.concatenate([points.min(axis=1), points.max(axis=1)], axis=1).clip(0, [width, height, width, height])
    return boxes[((boxes[:, 2:] - boxes[:, :2]) >= MIN_SIDE).all(axis=1)].astype(np.float32)


def mask_planes(sample: Sample) -> np.ndarray | None:
    """Return instance masks and the semantic mask as one stack [N (+ 1), H, W]; None if there are no masks."""
    from pycocotools import mask as rle

    planes = [rle.decode(mask) for mask in sample.annotation.masks or []]
    if sample.semantic is not None:
        planes.append(sample.semantic)
    return np.stack(planes) if planes else None


def unpack_planes(planes: Any, sample: Sample, kept: np.ndarray) -> tuple[list[Any] | None, np.ndarray | None]:
    """Return the instance masks of the kept objects, and the semantic mask.

    Pixels that a transform adds have the value 255 in all planes: ignored in the semantic mask, and background in an
    instance mask, in which only 1 is the object.
    """
    from pycocotools import mask as rle

    if planes is None:
        return ([] if sample.annotation.masks is not None else None), None
    planes = np.asarray(planes, dtype=np.uint8)
    semantic = planes[-1] if sample.semantic is not None else None
    if sample.annotation.masks is None:
        return None, semantic
    return [rle.encode(np.asfortranarray(planes[index] == 1, np.uint8)) for index in kept], semantic
