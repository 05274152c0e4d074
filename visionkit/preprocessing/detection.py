"""Deterministic preprocessing of detectors: images and boxes to the model's input, and boxes back."""

import dataclasses
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, cast

from torch import Tensor
from torch.nn import functional
from torchvision.transforms.v2 import functional as transforms

from visionkit.errors import ConfigError
from visionkit.ops.boxes import SMALLEST_DETECTION, has_area
from visionkit.ops.waiting import from_host
from visionkit.option_checks import check_at_least
from visionkit.preprocessing.base import Preprocessing
from visionkit.preprocessing.geometry import Geometry, fits
from visionkit.preprocessing.normalize import Normalize, check_normalization
from visionkit.registry import suggest
from visionkit.structures import Prediction, Target

RESIZE_RULES = ("antialias", "torchvision")
"""Rules of `DetectionPreprocessOptions.resize`."""


class TrainingScale(NamedTuple):
    """Size of the images of a training step: height and width in place of `size`, or a factor on all sizes."""

    size: Sequence[int] | None = None
    factor: float = 1.0


@dataclass
class DetectionPreprocessOptions:
    """Size and normalization of the model's input (Faster R-CNN, section 3.3: short side 600; FPN: 800).

    Attributes:
        short_side: length in pixels that the shorter side is resized to.
        long_side: upper bound in pixels of the longer side. If it would be exceeded, it determines the scale instead.
        size: height and width in pixels that every image is resized to (SSD: 300, 300); `short_side` and `long_side`
            are ignored then.
        fit: how images are resized to `size`: "squash" scales each axis by itself, "letterbox" scales both alike and
            pads both sides with the mean color.
        resize: how pixels and sizes are computed: "antialias" smooths reduced images and rounds their sides;
            "torchvision" is the rule of torchvision's detectors, which normalize before they resize, do not smooth, and
            round sides down.
        multi_scale: smallest and largest side in pixels, between which the side is drawn in training: that of a square
            in place of `size` (YOLOv2: 320, 608), otherwise that of `short_side` (Detectron: 640, 800), with
            `long_side` in proportion. None trains at one size.
        multi_scale_step: difference in pixels between neighboring sides (YOLOv2: 32).
        multi_scale_every: optimizer steps until the next side is drawn (YOLOv2: 10).
        mean: per channel, on images in 0..1; None takes that of the backbone's weights.
        std: per channel, on images in 0..1; None takes that of the backbone's weights.

    Raises:
        ConfigError: the sides contradict each other, or a size or fit does not exist.

    Example:
        >>> import visionkit as vk
        >>> vk.DetectionPreprocessOptions(short_side=480).long_side
        1333
    """

    short_side: int = 800
    long_side: int = 1333
    size: list[int] | None = None
    fit: str = "squash"
    resize: Literal["antialias", "torchvision"] = "antialias"
    multi_scale: list[int] | None = None
    multi_scale_step: int = 32
    multi_scale_every: int = 10
    mean: list[float] | None = None
    std: list[float] | None = None

    def __post_init__(self) -> None:
        check_at_least(1, short_side=self.short_side, long_side=self.long_side, size=self.size)
        check_at_least(1, multi_scale_step=self.multi_scale_step, multi_scale_every=self.multi_scale_every)
        check_normalization(self.mean, self.std)
        if self.long_side < self.short_side:
            raise ConfigError(f"short_side={self.short_side} must be at most long_side={self.long_side}")
        if self.size is not None and len(self.size) != 2:
            raise ConfigError(f"size={self.size} must be height and width in pixels, such as [300, 300]")
        fits.get(self.fit)
        if self.resize not in RESIZE_RULES:
            raise ConfigError(f"resize={self.resize!r}{suggest(self.resize, RESIZE_RULES)}")
        if self.size is None and self.fit != "squash":
            raise ConfigError(f"fit={self.fit} resizes images to preprocess.size: give that too")
        if self.multi_scale is not None:
            self._check_scales(self.multi_scale)

    def _check_scales(self, sides: list[int]) -> None:
        check_at_least(1, multi_scale=sides)
        if len(sides) != 2 or sides[0] > sides[1]:
            raise ConfigError(f"multi_scale={sides} must be the smallest and the largest side, such as [320, 608]")

    def module(self) -> "DetectionPreprocessing":
        """Return the module that applies these options; `mean` and `std` must be given."""
        return DetectionPreprocessing(**dataclasses.asdict(self))


