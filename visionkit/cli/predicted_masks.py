"""Predicted class masks as PNG files, from any program."""

import itertools
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from visionkit.data.io.masks import read_mask
from visionkit.errors import DataError
from visionkit.ops.ignore import IGNORE

MAX_LISTED = 3
"""Largest number of missing files that are named."""

NO_FIT = (1, 0)
"""Rank of a mask that is in other folders than the image."""

BINARY = (0, IGNORE)
"""Values of a mask of one class that is stored in black and white."""


def find_masks(folder: Path, names: Sequence[Path]) -> list[Path]:
    """Return the mask of each image: a PNG file with the image's name, beside each other or in the same subfolders.

    Where several images or masks have a name, the folders of the mask must be those at the end of the image's path.

    Args:
        folder: folder of the masks.
        names: path of each image.

    Raises:
        DataError: images have no mask, or a mask may be that of several images.
    """
    masks: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("*.png")):
        masks.setdefault(path.stem, []).append(path)
    images = Counter(name.stem for name in names)
    found = [_of_image(name, masks.get(name.stem, []), images[name.stem], folder) for name in names]
    _check_used_once(found, names)
    missing = [name for name, path in zip(names, found, strict=True) if path is None]
    if missing:
        listed = ", ".join(_expected(name, images[name.stem]) for name in missing[:MAX_LISTED])
        more = ", ..." if len(missing) > MAX_LISTED else ""
        raise DataError(f"{folder} has no mask of {len(missing)} of {len(names)} images: {listed}{more}")
    return [path for path in found if path is not None]


def read_predicted_mask(path: Path, size: tuple[int, int], num_classes: int) -> NDArray[np.uint8]:
    """Return the class of each pixel [H, W].

    Raises:
        DataError: the file is no mask, has another size than the image, or a value that is no class.
    """
    mask = read_mask(path)
    if mask.ndim != 2:
        raise DataError(f"{path} has colors: write the index of the class, 0 to {num_classes - 1}, of each pixel")
    if mask.shape != size:
        width, height = mask.shape[::-1]
        raise DataError(f"{path} is {width} x {height}, but its image {size[1]} x {size[0]}: write masks in full size")
    values = np.unique(mask)
    wrong = values[(values < 0) | (values >= num_classes)]
    if len(wrong):
        raise DataError(f"{path} has the value {wrong[0]}: {_advice(values.tolist(), num_classes)}")
    return mask.astype(np.uint8)


def _advice(values: list[int], num_classes: int) -> str:
    """Return what to do about values that are no class."""
    if tuple(values) == BINARY and num_classes == 2:
        return "a prediction holds class indices\nwrite 1 in place of 255"
    if IGNORE in values and all(value == IGNORE or value < num_classes for value in values):
        return (
            "only ground truth can ignore pixels\ngive each pixel of a prediction its most probable class; pixels that "
            "the ground truth ignores are not scored"
        )
    return f"classes are 0 to {num_classes - 1}"


def _of_image(image: Path, masks: Sequence[Path], images: int, folder: Path) -> Path | None:
    """Return the mask of an image among those with its name; None if there is none.

    Args:
        image: path of the image.
        masks: masks with its name.
        images: number of images with its name.
        folder: folder of all masks.
    """
    if len(masks) == images == 1:
        return masks[0]
    ranks = {mask: _rank(image, mask.relative_to(folder)) for mask in masks}
    fitting = sorted((mask for mask in masks if ranks[mask] != NO_FIT), key=lambda mask: ranks[mask])
    if len(fitting) > 1 and ranks[fitting[0]] == ranks[fitting[1]]:
        raise DataError(f"{fitting[0]} and {fitting[1]} may both be the mask of {image}")
    return fitting[0] if fitting else None


def _rank(image: Path, mask: Path) -> tuple[int, int]:
    """Return how well the folders of a mask fit: the more equal ones at the end, the lower."""
    own, others = image.parts[-2::-1], mask.parts[-2::-1]
    pairs = zip(own, others, strict=False)
    common = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))
    return (-common, len(others)) if common or not others else NO_FIT


def _check_used_once(masks: Sequence[Path | None], names: Sequence[Path]) -> None:
    image_of: dict[Path, Path] = {}
    for mask, name in zip(masks, names, strict=True):
        if mask is not None and image_of.setdefault(mask, name) != name:
            raise DataError(
                f"{mask} may be the mask of {image_of[mask]} and {name}: put masks in the folders of their images"
            )


def _expected(image: Path, images: int) -> str:
    """Return the name of the mask that an image needs, with its folder if several images have the name."""
    mask = image.with_suffix(".png")
    return f"{mask.parent.name}/{mask.name}" if images > 1 else mask.name
