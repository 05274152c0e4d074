"""The deterministic way from a stored image to the network and back, the same in fit, test, predict and export."""

import dataclasses
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.transforms.v2 import functional as transforms

from visionkit.errors import ConfigError
from visionkit.ops.boxes import SMALLEST_DETECTION, has_area
from visionkit.registry import Registry
from visionkit.structures import Prediction, Target


@dataclass
class DetectionPreprocessOptions:
    """How images are brought to the network's input (Faster R-CNN, section 3.3: short side 600; FPN: 800).

    Attributes:
        short_side: length in pixels that the shorter side is resized to.
        long_side: bound in pixels on the longer side; where it would be passed, it decides the scale instead.
        size: height and width in pixels that every image is brought to (SSD: 300, 300). The two sides are not looked
            at then.
        fit: how it is brought there, by its name below: "squash" scales each axis by itself, "letterbox" both alike,
            and fills up with the mean color on both sides.
        multi_scale: the smallest and the largest side in pixels of the square size that a step of training draws in
            place of `size` (YOLOv2: 320, 608); None trains at `size` too.
        multi_scale_step: pixels from one of those sides to the next (YOLOv2: 32).
        multi_scale_every: steps of the optimizer before the next size is drawn (YOLOv2: 10).
        mean: per channel, on images in 0..1; None takes that of the backbone's weights.
        std: likewise.

    Raises:
        ConfigError: the sides contradict each other, there is no such size or fit, or there are no such sizes.
    """

    short_side: int = 800
    long_side: int = 1333
    size: list[int] | None = None
    fit: str = "squash"
    multi_scale: list[int] | None = None
    multi_scale_step: int = 32
    multi_scale_every: int = 10
    mean: list[float] | None = None
    std: list[float] | None = None

    def __post_init__(self) -> None:
        if self.short_side < 1 or self.long_side < self.short_side:
            raise ConfigError(f"preprocess: 1 <= short_side {self.short_side} <= long_side {self.long_side} must hold")
        if self.size is not None and (len(self.size) != 2 or min(self.size) < 1):
            raise ConfigError(f"preprocess.size is {self.size}: give height and width in pixels, such as [300, 300]")
        fits.get(self.fit)
        if self.size is None and self.fit != "squash":
            raise ConfigError(f"preprocess.fit={self.fit} brings images to preprocess.size: give that too")
        if self.multi_scale is not None:
            self._check_scales(self.multi_scale)

    def _check_scales(self, sides: list[int]) -> None:
        if self.size is None:
            raise ConfigError("preprocess.multi_scale draws sizes in place of preprocess.size: give that too")
        if len(sides) != 2 or not 1 <= sides[0] <= sides[1] or min(self.multi_scale_step, self.multi_scale_every) < 1:
            raise ConfigError(
                f"preprocess.multi_scale is {sides}, multi_scale_step {self.multi_scale_step}, multi_scale_every "
                f"{self.multi_scale_every}: give the smallest and the largest side, such as [320, 608], and at least 1"
            )

    def module(self) -> "DetectionPreprocessing":
        """The tensor module that does so; `mean` and `std` must be given."""
        return DetectionPreprocessing(**dataclasses.asdict(self))


class Normalize(nn.Module):
    """Images in 0..255 as the network saw them in training: (image / 255 - mean) / std.

    Args:
        mean, std: three numbers each, on images in 0..1.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Normalize.

        Args:
            images: uint8 [..., 3, H, W], RGB.

        Returns:
            The same shape, in the floating-point type that the network has been brought to; usually float32.

        Raises:
            TypeError: the images are not uint8; their range would have to be guessed.
        """
        if images.dtype != torch.uint8:
            raise TypeError(f"images must be uint8 in 0..255, not {images.dtype}: normalizing happens here, once")
        return ((images.to(torch.float32) / 255 - self.mean) / self.std).to(self.mean.dtype)


class Geometry(NamedTuple):
    """How one image was resized: by its own scale along each axis, and then filled up along its edges.

    Attributes:
        height, width: of the original image, in pixels.
        scale_x, scale_y: resized / original.
        left, top, right, bottom: pixels of the network's input that were filled up.
    """

    height: int
    width: int
    scale_x: float
    scale_y: float
    left: int = 0
    top: int = 0
    right: int = 0
    bottom: int = 0

    @property
    def resized(self) -> tuple[int, int]:
        """Height and width in pixels of the image itself in the network's input."""
        return round(self.height * self.scale_y), round(self.width * self.scale_x)

    @property
    def input_size(self) -> tuple[int, int]:
        """Height and width in pixels of the network's input."""
        height, width = self.resized
        return self.top + height + self.bottom, self.left + width + self.right

    def enter(self, boxes: Tensor) -> Tensor:
        """Boxes [N, 4], xyxy in pixels of the original image, in those of the network's input."""
        return boxes * self._scales(boxes) + self._offsets(boxes)

    def leave(self, boxes: Tensor) -> Tensor:
        """The inverse of `enter`, clipped to the image."""
        bound = boxes.new_tensor([self.width, self.height, self.width, self.height])
        return ((boxes - self._offsets(boxes)) / self._scales(boxes)).clamp(min=0).minimum(bound)

    def _scales(self, like: Tensor) -> Tensor:
        return like.new_tensor([self.scale_x, self.scale_y, self.scale_x, self.scale_y], dtype=torch.float32)

    def _offsets(self, like: Tensor) -> Tensor:
        return like.new_tensor([self.left, self.top, self.left, self.top], dtype=torch.float32)


fits: Registry[Callable[[int, int, int, int], Geometry]] = Registry("fit")
"""From height and width of an image, and height and width that it is brought to, to how it is resized."""


