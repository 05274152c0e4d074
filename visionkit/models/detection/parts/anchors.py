"""Anchors on feature maps, cached per input size."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.models.detection.anchor_utils import AnchorGenerator as TorchvisionAnchorGenerator

from visionkit.errors import ConfigError
from visionkit.option_checks import check_above, check_not_empty

LevelAnchors = tuple[Tensor, list[int]]
"""Anchors of one image, float32 [A, 4] in pixels, level after level, and the number of anchors of each level."""


@dataclass(frozen=True)
class AnchorOptions:
    """Anchors of a feature pyramid.

    Attributes:
        sizes: for each level the sides of its square anchors, in pixels of the model's input. None uses those of the
            model's paper.
        aspect_ratios: height / width of the anchors; each with all sizes.

    Raises:
        ConfigError: a size or ratio is not above 0, or there is none.

    Example:
        >>> import visionkit as vk
        >>> anchors = vk.AnchorOptions(sizes=[[16], [32], [64], [128], [256]])
        >>> backbone = vk.create_backbone("resnet18", weights="none")
        >>> vk.FasterRCNN(backbone, num_classes=2, anchors=anchors).task
        'detection'
    """

    sizes: tuple[tuple[int, ...], ...] | None = None
    aspect_ratios: tuple[float, ...] = (0.5, 1.0, 2.0)

    def __post_init__(self) -> None:
        check_not_empty(aspect_ratios=self.aspect_ratios)
        check_above(0, aspect_ratios=self.aspect_ratios)
        for level in self.sizes or ():
            check_above(0, sizes=level)


def check_anchor_levels(sizes: Sequence[Sequence[int]], published: Sequence[Sequence[int]]) -> Sequence[Sequence[int]]:
    """Return `sizes` if they are one list for each level of `published`, all of one length.

    Raises:
        ConfigError: they are not.
    """
    lengths = {len(level) for level in sizes}
    if len(sizes) != len(published) or len(lengths) != 1 or 0 in lengths:
        raise ConfigError(
            f"the anchor sizes have {len(sizes)} levels of {[len(level) for level in sizes]} sizes; "
            f"this model has {len(published)} levels, and each needs the same number of sizes\n"
            f"published: {[list(level) for level in published]}"
        )
    return sizes


class CachedAnchorGenerator:
    """Base of anchor generators: computes the anchors of an input size once, in float32 under any precision.

    Subclasses implement `generate` and `shapes`.
    """

    max_cached = 16

    def __init__(self) -> None:
        self._cache: dict[tuple[object, ...], LevelAnchors] = {}

    def grid(self, padded: tuple[int, int], maps: Sequence[Tensor]) -> LevelAnchors:
        """Return the anchors of one image.

        Args:
            padded: height and width of the batch in pixels.
            maps: the feature map [B, C, h, w] of each level.

        Returns:
            float32 [A, 4], level after level, and the number of anchors of each level.
        """
        key = (*padded, *(tuple(level.shape[-2:]) for level in maps), maps[0].device)
        if key not in self._cache:
            if len(self._cache) >= self.max_cached:
                self._cache.pop(next(iter(self._cache)))
            # Tensors made in inference mode, during a validation, could not be used in a later training step.
            with torch.inference_mode(False):
                levels = self.generate(padded, maps)
                self._cache[key] = torch.cat(levels), [len(level) for level in levels]
        return self._cache[key]

    def generate(self, padded: tuple[int, int], maps: Sequence[Tensor]) -> list[Tensor]:
        """Return the anchors float32 [A, 4] of each level; the arguments are those of `grid`."""
        raise NotImplementedError

    def shapes(self, input_size: tuple[int, int] | None = None) -> Tensor:
        """Return width and height [A, 2] in pixels of every kind of anchor, on the CPU.

        Args:
            input_size: height and width of the model's input in pixels, which some anchors depend on.
        """
        raise NotImplementedError


class AnchorGenerator(TorchvisionAnchorGenerator, CachedAnchorGenerator):
    """torchvision's anchors (Ren et al. 2015, section 3.1.1).

    Args:
        sizes: for each level the sides of its square anchors in pixels.
        aspect_ratios: height / width; each with all sizes.
    """

    def __init__(self, sizes: Sequence[Sequence[int]], aspect_ratios: Sequence[float]) -> None:
        TorchvisionAnchorGenerator.__init__(self, tuple(map(tuple, sizes)), (tuple(aspect_ratios),) * len(sizes))
        CachedAnchorGenerator.__init__(self)

    def shapes(self, input_size: tuple[int, int] | None = None) -> Tensor:
        """Return width and height of every kind of anchor; see `CachedAnchorGenerator.shapes`."""
        cells = torch.cat([cell.cpu() for cell in self.cell_anchors])
        return cells[:, 2:] - cells[:, :2]

    def generate(self, padded: tuple[int, int], maps: Sequence[Tensor]) -> list[Tensor]:
        """Return the anchors of each level; see `CachedAnchorGenerator.generate`."""
        self.set_cell_anchors(torch.float32, maps[0].device)
        grid_sizes = [list(level.shape[-2:]) for level in maps]
        strides = [[torch.tensor(padded[0] // h), torch.tensor(padded[1] // w)] for h, w in grid_sizes]
        levels: list[Tensor] = self.grid_anchors(grid_sizes, strides)
        return levels
