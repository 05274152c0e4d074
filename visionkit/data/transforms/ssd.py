"""Augmentation of SSD (Liu et al. 2015, sections 2.2 and 3.6): colors, zooming out, and crops around objects."""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from albumentations.augmentations.crops.transforms import BaseCrop
from numpy.typing import NDArray

from visionkit.data.io.images import ImageArray
from visionkit.data.transforms.create import BaseSchema, transforms
from visionkit.data.transforms.import_albumentations import albumentations

MAX_TRIALS = 50
"""Number of random crops per IoU bound; if none fits, the image is not cropped (as in the authors' code)."""

MEAN_COLOR = (123, 117, 104)
"""Mean RGB color of ImageNet."""


@transforms.register("PhotometricDistort")
class PhotometricDistort(albumentations.ImageOnlyTransform):
    """Change brightness, contrast, saturation and hue, each with its own probability, as in the authors' code of SSD.

    Brightness comes first. Contrast comes before saturation and hue or after them, with equal probability.

    Args:
        brightness: largest number that is added to all values 0..255, or subtracted.
        contrast: range of the factor on all values.
        saturation: range of the factor on the saturation in HSV.
        hue: largest shift of the hue in degrees, of 360.
        change_p: probability of each change.
        p: probability of the whole transform.

    Example:
        >>> from visionkit.data.transforms.augmentation import Augmentation
        >>> from visionkit.data.datasets.shapes import Shapes
        >>> augmentation = Augmentation([{"name": "PhotometricDistort"}])
        >>> augmentation(Shapes(size=64)[0]).size
        (64, 64)
    """

    class InitSchema(BaseSchema):
        """Types of the arguments, which albumentations checks."""

        brightness: float
        contrast: tuple[float, float]
        saturation: tuple[float, float]
        hue: float
        change_p: float

    def __init__(
        self,
        brightness: float = 32.0,
        contrast: tuple[float, float] = (0.5, 1.5),
        saturation: tuple[float, float] = (0.5, 1.5),
        hue: float = 36.0,
        change_p: float = 0.5,
        p: float = 1.0,
    ) -> None:
        super().__init__(p=p)
        self.brightness, self.contrast, self.saturation = brightness, contrast, saturation
        self.hue, self.change_p = hue, change_p

    def get_params(self) -> dict[str, Any]:
        """Draw the changes; a change that is not made has no effect."""
        draw = self.py_random
        ranges = {
            "brightness": ((-self.brightness, self.brightness), 0.0),
            "contrast": (self.contrast, 1.0),
            "saturation": (self.saturation, 1.0),
            "hue": ((-self.hue, self.hue), 0.0),
        }
        changes: dict[str, Any] = {
            name: draw.uniform(*bounds) if draw.random() < self.change_p else neutral
            for name, (bounds, neutral) in ranges.items()
        }
        return {**changes, "contrast_first": draw.random() < 0.5}

    def apply(
        self,
        img: ImageArray,
        brightness: float,
        contrast: float,
        saturation: float,
        hue: float,
        contrast_first: bool,
        **params: Any,
    ) -> ImageArray:
        """Change the colors of uint8 [H, W, 3]; values are rounded and clipped to 0..255 after each change."""
        img = _mapped(img, np.arange(256) + brightness)
        if contrast_first:
            img = _mapped(img, np.arange(256) * contrast)
        if saturation != 1 or hue != 0:
            levels = np.arange(256)
            shifted = (levels + round(hue / 2)) % 180  # OpenCV counts hues in steps of two degrees
            table = np.stack([shifted, levels * saturation, levels], axis=1)
            hsv = _mapped(cv2.cvtColor(img, cv2.COLOR_RGB2HSV), table[:, None])
            img = np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB), np.uint8)
        return img if contrast_first else _mapped(img, np.arange(256) * contrast)


def _mapped(img: Any, table: NDArray[Any]) -> ImageArray:
    """Return uint8 [H, W, 3] with values looked up in a table [256] or [256, 1, 3], rounded and clipped."""
    return np.asarray(cv2.LUT(img, table.round().clip(0, 255).astype(np.uint8)), np.uint8)


@transforms.register("ZoomOut")
class ZoomOut(albumentations.Pad):
    """Place the image on a larger background of one color, so that its objects become small (section 3.6).

    Args:
        max_scale: maximum size of the background relative to the image; uniform from 1.
        fill: RGB color of the background, in 0..255.
        p: probability.

    Example:
        >>> from visionkit.data.transforms.augmentation import Augmentation
        >>> from visionkit.data.datasets.shapes import Shapes
        >>> augmentation = Augmentation([{"name": "ZoomOut", "p": 1.0}])
        >>> augmentation(Shapes(size=64)[0]).size >= (64, 64)
        True
    """

    class InitSchema(BaseSchema):
        """Types of the arguments, which albumentations checks."""

        max_scale: float
        fill: Sequence[float]

    def __init__(self, max_scale: float = 4.0, fill: Sequence[float] = MEAN_COLOR, p: float = 0.5) -> None:
        if max_scale < 1:
            raise ValueError(f"max_scale={max_scale} must be at least 1")
        super().__init__(fill=tuple(fill), p=p)
        self.max_scale = max_scale

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        """Draw the size of the background and the position of the image on it."""
        scale = self.py_random.uniform(1, self.max_scale)
        added = [round(side * scale) - side for side in params["shape"][:2]]
        top, left = (self.py_random.randint(0, free) for free in added)
        return {"pad_top": top, "pad_left": left, "pad_bottom": added[0] - top, "pad_right": added[1] - left}


