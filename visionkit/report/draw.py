"""Drawing of predictions on images."""

import functools

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from pycocotools import mask as rle
from torchvision.utils import draw_bounding_boxes, draw_segmentation_masks

from visionkit.ops.palette import class_color
from visionkit.pipelines.multi_result import MultiResult
from visionkit.pipelines.results import ClassificationResult, DetectionResult, Result, SegmentationResult

Color = tuple[int, int, int]
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

MAX_CLASSES = 3
"""Largest number of classes that are listed under an image."""


@functools.singledispatch
def draw(result: Result, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return a copy of an image with a result drawn on it.

    Args:
        result: result of a pipeline for the image.
        image: RGB image, uint8 [H, W, 3]. It is not changed.

    Returns:
        Image uint8 [H', W, 3], which is the height of a text strip larger than the input for classes and masks.

    Raises:
        NotImplementedError: results of this type cannot be drawn.

    Example:
        >>> import numpy as np
        >>> from visionkit.pipelines.results import DetectionResult
        >>> from visionkit.report.draw import draw
        >>> box, score = np.array([[8, 8, 40, 30]], np.float32), np.array([0.9], np.float32)
        >>> result = DetectionResult(None, ["cat"], np.array([0]), box, score)
        >>> draw(result, np.zeros((48, 64, 3), np.uint8)).shape
        (48, 64, 3)
    """
    raise NotImplementedError(f"a {type(result).__name__} cannot be drawn")


@draw.register
def draw_detections(result: DetectionResult, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Draw boxes with class names and scores, and masks if there are any."""
    if not len(result):
        return image.copy()
    scale = _scale(image)
    colors = [class_color(int(label)) for label in result.labels]
    canvas = torch.from_numpy(image.transpose(2, 0, 1).copy())
    if result.masks is not None:
        planes = torch.from_numpy(rle.decode(result.masks).transpose(2, 0, 1).astype(bool))
        canvas = draw_segmentation_masks(canvas, planes, alpha=0.5, colors=colors)
    canvas = draw_bounding_boxes(canvas, torch.from_numpy(result.boxes), colors=colors, width=max(1, round(2 * scale)))
    drawn = Image.fromarray(canvas.permute(1, 2, 0).numpy())
    font = _font(_font_size(scale))
    texts = [f"{name} {score:.2f}" for name, score in zip(result.names, result.scores, strict=True)]
    for box, text, color in reversed([*zip(result.boxes, texts, colors, strict=True)]):  # the highest scores on top
        _draw_label(drawn, (float(box[0]), float(box[1])), text, color, font)
    return np.array(drawn)  # a copy, because Pillow's pixels are read-only


@draw.register
def draw_classes(result: ClassificationResult, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Add a strip below the image with the classes of the highest scores, one per line."""
    size = _font_size(_scale(image))
    lines = [f"{name} {score:.2f}" for name, score in zip(result.names[:MAX_CLASSES], result.scores, strict=False)]
    strip = Image.new("RGB", (image.shape[1], round(1.4 * size * max(len(lines), 1))))
    pen, font = ImageDraw.Draw(strip), _font(size)
    for line, (text, label) in enumerate(zip(lines, result.labels, strict=False)):
        pen.text((size // 3, round((1.4 * line + 0.2) * size)), text, fill=class_color(int(label)), font=font)
    return np.concatenate([image, np.asarray(strip)])


@draw.register
def draw_segments(result: SegmentationResult, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Blend the colors of the classes with the image, and add a strip with their names and shares."""
    size = _font_size(_scale(image))
    halves = np.asarray(result.colors, np.uint8) // 2  # uint8, because floats of a large image take much memory
    named = zip(result.names, result.shares, result.labels, strict=True)
    entries = [(f"{name} {share:.0%}", tuple(result.colors[int(label)])) for name, share, label in named]
    return np.concatenate([image // 2 + halves[result.mask], _legend(entries, image.shape[1], size)])


@draw.register
def draw_heads(result: MultiResult, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Draw the results of all heads on one image: masks below boxes, and classes under the image."""
    height, strips = len(image), list[NDArray[np.uint8]]()
    for kind in (SegmentationResult, DetectionResult, ClassificationResult):
        for of_head in result.heads.values():
            if isinstance(of_head, kind):
                drawn = draw(of_head, image)
                image = drawn[:height]
                strips.append(drawn[height:])
    return np.concatenate([image, *strips])


def _draw_label(image: Image.Image, corner: tuple[float, float], text: str, color: Color, font: Font) -> None:
    """Draw a label above the upper left corner of a box, or inside the box at the border of the image."""
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
    """Return an image uint8 [h, width, 3] of colored squares with texts, in as many lines as needed."""
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


def _font_size(scale: float) -> int:
    """Return the font size in pixels."""
    return max(10, round(12 * scale))


def _font(size: int) -> Font:
    """Return DejaVu Sans, which supports many scripts, or Pillow's font if it is not installed."""
    try:
        return ImageFont.truetype("DejaVuSans.ttf", size)
    except OSError:
        return ImageFont.load_default(size)
