"""SSD's augmentation of scale (Liu et al. 2015, sections 2.2 and 3.6): zooming out, and crops around objects."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from albumentations.augmentations.crops.transforms import BaseCrop
from numpy.typing import NDArray

from visionkit.data.transforms.create import Schema, transforms
from visionkit.data.transforms.quiet_albumentations import albumentations

TRIALS = 50
"""Crops that are tried for one overlap before the image is left whole (the authors' code)."""

MEAN_COLOR = (123, 117, 104)
"""ImageNet's, RGB."""


@transforms.register("ZoomOut")
class ZoomOut(albumentations.Pad):
    """Lay the image on a larger ground of one color, so that its objects are small (section 3.6).

    Args:
        max_scale: sides of the ground at most, as multiples of the image's; drawn evenly from 1.
        fill: RGB in 0..255 of the ground.
        p: probability.
    """

    class InitSchema(Schema):  # type: ignore[misc, valid-type]
        """What albumentations holds the arguments to."""

        max_scale: float
        fill: Sequence[float]

    def __init__(self, max_scale: float = 4.0, fill: Sequence[float] = MEAN_COLOR, p: float = 0.5) -> None:
        if max_scale < 1:
            raise ValueError(f"max_scale {max_scale} must be at least 1")
        super().__init__(fill=tuple(fill), p=p)
        self.max_scale = max_scale

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        """Draw the ground's size and the image's place on it."""
        scale = self.py_random.uniform(1, self.max_scale)
        more = [round(side * scale) - side for side in params["shape"][:2]]
        top, left = (self.py_random.randint(0, free) for free in more)
        return {"pad_top": top, "pad_left": left, "pad_bottom": more[0] - top, "pad_right": more[1] - left}


@transforms.register("IouCrop")
class IouCrop(BaseCrop):
    """Cut out a part whose IoU with an object reaches a bound that is drawn first (section 2.2, data augmentation).

    Objects stay if their center does. Crowds stay with any part of them, so that it trains as nothing.

    Args:
        min_ious: bounds to draw from; besides them, the image may stay whole.
        min_side: sides of the part at least, as shares of the image's.
        max_ratio: of its longer to its shorter side, both as shares of the image's.
        p: probability.
    """

    class InitSchema(Schema):  # type: ignore[misc, valid-type]
        """What albumentations holds the arguments to."""

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
            raise ValueError(f"0 < min_side {min_side} <= 1 <= max_ratio {max_ratio} must hold")
        super().__init__(p=p)
        self.min_ious, self.min_side, self.max_ratio = tuple(min_ious), min_side, max_ratio

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        """Draw the part, xyxy in pixels."""
        height, width = params["shape"][:2]
        objects = data.get("bboxes")
        boxes = np.zeros((0, 4)) if objects is None or not len(objects) else np.asarray(objects, np.float64)[:, :4]
        part = self._draw(boxes)
        x1, y1, x2, y2 = (part * [width, height, width, height]).round().astype(int).tolist()
        return {"crop_coords": (x1, y1, max(x2, x1 + 1), max(y2, y1 + 1))}

    def apply_to_bboxes(self, bboxes: Any, crop_coords: tuple[int, int, int, int], **params: Any) -> Any:
        """From boxes [N, 5 or 6] in shares of the image to those in shares of the part; the sixth column: crowds."""
        height, width = params["shape"][:2]
        x1, y1, x2, y2 = crop_coords
        part = np.array([[x1 / width, y1 / height, x2 / width, y2 / height]])
        stays = _centers_inside(part, bboxes)[0] | bboxes[:, 5:6].any(axis=1)
        return super().apply_to_bboxes(bboxes[stays], crop_coords, **params)

    def _draw(self, boxes: NDArray[np.float64]) -> NDArray[np.float64]:
        """A part of the image, all in shares of its sides; the whole where none is found."""
        whole = np.array([0.0, 0.0, 1.0, 1.0])
        bound = self.py_random.choice([None, *self.min_ious])
        if bound is None or not len(boxes):
            return whole
        sides = self.random_generator.uniform(self.min_side, 1, (TRIALS, 2))
        corners = self.random_generator.uniform(0, 1, (TRIALS, 2)) * (1 - sides)
        parts = np.concatenate([corners, corners + sides], axis=1)
        fits = (sides.max(axis=1) <= self.max_ratio * sides.min(axis=1)) & _reaches(parts, boxes, bound)
        return parts[fits.argmax()] if fits.any() else whole


def _reaches(parts: NDArray[np.float64], boxes: NDArray[np.float64], bound: float) -> NDArray[np.bool_]:
    """Which parts [T, 4] hold the center of a box of [N, 4] whose IoU with them is at least `bound`; bool [T]."""
    common = np.minimum(parts[:, None, 2:], boxes[:, 2:]) - np.maximum(parts[:, None, :2], boxes[:, :2])
    both = common.clip(0).prod(axis=2)
    areas = [(one[:, 2:] - one[:, :2]).prod(axis=1) for one in (parts, boxes)]
    iou = both / (areas[0][:, None] + areas[1] - both).clip(1e-12)
    result: NDArray[np.bool_] = (_centers_inside(parts, boxes) & (iou >= bound)).any(axis=1)
    return result


def _centers_inside(parts: NDArray[np.float64], boxes: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whose center, of boxes [N, 4 or more], lies in which part [T, 4]; bool [T, N]."""
    centers = (boxes[:, :2] + boxes[:, 2:4]) / 2
    between: NDArray[np.bool_] = (parts[:, None, :2] < centers) & (centers < parts[:, None, 2:])
    inside: NDArray[np.bool_] = np.all(between, axis=2)
    return inside
