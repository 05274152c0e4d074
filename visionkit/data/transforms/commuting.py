"""The transforms that give nearly the same image before and after it is resized."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visionkit.data.transforms.imagenet import PcaColorShift
from visionkit.data.transforms.import_albumentations import albumentations
from visionkit.data.transforms.ssd import PhotometricDistort
from visionkit.data.transforms.stage import ComposedTransforms, mask_planes, unpack_planes
from visionkit.structures import Sample

COLORS: tuple[type, ...] = (
    albumentations.ChannelShuffle,
    albumentations.ColorJitter,
    albumentations.HueSaturationValue,
    albumentations.InvertImg,
    albumentations.NoOp,
    albumentations.RandomBrightnessContrast,
    albumentations.RandomGamma,
    albumentations.RGBShift,
    albumentations.ToGray,
    albumentations.ToSepia,
    PcaColorShift,
    PhotometricDistort,
)
"""Transforms that change each pixel by its color alone, or by its color and the mean color of the image."""

MIRRORS = {albumentations.HorizontalFlip: 0, albumentations.VerticalFlip: 1}
"""Transforms that mirror an image, and the axis of a box, x or y, that they change."""

_AXES = {transform.__name__: axis for transform, axis in MIRRORS.items()}


def count_commuting(transforms: Sequence[Any]) -> int:
    """Return the number of transforms at the end of a list that commute with resizing.

    Noise, blur, and what removes parts of an image depend on the size of the image, and do not commute.

    Example:
        >>> from visionkit.data.transforms.commuting import count_commuting
        >>> from visionkit.data.transforms.create import create_transform
        >>> names = ["HorizontalFlip", "GaussianBlur", "ColorJitter", "VerticalFlip"]
        >>> count_commuting([create_transform({"name": name}) for name in names])
        2
    """
    commute = [type(transform) in COLORS or type(transform) in MIRRORS for transform in reversed(transforms)]
    return next((count for count, does in enumerate(commute) if not does), len(commute))


class CommutingStage(ComposedTransforms):
    """The transforms that commute with resizing. Masks may have another size than the image.

    No object is removed. Boxes and proposals are mirrored here: albumentations' checks of the boxes take as long as a
    change of the colors.

    Args:
        transforms: albumentations transforms in order, of `COLORS` and `MIRRORS`.

    Example:
        >>> from visionkit.data.datasets.shapes import Shapes
        >>> from visionkit.data.transforms.commuting import CommutingStage
        >>> from visionkit.data.transforms.create import create_transform
        >>> stage = CommutingStage([create_transform({"name": "HorizontalFlip", "p": 1.0})])
        >>> sample = Shapes(size=64)[0]
        >>> bool((stage(sample).image == sample.image[:, ::-1]).all())
        True
    """

    def __init__(self, transforms: Sequence[Any]) -> None:
        super().__init__(transforms, is_check_shapes=False, save_applied_params=True)

    def __call__(self, sample: Sample) -> Sample:
        """Return the changed sample.

        Raises:
            ConfigError: a transform cannot be applied to the image.
        """
        inputs: dict[str, Any] = {"image": sample.image}
        planes = mask_planes(sample)
        if planes is not None:
            inputs["masks"] = planes
        result = self.run(inputs, sample)
        axes = [_AXES[name] for name, _ in result["applied_transforms"] if name in _AXES]
        annotation, proposals = sample.annotation, sample.proposals
        masks, semantic = unpack_planes(result.get("masks"), sample, np.arange(len(annotation)))
        boxes = _mirrored(annotation.boxes, sample.size, axes)
        return dataclasses.replace(
            sample,
            image=np.ascontiguousarray(result["image"]),
            annotation=dataclasses.replace(annotation, boxes=boxes, masks=masks),
            semantic=semantic,
            proposals=None if proposals is None else _mirrored(proposals, sample.size, axes),
        )


def _mirrored(boxes: NDArray[np.float32], size: tuple[int, int], axes: Sequence[int]) -> NDArray[np.float32]:
    """Return boxes [N, 4] mirrored at the middle of an image of `size` (height, width), once for each axis."""
    for axis in axes:
        length = size[1 - axis]
        near, far = length - boxes[:, axis + 2], length - boxes[:, axis]
        boxes = boxes.copy()
        boxes[:, axis], boxes[:, axis + 2] = near, far
    return boxes
