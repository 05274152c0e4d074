"""Random augmentation of training samples, by albumentations' rules."""

import dataclasses
import random
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

import visionkit.data.transforms.ssd  # noqa: F401 (its transforms enter by name)
from visionkit.data.datasets.base import VisionDataset
from visionkit.data.transforms.create import Measuring, make_transform
from visionkit.data.transforms.quiet_albumentations import albumentations
from visionkit.errors import ConfigError
from visionkit.structures import Annotation, Sample

MINIMUM_SIDE = 1.0
"""Pixels: what is left of a box after a crop must be at least this wide and high."""


# Proposals go through as points: as boxes, those transforms would count them as objects that crop around objects.
CORNERS = albumentations.KeypointParams(format="xy", remove_invisible=False)


class Augmentation:
    """A pipeline of albumentations transforms that keeps a sample's parts together.

    Args:
        steps: the recipe's list: each a mapping with `name`, a transform of albumentations or of
            `visionkit.data.transforms.create`, and its arguments ({"name": "HorizontalFlip", "p": 0.5}).
        min_visibility: share of a box's area that must survive a crop for the object to stay (0..1).

    Raises:
        ConfigError: an unknown transform, or arguments it does not have.
    """

    def __init__(self, steps: Sequence[Mapping[str, Any]], min_visibility: float = 0.1) -> None:
        boxes = albumentations.BboxParams(
            format="pascal_voc",
            label_fields=["object_index", "crowd"],
            min_visibility=min_visibility,
            min_width=MINIMUM_SIDE,
            min_height=MINIMUM_SIDE,
        )
        self._transforms = [make_transform(step) for step in steps]
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Got processor for bboxes, but no transform to process it")
            warnings.filterwarnings("ignore", message="Got processor for keypoints, but no transform to process it")
            self._pipeline = (
                albumentations.Compose(self._transforms, bbox_params=boxes, keypoint_params=CORNERS) if steps else None
            )

    def __bool__(self) -> bool:
        """Whether there is any step."""
        return self._pipeline is not None

    def seed(self, seed: int) -> None:
        """Start the pipeline's own random stream: it does not follow the seeds of numpy or torch."""
        if self._pipeline is not None:
            # One stream for all. albumentations' set_random_seed gives each transform an equal one, and then a
            # horizontal and a vertical flip with p = .5 always happen together.
            self._pipeline.set_random_state(np.random.default_rng(seed % 2**32), random.Random(seed % 2**32))

    def fit(self, reader: VisionDataset) -> None:
        """Measure on the training images what a step wants to know of them; called before training."""
        for transform in self._transforms:
            if isinstance(transform, Measuring):
                transform.measure(reader)

    def __call__(self, sample: Sample) -> Sample:
        """Return the augmented sample; objects that left the image leave every array alike.

        Raises:
            ConfigError: a step cannot carry the proposals along.
        """
        if self._pipeline is None:
            return sample
        given = sample.annotation
        inputs: dict[str, Any] = {
            "image": sample.image,
            "bboxes": given.boxes.astype(np.float64),
            "object_index": np.arange(len(given)),
            "crowd": given.crowd.astype(np.float64),
        }
        planes = _mask_planes(sample)
        if planes is not None:
            inputs["masks"] = planes
        if sample.proposals is not None:
            inputs["keypoints"] = _corners(sample.proposals)
        result = self._pipeline(**inputs)
        kept = np.asarray(result["object_index"], dtype=np.int64)
        boxes = np.asarray(result["bboxes"], dtype=np.float32).reshape(-1, 4)
        masks, semantic = _unpack_planes(result.get("masks"), sample, kept)
        annotation = Annotation(
            boxes=boxes,
            labels=given.labels[kept],
            crowd=given.crowd[kept],
            difficult=given.difficult[kept],
            area=(boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]),
            masks=masks,
        )
        image = np.ascontiguousarray(result["image"])
        proposals = None
        if sample.proposals is not None:
            self._check_corners(len(result["keypoints"]), 4 * len(sample.proposals))
            proposals = _boxes_around(result["keypoints"], *image.shape[:2])
        return dataclasses.replace(sample, image=image, annotation=annotation, semantic=semantic, proposals=proposals)

    def _check_corners(self, left: int, given: int) -> None:
        """Refuse steps that drop points, and with them most proposals; which corners are left would not tell."""
        if left != given:
            steps = ", ".join(type(transform).__name__ for transform in self._transforms)
            raise ConfigError(
                f"data.augment: {left} of the {given} corners of the proposals came through {steps}\n"
                "a warp like GridDistortion drops points that share a pixel; leave it out where proposals are given"
            )


def _corners(boxes: np.ndarray) -> np.ndarray:
    """The corners of boxes [P, 4] as points [4 P, 2]: pixel indices, which are half a pixel from the edges."""
    return boxes[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 2).astype(np.float64) - 0.5


def _boxes_around(corners: Any, height: int, width: int) -> np.ndarray:
    """The boxes float32 [P, 4] around each four points that lie in the image; those that have left it are gone."""
    points = np.asarray(corners, np.float64).reshape(-1, 4, 2) + 0.5
    boxes = np.concatenate([points.min(axis=1), points.max(axis=1)], axis=1).clip(0, [width, height, width, height])
    return boxes[((boxes[:, 2:] - boxes[:, :2]) >= MINIMUM_SIDE).all(axis=1)].astype(np.float32)


def _mask_planes(sample: Sample) -> np.ndarray | None:
    """Instance masks and the semantic mask as one stack [N (+ 1), H, W], or None where there are neither."""
    from pycocotools import mask as rle

    planes = [rle.decode(code) for code in sample.annotation.masks or []]
    if sample.semantic is not None:
        planes.append(sample.semantic)
    return np.stack(planes) if planes else None


def _unpack_planes(planes: Any, sample: Sample, kept: np.ndarray) -> tuple[list[Any] | None, np.ndarray | None]:
    """Instance masks that are kept, and the semantic mask.

    What a transform uncovers has the value to be ignored in every plane: no class in the semantic mask, and in an
    instance's mask, where only 1 is the object, ground.
    """
    from pycocotools import mask as rle

    if planes is None:
        return ([] if sample.annotation.masks is not None else None), None
    planes = np.asarray(planes, dtype=np.uint8)
    semantic = planes[-1] if sample.semantic is not None else None
    if sample.annotation.masks is None:
        return None, semantic
    return [rle.encode(np.asfortranarray(planes[index] == 1, np.uint8)) for index in kept], semantic
