"""Colors for classes that bring none of their own."""

import colorsys

GOLDEN_ANGLE = 0.618034
"""Of the color circle: consecutive classes get hues far apart, for any number of classes."""


def class_color(label: int) -> tuple[int, int, int]:
    """A bright RGB color for a class, the same in every image."""
    red, green, blue = colorsys.hsv_to_rgb(label * GOLDEN_ANGLE % 1, 0.75, 0.95)
    return round(red * 255), round(green * 255), round(blue * 255)
