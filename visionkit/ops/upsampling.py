"""Enlarging feature maps without learned weights: what a pool or a stride has made small becomes large again."""

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional


def nearest_unpooling(x: Tensor, factor: int = 2) -> Tensor:
    """Repeat each value over a square.

    Args:
        x: [B, C, h, w].
        factor: side of the square in pixels.

    Returns:
        [B, C, factor * h, factor * w].
    """
    return functional.interpolate(x, scale_factor=float(factor), mode="nearest")


def bed_of_nails(x: Tensor, factor: int = 2) -> Tensor:
    """Put each value into the upper left corner of a square of zeros.

    Args:
        x: [B, C, h, w].
        factor: side of the square in pixels.

    Returns:
        [B, C, factor * h, factor * w].
    """
    height, width = x.shape[-2:]
    large = x.new_zeros(*x.shape[:-2], factor * height, factor * width)
    large[..., ::factor, ::factor] = x
    return large


def max_unpooling(x: Tensor, indices: Tensor, size: Sequence[int], factor: int = 2) -> Tensor:
    """Put each value back where the pool found its maximum, among zeros (Zeiler et al. 2011; Noh et al. 2015, fig. 3).

    Args:
        x: [B, C, h, w].
        indices: int64 of the same shape, into the flat map before the pool, as `torch.nn.MaxPool2d` returns them.
        size: height and width of the map before the pool; what the pool has rounded off stays zero.
        factor: kernel and stride of the pool.

    Returns:
        [B, C, *size].
    """
    return functional.max_unpool2d(x, indices, [factor, factor], output_size=list(size))


def bilinear(x: Tensor, factor: int = 2) -> Tensor:
    """Blend neighbors in proportion to their distance; centers of cells keep their places, borders are repeated.

    A transposed convolution initialized bilinearly (`visionkit.backbones.initialization`) gives the same values inside
    the map and fades to zero at its border.

    Args:
        x: [B, C, h, w].
        factor: pixels that a cell becomes in each direction.

    Returns:
        [B, C, factor * h, factor * w].
    """
    return functional.interpolate(x, scale_factor=float(factor), mode="bilinear", align_corners=False)
