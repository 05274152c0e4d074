"""Deterministic preprocessing of classifiers: resize the shorter side, crop the center, normalize."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as transforms

from visionkit.errors import ConfigError
from visionkit.option_checks import check_at_least
from visionkit.preprocessing.base import Preprocessing
from visionkit.preprocessing.limits import check_input_size
from visionkit.preprocessing.normalize import Normalize, check_normalization


@dataclass
class ClassificationPreprocessOptions:
    """Size and normalization of the model's input (Krizhevsky 2012, section 2: short side 256, crop 224).

    Attributes:
        short_side: length in pixels that the shorter side is resized to.
        crop: side in pixels of the square that is cropped from the center.
        mean: per channel, on images in 0..1; None takes that of the backbone's weights.
        std: per channel, on images in 0..1; None takes that of the backbone's weights.
        size: height and width in pixels that the whole image is resized to, for images whose ends matter: a crop leaves
            out the ends of the longer side. None resizes the shorter side and crops.

    Raises:
        ConfigError: the crop is larger than the resized image, or `size` is not two positive numbers.

    Example:
        >>> import visionkit as vk
        >>> vk.ClassificationPreprocessOptions(short_side=36, crop=32).crop
        32
    """

    short_side: int = 256
    crop: int = 224
    mean: list[float] | None = None
    std: list[float] | None = None
    size: list[int] | None = None

    def __post_init__(self) -> None:
        check_at_least(1, crop=self.crop, short_side=self.short_side, size=self.size)
        check_normalization(self.mean, self.std)
        if self.size is not None and len(self.size) != 2:
            raise ConfigError(f"size={self.size}: give height and width, for example [224, 224]")
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
        size: height and width in pixels that the whole image is resized to; None crops.
    """

    def __init__(
        self,
        short_side: int,
        crop: int,
        mean: Sequence[float],
        std: Sequence[float],
        size: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        self.short_side, self.crop = short_side, crop
        self.size = None if size is None else (size[0], size[1])
        self.normalize = Normalize(mean, std)

    def forward(self, images: Sequence[Tensor]) -> Tensor:
        """Prepare images for the model.

        Args:
            images: uint8 [3, H, W] each, RGB, of any size.

        Returns:
            Normalized float32 [B, 3, h, w] with the height and width of `input_size`.
        """
        return self.normalize(torch.stack([self._prepared(image) for image in images]))

    @property
    def input_size(self) -> tuple[int, int]:
        """Height and width of the model's input."""
        return self.size or (self.crop, self.crop)

    def resized(self, image: Tensor, short_side: int) -> Tensor:
        """Return a uint8 image [3, H, W] that is resized to `size`, or its shorter side to `short_side` pixels.

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

        An image of the size of the input keeps it.
        """
        if (height, width) == self.input_size:
            return height, width
        return self._new_size(height, width, self.short_side)

    def _new_size(self, height: int, width: int, short_side: int) -> tuple[int, int]:
        return self.size or _with_short_side(height, width, short_side)

    def _prepared(self, image: Tensor) -> Tensor:
        if self.training and image.shape[-2:] == self.input_size:
            return image
        resized = self.resized(image, self.short_side)
        return resized if self.size else transforms.center_crop(resized, [self.crop, self.crop])


def _with_short_side(height: int, width: int, short_side: int) -> tuple[int, int]:
    """Return the height and width of an image that is resized to `short_side`, as torchvision rounds them."""
    long_side = int(short_side * max(height, width) / min(height, width))
    return (short_side, long_side) if height < width else (long_side, short_side)
