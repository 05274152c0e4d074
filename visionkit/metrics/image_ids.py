"""Ids of images: numbers or names, and their order."""

from typing import Any, cast

import numpy as np
from torch import Tensor

ImageId = int | str


def sort_key(image_id: ImageId) -> tuple[bool, int, str]:
    """Return a key that sorts numbers by value, then names alphabetically."""
    return (False, image_id, "") if isinstance(image_id, int) else (True, 0, image_id)


def plain_id(image_id: Any) -> ImageId:
    """Return the id as int or str; ids that are tensors or numpy numbers do not work as keys."""
    return cast(ImageId, image_id.item() if isinstance(image_id, Tensor | np.generic) else image_id)
