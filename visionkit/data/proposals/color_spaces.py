"""Color spaces of selective search (Uijlings et al. 2013, section 3.2)."""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from visionkit.data.io.images import ImageArray
from visionkit.registry import Registry

color_spaces: Registry[Callable[[ImageArray], ImageArray]] = Registry("color space")
"""Conversions from RGB, uint8 [H, W, 3], to uint8 [H, W, C] with the range 0..255 in each channel, by name."""


@color_spaces.register("hsv")
def hsv(image: ImageArray) -> ImageArray:
    """Return hue, saturation and value."""
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2HSV_FULL), np.uint8)


@color_spaces.register("lab")
def lab(image: ImageArray) -> ImageArray:
    """Return the CIE L*a*b* values."""
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2LAB), np.uint8)


@color_spaces.register("rgi")
def rgi(image: ImageArray) -> ImageArray:
    """Return red and green divided by the sum of the three channels, and the intensity."""
    values = image.astype(np.float32)
    total: NDArray[np.float32] = values.sum(axis=2, keepdims=True)
    shares = 255 * values[..., :2] / np.maximum(total, 1)
    return np.concatenate([shares, total / 3], axis=2).round().astype(np.uint8)


@color_spaces.register("hue")
def hue(image: ImageArray) -> ImageArray:
    """Return only the hue."""
    return hsv(image)[..., :1]


@color_spaces.register("intensity")
def intensity(image: ImageArray) -> ImageArray:
    """Return only the gray value."""
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8)[..., None]
