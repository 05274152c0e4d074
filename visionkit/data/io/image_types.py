"""Images from Python objects: PIL images, arrays and tensors."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from visionkit.data.io.images import ImageArray, pil_to_rgb
from visionkit.errors import DataError


def as_rgb(image: object, name: object, bit_depth: int | None = None) -> ImageArray:
    """Return a PIL image, an array or a tensor as an RGB array.

    Args:
        image: a PIL image of any mode; an array [H, W] or [H, W, C]; or a tensor [C, H, W]. C is 1 or 3. Values are
            uint8, or float in 0..1.
        name: name of the image, for messages.
        bit_depth: number of bits that PIL images with 16 bits use, see `read_image`.

    Returns:
        uint8 [H, W, 3], RGB.

    Raises:
        DataError: the image has another type or shape, float values outside 0..1 (such as normalized ones), or values
            that do not fit into `bit_depth` bits.

    Example:
        >>> import torch
        >>> from visionkit.data.io.image_types import as_rgb
        >>> as_rgb(torch.ones(1, 4, 6), "a")[0, 0].tolist()
        [255, 255, 255]
    """
    if isinstance(image, Image.Image):
        return pil_to_rgb(image, name, bit_depth)
    if isinstance(image, Tensor):
        array = image.detach().cpu().numpy()
        array = np.moveaxis(array, 0, -1) if array.ndim == 3 else array
    elif isinstance(image, np.ndarray):
        array = image[..., None] if image.ndim == 2 else image
    else:
        raise DataError(f"{name}: an image is a PIL image, an array or a tensor, not {type(image).__name__}")
    if array.ndim != 3 or array.shape[2] not in (1, 3) or array.size == 0:
        layout = "tensor [C, H, W]" if isinstance(image, Tensor) else "array [H, W, C]"
        raise DataError(f"{name}: an image is an {layout} with 1 or 3 channels, not of shape {list(image.shape)}")
    # A copy, because a transform may write into the image, and the dataset may return it again.
    return np.array(np.broadcast_to(_as_bytes(array, name), (*array.shape[:2], 3)), order="C")


def _as_bytes(array: NDArray[Any], name: object) -> ImageArray:
    """Return uint8 values; floats are scaled by 255."""
    if array.dtype == np.uint8:
        return array
    if not np.issubdtype(array.dtype, np.floating):
        raise DataError(f"{name}: an image has uint8 or float values, not {array.dtype}")
    if not ((array >= 0) & (array <= 1)).all():
        raise DataError(
            f"{name}: a float image has values in 0..1, not {array.min():g}..{array.max():g}\n"
            "return the image before normalization; the task normalizes it"
        )
    return np.round(array * 255).astype(np.uint8)


def as_array(values: object) -> NDArray[Any]:
    """Return a tensor, a PIL image, a list or a number as an array."""
    return values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else np.asarray(values)
