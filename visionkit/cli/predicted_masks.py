"""Predicted class masks as PNG files, from any program."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from visionkit.data.io.masks import read_mask
from visionkit.errors import DataError
from visionkit.ops.ignore import IGNORE

MAX_LISTED = 3
"""Largest number of missing files that are named."""


def find_masks(folder: Path, names: Sequence[Path]) -> list[Path]:
    """Return the mask of each image: a PNG file with the image's name, beside each other or in the same subfolders.

    Args:
        folder: folder of the masks.
        names: path of each image.

    Raises:
        DataError: images have no mask, or several have the same name.
    """
    by_stem: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("*.png")):
        by_stem.setdefault(path.stem, []).append(path)
    found = [_of_image(name, by_stem.get(name.stem, [])) for name in names]
    missing = [name.stem for name, path in zip(names, found, strict=True) if path is None]
    if missing:
        listed = ", ".join(f"{stem}.png" for stem in missing[:MAX_LISTED])
        raise DataError(f"{folder} has no mask of {len(missing)} of {len(names)} images: {listed} ...")
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
        advice = "give every pixel a class" if wrong[0] == IGNORE else f"classes are 0 to {num_classes - 1}"
        raise DataError(f"{path} has the value {wrong[0]}: {advice}")
    return mask.astype(np.uint8)


def _of_image(name: Path, candidates: Sequence[Path]) -> Path | None:
    """Return the candidate whose folders fit best to those of the image; None if none or several do."""
    if len(candidates) < 2:
        return candidates[0] if candidates else None
    fitting = [path for path in candidates if path.parent.name == name.parent.name]
    if len(fitting) != 1:
        raise DataError(f"{candidates[0]} and {candidates[1]} may both be the mask of {name}")
    return fitting[0]