@transforms.register("IouCrop")
class IouCrop(BaseCrop):
    """Crop a random region whose IoU with an object is at least a random bound (section 2.2, data augmentation).

    An object is kept if its center is inside the crop. A crowd is kept if any part of it is inside, so that this part
    is ignored in the loss.

    Args:
        min_ious: IoU bounds, one of which is drawn; with the same probability the image is not cropped.
        min_side: minimum height and width of the crop, relative to the image.
        max_ratio: maximum ratio of the crop's longer to its shorter side, both relative to the image.
        p: probability.

    Example:
        >>> from visionkit.data.transforms.augmentation import Augmentation
        >>> from visionkit.data.datasets.shapes import Shapes
        >>> augmentation = Augmentation([{"name": "IouCrop", "min_side": 0.5}])
        >>> augmentation(Shapes(size=64)[0]).size >= (32, 32)
        True
    """

    class InitSchema(BaseSchema):
        """Types of the arguments, which albumentations checks."""

        min_ious: Sequence[float]
        min_side: float
        max_ratio: float

    def __init__(
        self,
        min_ious: Sequence[float] = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9),
        min_side: float = 0.3,
        max_ratio: float = 2.0,
        p: float = 1.0,
    ) -> None:
        if not 0 < min_side <= 1 <= max_ratio:
            raise ValueError(f"min_side={min_side} must be above 0 and at most 1, max_ratio={max_ratio} at least 1")
        super().__init__(p=p)
        self.min_ious, self.min_side, self.max_ratio = tuple(min_ious), min_side, max_ratio

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        """Draw the crop, xyxy in pixels."""
        height, width = params["shape"][:2]
        objects = data.get("bboxes")
        boxes = np.zeros((0, 4)) if objects is None or not len(objects) else np.asarray(objects, np.float64)[:, :4]
        crop = self._draw(boxes)
        x1, y1, x2, y2 = (crop * [width, height, width, height]).round().astype(int).tolist()
        return {"crop_coords": (x1, y1, max(x2, x1 + 1), max(y2, y1 + 1))}

    def apply_to_bboxes(self, bboxes: Any, crop_coords: tuple[int, int, int, int], **params: Any) -> Any:
        """Return boxes relative to the crop from boxes [N, 5 or 6] relative to the image; column 6 marks crowds."""
        height, width = params["shape"][:2]
        x1, y1, x2, y2 = crop_coords
        crop = np.array([[x1 / width, y1 / height, x2 / width, y2 / height]])
        kept = _centers_inside(crop, bboxes)[0] | bboxes[:, 5:6].any(axis=1)
        return super().apply_to_bboxes(bboxes[kept], crop_coords, **params)

    def _draw(self, boxes: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return a crop, xyxy relative to the image; the whole image if no crop fits."""
        whole = np.array([0.0, 0.0, 1.0, 1.0])
        bound = self.py_random.choice([None, *self.min_ious])
        if bound is None or not len(boxes):
            return whole
        sides = self.random_generator.uniform(self.min_side, 1, (MAX_TRIALS, 2))
        corners = self.random_generator.uniform(0, 1, (MAX_TRIALS, 2)) * (1 - sides)
        crops = np.concatenate([corners, corners + sides], axis=1)
        fits = (sides.max(axis=1) <= self.max_ratio * sides.min(axis=1)) & _reaches(crops, boxes, bound)
        return crops[fits.argmax()] if fits.any() else whole


def _reaches(crops: NDArray[np.float64], boxes: NDArray[np.float64], bound: float) -> NDArray[np.bool_]:
    """Return which crops [T, 4] contain the center of a box [N, 4] and have an IoU of `bound` with it; bool [T]."""
    sides = np.minimum(crops[:, None, 2:], boxes[:, 2:]) - np.maximum(crops[:, None, :2], boxes[:, :2])
    intersection = sides.clip(0).prod(axis=2)
    crop_areas, box_areas = ((corners[:, 2:] - corners[:, :2]).prod(axis=1) for corners in (crops, boxes))
    iou = intersection / (crop_areas[:, None] + box_areas - intersection).clip(1e-12)
    result: NDArray[np.bool_] = (_centers_inside(crops, boxes) & (iou >= bound)).any(axis=1)
    return result


def _centers_inside(crops: NDArray[np.float64], boxes: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which crops [T, 4] contain the centers of which boxes [N, 4 or more]; bool [T, N]."""
    centers = (boxes[:, :2] + boxes[:, 2:4]) / 2
    between: NDArray[np.bool_] = (crops[:, None, :2] < centers) & (centers < crops[:, None, 2:])
    inside: NDArray[np.bool_] = np.all(between, axis=2)
    return inside
