"""The color spaces that selective search looks at an image in (Uijlings et al. 2013, section 3.2)."""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from visionkit.data.io.images import ImageArray
from visionkit.registry import Registry

color_spaces: Registry[Callable[[ImageArray], ImageArray]] = Registry("color space")
"""From RGB uint8 [H, W, 3] to uint8 [H, W, C], every channel spread over 0..255."""


@color_spaces.register("hsv")
def hsv(image: ImageArray) -> ImageArray:
    """Hue, saturation and value."""
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2HSV_FULL), np.uint8)


@color_spaces.register("lab")
def lab(image: ImageArray) -> ImageArray:
    """CIE L*a*b*."""
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2LAB), np.uint8)


@color_spaces.register("rgi")
def rgi(image: ImageArray) -> ImageArray:
    """Red and green as shares of the color's sum, and the intensity."""
    values = image.astype(np.float32)
    total: NDArray[np.float32] = values.sum(axis=2, keepdims=True)
    shares = 255 * values[..., :2] / np.maximum(total, 1)
    return np.concatenate([shares, total / 3], axis=2).round().astype(np.uint8)


@color_spaces.register("hue")
def hue(image: ImageArray) -> ImageArray:
    """The hue alone."""
    return hsv(image)[..., :1]


@color_spaces.register("intensity")
def intensity(image: ImageArray) -> ImageArray:
    """The gray value alone."""
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8)[..., None]