class DetectionPreprocessing(Preprocessing):
    """Resize and normalize images, and map boxes to the model's input and back.

    Args:
        short_side: see `DetectionPreprocessOptions`, also for the other arguments.
        long_side: upper bound in pixels of the longer side.
        mean: per channel, on images in 0..1.
        std: per channel, on images in 0..1.
        size: height and width in pixels.
        fit: how images are resized to `size`.
        resize: how pixels and sizes are computed.
        multi_scale: smallest and largest side in training.
        multi_scale_step: difference in pixels between neighboring sizes.
        multi_scale_every: optimizer steps until the next size is drawn.
    """

    def __init__(
        self,
        short_side: int,
        long_side: int,
        mean: Sequence[float],
        std: Sequence[float],
        size: Sequence[int] | None = None,
        fit: str = "squash",
        resize: Literal["antialias", "torchvision"] = "antialias",
        multi_scale: Sequence[int] | None = None,
        multi_scale_step: int = 32,
        multi_scale_every: int = 10,
    ) -> None:
        super().__init__()
        self.short_side, self.long_side = short_side, long_side
        self.size, self.fit, self.resize = size, fits.get(fit), resize
        self.sides = range(multi_scale[0], multi_scale[1] + 1, multi_scale_step) if multi_scale else None
        self.every = multi_scale_every
        self.normalize = Normalize(mean, std)

    def forward(
        self, images: Sequence[Tensor], size: Sequence[int] | None = None, factor: float = 1.0
    ) -> tuple[list[Tensor], list[Geometry]]:
        """Prepare images for the model.

        Args:
            images: uint8 [3, H, W] each, RGB, of any size.
            size: height and width in pixels, see `training_scale`; None uses that of the options.
            factor: multiplies the size, for a view at another scale.

        Returns:
            Normalized float32 [3, h, w] images, and the geometry of each.
        """
        geometries = [self.geometry(image.shape[-2], image.shape[-1], size, factor) for image in images]
        return [self._prepare(image, geometry) for image, geometry in zip(images, geometries, strict=True)], geometries

    def training_scale(self, step: int, seed: int) -> TrainingScale:
        """Return the size of the images of a training step (Redmon & Farhadi 2016, section 2).

        It depends on nothing but the arguments. All processes draw the same size, and a resumed run continues with the
        sizes of an uninterrupted one.

        Args:
            step: optimizer step, from 0.
            seed: seed of the run.
        """
        if self.sides is None:
            return TrainingScale()
        side = random.Random(f"{seed}, {step // self.every}").choice(self.sides)
        return TrainingScale(factor=side / self.short_side) if self.size is None else TrainingScale([side, side])

    def geometry(self, height: int, width: int, size: Sequence[int] | None = None, factor: float = 1.0) -> Geometry:
        """Return the resizing of an image of `height` x `width` pixels; `size` and `factor` as in `forward`."""
        size = size or self.size
        if size is not None:
            new_height, new_width = (max(round(side * factor), 1) for side in size)
            return self.fit(height, width, new_height, new_width)
        new_height, new_width = self._new_sides(height, width, factor)
        return Geometry(height, width, new_width / width, new_height / height)

    def loader_size(self, height: int, width: int) -> tuple[int, int] | None:
        """Return the size to which a data loader may resize an image for training, without padding.

        `forward` does not resize it again. None if the size differs from step to step, or if the image is normalized
        before it is resized.
        """
        if self.sides is not None or self.resize == "torchvision":
            return None
        return self.geometry(height, width).resized

    def _new_sides(self, height: int, width: int, factor: float) -> tuple[int, int]:
        """Return height and width that fit `short_side` and `long_side`."""
        scale = factor * min(self.short_side / min(height, width), self.long_side / max(height, width))
        whole = math.floor if self.resize == "torchvision" else round
        return max(whole(height * scale), 1), max(whole(width * scale), 1)

    def _prepare(self, image: Tensor, geometry: Geometry) -> Tensor:
        if self.resize == "torchvision":
            whole = self.normalize(image)[None]
            prepared: Tensor = functional.interpolate(whole, geometry.resized, mode="bilinear", align_corners=False)[0]
        else:
            prepared = self.normalize(transforms.resize(image, list(geometry.resized), antialias=True))
        margins = [geometry.left, geometry.right, geometry.top, geometry.bottom]
        return functional.pad(prepared, margins) if any(margins) else prepared  # 0 is the mean color

    @staticmethod
    def resize_targets(targets: Sequence[Target], geometries: Sequence[Geometry]) -> list[Target]:
        """Return targets with boxes and proposals in pixels of the model's input; all else is unchanged.

        Masks stay at the size of the original image. `frame` float32 [4] is the part of the model's input, xyxy in its
        pixels, that they cover.
        """
        return [_resized(target, geometry) for target, geometry in zip(targets, geometries, strict=True)]

    @staticmethod
    def restore(predictions: Sequence[Prediction], geometries: Sequence[Geometry]) -> list[Prediction]:
        """Return predictions with boxes in pixels of the original images, clipped to them.

        Boxes that lie entirely in the padding are removed.
        """
        return [_restored(prediction, geometry) for prediction, geometry in zip(predictions, geometries, strict=True)]


def _restored(prediction: Prediction, geometry: Geometry) -> Prediction:
    boxes = geometry.to_original(prediction["boxes"].float())
    in_image = has_area(boxes, SMALLEST_DETECTION)
    columns: dict[str, Any] = {**prediction, "boxes": boxes}
    return cast(Prediction, {key: column[in_image] for key, column in columns.items()})


def _resized(target: Target, geometry: Geometry) -> Target:
    resized: Target = {**target, "boxes": geometry.to_input(target["boxes"])}
    if "proposals" in target:
        resized["proposals"] = geometry.to_input(target["proposals"])
    if target.get("masks") is not None:
        whole = from_host([0, 0, geometry.width, geometry.height], target["boxes"])
        resized["frame"] = geometry.to_input(whole)
    return resized
