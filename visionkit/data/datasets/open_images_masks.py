"""Masks of Open Images: a table, and a PNG file per object."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from visionkit.data.datasets.found_objects import Box, runs_of
from visionkit.data.datasets.table_objects import parse_number
from visionkit.data.io.csv_rows import read_csv_columns
from visionkit.data.io.masks import read_mask
from visionkit.data.io.paths import resolve_inside
from visionkit.errors import DataError

SIDES = ("BoxXMin", "BoxYMin", "BoxXMax", "BoxYMax")
COLUMNS = ("MaskPath", "ImageID", "LabelName", *SIDES)

DECIMALS = 4
"""Decimals to which the boxes of the two tables agree; a pixel of a large image is a share of 0.0005."""

Key = tuple[str, str, tuple[float, ...]]


class MaskTable:
    r"""The masks of objects, found by image, label and box, because the table of boxes does not name them.

    Args:
        source: the table, with the columns MaskPath, ImageID, LabelName, BoxXMin, BoxXMax, BoxYMin and BoxYMax.
        folder: folder of the mask files.

    Raises:
        DataError: the table is malformed, or a path leads outside the folder.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from PIL import Image
        >>> from visionkit.data.datasets.open_images_masks import MaskTable
        >>> folder = Path(tempfile.mkdtemp())
        >>> Image.new("1", (8, 6), 1).save(folder / "m.png")
        >>> header = "MaskPath,ImageID,LabelName,BoxXMin,BoxXMax,BoxYMin,BoxYMax"
        >>> _ = (folder / "masks.csv").write_text(f"{header}\nm.png,0a1b,/m/01yrx,0,1,0,1\n")
        >>> MaskTable(folder / "masks.csv", folder).take("0a1b", "/m/01yrx", (0, 0, 1, 1), (12, 16)).tolist()
        [0, 192]
    """

    def __init__(self, source: Path, folder: Path) -> None:
        rows = read_csv_columns(source, COLUMNS)
        paths = resolve_inside(folder, [row.cells[0] for row in rows], source)
        self._paths: dict[Key, Path] = {}
        for (line, (_, image, label, *sides)), path in zip(rows, paths, strict=True):
            place = f"{source}, line {line}"
            box = tuple(parse_number(text, side, place) for text, side in zip(sides, SIDES, strict=True))
            if self._paths.setdefault(_key(image, label, box), path) != path:
                raise DataError(f"{place}: another row has a mask of the same box, label and image")
        self._used: set[Key] = set()
        self._empty = 0

    def take(self, image: str, label: str, box: Box, size: tuple[int, int]) -> Sequence[int]:
        """Return the run lengths of an object's mask, at the size of its image; empty if it has none, or an empty one.

        Args:
            image: id of the image.
            label: label of the object.
            box: its box in shares of width and height.
            size: (height, width) of the image. The files of the masks may be smaller or larger.

        Raises:
            DataError: the file of the mask is missing or unreadable.
        """
        key = _key(image, label, box)
        path = self._paths.get(key)
        if path is None:
            return ()
        self._used.add(key)
        mask = _read(path, size)
        self._empty += not mask.any()
        return runs_of(mask) if mask.any() else ()

    def report(self) -> dict[str, int]:
        """Return counts of masks that were not used."""
        return {"masks without a box left out": len(self._paths) - len(self._used), "empty masks left out": self._empty}


def _key(image: str, label: str, box: tuple[float, ...]) -> Key:
    return image, label, tuple(round(share, DECIMALS) for share in box)


def _read(path: Path, size: tuple[int, int]) -> NDArray[np.bool_]:
    values = read_mask(path)
    flat = values if values.ndim == 2 else values.max(axis=2)
    inside: NDArray[np.uint8] = (flat > 0).astype(np.uint8)
    if inside.shape != size:
        inside = np.asarray(cv2.resize(inside, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT), np.uint8)
    return inside > 0
