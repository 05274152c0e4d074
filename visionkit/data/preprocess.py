"""The deterministic way from a stored picture to the network and back, the same in fit, test, predict and export."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torchvision.transforms.v2 import functional as transforms

from visionkit.errors import RecipeError
from visionkit.registry import Registry

Target = dict[str, Any]
Prediction = dict[str, Any]

BOXES = {"boxes", "proposals"}
"""What of a target is float32 [N, 4], xyxy in the picture's pixels."""


@dataclass
class Preprocess:
    """How pictures are brought to the network's input (Faster R-CNN, section 3.3: short side 600; FPN: 800).

    Attributes:
        short_side: length in pixels that the shorter side is resized to.
        long_side: bound in pixels on the longer side; where it would be passed, it decides the scale instead.
        size: height and width in pixels that every picture is brought to (SSD: 300, 300). The two sides are not looked
            at then.
        fit: how it is brought there, by its name below: "squash" scales each axis by itself.
        mean: per channel, on pictures in 0..1; None takes that of the backbone's weights.
        std: likewise.

    Raises:
        RecipeError: the sides contradict each other, or there is no such size or fit.
    """

    short_side: int = 800
    long_side: int = 1333
    size: list[int] | None = None
    fit: str = "squash"
    mean: list[float] | None = None
    std: list[float] | None = None

    def __post_init__(self) -> None:
        if self.short_side < 1 or self.long_side < self.short_side:
            raise RecipeError(f"preprocess: 1 <= short_side {self.short_side} <= long_side {self.long_side} must hold")
        if self.size is not None and (len(self.size) != 2 or min(self.size) < 1):
            raise RecipeError(f"preprocess.size is {self.size}: give height and width in pixels, such as [300, 300]")
        fits.get(self.fit)

    def module(self) -> "Preprocessing":
        """The tensor module that does so; `mean` and `std` must be given."""
        return Preprocessing(**dataclasses.asdict(self))


class Normalise(nn.Module):
    """Pictures in 0..255 as the network saw them in training: (picture / 255 - mean) / std.

    Args:
        mean, std: three numbers each, on pictures in 0..1.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)

    def forward(self, pictures: Tensor) -> Tensor:
        """Normalise.

        Args:
            pictures: uint8 [..., 3, H, W], RGB.

        Returns:
            float32 of the same shape.

        Raises:
            TypeError: the pictures are not uint8; their range would have to be guessed.
        """
        if pictures.dtype != torch.uint8:
            raise TypeError(f"pictures must be uint8 in 0..255, not {pictures.dtype}: normalising happens here, once")
        return (pictures.to(torch.float32) / 255 - self.mean) / self.std


class Geometry(NamedTuple):
    """How one picture was resized: its original size in pixels, and resized / original per axis."""

    height: int
    width: int
    scale_x: float
    scale_y: float


fits: Registry[Callable[[int, int, int, int], Geometry]] = Registry("fit")
"""From height and width of a picture, and height and width that it is brought to, to how it is resized."""


@fits.register("squash")
def squash(height: int, width: int, new_height: int, new_width: int) -> Geometry:
    """Each axis by its own scale (Liu et al. 2015, SSD)."""
    return Geometry(height, width, new_width / width, new_height / height)


class Preprocessing(nn.Module):
    """Resize and normalise pictures, and carry boxes there and back.

    Args:
        short_side, long_side: see `Preprocess`.
        mean, std: three numbers each, on pictures in 0..1.
        size, fit: see `Preprocess`.
    """

    def __init__(
        self,
        short_side: int,
        long_side: int,
        mean: Sequence[float],
        std: Sequence[float],
        size: Sequence[int] | None = None,
        fit: str = "squash",
    ) -> None:
        super().__init__()
        self.short_side, self.long_side = short_side, long_side
        self.size, self.fit = size, fits.get(fit)
        self.normalise = Normalise(mean, std)

    def forward(self, pictures: Sequence[Tensor]) -> tuple[list[Tensor], list[Geometry]]:
        """Prepare pictures for the network.

        Args:
            pictures: uint8 [3, H, W] each, RGB, of any size.

        Returns:
            Normalised float32 [3, h, w] pictures and how each was resized.
        """
        geometries = [self.geometry(*picture.shape[-2:]) for picture in pictures]
        return [
            self._prepare(picture, geometry) for picture, geometry in zip(pictures, geometries, strict=True)
        ], geometries

    def geometry(self, height: int, width: int) -> Geometry:
        """How a picture of `height` x `width` pixels is resized."""
        if self.size is not None:
            return self.fit(height, width, *self.size)
        scale = min(self.short_side / min(height, width), self.long_side / max(height, width))
        new_height, new_width = max(round(height * scale), 1), max(round(width * scale), 1)
        return Geometry(height, width, new_width / width, new_height / height)

    def _prepare(self, picture: Tensor, geometry: Geometry) -> Tensor:
        size = [round(geometry.height * geometry.scale_y), round(geometry.width * geometry.scale_x)]
        return self.normalise(transforms.resize(picture, size, antialias=True))

    @staticmethod
    def resize_targets(targets: Sequence[Target], geometries: Sequence[Geometry]) -> list[Target]:
        """Targets with their boxes and proposals in the pixels of the resized pictures; all else is passed on."""
        return [
            {**target, **{key: target[key] * box_scale(geometry, target[key]) for key in BOXES & target.keys()}}
            for target, geometry in zip(targets, geometries, strict=True)
        ]

    @staticmethod
    def restore(predictions: Sequence[Prediction], geometries: Sequence[Geometry]) -> list[Prediction]:
        """Predictions with their boxes in the pixels of the original pictures, clipped to them."""
        return [
            {**prediction, "boxes": _restore_boxes(prediction["boxes"].float(), geometry)}
            for prediction, geometry in zip(predictions, geometries, strict=True)
        ]


def box_scale(geometry: Geometry, like: Tensor) -> Tensor:
    """The factors [4] that carry xyxy boxes from original to resized pixels, on the device of `like`."""
    return like.new_tensor(
        [geometry.scale_x, geometry.scale_y, geometry.scale_x, geometry.scale_y], dtype=torch.float32
    )


def _restore_boxes(boxes: Tensor, geometry: Geometry) -> Tensor:
    bound = boxes.new_tensor([geometry.width, geometry.height, geometry.width, geometry.height])
    return (boxes / box_scale(geometry, boxes)).clamp(min=0).minimum(bound)
