"""The deterministic way of a whole image to a classifier: short side, center crop, normalize."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torchvision.transforms.v2 import functional as transforms

from visionkit.errors import ConfigError
from visionkit.preprocessing.detection import Normalize


@dataclass
class ClassificationPreprocessOptions:
    """How images are brought to a classifier's input (Krizhevsky 2012, section 2: short side 256, center 224).

    Attributes:
        short_side: length in pixels that the shorter side is resized to.
        crop: side in pixels of the square that is cut from the middle.
        mean: per channel, on images in 0..1; None takes that of the backbone's weights.
        std: likewise.

    Raises:
        ConfigError: the crop is larger than the resized image.
    """

    short_side: int = 256
    crop: int = 224
    mean: list[float] | None = None
    std: list[float] | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.crop <= self.short_side:
            raise ConfigError(f"preprocess: 1 <= crop {self.crop} <= short_side {self.short_side} must hold")

    def module(self) -> "ClassificationPreprocessing":
        """The tensor module that does so; `mean` and `std` must be given."""
        return ClassificationPreprocessing(**dataclasses.asdict(self))


class ClassificationPreprocessing(nn.Module):
    """Resize, crop and normalize images into one batch.

    In training, images that the augmentation has brought to the crop's size are taken as they are; in
    evaluation every image goes the same way, whatever its size.

    Args:
        short_side, crop: see `ClassificationPreprocessOptions`.
        mean, std: three numbers each, on images in 0..1.
    """

    def __init__(self, short_side: int, crop: int, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.short_side, self.crop = short_side, crop
        self.normalize = Normalize(mean, std)

    def forward(self, images: Sequence[Tensor]) -> Tensor:
        """Prepare images for the network.

        Args:
            images: uint8 [3, H, W] each, RGB, of any size.

        Returns:
            Normalized float32 [B, 3, crop, crop].
        """
        return self.normalize(torch.stack([self._cropped(image) for image in images]))

    def resized(self, image: Tensor, short_side: int) -> Tensor:
        """A uint8 image with its shorter side at `short_side` pixels."""
        if min(image.shape[-2:]) == short_side:
            return image
        return transforms.resize(image, [short_side], antialias=True)

    def _cropped(self, image: Tensor) -> Tensor:
        if self.training and image.shape[-2:] == (self.crop, self.crop):
            return image
        return transforms.center_crop(self.resized(image, self.short_side), [self.crop, self.crop])
