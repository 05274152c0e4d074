"""Normalization of images, which all tasks share."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from visionkit.option_checks import check_above, check_channels


def check_normalization(mean: Sequence[float] | None, std: Sequence[float] | None) -> None:
    """Raise ConfigError unless mean and std are None or three numbers each, and those of std above 0."""
    check_channels(mean=mean, std=std)
    check_above(0, std=std)


class Normalize(nn.Module):
    """Scale uint8 images to 0..1 and normalize them: (image / 255 - mean) / std.

    Args:
        mean: per channel, on images in 0..1.
        std: per channel, on images in 0..1.

    Example:
        >>> import torch
        >>> from visionkit.preprocessing.normalize import Normalize
        >>> image = torch.full((3, 2, 2), 255, dtype=torch.uint8)
        >>> Normalize([0.5, 0.5, 0.5], [0.25, 0.25, 0.25])(image)[:, 0, 0]
        tensor([2., 2., 2.])
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Return normalized images.

        Args:
            images: uint8 [..., 3, H, W], RGB.

        Returns:
            The same shape, in the floating-point type of the module; float32 unless the module was converted.

        Raises:
            TypeError: the images are not uint8, so that their range is not known.
        """
        if images.dtype != torch.uint8:
            raise TypeError(f"images must be uint8 in 0..255, not {images.dtype}; do not normalize them beforehand")
        return ((images.to(torch.float32) / 255 - self.mean) / self.std).to(self.mean.dtype)
