"""Image files laid end to end in a NumPy archive: thousands of small images in one file."""

from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from visionkit.data.datasets.base import formats
from visionkit.data.datasets.classification import (
    ClassificationDataset,
    refuse_single_class,
    refuse_wrong_labels,
    stored_classes,
)
from visionkit.data.io.images import ImageArray, decode_image
from visionkit.data.io.paths import existing_file, existing_folder
from visionkit.errors import DataError

KEYS = ("jpeg", "offsets", "labels", "class_names")


@formats.register("arrays")
class Arrays(ClassificationDataset):
    """Images of an .npz file; they stay encoded in memory and are decoded one at a time.

    The file has `jpeg` uint8 (all JPEG or PNG files one after the other), `offsets` int64 [N + 1] (image i is
    `jpeg[offsets[i]:offsets[i + 1]]`), `labels` [N] in 0..K-1 and `class_names` [K].

    Args:
        root: folder of the data set.
        file: the .npz file, relative to `root`.
        classes: must be left out or equal the names in the file.

    Raises:
        DataError: the file is missing, broken or contradicts itself.
    """

    def __init__(self, root: Path | None, file: str, classes: list[str] | None = None) -> None:
        source = existing_file(existing_folder(root, "the arrays format") / file)
        arrays = _read(source)
        self.report: dict[str, int] = {}
        self._stem, self._files, self._offsets = source.stem, arrays["jpeg"], arrays["offsets"].astype(np.int64)
        self.labels = arrays["labels"].astype(np.int64)
        self.name_classes(stored_classes(arrays["class_names"].astype(str).tolist(), classes, source))
        _refuse_wrong_offsets(self._offsets, len(self._files), source)
        refuse_wrong_labels(self.labels, len(self._offsets) - 1, self.class_names, source)
        refuse_single_class(self.class_names, source)

    def image(self, index: int) -> ImageArray:
        """See `ClassificationDataset`."""
        start, end = self._offsets[index], self._offsets[index + 1]
        return decode_image(self._files[start:end].tobytes(), self.name(index))

    def name(self, index: int) -> str:
        """The file's name and the image's number in it."""
        return f"{self._stem}/{index}"


def _read(source: Path) -> dict[str, NDArray[Any]]:
    try:
        with np.load(source, allow_pickle=False) as archive:  # pickled arrays could run code
            absent = [key for key in KEYS if key not in archive]
            if absent:
                raise DataError(f"{source} lacks the arrays {', '.join(absent)}")
            arrays = {key: archive[key] for key in KEYS}
    except (BadZipFile, ValueError, OSError, EOFError, AttributeError, TypeError) as error:
        raise DataError(f"{source} cannot be read as an .npz file: {str(error).splitlines()[0][:160]}") from error
    kinds = {"jpeg": "u", "offsets": "iu", "labels": "iu", "class_names": "US"}
    for key, array in arrays.items():
        if array.ndim != 1 or array.dtype.kind not in kinds[key] or (key == "jpeg" and array.dtype != np.uint8):
            raise DataError(
                f"{source}: the array {key} is {array.dtype} {list(array.shape)}; see the format's description"
            )
    return arrays


def _refuse_wrong_offsets(offsets: NDArray[np.int64], length: int, source: Path) -> None:
    if len(offsets) < 2 or offsets[0] != 0 or offsets[-1] != length or (np.diff(offsets) < 0).any():
        raise DataError(f"{source}: offsets must rise from 0 to the length of jpeg, {length}")
