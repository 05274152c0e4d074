"""The deterministic way of a whole picture to a classifier: short side, centre crop, normalise."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torchvision.transforms.v2 import functional as transforms

from visionkit.data.preprocess import Normalise
from visionkit.errors import RecipeError


@dataclass
class CropPreprocess:
    """How pictures are brought to a classifier's input (Krizhevsky 2012, section 2: short side 256, centre 224).

    Attributes:
        short_side: length in pixels that the shorter side is resized to.
        crop: side in pixels of the square that is cut from the middle.
        mean: per channel, on pictures in 0..1; None takes that of the backbone's weights.
        std: likewise.

    Raises:
        RecipeError: the crop is larger than the resized picture.
    """

    short_side: int = 256
    crop: int = 224
    mean: list[float] | None = None
    std: list[float] | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.crop <= self.short_side:
            raise RecipeError(f"preprocess: 1 <= crop {self.crop} <= short_side {self.short_side} must hold")

    def module(self) -> "CropPreprocessing":
        """The tensor module that does so; `mean` and `std` must be given."""
        return CropPreprocessing(**dataclasses.asdict(self))


class CropPreprocessing(nn.Module):
    """Resize, crop and normalise pictures into one batch.

    In training, pictures that the augmentation has brought to the crop's size are taken as they are; in
    evaluation every picture goes the same way, whatever its size.

    Args:
        short_side, crop: see `CropPreprocess`.
        mean, std: three numbers each, on pictures in 0..1.
    """

    def __init__(self, short_side: int, crop: int, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.short_side, self.crop = short_side, crop
        self.normalise = Normalise(mean, std)

    def forward(self, pictures: Sequence[Tensor]) -> Tensor:
        """Prepare pictures for the network.

        Args:
            pictures: uint8 [3, H, W] each, RGB, of any size.

        Returns:
            Normalised float32 [B, 3, crop, crop].
        """
        return self.normalise(torch.stack([self._cropped(picture) for picture in pictures]))

    def resized(self, picture: Tensor, short_side: int) -> Tensor:
        """A uint8 picture with its shorter side at `short_side` pixels."""
        if min(picture.shape[-2:]) == short_side:
            return picture
        return transforms.resize(picture, [short_side], antialias=True)

    def _cropped(self, picture: Tensor) -> Tensor:
        if self.training and picture.shape[-2:] == (self.crop, self.crop):
            return picture
        return transforms.center_crop(self.resized(picture, self.short_side), [self.crop, self.crop])
