"""Limit of the size of a model's input."""

from visionkit.errors import DataError

MAX_INPUT_PIXELS = 2**26
"""Largest number of pixels (8192 x 8192) that an image may have after resizing."""


def check_input_size(size: tuple[int, int], new_size: tuple[int, int], advice: str) -> None:
    """Check that an image does not become so large that its tensors would fill the memory.

    Args:
        size: (height, width) of the image in pixels.
        new_size: (height, width) of the resized image in pixels.
        advice: what to do, for the message.

    Raises:
        DataError: the resized image has more than `MAX_INPUT_PIXELS` pixels.
    """
    if new_size[0] * new_size[1] > MAX_INPUT_PIXELS:
        resized = "" if size == new_size else f" would be resized to {new_size[0]} x {new_size[1]}, which"
        raise DataError(
            f"an image of {size[0]} x {size[1]} pixels (height x width){resized} has more than the "
            f"{MAX_INPUT_PIXELS} pixels that a model takes at once\n{advice}"
        )
