"""Predictions drawn on pictures."""

import functools

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from pycocotools import mask as rle
from torchvision.utils import draw_bounding_boxes, draw_segmentation_masks

from visionkit.engine.outcomes import Classes, Detections, Outcome, Segments
from visionkit.ops.palette import class_colour

LINES = 3
"""Classes named under a picture."""


@functools.singledispatch
def draw(found: Outcome, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Draw what was found into a copy of a picture.

    Args:
        found: what a `Predictor` said of the picture.
        picture: uint8 [H, W, 3], RGB; not changed.

    Returns:
        uint8 [H, W, 3].
    """
    raise NotImplementedError(f"there is no drawing of {type(found).__name__}")


@draw.register
def draw_detections(found: Detections, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Boxes with class names and scores, and the pixels of each object where they are known."""
    if not len(found):
        return picture.copy()
    scale = _scale(picture)
    colours = [class_colour(int(label)) for label in found.labels]
    canvas = torch.from_numpy(picture.transpose(2, 0, 1).copy())
    if found.masks is not None:
        planes = torch.from_numpy(rle.decode(found.masks).transpose(2, 0, 1).astype(bool))
        canvas = draw_segmentation_masks(canvas, planes, alpha=0.5, colors=colours)
    drawn = draw_bounding_boxes(
        canvas,
        torch.from_numpy(found.boxes),
        labels=[f"{name} {score:.2f}" for name, score in zip(found.names, found.scores, strict=True)],
        colors=colours,
        width=max(1, round(2 * scale)),
        **_font(_letters(scale)),
    )
    return drawn.permute(1, 2, 0).numpy()


@draw.register
def draw_classes(found: Classes, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A strip under the picture with the surest classes, a line each."""
    size = _letters(_scale(picture))
    lines = [f"{name} {score:.2f}" for name, score in zip(found.names[:LINES], found.scores, strict=False)]
    strip = Image.new("RGB", (picture.shape[1], round(1.4 * size * max(len(lines), 1))))
    pen, font = ImageDraw.Draw(strip), ImageFont.load_default(size)
    for line, (text, label) in enumerate(zip(lines, found.labels, strict=False)):
        pen.text((size // 3, round((1.4 * line + 0.2) * size)), text, fill=class_colour(int(label)), font=font)
    return np.concatenate([picture, np.asarray(strip)])


@draw.register
def draw_segments(found: Segments, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The classes' colours over the picture, and a strip under it that names them with their shares."""
    size = _letters(_scale(picture))
    halves = np.asarray(found.colours, np.uint8) // 2  # in bytes: a large picture as floats would fill the memory
    named = zip(found.names, found.shares, found.labels, strict=True)
    entries = [(f"{name} {share:.0%}", tuple(found.colours[int(label)])) for name, share, label in named]
    return np.concatenate([picture // 2 + halves[found.mask], _legend(entries, picture.shape[1], size)])


def _legend(entries: list[tuple[str, tuple[int, ...]]], width: int, size: int) -> NDArray[np.uint8]:
    """Squares of colour with their texts, side by side and in as many lines as they need, uint8 [h, width, 3]."""
    font, gap, line = ImageFont.load_default(size), size // 2, round(1.5 * size)
    places, x, y = [], gap, 0
    for text, _ in entries:
        length = size + gap + round(font.getlength(text)) + 2 * gap
        if x > gap and x + length > width:
            x, y = gap, y + line
        places.append((x, y))
        x += length
    strip = Image.new("RGB", (width, y + line))
    pen = ImageDraw.Draw(strip)
    for (text, colour), (left, top) in zip(entries, places, strict=True):
        top += (line - size) // 2
        pen.rectangle((left, top, left + size, top + size), fill=colour)
        pen.text((left + size + gap, top), text, fill="white", font=font)
    return np.asarray(strip)


def _scale(picture: NDArray[np.uint8]) -> float:
    return float(max(picture.shape[:2]) / 640)


def _letters(scale: float) -> int:
    """Height of letters in pixels."""
    return max(10, round(12 * scale))


def _font(size: int) -> dict[str, object]:
    """The drawing function's font arguments: a scalable font where the system has one."""
    try:
        ImageFont.truetype("DejaVuSans.ttf", size)
    except OSError:
        return {}
    return {"font": "DejaVuSans.ttf", "font_size": size}
