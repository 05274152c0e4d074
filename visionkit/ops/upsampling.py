"""Upsampling of feature maps without learned weights, to revert the reduction by pooling or strides."""

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional


def nearest_unpooling(x: Tensor, factor: int = 2) -> Tensor:
    """Repeat each value in a square.

    Args:
        x: [B, C, h, w].
        factor: side of the square in pixels.

    Returns:
        [B, C, factor * h, factor * w].
    """
    return functional.interpolate(x, scale_factor=float(factor), mode="nearest")


def bed_of_nails(x: Tensor, factor: int = 2) -> Tensor:
    """Place each value in the upper left corner of a square of zeros.

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
    """Place each value at the position of its maximum before pooling, zeros elsewhere (Zeiler et al. 2011).

    See also Noh et al. 2015, fig. 3.

    Args:
        x: [B, C, h, w].
        indices: int64 [B, C, h, w], indices into the flat map before pooling, as `torch.nn.MaxPool2d` returns them.
        size: height and width of the map before pooling; rows and columns that pooling has cut off are zero.
        factor: kernel size and stride of the pooling.

    Returns:
        [B, C, *size].
    """
    return functional.max_unpool2d(x, indices, [factor, factor], output_size=list(size))


def bilinear(x: Tensor, factor: int = 2) -> Tensor:
    """Interpolate bilinearly; the centers of cells keep their positions, and borders are repeated.

    A transposed convolution with bilinear initialization (`visionkit.backbones.initialization`) gives the same values
    inside the map, but values that fall to zero at its border.

    Args:
        x: [B, C, h, w].
        factor: number of output pixels per cell in each direction.

    Returns:
        [B, C, factor * h, factor * w].
    """
    return functional.interpolate(x, scale_factor=float(factor), mode="bilinear", align_corners=False)
