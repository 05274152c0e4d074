"""Several looks at each image when it is classified, and the mean of what the network says of them."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor

from visionkit.errors import ConfigError
from visionkit.models.base import ClassificationModel
from visionkit.ops.crops import crop_windows, cut_views
from visionkit.preprocessing.classification import ClassificationPreprocessing
from visionkit.registry import Registry

AT_ONCE = 16
"""Crops that go through the network together, or as many as there are images where these are more."""


class CropScheme(Protocol):
    """A published way to look at an image that has been resized."""

    def cut(self, image: Tensor, crop: int, flip: bool | None) -> Iterable[Tensor]:
        """The views [3, h, w] of an image [3, H, W]; of every image equally many."""
        ...

    def logits(self, network: ClassificationModel, views: Tensor) -> Tensor:
        """Logits [N, K] of normalized views [N, 3, h, w]."""
        ...


crop_schemes: Registry[Callable[[str], CropScheme]] = Registry("kind of views")
"""Called with the name they are registered under."""


@crop_schemes.register("center", "ten", "grid", "squares", "googlenet")
class Crops:
    """Crops of the network's input size, see `visionkit.ops.crops`."""

    def __init__(self, name: str) -> None:
        self.name = name

    def cut(self, image: Tensor, crop: int, flip: bool | None) -> Iterable[Tensor]:
        """See `CropScheme.cut`."""
        height, width = image.shape[-2:]
        return cut_views(image, crop_windows(height, width, crop, self.name, flip), crop)

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
        """The image and, as published, its mirror image."""
        return [image] if flip is False else [image, image.flip(-1)]

    def logits(self, network: ClassificationModel, views: Tensor) -> Tensor:
        """The map of logits averaged over its places.

        Raises:
            ConfigError: the network has no dense form.
        """
        return network.dense(views).mean(dim=(2, 3))


class Views:
    """Looks at each image at several scales and places, a bounded number of views at a time.

    Args:
        kind: which views, a name in `crop_schemes`.
        scales: lengths in pixels that the shorter side is resized to, one after the other; none is that of
            `preprocessing`.
        flip: whether mirrored views are looked at, too; None does as published.
        preprocessing: the task's.

    Raises:
        ConfigError: an unknown kind, or a scale below the crop.
    """

    def __init__(
        self, kind: str, scales: Sequence[int], flip: bool | None, preprocessing: ClassificationPreprocessing
    ) -> None:
        self.kind, self.flip, self.preprocessing = crop_schemes.get(kind)(kind), flip, preprocessing
        self.scales = list(scales) or [preprocessing.short_side]
        if min(self.scales) < preprocessing.crop:
            raise ConfigError(
                f"evaluation.scales: {min(self.scales)} is below preprocess.crop {preprocessing.crop}, "
                "and the crop would not fit the image"
            )

    def average(self, images: Sequence[Tensor], classify: Callable[[Tensor], Tensor]) -> Tensor:
        """The mean over the views of each image.

        Args:
            images: uint8 [3, H, W] each, of any size.
            classify: probabilities [N, K] from normalized views [N, 3, h, w].

        Returns:
            Probabilities [B, K].
        """
        most = max(len(images), AT_ONCE) * self.preprocessing.crop**2
        found = [classify(self.preprocessing.normalize(views)) for views in batched(self._cut(images), most)]
        return torch.cat(found).unflatten(0, (len(self.scales), len(images), -1)).mean(dim=(0, 2))

    def _cut(self, images: Sequence[Tensor]) -> Iterator[Tensor]:
        """All views, one by one: by scale, then by image."""
        for scale in self.scales:
            for image in images:
                resized = self.preprocessing.resized(image, scale)
                yield from self.kind.cut(resized, self.preprocessing.crop, self.flip)


def batched(views: Iterable[Tensor], most: int) -> Iterator[Tensor]:
    """Consecutive views [3, h, w] of equal size as batches [N, 3, h, w] of `most` pixels or a single view."""
    batch: list[Tensor] = []
    for view in views:
        if batch and (view.shape != batch[0].shape or (len(batch) + 1) * view[0].numel() > most):
            yield torch.stack(batch)
            batch = []
        batch.append(view)
    if batch:
        yield torch.stack(batch)
