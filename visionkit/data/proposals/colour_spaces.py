"""The colour spaces that selective search looks at a picture in (Uijlings et al. 2013, section 3.2)."""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from visionkit.data.pictures import Picture
from visionkit.registry import Registry

colour_spaces: Registry[Callable[[Picture], Picture]] = Registry("colour space")
"""From RGB uint8 [H, W, 3] to uint8 [H, W, C], every channel spread over 0..255."""


@colour_spaces.register("hsv")
def hsv(picture: Picture) -> Picture:
    """Hue, saturation and value."""
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2HSV_FULL), np.uint8)


@colour_spaces.register("lab")
def lab(picture: Picture) -> Picture:
    """CIE L*a*b*."""
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2LAB), np.uint8)


@colour_spaces.register("rgi")
def rgi(picture: Picture) -> Picture:
    """Red and green as shares of the colour's sum, and the intensity."""
    values = picture.astype(np.float32)
    total: NDArray[np.float32] = values.sum(axis=2, keepdims=True)
    shares = 255 * values[..., :2] / np.maximum(total, 1)
    return np.concatenate([shares, total / 3], axis=2).round().astype(np.uint8)


@colour_spaces.register("hue")
def hue(picture: Picture) -> Picture:
    """The hue alone."""
    return hsv(picture)[..., :1]


@colour_spaces.register("intensity")
def intensity(picture: Picture) -> Picture:
    """The grey value alone."""
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.uint8)[..., None]
