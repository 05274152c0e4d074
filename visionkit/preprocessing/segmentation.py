"""Deterministic preprocessing of segmentation models: resize and normalize images, with their masks in training."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional
from torchvision.transforms.v2 import functional as transforms

from visionkit.errors import ConfigError
from visionkit.ops.ignore import IGNORE
from visionkit.option_checks import check_above, check_at_least
from visionkit.preprocessing.base import Preprocessing
from visionkit.preprocessing.limits import check_input_size
from visionkit.preprocessing.normalize import Normalize, check_normalization


@dataclass
class SegmentationPreprocessOptions:
    """Size and normalization of the model's input. By default images keep their size.

    Attributes:
        short_side: length in pixels that the shorter side is resized to; None keeps the size.
        long_side: upper bound in pixels of the longer side. If it would be exceeded, it determines the scale instead.
        scale: factor on the size of every image; excludes `short_side` and `long_side`.
        mean: per channel, on images in 0..1; None takes that of the backbone's weights.
        std: per channel, on images in 0..1; None takes that of the backbone's weights.
        size: height and width in pixels that the whole image is resized to, each axis by itself; excludes `short_side`,
            `long_side` and `scale`. A classifier and a detector (`fit: squash`) with the same `size`, `mean` and `std`
            get equal inputs.

    Raises:
        ConfigError: a side or the scale is not positive, `size` is not two numbers, or they contradict each other.

    Example:
        >>> import visionkit as vk
        >>> vk.SegmentationPreprocessOptions(short_side=512).scale
        1.0
    """

    short_side: int | None = None
    long_side: int | None = None
    scale: float = 1.0
    mean: list[float] | None = None
    std: list[float] | None = None
    size: list[int] | None = None

    def __post_init__(self) -> None:
        short, long = self.short_side, self.long_side
        check_at_least(1, short_side=short, long_side=long, size=self.size)
        check_above(0, scale=self.scale)
        check_normalization(self.mean, self.std)
        if short is not None and long is not None and long < short:
            raise ConfigError(f"short_side={short} must be at most long_side={long}")
        if self.scale != 1 and (short is not None or long is not None):
            raise ConfigError(f"scale={self.scale} excludes short_side={short} and long_side={long}: give one of them")
        if self.size is not None:
            self._check_size(self.size)

    def _check_size(self, size: list[int]) -> None:
        if len(size) != 2:
            raise ConfigError(f"size={size} must be height and width in pixels, such as [512, 1024]")
        short, long = self.short_side, self.long_side
        if short is not None or long is not None or self.scale != 1:
            raise ConfigError(
                f"size={size} excludes short_side={short}, long_side={long} and scale={self.scale}\n"
                "give one of them, and set the others to null, scale to 1"
            )

    def module(self) -> "SegmentationPreprocessing":
        """Return the module that applies these options; `mean` and `std` must be given."""
        return SegmentationPreprocessing(**dataclasses.asdict(self))


class SegmentationPreprocessing(Preprocessing):
    """Resize and normalize images, and make training batches of images and masks.

    Args:
        short_side: length in pixels that the shorter side is resized to.
        long_side: upper bound in pixels of the longer side.
        scale: factor on the size of every image.
        mean: per channel, on images in 0..1.
        std: per channel, on images in 0..1.
        size: height and width in pixels that the whole image is resized to, in place of the other sizes.
    """

    def __init__(
        self,
        short_side: int | None,
        long_side: int | None,
        scale: float,
        mean: Sequence[float],
        std: Sequence[float],
        size: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        self.short_side, self.long_side, self.factor, self.size = short_side, long_side, scale, size
        self.normalize = Normalize(mean, std)

    def scale(self, height: int, width: int, factor: float = 1.0) -> tuple[float, float]:
        """Return resized length / original length of an image, vertically and horizontally.

        Args:
            height: height of the image in pixels.
            width: width of the image in pixels.
            factor: multiplies the size, for a view at another scale.
        """
        if self.size is not None:
            new_height, new_width = (max(round(side * factor), 1) for side in self.size)
            return new_height / height, new_width / width
        both = self._scale_of_both(height, width) * factor
        return both, both

    def forward(self, images: Tensor, scale: tuple[float, float]) -> Tensor:
        """Prepare images of one size for the model.

        Args:
            images: uint8 [B, 3, H, W], RGB.
            scale: resized length / original length, vertically and horizontally; see `scale`.

        Returns:
            Normalized float32 [B, 3, h, w].

        Raises:
            DataError: the images have too many pixels before or after resizing, see `check_input_size`.
        """
        height, width = images.shape[-2:]
        size = _scaled(height, width, scale)
        for new_size in ((height, width), size):
            check_input_size((height, width), new_size, "set inference.tile=512, so that it is divided into tiles")
        if size != (height, width):
            images = transforms.resize(images, [*size], antialias=True)
        return self.normalize(images)

    def loader_size(self, height: int, width: int) -> tuple[int, int] | None:
        """Return the size to which a data loader may resize an image for training.

        `batch` does not resize it again. None with the option `scale`, by which it would.
        """
        return None if self.factor != 1 else _scaled(height, width, self.scale(height, width))

    def batch(self, images: Sequence[Tensor], masks: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Make a training batch: resize, and pad smaller images with pixels that are ignored in the loss.

        Args:
            images: uint8 [3, H, W] each, of any size.
            masks: uint8 [H, W] each, class of each pixel, 255 = ignore.

        Returns:
            Normalized float32 [B, 3, h, w] with zeros as padding, and int64 classes [B, h, w] with 255 as padding.
        """
        prepared = [self(image[None], self.scale(*image.shape[-2:]))[0] for image in images]
        resized = [
            functional.interpolate(mask[None, None].float(), image.shape[-2:], mode="nearest-exact")[0, 0]
            if mask.shape != image.shape[-2:]
            else mask
            for mask, image in zip(masks, prepared, strict=True)
        ]
        height, width = (max(lengths) for lengths in zip(*(image.shape[-2:] for image in prepared), strict=True))
        return (
            torch.stack([_padded(image, height, width, 0.0) for image in prepared]),
            torch.stack([_padded(mask, height, width, IGNORE) for mask in resized]).long(),
        )

    def _scale_of_both(self, height: int, width: int) -> float:
        """Return the scale of both axes without `size`."""
        bounds = [
            wanted / length
            for wanted, length in ((self.short_side, min(height, width)), (self.long_side, max(height, width)))
            if wanted is not None
        ]
        return min(bounds) if self.short_side is not None else min([self.factor, *bounds])


def _scaled(height: int, width: int, scale: tuple[float, float]) -> tuple[int, int]:
    """Return the height and width of a resized image in pixels."""
    return max(round(height * scale[0]), 1), max(round(width * scale[1]), 1)


def _padded(plane: Tensor, height: int, width: int, value: float) -> Tensor:
    """Return a tensor [..., h, w] padded with `value` at the right and bottom to [..., height, width]."""
    return functional.pad(plane, (0, width - plane.shape[-1], 0, height - plane.shape[-2]), value=value)
