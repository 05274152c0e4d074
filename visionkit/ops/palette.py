"""Default colors of classes."""

import colorsys

GOLDEN_ANGLE = 0.618034
"""Hue difference of consecutive classes, as a fraction of the color circle; it separates any number of classes well."""


def class_color(label: int) -> tuple[int, int, int]:
    """Return a bright RGB color for a class, the same in every image."""
    red, green, blue = colorsys.hsv_to_rgb(label * GOLDEN_ANGLE % 1, 0.75, 0.95)
    return round(red * 255), round(green * 255), round(blue * 255)