@fits.register("squash")
def squash(height: int, width: int, new_height: int, new_width: int) -> Geometry:
    """Each axis by its own scale (Liu et al. 2015, SSD)."""
    return Geometry(height, width, new_width / width, new_height / height)


@fits.register("letterbox")
def letterbox(height: int, width: int, new_height: int, new_width: int) -> Geometry:
    """Both axes alike, as large as fits, in the middle (the authors' code of YOLOv2).

    The scales are those of the whole pixels that the image is resized to, so that its edges come back where they
    were.
    """
    scale = min(new_height / height, new_width / width)
    inner_height, inner_width = max(round(height * scale), 1), max(round(width * scale), 1)
    above, beside = new_height - inner_height, new_width - inner_width
    return Geometry(
        height,
        width,
        inner_width / width,
        inner_height / height,
        left=beside // 2,
        top=above // 2,
        right=beside - beside // 2,
        bottom=above - above // 2,
    )


class DetectionPreprocessing(nn.Module):
    """Resize and normalize images, and carry boxes there and back.

    Args:
        short_side, long_side: see `DetectionPreprocessOptions`.
        mean, std: three numbers each, on images in 0..1.
        size, fit, multi_scale, multi_scale_step, multi_scale_every: see `DetectionPreprocessOptions`.
    """

    def __init__(
        self,
        short_side: int,
        long_side: int,
        mean: Sequence[float],
        std: Sequence[float],
        size: Sequence[int] | None = None,
        fit: str = "squash",
        multi_scale: Sequence[int] | None = None,
        multi_scale_step: int = 32,
        multi_scale_every: int = 10,
    ) -> None:
        super().__init__()
        self.short_side, self.long_side = short_side, long_side
        self.size, self.fit = size, fits.get(fit)
        self.sides = range(multi_scale[0], multi_scale[1] + 1, multi_scale_step) if multi_scale else None
        self.every = multi_scale_every
        self.normalize = Normalize(mean, std)

    def forward(
        self, images: Sequence[Tensor], size: Sequence[int] | None = None, factor: float = 1.0
    ) -> tuple[list[Tensor], list[Geometry]]:
        """Prepare images for the network.

        Args:
            images: uint8 [3, H, W] each, RGB, of any size.
            size: that of `training_size`; None is the usual one.
            factor: on that size, for a look at another scale.

        Returns:
            Normalized float32 [3, h, w] images and how each was resized.
        """
        geometries = [self.geometry(image.shape[-2], image.shape[-1], size, factor) for image in images]
        return [self._prepare(image, geometry) for image, geometry in zip(images, geometries, strict=True)], geometries

    def training_size(self, step: int, seed: int) -> Sequence[int] | None:
        """Height and width in pixels that a step of training brings its images to (Redmon & Farhadi 2016, section 2).

        It depends on nothing but its arguments: all processes draw the same size, and a resumed run goes on as it
        would have gone on.

        Args:
            step: of the optimizer, from 0.
            seed: of the run.

        Returns:
            None where training knows no other size than everything else.
        """
        if self.sides is None:
            return None
        return [random.Random(f"{seed}, {step // self.every}").choice(self.sides)] * 2

    def geometry(self, height: int, width: int, size: Sequence[int] | None = None, factor: float = 1.0) -> Geometry:
        """How an image of `height` x `width` pixels is resized; `size` and `factor` as in `forward`."""
        size = size or self.size
        if size is not None:
            new_height, new_width = (max(round(side * factor), 1) for side in size)
            return self.fit(height, width, new_height, new_width)
        scale = factor * min(self.short_side / min(height, width), self.long_side / max(height, width))
        new_height, new_width = max(round(height * scale), 1), max(round(width * scale), 1)
        return Geometry(height, width, new_width / width, new_height / height)

    def _prepare(self, image: Tensor, geometry: Geometry) -> Tensor:
        prepared = self.normalize(transforms.resize(image, list(geometry.resized), antialias=True))
        margins = [geometry.left, geometry.right, geometry.top, geometry.bottom]
        return functional.pad(prepared, margins) if any(margins) else prepared  # 0 is the mean color

    @staticmethod
    def resize_targets(targets: Sequence[Target], geometries: Sequence[Geometry]) -> list[Target]:
        """Targets with their boxes and proposals in the pixels of the resized images; all else is passed on.

        Masks stay as they are stored; `frame` float32 [4] says which part of the network's input, xyxy in its pixels,
        they cover.
        """
        return [_resized(target, geometry) for target, geometry in zip(targets, geometries, strict=True)]

    @staticmethod
    def restore(predictions: Sequence[Prediction], geometries: Sequence[Geometry]) -> list[Prediction]:
        """Predictions with their boxes in the pixels of the original images, clipped to them.

        What lay in the margins of a letterbox altogether is left out.
        """
        return [_restored(prediction, geometry) for prediction, geometry in zip(predictions, geometries, strict=True)]


def _restored(prediction: Prediction, geometry: Geometry) -> Prediction:
    boxes = geometry.leave(prediction["boxes"].float())
    in_image = has_area(boxes, SMALLEST_DETECTION)
    columns: dict[str, Any] = {**prediction, "boxes": boxes}
    return cast(Prediction, {key: column[in_image] for key, column in columns.items()})


def _resized(target: Target, geometry: Geometry) -> Target:
    resized: Target = {**target, "boxes": geometry.enter(target["boxes"])}
    if "proposals" in target:
        resized["proposals"] = geometry.enter(target["proposals"])
    if target.get("masks") is not None:
        whole = target["boxes"].new_tensor([0, 0, geometry.width, geometry.height])
        resized["frame"] = geometry.enter(whole)
    return resized
