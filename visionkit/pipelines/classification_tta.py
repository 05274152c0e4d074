"""Views of an image for classifiers: crops at several scales and positions (Krizhevsky 2012 and others)."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor

from visionkit.errors import ConfigError
from visionkit.models.base import ClassificationModel
from visionkit.ops.crops import crop_windows, extract_crops
from visionkit.preprocessing.classification import ClassificationPreprocessing
from visionkit.registry import Registry

CROPS_PER_BATCH = 16
"""Number of crops per forward pass. If there are more images, it is the number of images."""

UNCROPPED = ("center", "whole", "dense")
"""Schemes for images that are resized to a fixed size."""


class CropScheme(Protocol):
    """A published set of views of a resized image."""

    def cut(self, image: Tensor, crop: int, flip: bool | None) -> Iterable[Tensor]:
        """Return the views [3, h, w] of an image [3, H, W]. Every image has the same number of views."""
        ...

    def logits(self, network: ClassificationModel, views: Tensor) -> Tensor:
        """Return logits [N, K] of normalized views [N, 3, h, w]."""
        ...


crop_schemes: Registry[Callable[[str], CropScheme]] = Registry("views")
"""View schemes by name. Each entry is called with the name that it is registered under."""


@crop_schemes.register("center", "ten_crop", "grid", "squares", "googlenet")
class Crops:
    """Crops of the network's input size; see `visionkit.ops.crops`."""

    def __init__(self, name: str) -> None:
        self.name = name

    def cut(self, image: Tensor, crop: int, flip: bool | None) -> Iterable[Tensor]:
        """See `CropScheme.cut`."""
        height, width = image.shape[-2:]
        return extract_crops(image, crop_windows(height, width, crop, self.name, flip), crop)

    def logits(self, network: ClassificationModel, views: Tensor) -> Tensor:
        """See `CropScheme.logits`."""
        logits: Tensor = network(views)
        return logits


@crop_schemes.register("dense")
class Dense:
    """The whole image, with fully connected layers as convolutions (Simonyan & Zisserman 2014, section 3.2)."""

    def __init__(self, name: str) -> None:
        self.name = name

    def cut(self, image: Tensor, crop: int, flip: bool | None) -> Iterable[Tensor]:
        """Return the image and, as published, its mirror image."""
        return [image] if flip is False else [image, image.flip(-1)]

    def logits(self, network: ClassificationModel, views: Tensor) -> Tensor:
        """Return the logits averaged over the positions of their map.

        Raises:
            ConfigError: the network has no dense form.
        """
        return network.fully_convolutional(views).mean(dim=(2, 3))


@crop_schemes.register("whole")
class WholeImage(Crops):
    """The resized image, which is not cropped."""

    def cut(self, image: Tensor, crop: int, flip: bool | None) -> Iterable[Tensor]:
        """Return the image, and its mirror image if `flip` is True."""
        return [image, image.flip(-1)] if flip else [image]


class CropViews:
    """Views of each image at several scales and positions, in batches of bounded size.

    Args:
        scheme: name in `crop_schemes`. If images are resized to a fixed size, the center is the whole image.
        short_sides: lengths in pixels that the shorter side is resized to; an empty list uses that of
            `preprocessing`.
        flip: whether mirrored views are also used; None follows the publication of the scheme.
        preprocessing: preprocessing of the pipeline.

    Raises:
        ConfigError: the scheme is unknown, a short side is below the crop, or the size of images is fixed and the views
            would need another one.
    """

    def __init__(
        self,
        scheme: str,
        short_sides: Sequence[int],
        flip: bool | None,
        preprocessing: ClassificationPreprocessing,
    ) -> None:
        if preprocessing.size is not None:
            _check_fixed_size(scheme, short_sides)
            scheme = "whole" if scheme == "center" else scheme
        self.scheme, self.flip, self.preprocessing = crop_schemes.get(scheme)(scheme), flip, preprocessing
        self.short_sides = list(short_sides) or [preprocessing.short_side]
        if preprocessing.size is None and min(self.short_sides) < preprocessing.crop:
            raise ConfigError(
                f"inference.tta_short_sides: {min(self.short_sides)} is below preprocess.crop {preprocessing.crop}; "
                "the crop would not fit the image"
            )

    def average(self, images: Sequence[Tensor], classify: Callable[[Tensor], Tensor]) -> Tensor:
        """Return the mean prediction over the views of each image.

        Args:
            images: uint8 [3, H, W] each, of any size.
            classify: returns probabilities [N, K] of normalized views [N, 3, h, w].

        Returns:
            Probabilities [B, K].
        """
        max_pixels = max(len(images), CROPS_PER_BATCH) * math.prod(self.preprocessing.input_size)
        batches = batched(self._cut(images), max_pixels)
        predictions = [classify(self.preprocessing.normalize(views)) for views in batches]
        return torch.cat(predictions).unflatten(0, (len(self.short_sides), len(images), -1)).mean(dim=(0, 2))

    def _cut(self, images: Sequence[Tensor]) -> Iterator[Tensor]:
        """Yield all views, ordered by scale, then by image."""
        for short_side in self.short_sides:
            for image in images:
                resized = self.preprocessing.resized(image, short_side)
                yield from self.scheme.cut(resized, self.preprocessing.crop, self.flip)


def _check_fixed_size(scheme: str, short_sides: Sequence[int]) -> None:
    """Check that views need no other size than that of the whole image."""
    if scheme not in UNCROPPED:
        raise ConfigError(
            f"inference.tta_views={scheme} crops images, but preprocess.size gives the model the whole image\n"
            f"use one of {', '.join(UNCROPPED)}, or set preprocess.size=null"
        )
    if short_sides:
        raise ConfigError("inference.tta_short_sides: preprocess.size has fixed the size of images\nset it to null")


def batched(views: Iterable[Tensor], max_pixels: int) -> Iterator[Tensor]:
    """Yield consecutive views [3, h, w] of equal size as batches [N, 3, h, w] of one view or at most `max_pixels`."""
    batch: list[Tensor] = []
    for view in views:
        if batch and (view.shape != batch[0].shape or (len(batch) + 1) * view[0].numel() > max_pixels):
            yield torch.stack(batch)
            batch = []
        batch.append(view)
    if batch:
        yield torch.stack(batch)
