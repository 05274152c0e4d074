"""Deterministic preprocessing of classifiers: resize the shorter side, crop the center, normalize."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as transforms

from visionkit.errors import ConfigError
from visionkit.option_checks import check_at_least
from visionkit.preprocessing.base import Preprocessing
from visionkit.preprocessing.limits import check_input_size
from visionkit.preprocessing.normalize import Normalize, check_normalization
from visionkit.registry import suggest

FITS = ("crop", "squash")
"""Values of `ClassificationPreprocessOptions.fit`."""


@dataclass
class ClassificationPreprocessOptions:
    """Size and normalization of the model's input (Krizhevsky 2012, section 2: short side 256, crop 224).

    Attributes:
        short_side: length in pixels that the shorter side is resized to.
        crop: side in pixels of the square that is cropped from the center.
        mean: per channel, on images in 0..1; None takes that of the backbone's weights.
        std: per channel, on images in 0..1; None takes that of the backbone's weights.
        fit: "crop" keeps the aspect ratio, so that the crop leaves out the ends of the longer side; "squash" resizes
            both sides to `short_side`, for images whose ends matter.

    Raises:
        ConfigError: the crop is larger than the resized image, or the fit does not exist.

    Example:
        >>> import visionkit as vk
        >>> vk.ClassificationPreprocessOptions(short_side=36, crop=32).crop
        32
    """

    short_side: int = 256
    crop: int = 224
    mean: list[float] | None = None
    std: list[float] | None = None
    fit: Literal["crop", "squash"] = "crop"

    def __post_init__(self) -> None:
        check_at_least(1, crop=self.crop, short_side=self.short_side)
        check_normalization(self.mean, self.std)
        if self.fit not in FITS:
            raise ConfigError(f"fit={self.fit!r}{suggest(self.fit, FITS)}")
        if self.crop > self.short_side:
            raise ConfigError(f"crop={self.crop} must be at most short_side={self.short_side}")

    def module(self) -> "ClassificationPreprocessing":
        """Return the module that applies these options; `mean` and `std` must be given."""
        return ClassificationPreprocessing(**dataclasses.asdict(self))


class ClassificationPreprocessing(Preprocessing):
    """Resize, crop and normalize images into one batch.

    In training mode, images that have the size of the crop are not resized: random augmentation has cropped them. In
    evaluation mode all images are resized, whatever their size.

    Args:
        short_side: length in pixels that the shorter side is resized to.
        crop: side in pixels of the square that is cropped from the center.
        mean: per channel, on images in 0..1.
        std: per channel, on images in 0..1.
        fit: how images are resized, see `ClassificationPreprocessOptions`.
    """

    def __init__(
        self,
        short_side: int,
        crop: int,
        mean: Sequence[float],
        std: Sequence[float],
        fit: Literal["crop", "squash"] = "crop",
    ) -> None:
        super().__init__()
        self.short_side, self.crop, self.fit = short_side, crop, fit
        self.normalize = Normalize(mean, std)

    def forward(self, images: Sequence[Tensor]) -> Tensor:
        """Prepare images for the model.

        Args:
            images: uint8 [3, H, W] each, RGB, of any size.

        Returns:
            Normalized float32 [B, 3, crop, crop].
        """
        return self.normalize(torch.stack([self._cropped(image) for image in images]))

    def resized(self, image: Tensor, short_side: int) -> Tensor:
        """Return a uint8 image [3, H, W] with its shorter side, or both, resized to `short_side` pixels.

        Raises:
            DataError: the image is so narrow that the resized one would have too many pixels, see `check_input_size`.
        """
        height, width = image.shape[-2:]
        new_size = self._new_size(height, width, short_side)
        if new_size == (height, width):
            return image
        check_input_size((height, width), new_size, "is it really an image? crop it, or leave it out")
        return transforms.resize(image, list(new_size), antialias=True)

    def loader_size(self, height: int, width: int) -> tuple[int, int]:
        """Return the size to which a data loader may resize an image for training. `forward` does not resize it again.

        An image of the size of the crop keeps it.
        """
        if height == width == self.crop:
            return height, width
        return self._new_size(height, width, self.short_side)

    def _new_size(self, height: int, width: int, short_side: int) -> tuple[int, int]:
        return (short_side, short_side) if self.fit == "squash" else _with_short_side(height, width, short_side)

    def _cropped(self, image: Tensor) -> Tensor:
        if self.training and image.shape[-2:] == (self.crop, self.crop):
            return image
        return transforms.center_crop(self.resized(image, self.short_side), [self.crop, self.crop])


def _with_short_side(height: int, width: int, short_side: int) -> tuple[int, int]:
    """Return the height and width of an image that is resized to `short_side`, as torchvision rounds them."""
    long_side = int(short_side * max(height, width) / min(height, width))
    return (short_side, long_side) if height < width else (long_side, short_side)
