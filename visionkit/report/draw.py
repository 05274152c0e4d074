"""Predictions drawn on images."""

import functools

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from pycocotools import mask as rle
from torchvision.utils import draw_bounding_boxes, draw_segmentation_masks

from visionkit.ops.palette import class_color
from visionkit.pipelines.results import ClassificationResult, DetectionResult, Result, SegmentationResult

Color = tuple[int, int, int]
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

LINES = 3
"""Classes named under an image."""


@functools.singledispatch
def draw(found: Result, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Draw what was found into a copy of an image.

    Args:
        found: result of a pipeline.
        image: uint8 [H, W, 3], RGB; not changed.

    Returns:
        uint8 [H, W, 3].
    """
    raise NotImplementedError(f"there is no drawing of {type(found).__name__}")


@draw.register
def draw_detections(found: DetectionResult, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Boxes with class names and scores, and the pixels of each object where they are known."""
    if not len(found):
        return image.copy()
    scale = _scale(image)
    colors = [class_color(int(label)) for label in found.labels]
    canvas = torch.from_numpy(image.transpose(2, 0, 1).copy())
    if found.masks is not None:
        planes = torch.from_numpy(rle.decode(found.masks).transpose(2, 0, 1).astype(bool))
        canvas = draw_segmentation_masks(canvas, planes, alpha=0.5, colors=colors)
    canvas = draw_bounding_boxes(canvas, torch.from_numpy(found.boxes), colors=colors, width=max(1, round(2 * scale)))
    drawn = Image.fromarray(canvas.permute(1, 2, 0).numpy())
    font = _font(_letters(scale))
    texts = [f"{name} {score:.2f}" for name, score in zip(found.names, found.scores, strict=True)]
    for box, text, color in reversed([*zip(found.boxes, texts, colors, strict=True)]):  # the surest are on top
        _tab(drawn, (float(box[0]), float(box[1])), text, color, font)
    return np.array(drawn)  # a view of Pillow's pixels could not be written


@draw.register
def draw_classes(found: ClassificationResult, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A strip under the image with the surest classes, a line each."""
    size = _letters(_scale(image))
    lines = [f"{name} {score:.2f}" for name, score in zip(found.names[:LINES], found.scores, strict=False)]
    strip = Image.new("RGB", (image.shape[1], round(1.4 * size * max(len(lines), 1))))
    pen, font = ImageDraw.Draw(strip), _font(size)
    for line, (text, label) in enumerate(zip(lines, found.labels, strict=False)):
        pen.text((size // 3, round((1.4 * line + 0.2) * size)), text, fill=class_color(int(label)), font=font)
    return np.concatenate([image, np.asarray(strip)])


@draw.register
def draw_segments(found: SegmentationResult, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The classes' colors over the image, and a strip under it that names them with their shares."""
    size = _letters(_scale(image))
    halves = np.asarray(found.colors, np.uint8) // 2  # in bytes: a large image as floats would fill the memory
    named = zip(found.names, found.shares, found.labels, strict=True)
    entries = [(f"{name} {share:.0%}", tuple(found.colors[int(label)])) for name, share, label in named]
    return np.concatenate([image // 2 + halves[found.mask], _legend(entries, image.shape[1], size)])


def _tab(image: Image.Image, corner: tuple[float, float], text: str, color: Color, font: Font) -> None:
    """A text on its color, above a box's upper left corner, or in the box where the image ends; never cut off."""
    _, top, right, bottom = font.getbbox(text)
    margin = (bottom - top) // 4
    wide, high = right + 2 * margin, bottom - top + 2 * margin
    width, height = image.size
    left = max(min(corner[0], width - wide), 0)
    upper = corner[1] - high if corner[1] >= high else max(min(corner[1], height - high), 0)
    pen = ImageDraw.Draw(image)
    pen.rectangle((left, upper, left + wide, upper + high), fill=color)
    red, green, blue = color
    ink = "black" if 0.299 * red + 0.587 * green + 0.114 * blue > 128 else "white"
    pen.text((left + margin, upper + margin - top), text, fill=ink, font=font)


def _legend(entries: list[tuple[str, tuple[int, ...]]], width: int, size: int) -> NDArray[np.uint8]:
    """Squares of color with their texts, side by side and in as many lines as they need, uint8 [h, width, 3]."""
    font, gap, line = _font(size), size // 2, round(1.5 * size)
    places, x, y = [], gap, 0
    for text, _ in entries:
        length = size + gap + round(font.getlength(text)) + 2 * gap
        if x > gap and x + length > width:
            x, y = gap, y + line
        places.append((x, y))
        x += length
    strip = Image.new("RGB", (width, y + line))
    pen = ImageDraw.Draw(strip)
    for (text, color), (left, top) in zip(entries, places, strict=True):
        top += (line - size) // 2
        pen.rectangle((left, top, left + size, top + size), fill=color)
        pen.text((left + size + gap, top), text, fill="white", font=font)
    return np.asarray(strip)


def _scale(image: NDArray[np.uint8]) -> float:
    return float(max(image.shape[:2]) / 640)


def _letters(scale: float) -> int:
    """Height of letters in pixels."""
    return max(10, round(12 * scale))


def _font(size: int) -> Font:
    """One that knows many scripts where the system has it, else the one that comes with Pillow."""
    try:
        return ImageFont.truetype("DejaVuSans.ttf", size)
    except OSError:
        return ImageFont.load_default(size)
